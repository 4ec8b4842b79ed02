"""What this project relies on of DynamoDB, asked of every engine it is tested on.

The in-memory double has to pass all of it: it follows AWS where the others do not. Where another engine is
known to answer differently, the test must fail there, so that an engine that learns it is noticed.
"""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.reserved_words import RESERVED_WORDS
from testkit.engines.dynamodb_local import Unavailable
from testkit.engines.engine import EMULATOR, LOCAL, MEMORY, Engine, created_table, dynamodb_engine

# What an engine takes although AWS refuses it, by test and case.
_LENIENT = {
    "test_wrong_conditions_are_refused": [
        "amount = amount",
        "a-b = :v",
        "_a = :v",
        "amount BETWEEN :a AND :b1",
        "amount < :v",
        "Attribute_Exists(a)",
        "exists_at_all(a)",
        "begins_with(amount, :v)",
        "attribute_type(amount, :v)",
    ],
    "test_wrong_updates_are_refused_and_change_nothing": [
        "SET",
        "SET a = :v, a = :v",
        "SET m.k = :v, m = :v",
        "SET a = :v SET b = :v",
        "SET a = a + :v",
        "SET a = m + :v",
    ],
    "test_wrong_key_conditions_are_refused": [
        "PK = :p OR SK = :p",
        "PK = :p AND SK <> :p",
        "PK = :p AND NOT SK = :p",
        "PK = :p AND contains(SK, :p)",
        "PK = :p AND SK = PK",
    ],
}

# By test, or by test and case.
DEVIATIONS: dict[str, dict[str, str]] = {
    LOCAL: {
        "test_an_update_that_does_not_fit_its_item_is_a_reason": "refuses the whole request without reasons",
        "test_convert_is_a_reserved_word_too": "does not know the word",
    },
    EMULATOR: {
        **{f"{test}[{case}]": "takes it" for test, cases in _LENIENT.items() for case in cases},
        "test_indexes_mean_the_list_as_it_was_before_the_update": "counts anew after each removal",
        "test_a_nested_name_is_neither_empty_nor_endless": "takes it",
        "test_half_a_surrogate_pair_is_text": "fails over it",
        "test_a_filter_cannot_name_a_key": "takes it",
        "test_an_action_is_exactly_one_of_four": "takes it",
        "test_every_reserved_word_is_refused_and_its_neighbours_are_not": "takes `remove`",
        "test_conditions_mean_what_they_say[nope = nothing]": "two missing attributes are equal to it",
        "test_conditions_mean_what_they_say[begins_with(amount, :v)]": "refuses a number's attribute",
        "test_a_wrong_expression_in_a_transaction_is_refused_without_reasons": "cancels with reasons instead",
    },
}

type Item = dict[str, dict[str, Any]]


@pytest.fixture(scope="module", params=[MEMORY, LOCAL, EMULATOR])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == LOCAL:
        yield replace(_local(request), deviations=DEVIATIONS[LOCAL])
        return
    try:
        started = dynamodb_engine(request.param, DEVIATIONS)
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield started
    started.stop()


def _local(request: pytest.FixtureRequest) -> Engine:
    """The engine that all tests of this worker share."""
    real: Engine = request.getfixturevalue("real_engine")
    if real.name != LOCAL:
        pytest.skip("DynamoDB Local cannot run here")
    return real


@pytest.fixture(autouse=True)
def known_deviation(request: pytest.FixtureRequest) -> None:
    if "engine" in request.fixturenames:
        request.getfixturevalue("engine").expect(request)


class Shop:
    """One table, written and read in the words of the tests."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.table = created_table(client)

    def put(self, sk: str = "1", /, *, pk: str = "a", request: Any = None, **attributes: Any) -> Any:
        item = {**key(sk, pk), **attributes}
        return self.client.put_item(TableName=self.table, Item=item, **(request or {}))

    def put_if(
        self, condition: str, sk: str = "1", /, values: Any = None, names: Any = None, **more: Any
    ) -> Any:
        return self.put(sk, request={"ConditionExpression": condition, **placeholders(values, names), **more})

    def get(self, sk: str = "1", pk: str = "a", **request: Any) -> Item | None:
        wanted = {"TableName": self.table, "Key": key(sk, pk), "ConsistentRead": True}
        item: Item | None = self.client.get_item(**wanted, **request).get("Item")
        return item

    def update(
        self, expression: str, sk: str = "1", /, values: Any = None, names: Any = None, **more: Any
    ) -> Any:
        return self.client.update_item(
            TableName=self.table,
            Key=key(sk),
            UpdateExpression=expression,
            **placeholders(values, names),
            **more,
        )

    def query(self, condition: str = "PK = :p", values: Any = None, **request: Any) -> Any:
        return self.client.query(
            TableName=self.table,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values or {":p": s("a")},
            ConsistentRead=True,
            **request,
        )

    def transact(self, *actions: Any, token: str | None = None) -> Any:
        request = {} if token is None else {"ClientRequestToken": token}
        return self.client.transact_write_items(TransactItems=list(actions), **request)

    def putting(self, sk: str, pk: str = "a", *, request: Any = None, **attributes: Any) -> Any:
        item = {**key(sk, pk), **attributes}
        return {"Put": {"TableName": self.table, "Item": item, **(request or {})}}

    def updating(self, expression: str, sk: str, /, values: Any = None, **more: Any) -> Any:
        request = {"UpdateExpression": expression, **placeholders(values, None), **more}
        return {"Update": {"TableName": self.table, "Key": key(sk), **request}}

    def checking(self, condition: str, sk: str, **more: Any) -> Any:
        request = {"TableName": self.table, "Key": key(sk), "ConditionExpression": condition, **more}
        return {"ConditionCheck": request}

    def holds(self, condition: str, values: Any = None, names: Any = None) -> bool:
        """Whether a condition is true of the item with sort key 1."""
        try:
            self.client.transact_write_items(
                TransactItems=[self.checking(condition, "1", **placeholders(values, names))]
            )
        except self.client.exceptions.TransactionCanceledException:
            return False
        return True


@pytest.fixture
def shop(engine: Engine) -> Iterator[Shop]:
    made = Shop(engine.client)
    yield made
    engine.client.delete_table(TableName=made.table)


def s(text: str) -> dict[str, str]:
    return {"S": text}


def n(number: float | str) -> dict[str, str]:
    return {"N": str(number)}


def key(sk: str, pk: str = "a") -> Item:
    return {"PK": s(pk), "SK": s(sk)}


def placeholders(values: Any, names: Any) -> dict[str, Any]:
    given = {"ExpressionAttributeValues": values, "ExpressionAttributeNames": names}
    return {name: value for name, value in given.items() if value is not None}


@contextmanager
def refused(code: str = "ValidationException") -> Iterator[pytest.ExceptionInfo[ClientError]]:
    with pytest.raises(ClientError) as raised:
        yield raised
    assert raised.value.response["Error"]["Code"] == code


def reasons(raised: pytest.ExceptionInfo[ClientError]) -> list[dict[str, Any]]:
    response: Any = raised.value.response
    return list(response["CancellationReasons"])


def sort_keys(answer: Any) -> list[str]:
    return [item["SK"]["S"] for item in answer["Items"]]


# Items


EVERY_TYPE: dict[str, Any] = {
    "text": s("Zürich ☕ 🎁"),
    "number": n("12.5"),
    "raw": {"B": b"\x00\xff"},
    "yes": {"BOOL": True},
    "nothing": {"NULL": True},
    "parts": {"L": [n(1), s("x"), {"M": {"inside": s("")}}]},
    "empty": {"L": []},
    "strings": {"SS": ["a", "b"]},
    "numbers": {"NS": ["1", "2"]},
}


def test_every_type_comes_back_as_it_was_put(shop: Shop) -> None:
    shop.put(**EVERY_TYPE)
    held = shop.get()
    assert held is not None
    for name in ("strings", "numbers"):
        ((kind, elements),) = held[name].items()
        held[name] = {kind: sorted(elements)}
    assert held == {**key("1"), **EVERY_TYPE}


@pytest.mark.parametrize(
    ("written", "read"),
    [("007", "7"), ("1.50", "1.5"), ("1e3", "1000"), ("-0", "0"), (".5", "0.5"), ("1E-5", "0.00001")],
)
def test_numbers_have_one_spelling(shop: Shop, written: str, read: str) -> None:
    shop.put(amount=n(written))
    assert (shop.get() or {})["amount"] == n(read)


@pytest.mark.parametrize("text", ["", "x", "1,5", " 1 ", "1" * 39, "1e126", "1e-131", "NaN", "Infinity"])
def test_what_is_no_number_is_refused(shop: Shop, text: str) -> None:
    with refused():
        shop.put(amount=n(text))


@pytest.mark.parametrize(
    "value",
    [{"SS": []}, {"SS": ["a", "a"]}, {"NS": ["1", "1.0"]}, {"NULL": False}, {}, {"S": "x", "N": "1"}],
)
def test_malformed_values_are_refused(shop: Shop, value: Any) -> None:
    with refused():
        shop.put(attribute=value)


def test_an_item_needs_its_keys_with_their_types_and_not_empty(shop: Shop) -> None:
    for item in ({"PK": s("a")}, {"PK": s("a"), "SK": n(1)}, key(""), key("1", pk="")):
        with refused():
            shop.client.put_item(TableName=shop.table, Item=item)


def test_a_key_holds_the_key_attributes_and_nothing_else(shop: Shop) -> None:
    for wrong in ({"PK": s("a")}, {**key("1"), "more": s("x")}, {"PK": s("a"), "SK": n(1)}, key("")):
        with refused():
            shop.client.get_item(TableName=shop.table, Key=wrong)


def test_keys_are_limited_in_bytes(shop: Shop) -> None:
    shop.put("é" * 512, pk="p" * 2048)
    for sk, pk in (("é" * 512 + "x", "a"), ("1", "p" * 2049)):
        with refused():
            shop.put(sk, pk=pk)


@pytest.mark.parametrize("name", ["", "k" * 65_536], ids=["empty", "64 KB"])
def test_a_nested_name_is_neither_empty_nor_endless(shop: Shop, name: str) -> None:
    with refused():
        shop.put(attribute={"M": {name: s("x")}})


def test_half_a_surrogate_pair_is_text(shop: Shop) -> None:
    shop.put(text=s("\ud83d"), inside={"M": {"\ud83d": s("x")}})
    assert shop.get() == {**key("1"), "text": s("\ud83d"), "inside": {"M": {"\ud83d": s("x")}}}


def test_an_item_of_400_kb_fits_and_one_byte_more_does_not(shop: Shop) -> None:
    overhead = len("PKaSK1text")
    shop.put(text=s("x" * (409_600 - overhead)))
    with refused() as raised:
        shop.put(text=s("x" * (409_601 - overhead)))
    assert "Item size has exceeded the maximum allowed size" in str(raised.value)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"L": [s("")]}, 4),
        ({"M": {"k": s("")}}, 5),
        (n(0), 1),
        (n(100), 2),
        (n(123), 3),
        (n(-12), 3),
        (n("1.5"), 3),
        ({"BOOL": True}, 1),
        ({"SS": ["ab", "c"]}, 3),
    ],
)
def test_sizes_count_as_documented(shop: Shop, value: Any, size: int) -> None:
    room = 409_600 - len("PKaSK1textv") - size
    shop.put(text=s("x" * room), v=value)
    with refused():
        shop.put(text=s("x" * (room + 1)), v=value)


def test_an_item_that_grows_too_large_is_refused(shop: Shop) -> None:
    shop.put(text=s("x" * 300_000))
    with refused() as raised:
        shop.update("SET more = :m", values={":m": s("x" * 200_000)})
    assert "Item size to update has exceeded" in str(raised.value)
    assert "more" not in (shop.get() or {})


def test_a_missing_item_is_an_answer_without_item(shop: Shop) -> None:
    assert shop.get("nothing") is None


def test_a_missing_table_is_its_own_error(shop: Shop) -> None:
    with pytest.raises(shop.client.exceptions.ResourceNotFoundException):
        shop.client.get_item(TableName="no-such-table", Key=key("1"))


def test_the_client_itself_refuses_unknown_and_malformed_parameters(shop: Shop) -> None:
    for wrong in ({"Keys": key("1")}, {"Key": key("1"), "Consistent": True}, {"Key": {"PK": "a"}}):
        with pytest.raises(ParamValidationError):
            shop.client.get_item(TableName=shop.table, **wrong)


def test_a_projection_shows_the_paths_it_names(shop: Shop) -> None:
    shop.put(**EVERY_TYPE)
    answer = shop.get(
        ProjectionExpression="#t, nope, parts[2].inside, parts[0]",
        ExpressionAttributeNames={"#t": "text"},
    )
    assert answer == {"text": EVERY_TYPE["text"], "parts": {"L": [n(1), {"M": {"inside": s("")}}]}}


def test_unused_placeholders_of_a_read_are_refused(shop: Shop) -> None:
    shop.put()
    for wrong in ({}, {"ProjectionExpression": "amount"}):
        with refused():
            shop.get(ExpressionAttributeNames={"#a": "amount"}, **wrong)


# Conditions


CONDITIONS = [
    ("attribute_exists(PK)", {}, True),
    ("attribute_exists(nope)", {}, False),
    ("attribute_not_exists(nope)", {}, True),
    ("attribute_exists(address.city)", {}, True),
    ("attribute_not_exists(address.street)", {}, True),
    ("attribute_type(amount, :v)", {":v": s("N")}, True),
    ("amount = :v", {":v": n("10.0")}, True),
    ("amount = :v", {":v": s("10")}, False),
    ("amount <> :v", {":v": s("10")}, True),
    ("nope <> :v", {":v": n(1)}, True),
    ("nope = :v", {":v": n(1)}, False),
    ("NOT nope = :v", {":v": n(1)}, True),
    ("nope = nothing", {}, False),
    ("nope < :v", {":v": n(1)}, False),
    ("amount < :v", {":v": n(9)}, False),
    ("amount < :v", {":v": n("10.1")}, True),
    ("amount < :v", {":v": s("9")}, False),
    ("amount >= :v", {":v": n(10)}, True),
    ("amount > paid", {}, True),
    ("paid < amount", {}, True),
    ("amount = paid", {}, False),
    ("amount <> nope", {}, True),
    (":v = amount", {":v": n(10)}, True),
    ("amount BETWEEN :a AND :b", {":a": n(9), ":b": n(10)}, True),
    ("amount BETWEEN paid AND :b", {":b": n(10)}, True),
    ("amount BETWEEN nope AND :b", {":b": n(10)}, False),
    ("amount IN (:a, :b)", {":a": n(1), ":b": n(10)}, True),
    ("amount IN (:a, :b)", {":a": n(1), ":b": s("10")}, False),
    ("begins_with(title, :v)", {":v": s("Hel")}, True),
    ("begins_with(amount, :v)", {":v": s("1")}, False),
    ("contains(title, :v)", {":v": s("llo")}, True),
    ("contains(tags, :v)", {":v": s("blue")}, True),
    ("contains(tags, :v)", {":v": s("blu")}, False),
    ("contains(colours, :v)", {":v": s("red")}, True),
    ("size(title) = :v", {":v": n(5)}, True),
    ("size(tags) > :v", {":v": n(1)}, True),
    ("size(amount) = :v", {":v": n(2)}, False),
    ("colours[1] = :v", {":v": s("red")}, True),
    ("colours[7] = :v", {":v": s("red")}, False),
    ("address = :v", {":v": {"M": {"zip": n(1), "city": s("X")}}}, True),
    ("tags = :v", {":v": {"SS": ["green", "blue"]}}, True),
    ("address.city = :x AND amount = :v OR nope = :v", {":x": s("X"), ":v": n(10)}, True),
    ("nope = :v and (amount = :v or amount = :v)", {":v": n(10)}, False),
    ("(nope = :v And amount = :v) Or amount = :v", {":v": n(10)}, True),
    ("NOT (amount = :v AND paid = :v)", {":v": n(10)}, True),
]


@pytest.mark.parametrize(
    ("condition", "values", "expected"), CONDITIONS, ids=[case[0] for case in CONDITIONS]
)
def test_conditions_mean_what_they_say(shop: Shop, condition: str, values: Any, expected: bool) -> None:
    shop.put(
        amount=n(10),
        paid=n(9),
        title=s("Hello"),
        tags={"SS": ["blue", "green"]},
        colours={"L": [n(1), s("red")]},
        address={"M": {"city": s("X"), "zip": n(1)}},
    )
    assert shop.holds(condition, values or None) is expected


REFUSED_CONDITIONS = [
    ("", None, None),
    ("amount = :v", None, None),
    ("amount = :v", {":v": n(1), ":w": n(2)}, None),
    ("#a = :v", {":v": n(1)}, None),
    ("amount = :v", {":v": n(1)}, {"#a": "amount"}),
    ("amount = :v", {"v": n(1)}, None),
    ("amount = :v", {}, None),
    ("status = :v", {":v": n(1)}, None),
    ("source = :v", {":v": n(1)}, None),
    ("amount", None, None),
    ("amount = 5", None, None),
    ("amount == :v", {":v": n(1)}, None),
    ("amount = :v AND", {":v": n(1)}, None),
    ("amount = amount", None, None),
    ("a-b = :v", {":v": n(1)}, None),
    ("_a = :v", {":v": n(1)}, None),
    ("(amount = :v", {":v": n(1)}, None),
    ("((amount = :v))", {":v": n(1)}, None),
    ("amount IN ()", None, None),
    ("amount BETWEEN :a AND :b", {":a": n(2), ":b": n(1)}, None),
    ("amount BETWEEN :a AND :b", {":a": n(2), ":b": s("3")}, None),
    ("amount < :v", {":v": {"BOOL": True}}, None),
    ("size(amount)", None, None),
    ("attribute_exists(:v)", {":v": s("x")}, None),
    ("attribute_exists(a, b)", None, None),
    ("attribute_exists(a) = :v", {":v": n(1)}, None),
    ("Attribute_Exists(a)", None, None),
    ("exists_at_all(a)", None, None),
    ("begins_with(amount, :v)", {":v": n(1)}, None),
    ("attribute_type(amount, :v)", {":v": s("X")}, None),
    ("if_not_exists(amount, :v) = :v", {":v": n(1)}, None),
]


@pytest.mark.parametrize(
    ("condition", "values", "names"), REFUSED_CONDITIONS, ids=[case[0] for case in REFUSED_CONDITIONS]
)
def test_wrong_conditions_are_refused(shop: Shop, condition: str, values: Any, names: Any) -> None:
    with refused():
        shop.put_if(condition, values=values, names=names)
    assert shop.get() is None


def test_placeholders_need_an_expression(shop: Shop) -> None:
    for given in ({"ExpressionAttributeNames": {"#a": "a"}}, {"ExpressionAttributeValues": {":v": n(1)}}):
        with refused():
            shop.put(request=given)


def test_placeholders_work_for_reserved_words_and_odd_names(shop: Shop) -> None:
    odd: Any = {"a-b.c": n(1)}
    shop.put(source=s("nightly_sync"), **odd)
    names = {"#s": "source", "#odd": "a-b.c"}
    assert shop.holds("#s = :s AND #odd = :n", {":s": s("nightly_sync"), ":n": n(1)}, names)


def test_every_reserved_word_is_refused_and_its_neighbours_are_not(shop: Shop) -> None:
    assert len(RESERVED_WORDS) == 573
    for word in sorted(RESERVED_WORDS - {"convert"}):
        with refused():
            shop.get(ProjectionExpression=word.upper())
    for word in ("orderId", "userId", "createdAt", "items_", "statuses", "outcome", "cursors", "listed"):
        shop.get(ProjectionExpression=word)


def test_convert_is_a_reserved_word_too(shop: Shop) -> None:
    with refused():
        shop.get(ProjectionExpression="convert")


def test_a_failed_condition_says_so_and_changes_nothing(shop: Shop) -> None:
    shop.put(amount=n(1))
    with pytest.raises(shop.client.exceptions.ConditionalCheckFailedException) as raised:
        shop.put_if("attribute_not_exists(PK)")
    assert "Item" not in raised.value.response
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert (shop.get() or {})["amount"] == n(1)


def test_a_failed_condition_returns_the_item_that_won(shop: Shop) -> None:
    shop.put(amount=n(1))
    with refused("ConditionalCheckFailedException") as raised:
        shop.put_if("attribute_not_exists(PK)", ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert raised.value.response["Item"] == {**key("1"), "amount": n(1)}  # type: ignore[typeddict-item]


def test_a_failed_condition_on_nothing_returns_no_item(shop: Shop) -> None:
    with refused("ConditionalCheckFailedException") as raised:
        shop.put_if("attribute_exists(PK)", ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert "Item" not in raised.value.response


# Updates


UPDATES = [
    ("SET b = a", {}, {"a": n(1), "b": n(1)}),
    ("SET a = :v, b = a", {":v": n(7)}, {"a": n(7), "b": n(1)}),
    ("SET a = a + :v", {":v": n(7)}, {"a": n(8)}),
    ("SET a = a - :v", {":v": n("0.5")}, {"a": n("0.5")}),
    ("SET c = if_not_exists(c, :v)", {":v": n(7)}, {"a": n(1), "c": n(7)}),
    ("SET a = if_not_exists(a, :v)", {":v": n(7)}, {"a": n(1)}),
    ("SET c = if_not_exists(c, :z) + :v", {":z": n(0), ":v": n(7)}, {"a": n(1), "c": n(7)}),
    ("ADD a :v", {":v": n(-3)}, {"a": n(-2)}),
    ("ADD c :v", {":v": n(3)}, {"a": n(1), "c": n(3)}),
    ("ADD t :v", {":v": {"SS": ["x"]}}, {"a": n(1), "t": {"SS": ["x"]}}),
    ("REMOVE a, c", {}, {}),
    ("SET b = :v REMOVE a ADD c :v", {":v": n(2)}, {"b": n(2), "c": n(2)}),
    ("set b = :v add c :v", {":v": n(2)}, {"a": n(1), "b": n(2), "c": n(2)}),
]


@pytest.mark.parametrize(("expression", "values", "after"), UPDATES, ids=[case[0] for case in UPDATES])
def test_updates_do_what_they_say(shop: Shop, expression: str, values: Any, after: Item) -> None:
    shop.put(a=n(1))
    answer = shop.update(expression, values=values or None, ReturnValues="ALL_NEW")
    assert answer["Attributes"] == {**key("1"), **after}
    assert shop.get() == {**key("1"), **after}


def test_updates_reach_into_maps_lists_and_sets(shop: Shop) -> None:
    shop.put(m={"M": {"k": n(1)}}, l={"L": [n(0), n(1), n(2)]}, t={"SS": ["x", "y"]})
    shop.update(
        "SET m.j = :v, l[9] = :v REMOVE l[0], m.k DELETE t :t", values={":v": n(5), ":t": {"SS": ["x"]}}
    )
    shop.update("SET l = list_append(l, :l) DELETE t :t", values={":l": {"L": [n(6)]}, ":t": {"SS": ["y"]}})
    wanted = {**key("1"), "m": {"M": {"j": n(5)}}, "l": {"L": [n(1), n(2), n(5), n(6)]}}
    assert shop.get() == wanted


def test_indexes_mean_the_list_as_it_was_before_the_update(shop: Shop) -> None:
    shop.put(l={"L": [n(0), n(1), n(2)]})
    shop.update("REMOVE l[0], l[1]")
    assert (shop.get() or {})["l"] == {"L": [n(2)]}


def test_an_update_makes_the_item_that_is_missing(shop: Shop) -> None:
    assert "Attributes" not in shop.update("ADD c :v", values={":v": n(3)}, ReturnValues="ALL_OLD")
    assert shop.get() == {**key("1"), "c": n(3)}


REFUSED_UPDATES = [
    ("", None),
    ("SET", None),
    ("SET a = :v", None),
    ("SET a = :v, a = :v", {":v": n(1)}),
    ("SET m.k = :v, m = :v", {":v": n(1)}),
    ("SET a = :v SET b = :v", {":v": n(1)}),
    ("SET PK = :v", {":v": s("x")}),
    ("REMOVE SK", None),
    ("SET a = nope", None),
    ("SET a = nope + :v", {":v": n(1)}),
    ("SET a = a + :v", {":v": s("x")}),
    ("SET a = m + :v", {":v": n(1)}),
    ("SET nope.k = :v", {":v": n(1)}),
    ("SET status = :v", {":v": n(1)}),
    ("ADD a :v", {":v": s("x")}),
    ("ADD m :v", {":v": n(1)}),
    ("DELETE a :v", {":v": n(1)}),
    ("a = :v", {":v": n(1)}),
]


@pytest.mark.parametrize(("expression", "values"), REFUSED_UPDATES, ids=[case[0] for case in REFUSED_UPDATES])
def test_wrong_updates_are_refused_and_change_nothing(shop: Shop, expression: str, values: Any) -> None:
    shop.put(a=n(1), m={"M": {}})
    with refused():
        shop.update(expression, values=values)
    assert shop.get() == {**key("1"), "a": n(1), "m": {"M": {}}}


def test_return_values_are_the_item_before_or_after(shop: Shop) -> None:
    assert "Attributes" not in shop.put(a=n(1), request={"ReturnValues": "ALL_OLD"})
    assert shop.put(a=n(2), request={"ReturnValues": "ALL_OLD"})["Attributes"] == {**key("1"), "a": n(1)}
    changed = shop.update("SET b = :v", values={":v": n(1)}, ReturnValues="UPDATED_NEW")
    assert changed["Attributes"] == {"b": n(1)}
    gone = shop.client.delete_item(TableName=shop.table, Key=key("1"), ReturnValues="ALL_OLD")
    assert gone["Attributes"] == {**key("1"), "a": n(2), "b": n(1)}
    with refused():
        shop.put(request={"ReturnValues": "ALL_NEW"})


def test_a_conditional_delete_deletes_only_what_it_means(shop: Shop) -> None:
    shop.put(a=n(1))
    request = {"TableName": shop.table, "Key": key("1"), "ConditionExpression": "a = :v"}
    with refused("ConditionalCheckFailedException"):
        shop.client.delete_item(**request, ExpressionAttributeValues={":v": n(2)})
    shop.client.delete_item(**request, ExpressionAttributeValues={":v": n(1)})
    assert shop.get() is None


# Queries


@pytest.fixture
def orders(shop: Shop) -> Shop:
    for sk in ("ORDER#1", "ORDER#2", "ORDER#20", "ORDER#3", "PROFILE"):
        shop.put(sk, amount=n(len(sk)))
    shop.put("ORDER#1", pk="b")
    return shop


QUERIES = [
    ("PK = :p", {}, ["ORDER#1", "ORDER#2", "ORDER#20", "ORDER#3", "PROFILE"]),
    ("PK = :p AND begins_with(SK, :a)", {":a": s("ORDER#2")}, ["ORDER#2", "ORDER#20"]),
    (
        "PK = :p AND SK BETWEEN :a AND :b",
        {":a": s("ORDER#2"), ":b": s("ORDER#3")},
        ["ORDER#2", "ORDER#20", "ORDER#3"],
    ),
    ("PK = :p AND SK >= :a", {":a": s("ORDER#3")}, ["ORDER#3", "PROFILE"]),
    ("PK = :p AND SK > :a", {":a": s("ORDER#3")}, ["PROFILE"]),
    ("PK = :p AND SK < :a", {":a": s("ORDER#2")}, ["ORDER#1"]),
    ("PK = :p AND SK <= :a", {":a": s("ORDER#2")}, ["ORDER#1", "ORDER#2"]),
    ("SK = :a AND PK = :p", {":a": s("ORDER#2")}, ["ORDER#2"]),
    ("(PK = :p) AND (SK = :a)", {":a": s("nope")}, []),
]


@pytest.mark.parametrize(("condition", "values", "found"), QUERIES, ids=[case[0] for case in QUERIES])
def test_queries_find_a_stretch_of_sort_keys_in_order(
    orders: Shop, condition: str, values: Any, found: list[str]
) -> None:
    answer = orders.query(condition, {":p": s("a"), **values})
    assert sort_keys(answer) == found
    assert answer["Count"] == answer["ScannedCount"] == len(found)
    backwards = orders.query(condition, {":p": s("a"), **values}, ScanIndexForward=False)
    assert sort_keys(backwards) == found[::-1]


REFUSED_QUERIES: list[tuple[str, Any]] = [
    ("SK = :p", {":p": s("a")}),
    ("PK > :p", {":p": s("a")}),
    ("PK = :p OR SK = :p", {":p": s("a")}),
    ("PK = :p AND SK <> :p", {":p": s("a")}),
    ("PK = :p AND NOT SK = :p", {":p": s("a")}),
    ("PK = :p AND contains(SK, :p)", {":p": s("a")}),
    ("PK = :p AND amount = :p", {":p": s("a")}),
    ("PK = :p AND SK > :p AND SK < :p", {":p": s("a")}),
    ("PK = :p AND SK = :n", {":p": s("a"), ":n": n(1)}),
    ("PK = :p AND SK = :n", {":p": s("a"), ":n": s("")}),
    ("PK = :p AND SK = PK", {":p": s("a")}),
    ("PK = :p AND SK BETWEEN :b AND :a", {":p": s("a"), ":a": s("a"), ":b": s("b")}),
    ("PK = :p", {":p": s("a"), ":q": s("a")}),
]


@pytest.mark.parametrize(("condition", "values"), REFUSED_QUERIES, ids=[case[0] for case in REFUSED_QUERIES])
def test_wrong_key_conditions_are_refused(orders: Shop, condition: str, values: Any) -> None:
    with refused():
        orders.query(condition, values)


def test_a_filter_is_applied_after_the_limit(orders: Shop) -> None:
    values = {":p": s("a"), ":t": n(len("ORDER#1"))}
    answer = orders.query(values=values, FilterExpression="amount > :t", Limit=3)
    assert sort_keys(answer) == ["ORDER#20"]
    assert (answer["Count"], answer["ScannedCount"]) == (1, 3)
    assert answer["LastEvaluatedKey"] == key("ORDER#20")
    first = orders.query(values=values, FilterExpression="amount > :t", Limit=1)
    assert (first["Items"], first["LastEvaluatedKey"]) == ([], key("ORDER#1"))


def test_a_filter_cannot_name_a_key(orders: Shop) -> None:
    with refused():
        orders.query(FilterExpression="begins_with(SK, :p)")


def test_pages_go_on_after_the_last_key_in_both_directions(orders: Shop) -> None:
    everything = sort_keys(orders.query())
    for forward in (True, False):
        seen: list[str] = []
        request: dict[str, Any] = {"Limit": 2, "ScanIndexForward": forward}
        while True:
            answer = orders.query(**request)
            seen += sort_keys(answer)
            if "LastEvaluatedKey" not in answer:
                break
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        assert seen == (everything if forward else everything[::-1])


def test_a_limit_that_is_just_reached_still_names_a_last_key(orders: Shop) -> None:
    assert orders.query(Limit=5)["LastEvaluatedKey"] == key("PROFILE")
    assert "LastEvaluatedKey" not in orders.query(Limit=6)


def test_a_page_may_start_after_a_key_that_does_not_exist(orders: Shop) -> None:
    assert sort_keys(orders.query(ExclusiveStartKey=key("ORDER#29"))) == ["ORDER#3", "PROFILE"]
    for wrong in (key("ORDER#2", pk="b"), {"PK": s("a")}):
        with refused():
            orders.query(ExclusiveStartKey=wrong)


def test_a_page_ends_at_one_megabyte(shop: Shop) -> None:
    """Just before it or just after: AWS does not say whether the item that crosses it belongs to the page."""
    for sk in range(5):
        shop.put(str(sk), text=s("x" * 300_000))
    first = shop.query(ProjectionExpression="SK")
    assert first["Count"] in {3, 4}
    assert first["LastEvaluatedKey"] == key(sort_keys(first)[-1])
    second = shop.query(ProjectionExpression="SK", ExclusiveStartKey=first["LastEvaluatedKey"])
    assert sort_keys(first) + sort_keys(second) == list("01234")
    assert "LastEvaluatedKey" not in second


def test_a_count_counts_and_shows_nothing(orders: Shop) -> None:
    answer = orders.query(Select="COUNT")
    assert answer["Count"] == 5
    assert "Items" not in answer
    with refused():
        orders.query(Select="COUNT", ProjectionExpression="SK")


def test_a_paginator_reads_all_pages(orders: Shop) -> None:
    pages = orders.client.get_paginator("query").paginate(
        TableName=orders.table,
        KeyConditionExpression="PK = :p",
        ExpressionAttributeValues={":p": s("a")},
        PaginationConfig={"PageSize": 2},
    )
    assert [item["SK"]["S"] for page in pages for item in page["Items"]] == sort_keys(orders.query())


def test_a_scan_reads_every_item_once_in_pages_and_segments(orders: Shop) -> None:
    seen: list[tuple[str, str]] = []
    for segment in range(2):
        request: dict[str, Any] = {"Limit": 2, "Segment": segment, "TotalSegments": 2}
        while True:
            answer = orders.client.scan(TableName=orders.table, **request)
            seen += [(item["PK"]["S"], item["SK"]["S"]) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                break
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
    assert sorted(seen) == [("a", sk) for sk in sort_keys(orders.query())] + [("b", "ORDER#1")]


def test_a_scan_may_filter_by_key(orders: Shop) -> None:
    answer = orders.client.scan(
        TableName=orders.table, FilterExpression="PK = :p", ExpressionAttributeValues={":p": s("b")}
    )
    assert (answer["Count"], answer["ScannedCount"]) == (1, 6)


# Batches


def test_a_batch_get_answers_what_is_there(orders: Shop) -> None:
    keys = [key("ORDER#1"), key("nope"), key("PROFILE")]
    request = {"Keys": keys, "ConsistentRead": True, "ProjectionExpression": "SK"}
    answer = orders.client.batch_get_item(RequestItems={orders.table: request})
    assert sorted(item["SK"]["S"] for item in answer["Responses"][orders.table]) == ["ORDER#1", "PROFILE"]
    assert answer["UnprocessedKeys"] == {}


def test_a_batch_get_takes_100_different_keys(shop: Shop) -> None:
    keys = [key(str(number)) for number in range(101)]
    answer = shop.client.batch_get_item(RequestItems={shop.table: {"Keys": keys[:100]}})
    assert answer["Responses"][shop.table] == []
    for wrong in (keys, [keys[0], keys[0]]):
        with refused():
            shop.client.batch_get_item(RequestItems={shop.table: {"Keys": wrong}})


def test_a_batch_write_puts_and_deletes_25_items(shop: Shop) -> None:
    shop.put("gone")
    writes: list[Any] = [{"PutRequest": {"Item": key(str(number))}} for number in range(25)]
    answer = shop.client.batch_write_item(
        RequestItems={shop.table: [*writes[:24], {"DeleteRequest": {"Key": key("gone")}}]}
    )
    assert answer["UnprocessedItems"] == {}
    assert shop.query()["Count"] == 24
    for wrong in ([*writes, {"DeleteRequest": {"Key": key("gone")}}], [writes[0], writes[0]]):
        with refused():
            shop.client.batch_write_item(RequestItems={shop.table: wrong})


# Transactions


def test_a_transaction_writes_all(shop: Shop) -> None:
    shop.put("deleted")
    shop.put("checked", a=n(1))
    shop.transact(
        shop.putting("put", request={"ConditionExpression": "attribute_not_exists(PK)"}),
        shop.updating("ADD c :v", "updated", values={":v": n(2)}),
        {"Delete": {"TableName": shop.table, "Key": key("deleted")}},
        shop.checking("a = :v", "checked", ExpressionAttributeValues={":v": n(1)}),
    )
    assert sort_keys(shop.query()) == ["checked", "put", "updated"]
    assert shop.get("updated") == {**key("updated"), "c": n(2)}


def test_a_cancelled_transaction_writes_nothing_and_names_its_reasons_in_order(shop: Shop) -> None:
    shop.put("there", a=n(1))
    fresh = {
        "ConditionExpression": "attribute_not_exists(PK)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    with pytest.raises(shop.client.exceptions.TransactionCanceledException) as raised:
        shop.transact(
            shop.putting("innocent"),
            shop.putting("there", request=fresh),
            shop.updating("ADD c :v", "counter", values={":v": n(1)}),
            shop.checking("attribute_exists(PK)", "missing", ReturnValuesOnConditionCheckFailure="ALL_OLD"),
            shop.updating("ADD c :v", "there2", values={":v": n(1)}, ConditionExpression="c = :v"),
        )
    listed = reasons(raised)
    failed, innocent = "ConditionalCheckFailed", "None"
    assert [reason["Code"] for reason in listed] == [innocent, failed, innocent, failed, failed]
    assert listed[0] == {"Code": "None"}
    assert listed[1]["Message"] == "The conditional request failed"
    assert [reason.get("Item") for reason in listed] == [None, {**key("there"), "a": n(1)}, None, None, None]
    assert "[None, ConditionalCheckFailed, None, ConditionalCheckFailed, ConditionalCheckFailed]" in str(
        raised.value
    )
    assert sort_keys(shop.query()) == ["there"]


def test_a_failed_condition_without_all_old_returns_no_item(shop: Shop) -> None:
    shop.put("there")
    with refused("TransactionCanceledException") as raised:
        shop.transact(shop.putting("there", request={"ConditionExpression": "attribute_not_exists(PK)"}))
    assert "Item" not in reasons(raised)[0]


def test_conditions_look_at_the_state_before_the_transaction(shop: Shop) -> None:
    shop.transact(shop.putting("one"), shop.checking("attribute_not_exists(PK)", "two"))
    with refused("TransactionCanceledException") as raised:
        shop.transact(
            {"Delete": {"TableName": shop.table, "Key": key("one")}},
            shop.checking("attribute_exists(PK)", "two"),
        )
    assert [reason["Code"] for reason in reasons(raised)] == ["None", "ConditionalCheckFailed"]
    assert shop.get("one") is not None


def test_two_actions_on_one_item_are_refused_without_reasons(shop: Shop) -> None:
    with refused() as raised:
        shop.transact(shop.putting("1"), shop.updating("ADD c :v", "1", values={":v": n(1)}))
    assert "multiple operations on one item" in str(raised.value)
    assert "CancellationReasons" not in raised.value.response


def test_a_transaction_takes_100_actions(shop: Shop) -> None:
    actions = [shop.putting(f"{number:03}") for number in range(101)]
    with refused():
        shop.transact(*actions)
    shop.transact(*actions[:100])
    assert shop.query()["Count"] == 100


def test_a_transaction_takes_4_megabytes(shop: Shop) -> None:
    big = s("x" * 390_000)
    with refused():
        shop.transact(*(shop.putting(f"{number:03}", text=big) for number in range(11)))
    assert shop.query()["Count"] == 0
    shop.transact(*(shop.putting(f"{number:03}", text=big) for number in range(10)))


def test_an_item_too_large_to_put_refuses_the_whole_transaction(shop: Shop) -> None:
    with refused() as raised:
        shop.transact(shop.putting("1"), shop.putting("2", text=s("x" * 410_000)))
    assert "Item size has exceeded the maximum allowed size" in str(raised.value)
    assert shop.query()["Count"] == 0


def test_an_item_that_grows_too_large_is_a_reason(shop: Shop) -> None:
    shop.put("1", text=s("x" * 300_000))
    with refused("TransactionCanceledException") as raised:
        shop.transact(shop.putting("2"), shop.updating("SET more = :m", "1", values={":m": s("x" * 200_000)}))
    assert [reason["Code"] for reason in reasons(raised)] == ["None", "ValidationError"]
    assert shop.get("2") is None


def test_an_update_that_does_not_fit_its_item_is_a_reason(shop: Shop) -> None:
    shop.put("1", a=s("text"))
    with refused("TransactionCanceledException") as raised:
        shop.transact(shop.putting("2"), shop.updating("ADD a :v", "1", values={":v": n(1)}))
    assert [reason["Code"] for reason in reasons(raised)] == ["None", "ValidationError"]
    assert shop.get("2") is None


def test_an_action_is_exactly_one_of_four(shop: Shop) -> None:
    for wrong in ({}, {**shop.putting("1"), "Delete": {"TableName": shop.table, "Key": key("2")}}):
        with refused():
            shop.transact(wrong)


def test_a_wrong_expression_in_a_transaction_is_refused_without_reasons(shop: Shop) -> None:
    with refused() as raised:
        shop.transact(shop.putting("1"), shop.updating("SET status = :v", "2", values={":v": n(1)}))
    assert "CancellationReasons" not in raised.value.response


def test_a_token_makes_a_transaction_once(shop: Shop) -> None:
    action = shop.updating("ADD c :v", "1", values={":v": n(1)})
    shop.transact(action, token=f"{shop.table}-1")
    shop.transact(action, token=f"{shop.table}-1")
    shop.transact(action, token=f"{shop.table}-2")
    assert (shop.get() or {})["c"] == n(2)


def test_a_token_does_not_carry_another_transaction(shop: Shop) -> None:
    shop.transact(shop.putting("1"), token=shop.table)
    with pytest.raises(shop.client.exceptions.IdempotentParameterMismatchException):
        shop.transact(shop.putting("2"), token=shop.table)
    with refused():
        shop.transact(shop.putting("2"), token="t" * 37)


def test_a_cancelled_transaction_does_not_use_up_its_token(shop: Shop) -> None:
    shop.put("1")
    action = shop.putting("1", request={"ConditionExpression": "attribute_not_exists(PK)"})
    with refused("TransactionCanceledException"):
        shop.transact(action, token=shop.table)
    shop.client.delete_item(TableName=shop.table, Key=key("1"))
    shop.transact(action, token=shop.table)
    assert shop.get() is not None


def test_transact_get_answers_in_order(shop: Shop) -> None:
    shop.put("1", a=n(1))
    gets = [{"Get": {"TableName": shop.table, "Key": key(sk)}} for sk in ("nope", "1")]
    answer = shop.client.transact_get_items(TransactItems=gets)
    assert answer["Responses"] == [{}, {"Item": {**key("1"), "a": n(1)}}]


# Concurrency


def test_no_update_is_lost_between_threads(shop: Shop) -> None:
    """Atomic counters by update and by transaction, and one winner of a conditional put."""
    start = threading.Barrier(8)

    def work(number: int) -> int:
        start.wait()
        for turn in range(10):
            shop.update("ADD c :v", "counter", values={":v": n(1)})
            _again(
                shop,
                shop.updating("ADD c :v", "counter", values={":v": n(1)}),
                shop.putting(f"{number}-{turn}"),
            )
        try:
            shop.put_if("attribute_not_exists(PK)", "winner")
        except ClientError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        winners = sum(pool.map(work, range(8)))
    assert (shop.get("counter") or {})["c"] == n(160)
    assert winners == 1
    assert shop.query("PK = :p AND SK < :c", {":p": s("a"), ":c": s("c")})["Count"] == 80


def _again(shop: Shop, *actions: Any) -> None:
    """AWS cancels transactions that meet; the caller repeats them."""
    for _ in range(100):
        try:
            shop.transact(*actions)
        except shop.client.exceptions.TransactionCanceledException as error:
            if {reason["Code"] for reason in error.response["CancellationReasons"]} - _CONFLICT:
                raise
        else:
            return
    pytest.fail("the transaction never got through")


_CONFLICT = {"None", "TransactionConflict"}


# Differences that nobody thought of


@pytest.fixture
def local(request: pytest.FixtureRequest) -> Any:
    return _local(request).client


@pytest.mark.parametrize("seed", range(8))
def test_random_histories_are_answered_alike_in_memory_and_by_dynamodb_local(local: Any, seed: int) -> None:
    memory = MemoryDynamoDB()
    name = created_table(local)
    memory.add_table(name)
    rng = random.Random(seed)
    for step in range(150):
        method, request = _random_request(rng, name)
        assert _answer(memory, method, request) == _answer(local, method, request), (
            seed,
            step,
            method,
            request,
        )
    local.delete_table(TableName=name)


def _answer(client: Any, method: str, request: Any) -> Any:
    try:
        answer = dict(getattr(client, method)(**request))
    except ClientError as error:
        return _refusal(error.response)
    for irrelevant in ("ResponseMetadata", "ConsumedCapacity"):
        answer.pop(irrelevant, None)
    return answer


def _refusal(response: Any) -> Any:
    """Sentences differ by a full stop; codes and items may not."""
    reasons = [(one["Code"], one.get("Item")) for one in response.get("CancellationReasons", [])]
    return response["Error"]["Code"], reasons, response.get("Item")


def _random_request(rng: random.Random, table: str) -> tuple[str, dict[str, Any]]:
    kind = rng.choice(["put", "update", "delete", "query", "transact", "transact"])
    if kind == "query":
        return "query", _random_query(rng, table)
    if kind == "transact":
        keys = rng.sample([(pk, sk) for pk in "ab" for sk in "123"], rng.randint(1, 4))
        return "transact_write_items", {
            "TransactItems": [
                {
                    action.capitalize(): {
                        **_random_write(rng, table, action, chosen),
                        "ReturnValuesOnConditionCheckFailure": rng.choice(["ALL_OLD", "NONE"]),
                    }
                }
                for chosen in keys
                for action in [rng.choice(["put", "update", "delete"])]
            ]
        }
    chosen = (rng.choice("ab"), rng.choice("123"))
    returned = {"ReturnValues": rng.choice(["NONE", "ALL_OLD"])}
    return f"{kind}_item", {**_random_write(rng, table, kind, chosen), **returned}


def _random_write(rng: random.Random, table: str, kind: str, chosen: tuple[str, str]) -> dict[str, Any]:
    pk, sk = chosen
    request: dict[str, Any] = {"TableName": table}
    values: dict[str, Any] = {}
    if kind == "put":
        attributes = {name: _random_value(rng) for name in rng.sample("xyz", rng.randint(0, 3))}
        request["Item"] = {**key(sk, pk), **attributes}
    else:
        request["Key"] = key(sk, pk)
    if kind == "update":
        # Its operands suit any item: AWS and DynamoDB Local word a misfit inside a transaction differently.
        request["UpdateExpression"] = rng.choice(
            [
                "SET x = :u",
                "SET x = if_not_exists(x, :u)",
                "REMOVE y SET x = :u",
                "ADD w :u",
                "SET z = :u ADD w :u",
            ]
        )
        values[":u"] = n(rng.randint(-3, 3))
    if rng.random() < 0.7:
        request["ConditionExpression"] = _random_condition(rng, values, depth=2)
    if values:
        request["ExpressionAttributeValues"] = values
    return request


def _random_query(rng: random.Random, table: str) -> dict[str, Any]:
    values: dict[str, Any] = {":p": s(rng.choice("ab"))}
    condition = "PK = :p"
    if rng.random() < 0.6:
        condition += f" AND SK {rng.choice(['=', '<', '<=', '>', '>='])} :s"
        values[":s"] = s(rng.choice("0123"))
    request: dict[str, Any] = {"TableName": table, "ScanIndexForward": rng.random() < 0.5}
    if rng.random() < 0.5:
        request["FilterExpression"] = _random_condition(rng, values, depth=1)
    if rng.random() < 0.5:
        request["Limit"] = rng.randint(1, 3)
    return {**request, "KeyConditionExpression": condition, "ExpressionAttributeValues": values}


def _random_condition(rng: random.Random, values: dict[str, Any], depth: int) -> str:
    if depth and rng.random() < 0.4:
        parts = [_random_condition(rng, values, depth - 1) for _ in range(2)]
        return f"({parts[0]}) {rng.choice(['AND', 'OR'])} NOT ({parts[1]})".replace("((", "( (")
    name = rng.choice("wxyz")
    placeholder = f":v{len(values)}"
    shape = rng.choice(["exists", "absent", "compare", "pair", "between", "in", "size", "contains", "prefix"])
    if shape in {"exists", "absent"}:
        return f"attribute_{'exists' if shape == 'exists' else 'not_exists'}({name})"
    operator = rng.choice(["=", "<>", "<", "<=", ">", ">="])
    if shape == "pair":
        return f"{name} {operator} {rng.choice([other for other in 'wxyz' if other != name])}"
    values[placeholder] = _random_value(rng)
    return {
        "compare": f"{name} {operator} {placeholder}",
        "between": f"{name} BETWEEN {placeholder} AND {placeholder}",
        "in": f"{name} IN ({placeholder}, {name}q)",
        "size": f"size({name}) {operator} {placeholder}",
        "contains": f"contains({name}, {placeholder})",
        "prefix": f"begins_with({name}, {placeholder})",
    }[shape]


def _random_value(rng: random.Random) -> dict[str, Any]:
    return rng.choice(
        [
            n(rng.randint(-3, 3)),
            n(f"{rng.randint(0, 30) / 10}"),
            s(rng.choice(["", "a", "ab", "b", "é"])),
            {"BOOL": rng.random() < 0.5},
            {"NULL": True},
            {"L": [n(1), s("a")]},
            {"M": {"k": s("a")}},
            {"SS": ["a", "b"]},
            {"B": b"a"},
        ]
    )
