"""The contract of DynamoDB's condition and update expressions."""

import pytest

from tests.integration.dynamodb.contract_table import key, n, placeholders, refused, s

TEN = {":v": n(10)}


@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        ("attribute_exists(PK)", {}, True),
        ("attribute_exists(nope)", {}, False),
        ("attribute_not_exists(nope)", {}, True),
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
        ("amount >= :v", TEN, True),
        ("amount > paid", {}, True),
        ("paid <= amount", {}, True),
        ("amount = paid", {}, False),
        ("amount <> nope", {}, True),
        (":v = amount", TEN, True),
        ("begins_with(title, :v)", {":v": s("Hel")}, True),
        ("begins_with(amount, :v)", {":v": s("1")}, False),
        ("contains(title, :v)", {":v": s("llo")}, True),
        ("contains(colours, :v)", {":v": s("red")}, True),
        ("contains(colours, :v)", {":v": s("re")}, False),
        ("NOT contains(nope, :v)", {":v": s("red")}, True),
        ("address = :v", {":v": {"M": {"zip": n(1), "city": s("X")}}}, True),
        ("title = :x AND amount = :v OR nope = :v", {":x": s("Hello"), **TEN}, True),
        ("nope = :v and (amount = :v or amount = :v)", TEN, False),
        ("(nope = :v And amount = :v) Or amount = :v", TEN, True),
        ("NOT (amount = :v AND paid = :v)", TEN, True),
    ],
)
def test_condition_result(table, condition, values, expected):
    table.put(
        amount=n(10),
        paid=n(9),
        title=s("Hello"),
        colours={"L": [n(1), s("red")]},
        address={"M": {"city": s("X"), "zip": n(1)}},
    )
    assert table.holds(condition, values or None) is expected


@pytest.mark.parametrize(
    ("condition", "values", "names"),
    [
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
        ("amount < :v", {":v": {"BOOL": True}}, None),
        ("attribute_exists(:v)", {":v": s("x")}, None),
        ("attribute_exists(a, b)", None, None),
        ("attribute_exists(a) = :v", {":v": n(1)}, None),
        ("Attribute_Exists(a)", None, None),
        ("exists_at_all(a)", None, None),
        ("begins_with(amount, :v)", {":v": n(1)}, None),
        ("if_not_exists(amount, :v) = :v", {":v": n(1)}, None),
        pytest.param(None, None, {"#a": "a"}, id="names alone"),
        pytest.param(None, {":v": n(1)}, None, id="values alone"),
    ],
)
def test_wrong_condition_is_refused(table, condition, values, names):
    given = {} if condition is None else {"ConditionExpression": condition}
    with refused():
        table.put(request=placeholders(values, names, **given))
    assert table.get() is None


def test_placeholders_name_reserved_and_odd_attributes(table):
    table.put(source=s("nightly_sync"), **{"a-b.c": n(1)})
    values, names = {":s": s("nightly_sync"), ":n": n(1)}, {"#s": "source", "#odd": "a-b.c"}
    assert table.holds("#s = :s AND #odd = :n", values, names)


@pytest.mark.parametrize(
    ("condition", "request_", "item"),
    [
        ("attribute_not_exists(PK)", {}, None),
        ("attribute_not_exists(PK)", {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}, {"amount": n(1)}),
    ],
    ids=["without item", "with item"],
)
def test_failed_condition_changes_nothing(table, condition, request_, item):
    table.put(amount=n(1))
    with pytest.raises(table.client.exceptions.ConditionalCheckFailedException) as raised:
        table.put(request={"ConditionExpression": condition, **request_})
    assert raised.value.response.get("Item") == (item and {**key("1"), **item})
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert table.get()["amount"] == n(1)


def test_failed_condition_on_missing_item_returns_none(table):
    request = {"ConditionExpression": "attribute_exists(PK)"}
    with refused("ConditionalCheckFailedException") as raised:
        table.put(request={**request, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"})
    assert "Item" not in raised.value.response


@pytest.mark.parametrize(
    ("expression", "values", "after"),
    [
        ("SET b = a", {}, {"a": n(1), "b": n(1)}),
        ("SET a = :v, b = a", {":v": n(7)}, {"a": n(7), "b": n(1)}),
        ("SET c = if_not_exists(c, :v)", {":v": n(7)}, {"a": n(1), "c": n(7)}),
        ("SET a = if_not_exists(a, :v)", {":v": n(7)}, {"a": n(1)}),
        (
            "SET l = list_append(if_not_exists(l, :l), :l)",
            {":l": {"L": [n(6)]}},
            {"a": n(1), "l": {"L": [n(6), n(6)]}},
        ),
        ("ADD a :v", {":v": n(-3)}, {"a": n(-2)}),
        ("ADD a :v", {":v": n("0.5")}, {"a": n("1.5")}),
        ("ADD c :v", {":v": n(3)}, {"a": n(1), "c": n(3)}),
        ("REMOVE a, c", {}, {}),
        ("SET b = :v REMOVE a ADD c :v", {":v": n(2)}, {"b": n(2), "c": n(2)}),
        ("set b = :v add c :v", {":v": n(2)}, {"a": n(1), "b": n(2), "c": n(2)}),
    ],
)
def test_update_result(table, expression, values, after):
    table.put(a=n(1))
    table.update(expression, values=values or None)
    assert table.get() == {**key("1"), **after}


def test_update_creates_a_missing_item(table):
    table.update("ADD c :v", values={":v": n(3)})
    assert table.get() == {**key("1"), "c": n(3)}


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("", None),
        ("SET", None),
        ("SET a = :v", None),
        ("SET a = :v, a = :v", {":v": n(1)}),
        ("SET a = :v SET b = :v", {":v": n(1)}),
        ("SET PK = :v", {":v": s("x")}),
        ("REMOVE SK", None),
        ("SET a = nope", None),
        ("SET a = list_append(a, :v)", {":v": {"L": []}}),
        ("SET a = list_append(nope, :v)", {":v": {"L": []}}),
        ("SET a = list_append(a, :v)", {":v": n(1)}),
        ("SET a = if_not_exists(:v, :v)", {":v": n(1)}),
        ("SET a = contains(a, :v)", {":v": n(1)}),
        ("SET status = :v", {":v": n(1)}),
        ("ADD a :v", {":v": s("x")}),
        ("ADD m :v", {":v": n(1)}),
        ("a = :v", {":v": n(1)}),
    ],
)
def test_wrong_update_is_refused(table, expression, values):
    table.put(a=n(1), m={"M": {}})
    with refused():
        table.update(expression, values=values)
    assert table.get() == {**key("1"), "a": n(1), "m": {"M": {}}}


def test_conditional_update_and_delete(table):
    table.put(a=n(1))
    wrong = {"ConditionExpression": "a = :v", "values": {":v": n(2)}}
    with refused("ConditionalCheckFailedException"):
        table.update("SET b = :v", **wrong)
    with refused("ConditionalCheckFailedException"):
        table.delete(**wrong)
    assert table.get() == {**key("1"), "a": n(1)}
    table.delete(ConditionExpression="a = :v", values={":v": n(1)})
    assert table.get() is None
