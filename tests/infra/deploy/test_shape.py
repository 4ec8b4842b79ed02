"""Shape: the file that a deployment takes, and the tables that it fits."""

from dataclasses import replace

import pytest

from tests.infra.deploy.recorded import DEPLOYED, PARAMETERS, SETTINGS, refusal, table

GET_ITEM, DESCRIBE_TABLE = "dynamodb__get_item", "dynamodb__describe_table"
BOOKS = table(("PK", "HASH", "S"), ("SK", "RANGE", "S"))
KEY = 'key = { orderId = "{metadata.orderId}" }'
STATUS = 'done = { status = ["PAID"] }'
INDEX = 'key = { session = "{id}" }\nindex = "by-session"\n'


def orders(*keys, projection=None, index=()):
    """Return the description of the table `orders` with these keys and, perhaps, one index."""
    every = [*keys, *((name, "HASH", form) for name, form in index)]
    found = table(*every, TableName="orders")
    found["Table"]["KeySchema"] = found["Table"]["KeySchema"][: len(keys)]
    if index:
        schema = [{"AttributeName": name, "KeyType": "HASH"} for name, _ in index]
        one = {"IndexName": "by-session", "KeySchema": schema, "Projection": projection or {}}
        found["Table"]["GlobalSecondaryIndexes"] = [one]
    return found


ORDERS = orders(("orderId", "HASH", "S"))


def settings(lines, **changes):
    text = f'# of the shop\n[find]\ntable = "orders"\n{lines}'
    return replace(SETTINGS, parameters=PARAMETERS | {"LedgerTable": "books", "Shape": text} | changes)


def test_file_is_deployed_without_comments_and_its_table_may_be_read(make_deployment, tmp_path):
    path = tmp_path / "shape.toml"
    path.write_text(settings(KEY).parameters["Shape"])
    answers = [{}, refusal("ValidationException"), refusal("ValidationException"), {}]
    recorded = {DESCRIBE_TABLE: [ORDERS, BOOKS], GET_ITEM: answers}
    deployment = make_deployment(stored=settings("", Shape=str(path)), **recorded, **DEPLOYED)
    assert deployment.deploy() == 0
    assert deployment.parameters["CommerceTable"] == "orders"
    assert deployment.parameters["Shape"] == f'[find]\ntable = "orders"\n{KEY}'


@pytest.mark.parametrize("verb", ["deploy", "dry_run"])
@pytest.mark.parametrize(
    ("wanted", "described", "message"),
    [
        (settings("key = 1"), ORDERS, "shape.toml: find.key must name"),
        (settings(KEY, LedgerTable=""), ORDERS, "--set LedgerTable=create"),
        (settings(KEY, WebhookFence="all"), ORDERS, "WebhookFence must not be all"),
        (settings(KEY, EmailCase="lower"), ORDERS, "EmailCase has no effect with Shape"),
        (settings("", Shape="/nowhere/shape.toml"), ORDERS, "/nowhere/shape.toml, which cannot be read"),
        (settings(KEY), refusal("ResourceNotFoundException"), "there is no table orders"),
        (settings(KEY), orders(("id", "HASH", "S")), "find.key has orderId; the keys of table orders are id"),
        (
            settings(INDEX + STATUS),
            orders(("id", "HASH", "S"), index=[("session", "S")], projection={"ProjectionType": "KEYS_ONLY"}),
            "does not project status",
        ),
    ],
)
def test_file_that_does_not_fit_is_refused_before_anything_is_written(
    make_deployment, verb, wanted, described, message
):
    deployment = make_deployment(stored=wanted, **{DESCRIBE_TABLE: [described, BOOKS]})
    assert message in deployment.error(verb)
    assert deployment.writes == []


def test_index_on_the_session_fits(make_deployment):
    described = orders(("id", "HASH", "S"), index=[("session", "S")])
    answers = [{}, refusal("ValidationException"), refusal("ValidationException"), {}]
    recorded = {DESCRIBE_TABLE: [described, BOOKS], GET_ITEM: answers}
    assert make_deployment(stored=settings(INDEX + STATUS), **recorded, **DEPLOYED).deploy() == 0
