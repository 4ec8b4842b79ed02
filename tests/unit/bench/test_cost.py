"""What `make cost` counts and works out, and that docs/scaling.md says it."""

import re

import pytest
from botocore.exceptions import ClientError
from cfnlint.decode import decode_str

from bench import cost, model, night
from bench.meter import MeteredTable
from bench.night import Counts, count_night
from testkit.builders import TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB

PAGE = cost.PAGE.read_text()
TEMPLATE = decode_str(cost.TEMPLATE.read_text())[0]


def first_column(name):
    """The rows' names and what stands beside them in a table of the page."""
    table = re.search(rf"<!-- make cost: {name} -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)[1]
    return [tuple(row.split(" | ")[:2]) for row in table.splitlines()[2:]]


def a_night(**changes):
    return Counts(**dict.fromkeys(night.NAMES, 1.0) | {"sessions": 100.0} | changes)


# --- the page -----------------------------------------------------------------------------------------------


def test_the_page_says_what_a_night_of_fifty_sessions_needs_now():
    now = count_night(50)
    expected = [(f"| {name}", cost.number(value(now))) for name, value in cost.ROWS.items()]
    # The log holds how long things took, so its size differs by some digits.
    assert [row for row in first_column("counts") if "log" not in row[0]] == [
        row for row in expected if "log" not in row[0]
    ]
    [said] = [row[1] for row in first_column("counts") if "log" in row[0]]
    assert int(said.replace(",", "")) == pytest.approx(now.log_bytes, rel=0.02)


def test_the_page_says_what_the_template_costs_asleep():
    made = cost.idle_month_table(model.count_fixed_resources(TEMPLATE["Resources"]))
    assert f"<!-- make cost: asleep -->\n{made}<!-- end -->" in PAGE


def test_every_price_on_the_page_is_the_one_that_is_worked_with():
    assert f"<!-- make cost: prices -->\n{cost.prices_table()}<!-- end -->" in PAGE


# --- the model ----------------------------------------------------------------------------------------------


def test_the_model_gives_the_counts_of_a_size_that_it_was_not_made_from():
    modelled, real = model.scale(count_night(100), count_night(500), 300), count_night(300)
    for name in (
        "read_units",
        "write_units",
        "queue_requests",
        "outcome_bytes",
        "log_bytes",
        "stripe_fetches",
    ):
        assert getattr(modelled, name) == pytest.approx(getattr(real, name), rel=0.02), name


def test_the_defaults_that_it_works_with_are_the_templates():
    parameters = {name: one["Default"] for name, one in TEMPLATE["Parameters"].items() if "Default" in one}
    assert parameters["ConsumerConcurrency"] == model.CONCURRENCY
    assert parameters["StripeMaxRps"] == model.STRIPE_RPS
    assert TEMPLATE["Globals"]["Function"]["MemorySize"] == model.MEMORY_GB * 1024
    assert TEMPLATE["Resources"]["ConsumerMapping"]["Properties"]["BatchSize"] == night.BATCH
    assert parameters["LogRetentionDays"] == model.LOG_NIGHTS


def test_an_alarm_on_an_expression_is_paid_for_each_of_its_metrics():
    resources = {
        "One": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "Errors"}},
        "Sum": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": [*[{"MetricStat": {}}] * 2, {}]}},
        "All": {"Type": "AWS::CloudWatch::CompositeAlarm", "Properties": {}},
    }
    assert model.count_fixed_resources(resources) == model.FixedResources(alarm_metrics=3, composite_alarms=1, dashboards=0)


def test_an_idle_queue_is_asked_fifteen_times_a_minute():
    assert model.idle_requests() == 15 * 60 * 24 * 30


def test_a_night_lasts_as_long_as_its_slowest_part():
    slow = a_night(sessions=1000.0, stripe_fetches=1000.0)
    assert model.seconds(slow) == pytest.approx(night.COLD_START_SECONDS + 1000 / 12)
    assert min(model.limits(slow), key=lambda limit: limit.rate).name == "Stripe, repairs"


def test_metrics_are_paid_for_the_hours_of_the_night():
    short, long = a_night(metrics=16.0), a_night(metrics=16.0, sessions=50_000.0, stripe_fetches=50_000.0)
    assert model.night_units(short)["metric_hours"] == 16
    assert model.night_units(long)["metric_hours"] == 32


def test_money_is_summed_by_service():
    assert model.cost_by_service({"read_units": 8_000_000, "write_units": 1_600_000, "schedules": 1}) == {
        "DynamoDB": pytest.approx(2.0),
        "EventBridge Scheduler": pytest.approx(0.000001),
    }


# --- the meter ----------------------------------------------------------------------------------------------


@pytest.fixture
def table():
    metered = MeteredTable(MemoryDynamoDB(), TABLE)
    metered.add_table(TABLE)
    return metered


def item(sk, size=0):
    return {"PK": {"S": "A"}, "SK": {"S": sk}, "text": {"S": "x" * size}}


def key(sk):
    return {"PK": {"S": "A"}, "SK": {"S": sk}}


def put(sk, size):
    return {"Put": {"TableName": TABLE, "Item": item(sk, size)}}


def test_a_transaction_costs_twice_the_kilobytes_of_the_larger_of_before_and_after(table):
    table.put_item(TableName=TABLE, Item=item("large", 2500))
    table.reset()
    table.transact_write_items(TransactItems=[put("small", 10), put("new", 1500), put("large", 10)])
    assert table.writes == 2 * (1 + 2 + 3)


def test_a_transaction_that_is_cancelled_is_paid_for(table):
    refused = put("a", 10)
    refused["Put"]["ConditionExpression"] = "attribute_exists(PK)"
    with pytest.raises(ClientError, match="TransactionCanceledException"):
        table.transact_write_items(TransactItems=[refused])
    assert table.writes == 2


def test_a_query_is_paid_for_what_it_read_and_not_for_what_it_gave(table):
    for sk, size in ("a", 3000), ("b", 3001), ("c", 3000):
        table.put_item(TableName=TABLE, Item=item(sk, size))
    answer = table.query(
        TableName=TABLE,
        KeyConditionExpression="PK = :pk",
        FilterExpression="#text > :least",
        ProjectionExpression="SK",
        ExpressionAttributeNames={"#text": "text"},
        ExpressionAttributeValues={":pk": {"S": "A"}, ":least": {"S": "x" * 3000}},
        ConsistentRead=True,
    )
    assert len(answer["Items"]) == 1
    assert table.reads == 3  # nine thousand bytes, in units of 4 KB


def test_a_batch_is_rounded_up_item_by_item_and_what_is_not_there_costs_too(table):
    table.put_item(TableName=TABLE, Item=item("large", 5000))
    keys = [key("large"), key("none")]
    table.batch_get_item(RequestItems={TABLE: {"Keys": keys, "ConsistentRead": True}})
    table.get_item(TableName=TABLE, Key=key("none"), ConsistentRead=True)
    assert table.reads == 2 + 1 + 1
