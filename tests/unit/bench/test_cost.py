"""What `make cost` counts and works out, and that docs/scaling.md shows it."""

import re

import pytest
from botocore.exceptions import ClientError

from bench import cost, model, night
from bench.harness import event_source
from bench.meter import MeteredTable
from bench.night import Counts, count_night
from testkit.builders import TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.template import parse_template
from testkit.world import wire

PAGE = cost.PAGE.read_text()
TEMPLATE = parse_template(cost.TEMPLATE.read_text())


def make_night(**changes):
    return Counts(**dict.fromkeys(night.NAMES, 1.0) | {"sessions": 100.0} | changes)


# --- the page -----------------------------------------------------------------------------------------------


def test_page_shows_the_counts_of_fifty_sessions():
    table = re.search(r"<!-- make cost: counts -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)[1]
    shown = {cells[0][2:]: cells[1] for row in table.splitlines()[2:] if (cells := row.split(" | "))}
    counts = count_night(50)
    # Log lines contain durations, so their size differs by some digits.
    log_bytes = shown.pop("bytes of log")
    assert int(log_bytes.replace(",", "")) == pytest.approx(counts.log_bytes, rel=0.02)
    assert list(shown.items()) == [
        (name, cost.number(value(counts))) for name, value in cost.ROWS.items() if name != "bytes of log"
    ]


def test_page_shows_the_fixed_costs_and_the_prices():
    fixed = cost.idle_month_table(model.count_fixed_resources(TEMPLATE["Resources"]))
    tables = {"asleep": fixed, "prices": cost.prices_table()}
    for name, table in tables.items():
        assert f"<!-- make cost: {name} -->\n{table}<!-- end -->" in PAGE, "run `make cost`"


def test_readme_shows_the_counted_figure():
    small, large = cost.COUNTED[0], cost.COUNTED[2]
    nights = {small: count_night(small), large: model.scale(count_night(100), count_night(500), large)}
    shown = re.search(r"<!-- make cost: figure -->\n(.*?)<!-- end -->", cost.README.read_text(), re.DOTALL)[1]
    # The larger night is extrapolated here, and counted by `make cost`.
    figures = [
        [float(one) for one in re.findall(r"\$([\d.]+\d)", text)] for text in (cost.figure(nights), shown)
    ]
    # A transaction more or less, as pages arrive in another order, changes the larger night by one percent.
    assert figures[0] == pytest.approx(figures[1], rel=0.03)


# Targets that change files under version control -> the files, which their help has to name.
WRITTEN = {
    "cost": ("docs/scaling.md", "README.md"),
    "bench": ("bench/RESULTS.md",),
    "deploy": ("deploy.*.json",),
}


@pytest.mark.parametrize("target", WRITTEN)
def test_help_of_a_target_names_the_tracked_files_that_it_writes(target):
    text = re.search(rf"^{target}:.*?## (.*)", (cost.ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert [file for file in WRITTEN[target] if file not in text] == []


@pytest.mark.parametrize("resource", ["Dashboard", "NeedsAPersonAlarm"])
def test_what_costs_as_much_as_the_rest_is_made_on_request_only(resource):
    assert TEMPLATE["Resources"][resource]["Condition"]
    fixed = model.count_fixed_resources(TEMPLATE["Resources"])
    assert (fixed.composite_alarms, fixed.dashboards) == (0, 0)


def test_free_tiers_cover_their_units_only():
    units = {"alarm_metrics": 16.0, "queue_requests": 648_000.0, "write_units": 5.0}
    assert model.beyond_free(units) == {"alarm_metrics": 6.0, "queue_requests": 0.0, "write_units": 5.0}


def test_month_is_its_nights_and_what_is_paid_anyway():
    night_only = model.night_units(make_night())
    units = model.month_units(make_night(), model.FixedResources(alarm_metrics=7))
    assert units["invocations"] == pytest.approx(30 * night_only["invocations"])
    assert units["queue_requests"] == pytest.approx(30 * night_only["queue_requests"] + model.idle_requests())
    assert units["alarm_metrics"] == 7


# --- the model ----------------------------------------------------------------------------------------------


def test_model_predicts_the_counts_of_another_size():
    modelled, real = model.scale(count_night(100), count_night(500), 300), count_night(300)
    names = ("read_units", "write_units", "queue_requests", "outcome_bytes", "log_bytes")
    for name in names:
        assert getattr(modelled, name) == pytest.approx(getattr(real, name), rel=0.02), name


def test_models_use_the_templates_settings():
    parameters, resources = TEMPLATE["Parameters"], TEMPLATE["Resources"]
    assert parameters["ConsumerConcurrency"]["Default"] == model.CONCURRENCY
    assert parameters["ConsumerConcurrency"]["MinValue"] == event_source.LEAST_CONCURRENCY
    assert parameters["StripeMaxRps"]["Default"] == model.STRIPE_RPS
    assert parameters["LogRetentionDays"]["Default"] == model.LOG_NIGHTS
    assert TEMPLATE["Globals"]["Function"]["MemorySize"] == model.CONSUMER_GB * 1024
    assert parameters["ProducerMemory"]["Default"] == model.PRODUCER_GB * 1024
    assert resources["Producer"]["Properties"]["MemorySize"] == {"Ref": "ProducerMemory"}
    mapping = resources["ConsumerMapping"]["Properties"]
    assert mapping["BatchSize"] == night.BATCH
    assert mapping["MaximumBatchingWindowInSeconds"] == event_source.WINDOW_SECONDS
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_alarm_on_an_expression_costs_each_of_its_metrics():
    resources = {
        "One": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "Errors"}},
        "Sum": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": [*[{"MetricStat": {}}] * 2, {}]}},
        "All": {"Type": "AWS::CloudWatch::CompositeAlarm", "Properties": {}},
        "Wish": {"Type": "AWS::CloudWatch::Dashboard", "Condition": "HasDashboard", "Properties": {}},
    }
    expected = model.FixedResources(alarm_metrics=3, composite_alarms=1, dashboards=0)
    assert model.count_fixed_resources(resources) == expected


def test_each_function_costs_its_own_memory():
    slow_producer = make_night(lambda_seconds=11.0)
    more = model.night_units(slow_producer)["gb_seconds"] - model.night_units(make_night())["gb_seconds"]
    assert more == pytest.approx(10 * 1769 / 1024)


def test_idle_queue_is_polled_fifteen_times_a_minute():
    assert model.idle_requests() == 15 * 60 * 24 * 30


def test_night_lasts_as_long_as_its_slowest_part():
    slow = make_night(sessions=1000.0, stripe_fetches=1000.0)
    # Lists, events and single sessions share one pace, of which 2 % stay free.
    assert model.seconds(slow) == pytest.approx(night.COLD_START_SECONDS + 1002 / (12 * 0.98))
    assert min(model.limits(slow), key=lambda limit: limit.rate).name == "Stripe, all requests"


@pytest.mark.parametrize(("sessions", "hours"), [(100.0, 16), (50_000.0, 32)])
def test_metrics_are_charged_for_each_hour_of_the_night(sessions, hours):
    units = model.night_units(make_night(metrics=16.0, sessions=sessions, stripe_fetches=sessions))
    assert units["metric_hours"] == hours


def test_cost_is_summed_by_service():
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


def key(sk):
    return wire({"PK": "A", "SK": sk})


def put(sk, size, **condition):
    return {"TableName": TABLE, "Item": wire({"PK": "A", "SK": sk, "text": "x" * size}), **condition}


def test_transaction_costs_twice_the_larger_of_before_and_after(table):
    table.put_item(**put("large", 2500))
    table.reset()
    puts = [put("small", 10), put("new", 1500), put("large", 10)]
    table.transact_write_items(TransactItems=[{"Put": one} for one in puts])
    assert table.writes == 2 * (1 + 2 + 3)


def test_cancelled_transaction_is_charged(table):
    refused = put("a", 10, ConditionExpression="attribute_exists(PK)")
    with pytest.raises(ClientError, match="TransactionCanceledException"):
        table.transact_write_items(TransactItems=[{"Put": refused}])
    assert table.writes == 2


def test_put_costs_each_kilobyte_even_if_its_condition_fails(table):
    request = put("b", 1500, ConditionExpression="attribute_not_exists(PK)")
    table.put_item(**request)
    assert (table.writes, table.calls["put_item"]) == (2, 1)
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        table.put_item(**request)
    assert (table.writes, table.calls["put_item"]) == (4, 2)


def test_query_is_charged_for_what_it_read_before_the_filter(table):
    for sk, size in ("a", 3000), ("b", 3001), ("c", 3000):
        table.put_item(**put(sk, size))
    answer = table.query(
        TableName=TABLE,
        KeyConditionExpression="PK = :pk",
        FilterExpression="#text > :least",
        ProjectionExpression="SK",
        ExpressionAttributeNames={"#text": "text"},
        ExpressionAttributeValues=wire({":pk": "A", ":least": "x" * 3000}),
        ConsistentRead=True,
    )
    assert len(answer["Items"]) == 1
    assert table.reads == 3  # nine thousand bytes, in units of 4 KB


def test_batch_read_rounds_up_each_item_and_charges_missing_ones(table):
    table.put_item(**put("large", 5000))
    table.batch_get_item(RequestItems={TABLE: {"Keys": [key("large"), key("none")], "ConsistentRead": True}})
    table.get_item(TableName=TABLE, Key=key("none"), ConsistentRead=True)
    assert table.reads == 2 + 1 + 1
