"""The contract of DynamoDB's queries and scans."""

import pytest

from tests.integration.dynamodb.contract_table import key, n, refused, s, sort_keys


@pytest.mark.parametrize(
    ("condition", "values", "found"),
    [
        ("PK = :p", {}, ["ORDER#1", "ORDER#2", "ORDER#20", "ORDER#3", "PROFILE"]),
        ("PK = :p AND begins_with(SK, :a)", {":a": s("ORDER#2")}, ["ORDER#2", "ORDER#20"]),
        (
            "PK = :p AND SK BETWEEN :a AND :b",
            {":a": s("ORDER#2"), ":b": s("ORDER#3")},
            ["ORDER#2", "ORDER#20", "ORDER#3"],
        ),
        ("SK = :a AND PK = :p", {":a": s("ORDER#2")}, ["ORDER#2"]),
        ("(PK = :p) AND (SK = :a)", {":a": s("nope")}, []),
    ],
)
def test_query_returns_a_range_in_order(orders, condition, values, found):
    answer = orders.query(condition, values)
    assert sort_keys(answer) == found
    assert answer["Count"] == answer["ScannedCount"] == len(found)
    assert sort_keys(orders.query(condition, values, ScanIndexForward=False)) == found[::-1]


@pytest.mark.parametrize(
    ("condition", "values"),
    [
        ("SK = :p", {}),
        ("begins_with(PK, :p)", {}),
        ("PK = :p OR SK = :p", {}),
        ("PK = :p AND SK <> :p", {}),
        ("PK = :p AND amount = :p", {}),
        ("PK = :p AND SK = :p AND SK = :p", {}),
        ("PK = :p AND SK = :n", {":n": n(1)}),
        ("PK = :p AND SK = :n", {":n": s("")}),
        ("PK = :p AND SK = PK", {}),
        ("PK = :p AND SK BETWEEN :b AND :a", {":a": s("a"), ":b": s("b")}),
        ("PK = :p", {":q": s("a")}),
    ],
)
def test_wrong_key_condition_is_refused(orders, condition, values):
    with refused():
        orders.query(condition, values)


def test_filter_is_applied_after_the_limit(orders):
    request = {"values": {":t": n(len("ORDER#1"))}, "FilterExpression": "amount > :t"}
    answer = orders.query(**request, Limit=3)
    assert sort_keys(answer) == ["ORDER#20"]
    assert (answer["Count"], answer["ScannedCount"]) == (1, 3)
    assert answer["LastEvaluatedKey"] == key("ORDER#20")
    first = orders.query(**request, Limit=1)
    assert (first["Items"], first["LastEvaluatedKey"]) == ([], key("ORDER#1"))


def test_filter_cannot_name_a_key(orders):
    with refused():
        orders.query(FilterExpression="begins_with(SK, :p)")


def read_pages(read, **request):
    while True:
        answer = read(**request)
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


@pytest.mark.parametrize("forward", [True, False])
def test_pages_continue_after_the_last_key(orders, forward):
    pages = read_pages(orders.query, Limit=2, ScanIndexForward=forward)
    assert list(pages) == orders.query(ScanIndexForward=forward)["Items"]


def test_reached_limit_has_a_last_key(orders):
    assert orders.query(Limit=5)["LastEvaluatedKey"] == key("PROFILE")
    assert "LastEvaluatedKey" not in orders.query(Limit=6)


def test_start_key_need_not_exist_but_must_fit(orders):
    assert sort_keys(orders.query(ExclusiveStartKey=key("ORDER#29"))) == ["ORDER#3", "PROFILE"]
    for wrong in (key("ORDER#2", pk="b"), {"PK": s("a")}):
        with refused():
            orders.query(ExclusiveStartKey=wrong)


def test_page_ends_at_one_megabyte(table):
    """AWS does not document whether the item that crosses the limit belongs to the page."""
    for sk in range(5):
        table.put(str(sk), text=s("x" * 300_000))
    first = table.query(ProjectionExpression="SK")
    assert first["Count"] in {3, 4}
    assert first["LastEvaluatedKey"] == key(sort_keys(first)[-1])
    second = table.query(ProjectionExpression="SK", ExclusiveStartKey=first["LastEvaluatedKey"])
    assert sort_keys(first) + sort_keys(second) == list("01234")
    assert "LastEvaluatedKey" not in second


def test_paginator_reads_all_pages(orders):
    pages = orders.client.get_paginator("query").paginate(
        TableName=orders.name,
        KeyConditionExpression="PK = :p",
        ExpressionAttributeValues={":p": s("a")},
        PaginationConfig={"PageSize": 2},
    )
    assert [sk for page in pages for sk in sort_keys(page)] == sort_keys(orders.query())


def test_scan_reads_every_item_once(orders):
    items = read_pages(orders.client.scan, TableName=orders.name, Limit=2)
    found = sorted((item["PK"]["S"], item["SK"]["S"]) for item in items)
    assert found == [("a", sk) for sk in sort_keys(orders.query())] + [("b", "ORDER#1")]


def test_scan_may_filter_by_key(orders):
    answer = orders.client.scan(
        TableName=orders.name, FilterExpression="PK = :p", ExpressionAttributeValues={":p": s("b")}
    )
    assert (answer["Count"], answer["ScannedCount"]) == (1, 6)
