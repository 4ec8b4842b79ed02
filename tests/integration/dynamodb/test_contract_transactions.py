"""The contract of DynamoDB's transactions and of concurrent writes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.integration.dynamodb.contract_table import key, n, reasons, refused, s, sort_keys

NEW = {"ConditionExpression": "attribute_not_exists(PK)"}
ALL_OLD = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
ONE = {":v": n(1)}


def test_transaction_writes_everything(table):
    table.put("deleted")
    table.transact(
        table.put_action("put", request=NEW),
        table.update_action("ADD c :v", "updated", values=ONE),
        table.delete_action("deleted"),
    )
    assert sort_keys(table.query()) == ["put", "updated"]
    assert table.get("updated") == {**key("updated"), "c": n(1)}


def test_cancelled_transaction_writes_nothing_and_lists_reasons(table):
    table.put("there", a=n(1))
    with pytest.raises(table.client.exceptions.TransactionCanceledException) as raised:
        table.transact(
            table.put_action("innocent"),
            table.put_action("there", request=NEW | ALL_OLD),
            table.delete_action("missing", ConditionExpression="attribute_exists(PK)", **ALL_OLD),
            table.update_action("ADD c :v", "other", values=ONE, ConditionExpression="c = :v"),
        )
    listed = reasons(raised)
    failed = "ConditionalCheckFailed"
    assert [reason["Code"] for reason in listed] == ["None", failed, failed, failed]
    assert listed[0] == {"Code": "None"}
    assert listed[1]["Message"] == "The conditional request failed"
    assert [reason.get("Item") for reason in listed] == [None, {**key("there"), "a": n(1)}, None, None]
    assert "[None, ConditionalCheckFailed, ConditionalCheckFailed, ConditionalCheckFailed]" in str(
        raised.value
    )
    assert sort_keys(table.query()) == ["there"]


def test_reason_has_no_item_without_all_old(table):
    table.put("there")
    with refused("TransactionCanceledException") as raised:
        table.transact(table.put_action("there", request=NEW))
    assert "Item" not in reasons(raised)[0]


def test_two_actions_on_one_item_are_refused(table):
    with refused() as raised:
        table.transact(table.put_action("1"), table.update_action("ADD c :v", "1", values=ONE))
    assert "multiple operations on one item" in str(raised.value)
    assert "CancellationReasons" not in raised.value.response


@pytest.mark.parametrize(
    ("most", "text"), [(100, ""), (10, "x" * 390_000)], ids=["100 actions", "4 megabytes"]
)
def test_transaction_limits(table, most, text):
    actions = [table.put_action(f"{number:03}", text=s(text)) for number in range(most + 1)]
    with refused():
        table.transact(*actions)
    assert table.query(ProjectionExpression="SK")["Count"] == 0
    table.transact(*actions[:most])


def test_too_large_item_refuses_the_transaction(table):
    with refused() as raised:
        table.transact(table.put_action("1"), table.put_action("2", text=s("x" * 410_000)))
    assert "Item size has exceeded the maximum allowed size" in str(raised.value)
    assert table.query()["Count"] == 0


def assert_second_action_is_the_reason(table, update):
    with refused("TransactionCanceledException") as raised:
        table.transact(table.put_action("2"), update)
    assert [reason["Code"] for reason in reasons(raised)] == ["None", "ValidationError"]
    assert table.get("2") is None


def test_update_beyond_400_kb_is_a_reason(table):
    table.put("1", text=s("x" * 300_000))
    update = table.update_action("SET more = :m", "1", values={":m": s("x" * 200_000)})
    assert_second_action_is_the_reason(table, update)


def test_update_of_wrong_type_is_a_reason(table):
    table.put("1", a=s("text"))
    assert_second_action_is_the_reason(table, table.update_action("ADD a :v", "1", values=ONE))


def test_action_is_exactly_one_kind(table):
    for wrong in ({}, table.put_action("1") | table.delete_action("2")):
        with refused():
            table.transact(wrong)


def test_wrong_expression_in_transaction_has_no_reasons(table):
    with refused() as raised:
        table.transact(table.put_action("1"), table.update_action("SET status = :v", "2", values=ONE))
    assert "CancellationReasons" not in raised.value.response


@pytest.mark.parametrize("is_there", [False, True])
def test_condition_check_cancels_and_never_writes(is_there, table):
    if is_there:
        table.put("2", name=s("kept"))
    before = table.get("2")
    table.transact(
        table.put_action("1"), table.check_action(f"attribute_{'' if is_there else 'not_'}exists(PK)", "2")
    )
    with refused("TransactionCanceledException"):
        table.transact(
            table.put_action("3"),
            table.check_action(f"attribute_{'not_' if is_there else ''}exists(PK)", "2"),
        )
    assert (table.get("2"), table.get("3")) == (before, None)
    assert table.get("1") is not None


def test_token_makes_a_transaction_once(table):
    action = table.update_action("ADD c :v", "1", values=ONE)
    for token in ("1", "1", "2"):
        table.transact(action, ClientRequestToken=f"{table.name[-12:]}-{token}")
    assert table.get()["c"] == n(2)


def test_token_is_bound_to_its_transaction(table):
    token = table.name[-12:]
    table.transact(table.put_action("1"), ClientRequestToken=token)
    with pytest.raises(table.client.exceptions.IdempotentParameterMismatchException):
        table.transact(table.put_action("2"), ClientRequestToken=token)
    with refused():
        table.transact(table.put_action("2"), ClientRequestToken="t" * 37)


def test_cancelled_transaction_does_not_use_its_token(table):
    table.put("1")
    action, token = table.put_action("1", request=NEW), {"ClientRequestToken": f"{table.name[-12:]}-c"}
    with refused("TransactionCanceledException"):
        table.transact(action, **token)
    table.delete("1")
    table.transact(action, **token)
    assert table.get() is not None


def test_no_concurrent_update_is_lost(table):
    """Counters by update and by transaction, and a conditional put that only one thread wins."""
    start = threading.Barrier(8)
    counting = table.update_action("ADD c :v", "counter", values=ONE)

    def work(number):
        start.wait()
        for turn in range(10):
            table.update("ADD c :v", "counter", values=ONE)
            transact_despite_conflicts(table, counting, table.put_action(f"{number}-{turn}"))
        try:
            table.put("winner", request=NEW)
        except ClientError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        winners = sum(pool.map(work, range(8)))
    assert table.get("counter")["c"] == n(160)
    assert winners == 1
    assert table.query("PK = :p AND SK BETWEEN :a AND :b", {":a": s("0"), ":b": s("9")})["Count"] == 80


def transact_despite_conflicts(table, *actions):
    for _ in range(100):
        try:
            table.transact(*actions)
        except table.client.exceptions.TransactionCanceledException as error:
            codes = {reason["Code"] for reason in error.response["CancellationReasons"]}
            if codes - {"None", "TransactionConflict"}:
                raise
        else:
            return
    pytest.fail("the transaction never succeeded")
