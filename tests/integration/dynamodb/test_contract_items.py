"""The contract of DynamoDB's items: values, keys, sizes, reads by key and reserved words."""

import pytest
from botocore.exceptions import ParamValidationError

from testkit.doubles.reserved_words import RESERVED_WORDS
from tests.integration.dynamodb.contract_table import key, n, refused, s
from tests.proofs import PROVE_ALL

MAX_ITEM_BYTES = 409_600
EVERY_TYPE = {
    "text": s("Zürich ☕ 🎁"),
    "number": n("12.5"),
    "yes": {"BOOL": True},
    "nothing": {"NULL": True},
    "parts": {"L": [n(1), s("x"), {"M": {"inside": s("")}}]},
    "empty": {"L": []},
}


def test_every_type_round_trips(table):
    table.put(**EVERY_TYPE)
    assert table.get() == {**key("1"), **EVERY_TYPE}


@pytest.mark.parametrize(
    ("written", "read"),
    [("007", "7"), ("1.50", "1.5"), ("1e3", "1000"), ("-0", "0"), (".5", "0.5"), ("1E-5", "0.00001")],
)
def test_number_has_one_form(table, written, read):
    table.put(amount=n(written))
    assert table.get()["amount"] == n(read)


@pytest.mark.parametrize(
    "value",
    [
        *map(n, ("", "x", "1,5", " 1 ", "1" * 39, "1e126", "1e-131", "NaN", "Infinity")),
        {"NULL": False},
        {},
        {"S": "x", "N": "1"},
        pytest.param({"M": {"": s("x")}}, id="empty name"),
        pytest.param({"M": {"k" * 65_536: s("x")}}, id="64 KB name"),
    ],
)
def test_invalid_value_is_refused(table, value):
    with refused():
        table.put(attribute=value)


@pytest.mark.parametrize(
    "item",
    [
        {"PK": s("a")},
        {"PK": s("a"), "SK": n(1)},
        key(""),
        key("1", pk=""),
        key("é" * 512 + "x"),
        key("1", "p" * 2049),
    ],
)
def test_invalid_key_is_refused(table, item):
    with refused():
        table.client.put_item(TableName=table.name, Item=item)
    with refused():
        table.client.get_item(TableName=table.name, Key=item)


def test_key_parameter_holds_only_the_key(table):
    with refused():
        table.client.get_item(TableName=table.name, Key={**key("1"), "more": s("x")})


def test_longest_keys_are_accepted(table):
    table.put("é" * 512, pk="p" * 2048)
    assert table.get("é" * 512, "p" * 2048)


def test_half_a_surrogate_pair_is_text(table):
    table.put(text=s("\ud83d"), inside={"M": {"\ud83d": s("x")}})
    assert table.get() == {**key("1"), "text": s("\ud83d"), "inside": {"M": {"\ud83d": s("x")}}}


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (s(""), 0),
        ({"L": [s("")]}, 4),
        ({"M": {"k": s("")}}, 5),
        (n(0), 1),
        (n(100), 2),
        (n(123), 3),
        (n(-12), 3),
        (n("1.5"), 3),
        ({"BOOL": True}, 1),
    ],
)
def test_item_holds_400_kb(table, value, size):
    room = MAX_ITEM_BYTES - len("PKaSK1textv") - size
    table.put(text=s("x" * room), v=value)
    with refused() as raised:
        table.put(text=s("x" * (room + 1)), v=value)
    assert "Item size has exceeded the maximum allowed size" in str(raised.value)


def test_update_beyond_400_kb_is_refused(table):
    table.put(text=s("x" * 300_000))
    with refused() as raised:
        table.update("SET more = :m", values={":m": s("x" * 200_000)})
    assert "Item size to update has exceeded" in str(raised.value)
    assert "more" not in table.get()


def test_missing_item_and_missing_table(table):
    assert table.get("nothing") is None
    with pytest.raises(table.client.exceptions.ResourceNotFoundException):
        table.client.get_item(TableName="no-such-table", Key=key("1"))


@pytest.mark.parametrize(
    "request_", [{"Keys": key("1")}, {"Key": key("1"), "Consistent": True}, {"Key": {"PK": "a"}}]
)
def test_client_validates_parameters(table, request_):
    with pytest.raises(ParamValidationError):
        table.client.get_item(TableName=table.name, **request_)


def test_projection_returns_named_attributes(table):
    table.put(**EVERY_TYPE)
    shown = table.get(ProjectionExpression="#t, nope, parts", ExpressionAttributeNames={"#t": "text"})
    assert shown == {name: EVERY_TYPE[name] for name in ("text", "parts")}


@pytest.mark.parametrize(
    "request_",
    [
        {"ExpressionAttributeNames": {"#a": "amount"}},
        {"ExpressionAttributeNames": {"#a": "amount"}, "ProjectionExpression": "amount"},
        {"ProjectionExpression": "amount, amount"},
        {"ProjectionExpression": "#a"},
        pytest.param({"ProjectionExpression": ""}, id="empty"),
    ],
)
def test_wrong_projection_is_refused(table, request_):
    with refused():
        table.get(**request_)


def test_reserved_words_are_refused(table):
    assert len(RESERVED_WORDS) == 573
    words = sorted(RESERVED_WORDS - {"convert"})
    # The emulator accepts `remove`.
    for word in words if PROVE_ALL else {*words[::9], "remove"}:
        with refused():
            table.get(ProjectionExpression=word.upper())
    for word in ("orderId", "userId", "createdAt", "items_", "statuses", "outcome", "cursors", "listed"):
        table.get(ProjectionExpression=word)


def test_convert_is_reserved(table):
    with refused():
        table.get(ProjectionExpression="convert")


def test_batch_get_returns_existing_items(orders):
    keys = [key("ORDER#1"), key("nope"), key("PROFILE")]
    answer = orders.get_many(*keys, ConsistentRead=True, ProjectionExpression="SK")
    found = answer["Responses"][orders.name]
    assert sorted(item["SK"]["S"] for item in found) == ["ORDER#1", "PROFILE"]
    assert all(set(item) == {"SK"} for item in found)
    assert answer["UnprocessedKeys"] == {}


def test_batch_get_takes_100_different_keys(table):
    keys = [key(str(number)) for number in range(101)]
    assert table.get_many(*keys[:100])["Responses"][table.name] == []
    for wrong in (keys, [keys[0], keys[0]]):
        with refused():
            table.get_many(*wrong)
