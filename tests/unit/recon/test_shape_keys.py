"""The check of a shape against the description of its table, and how it names what does not fit."""

import re

import pytest

from recon.domain.shape import parse_shape
from recon.domain.shape_keys import check_keys
from recon.errors import ConfigError

FORMS = {"orderId": "S", "at": "S", "session": "S", "number": "N"}
BY_SESSION, BY_NUMBER = ("by-session", ["session", "at"], "ALL"), ("by-number", ["number"], "ALL")
KEYS_ONLY = ("by-session", ["session"], "KEYS_ONLY")


def schema(names):
    """Return the keys in DynamoDB's words, the sort key first: their order says nothing."""
    kinds = zip(names, ("HASH", "RANGE"), strict=False)
    return [{"AttributeName": name, "KeyType": kind} for name, kind in kinds][::-1]


def table(*keys, **indexes):
    described = {
        "TableName": "orders",
        "KeySchema": schema(keys),
        "AttributeDefinitions": [{"AttributeName": n, "AttributeType": form} for n, form in FORMS.items()],
    }
    for kind, each in indexes.items():
        described[f"{kind}SecondaryIndexes"] = [
            {"IndexName": name, "KeySchema": schema(names), "Projection": {"ProjectionType": projection}}
            for name, names, projection in each
        ]
    return described


def find(*keys, index=None, lists=""):
    named = "".join(f'{name} = "{{id}}", ' for name in keys)
    chosen = f'index = "{index}"\n' if index else ""
    return parse_shape(f"[find]\nkey = {{ {named.rstrip(', ')} }}\n{chosen}{lists}")


ORDER, ORDER_AT = table("orderId"), table("orderId", "at")
INDEXED = table("orderId", "at", Global=[BY_NUMBER], Local=[BY_SESSION])
STATUS = 'done = { status = ["PAID"] }\n'


@pytest.mark.parametrize(
    ("shape", "described"),
    [
        (find("orderId"), ORDER),
        (find("orderId", "at"), ORDER_AT),
        (find("session", "at", index="by-session"), INDEXED),
        (find("session", index="by-session", lists=STATUS), INDEXED),
        (find("session", index="by-session", lists='open = { at = ["x"] }'), table("at", Global=[KEYS_ONLY])),
    ],
)
def test_keys_of_the_table_or_of_its_index_fit(shape, described):
    check_keys(shape, described)


def test_index_that_projects_what_decides_or_says_nothing_fits():
    described = table("orderId", Global=[("by-session", ["session"], "INCLUDE")])
    (index,) = described["GlobalSecondaryIndexes"]
    index["Projection"]["NonKeyAttributes"] = ["status"]
    check_keys(find("session", index="by-session", lists=STATUS), described)
    for silent in ({"Projection": {}}, {}):
        one = {key: value for key, value in index.items() if key != "Projection"} | silent
        check_keys(
            find("session", index="by-session", lists=STATUS), described | {"GlobalSecondaryIndexes": [one]}
        )


@pytest.mark.parametrize(
    ("shape", "described", "message"),
    [
        (find("at"), ORDER, "find.key has at; the keys of table orders are orderId"),
        (find("orderId"), ORDER_AT, "find.key has orderId; the keys of table orders are orderId and at"),
        (
            find("at", "orderId"),
            ORDER_AT,
            "find.key has at and orderId; the keys of table orders are orderId and at in this order",
        ),
        (
            find("at", index="by-session"),
            INDEXED,
            "find.key has at; the keys of index by-session are session and at",
        ),
        (
            find("number"),
            table("number"),
            "find.key.number must be a string key; table orders has it as type N",
        ),
        (
            find("number", index="by-number"),
            INDEXED,
            "find.key.number must be a string key; index by-number has it as type N",
        ),
        (find("session", index="other"), ORDER, "find.index is other; the indexes of table orders: none"),
        (
            find("session", index="other"),
            INDEXED,
            "find.index is other; the indexes of table orders: by-number, by-session",
        ),
        (
            find("session", index="by-session", lists=STATUS),
            table("orderId", Global=[KEYS_ONLY]),
            (
                "index by-session does not project status, which find.done and find.open need; make an "
                "index with it, or with the projection ALL"
            ),
        ),
    ],
)
def test_what_does_not_fit_is_named_with_what_would(shape, described, message):
    with pytest.raises(ConfigError, match=f"^{re.escape('shape.toml: ' + message)}$"):
        check_keys(shape, described)
