"""The dashboard and the saved queries: they show metrics that are reported and fields that are logged."""

import json
import re

import pytest

from recon.timestamps import HOUR
from testkit.builders import NOW
from testkit.fake_stripe import Endpoint, FakeStripe, SessionSpec
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY
from tests.infra.alarms import make_metric
from tests.infra.metrics import metric_exists
from tests.infra.nights import MonitoredNights
from tests.infra.resolved import ALARMS, DEFAULT, RESOURCES, STACK, TEMPLATE, ResolvedTemplate

[DASHBOARD] = DEFAULT.of_type("AWS::CloudWatch::Dashboard").values()
WIDGETS = json.loads(DASHBOARD["DashboardBody"])["widgets"]
QUERIES = {
    body["Name"].removeprefix(f"{STACK}/"): body
    for body in DEFAULT.of_type("AWS::Logs::QueryDefinition").values()
}
GROUPS = [f"/aws/lambda/{STACK}-producer", f"/aws/lambda/{STACK}-consumer"]
SUMMARY = "Sync completed: processed=2, created=1, skipped=0, errors=1"


def find_widgets(kind):
    return [widget["properties"] for widget in WIDGETS if widget["type"] == kind]


LINES = [line for widget in find_widgets("metric") for line in widget["metrics"]]
# (namespace, metric name, dimension, its value) of each line that is no expression.
METRICS = [tuple(line[:4]) for line in LINES if isinstance(line[0], str)]


@pytest.fixture(scope="module")
def lines():
    """Return the output of a night with a created and a failed session."""
    with FakeStripe(KEY, limits=RateLimits(per_second=None, per_endpoint=None)) as stripe:
        nights = MonitoredNights(stripe)
        for n, user in enumerate(("u1", "u2")):
            nights.sells(SessionSpec(f"cs_test_session{n}", NOW - HOUR + n, metadata={"userId": user}))
        stripe.faults.missing(endpoint=Endpoint.RETRIEVE, session="cs_test_session1")
        nights.play_night()
        nights.close()
        return nights.lines()


@pytest.fixture(scope="module")
def messages(lines):
    return [line["message"] for line in lines if "message" in line]


def test_dashboard_starts_with_the_states_of_all_alarms():
    top = min(WIDGETS, key=lambda widget: (widget["y"], widget["x"]))
    assert top["type"] == "alarm"
    prefix = f"arn:aws:cloudwatch:eu-central-1:123456789012:alarm:{STACK}-"
    assert sorted(top["properties"]["alarms"]) == sorted(prefix + name for name in ALARMS)


@pytest.mark.parametrize(("chosen", "exists"), [({}, False), ({"CreateDashboard": "true"}, True)])
def test_dashboard_exists_on_request(chosen, exists):
    resolved = ResolvedTemplate(**chosen)
    made = [RESOURCES["Dashboard"], TEMPLATE["Outputs"]["DashboardName"]]
    assert [resolved.holds(one["Condition"]) for one in made] == [exists, exists]


@pytest.mark.parametrize("line", METRICS, ids="/".join)
def test_dashboard_line_shows_an_existing_metric(line):
    namespace, name, dimension, value = line
    assert metric_exists(make_metric(namespace, name, {dimension: value}))


def test_dashboard_shows_work_errors_queues_and_durations():
    assert {name for _, name, _, _ in METRICS} >= {
        *("OrdersCreated", "SessionsSkipped", "SessionErrors", "StripeThrottled", "Throttles", "RunSeconds"),
        *("ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage", "Duration"),
        "ConcurrentExecutions",
    }
    assert {value for _, name, _, value in METRICS if name == "ApproximateNumberOfMessagesVisible"} == {
        f"{STACK}-{queue}" for queue in ("sessions", "dead-letters", "missed-starts")
    }


def test_dashboard_shows_money_by_currency_as_it_is_reported(lines):
    [search] = [line[0]["expression"] for line in LINES if isinstance(line[0], dict)]
    schema, name = re.fullmatch(
        rf"SEARCH\('{{(.*)}} MetricName=\"(.*)\" stack=\"{STACK}\"', 'Sum', 86400\)", search
    ).groups()
    namespace, *dimensions = schema.split(",")
    [reported] = [line for line in lines if name in line]
    [directive] = reported["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == namespace
    assert dimensions in directive["Dimensions"]


def test_dashboard_widgets_do_not_overlap():
    taken = [
        (x, y)
        for widget in WIDGETS
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


# --- queries ------------------------------------------------------------------------------------------------


def matches(query, messages):
    [pattern] = re.findall(r"\bmessage like /(.*?)/", query)
    return [message for message in messages if re.search(pattern, message)]


def test_dashboard_query_finds_the_summaries_of_runs(messages):
    [widget] = find_widgets("log")
    assert all(f"SOURCE '{group}'" in widget["query"] for group in GROUPS)
    assert matches(widget["query"], messages) == [SUMMARY]


@pytest.mark.parametrize(
    ("name", "message"),
    [("sync summaries", SUMMARY), ("created orders", "Created order snapshot BC-SESSION0 via sync")],
)
def test_saved_query_finds_its_messages(name, message, messages):
    assert matches(QUERIES[name]["QueryString"], messages) == [message]


def test_saved_query_of_errors_matches_their_level(lines):
    levels = re.search(r"level in \[(.*?)\]", QUERIES["errors"]["QueryString"])[1]
    failed = [line for line in lines if line.get("message", "").startswith("Session failed")]
    assert failed
    assert all(f'"{line["level"]}"' in levels for line in failed)


def test_saved_queries_are_complete():
    assert QUERIES.keys() == {"sync summaries", "created orders", "errors", "one run", "one session"}


@pytest.mark.parametrize("name", QUERIES)
def test_saved_query_reads_both_logs_and_only_logged_fields(name, lines):
    body = QUERIES[name]
    assert body["LogGroupNames"] == GROUPS
    fields = re.search(r"fields (.*)", body["QueryString"])[1].split(", ")
    filtered = re.findall(r"filter (\w+) ", body["QueryString"])
    logged = set().union(*(line.keys() for line in lines if "level" in line))
    assert {field for field in [*fields, *filtered] if not field.startswith("@")} <= logged
