"""The dashboard and the saved queries show what is really reported and logged."""

import json
import re

import pytest

from recon.timestamps import HOUR
from testkit.builders import NOW
from testkit.fake_stripe import Endpoint, FakeStripe, SessionSpec
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY
from tests.infra.alarms import metric
from tests.infra.nights import Nights
from tests.infra.resolved import STACK, Deployed
from tests.infra.test_alarms import ALARMS, exists

[DASHBOARD] = Deployed().of_type("AWS::CloudWatch::Dashboard").values()
WIDGETS = json.loads(DASHBOARD["DashboardBody"])["widgets"]
QUERIES = {
    body["Name"].removeprefix(f"{STACK}/"): body
    for body in Deployed().of_type("AWS::Logs::QueryDefinition").values()
}
GROUPS = [f"/aws/lambda/{STACK}-producer", f"/aws/lambda/{STACK}-consumer"]


def of_type(kind):
    return [widget["properties"] for widget in WIDGETS if widget["type"] == kind]


def lines_of(widget):
    """(namespace, metric name, dimension, its value) of each line that is no expression."""
    return [line[:4] for line in widget["metrics"] if isinstance(line[0], str)]


METRICS = [tuple(line) for widget in of_type("metric") for line in lines_of(widget)]


@pytest.fixture(scope="module")
def lines():
    """What a night logs in which everything happens: created, skipped, failed."""
    with FakeStripe(KEY, limits=RateLimits(per_second=None, per_endpoint=None)) as stripe:
        nights = Nights(stripe)
        for n, user in enumerate(("u1", "u2")):
            nights.sells(SessionSpec(f"cs_test_session{n}", NOW - HOUR + n, metadata={"userId": user}))
        stripe.faults.missing(endpoint=Endpoint.RETRIEVE, session="cs_test_session1")
        nights.night()
        nights.close()
        return nights.lines()


def test_the_states_of_all_alarms_stand_on_top():
    top = min(WIDGETS, key=lambda widget: (widget["y"], widget["x"]))
    assert top["type"] == "alarm"
    prefix = f"arn:aws:cloudwatch:eu-central-1:123456789012:alarm:{STACK}-"
    assert sorted(top["properties"]["alarms"]) == sorted(prefix + n for n in [*ALARMS, "needs-a-person"])


@pytest.mark.parametrize("line", METRICS, ids="/".join)
def test_each_line_is_a_metric_that_exists(line):
    namespace, name, dimension, value = line
    assert exists(metric(namespace, name, {dimension: value}))


def test_everything_that_an_operator_asks_about_is_shown():
    assert {name for _, name, _, _ in METRICS} >= {
        "OrdersCreated",
        "SessionsSkipped",
        "SessionErrors",
        "ApproximateNumberOfMessagesVisible",
        "ApproximateAgeOfOldestMessage",
        "StripeThrottled",
        "Throttles",
        "RunSeconds",
        "Duration",
        "ConcurrentExecutions",
    }
    assert {value for _, name, _, value in METRICS if name == "ApproximateNumberOfMessagesVisible"} == {
        f"{STACK}-{queue}" for queue in ("sessions", "dead-letters", "missed-starts")
    }


def test_money_is_shown_by_currency_as_it_is_reported(lines):
    [search] = [
        line[0]["expression"]
        for widget in of_type("metric")
        for line in widget["metrics"]
        if isinstance(line[0], dict)
    ]
    schema, name = re.fullmatch(
        rf"SEARCH\('{{(.*)}} MetricName=\"(.*)\" stack=\"{STACK}\"', 'Sum', 86400\)", search
    ).groups()
    namespace, *dimensions = schema.split(",")
    [reported] = [line for line in lines if name in line]
    [directive] = reported["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == namespace
    assert dimensions in directive["Dimensions"]


def test_widgets_lie_beside_each_other_and_not_on_each_other():
    taken = [
        (x, y)
        for widget in WIDGETS
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


# --- queries ------------------------------------------------------------------------------------------------


def said(lines):
    return [line["message"] for line in lines if "message" in line]


def patterns(query):
    return re.findall(r"\bmessage like /(.*?)/", query)


def test_the_last_runs_are_found_by_what_a_run_says_at_its_end(lines):
    [widget] = of_type("log")
    assert all(f"SOURCE '{group}'" in widget["query"] for group in GROUPS)
    [pattern] = patterns(widget["query"])
    assert [message for message in said(lines) if re.search(pattern, message)] == [
        "Sync completed: processed=2, created=1, skipped=0, errors=1"
    ]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sync summaries", "Sync completed: processed=2, created=1, skipped=0, errors=1"),
        ("created orders", "Created order snapshot BC-SESSION0 via sync"),
    ],
)
def test_a_query_finds_what_it_is_named_after(name, found, lines):
    [pattern] = patterns(QUERIES[name]["QueryString"])
    assert [message for message in said(lines) if re.search(pattern, message)] == [found]


def test_errors_are_found_by_the_level_that_they_are_logged_at(lines):
    levels = re.search(r"level in \[(.*?)\]", QUERIES["errors"]["QueryString"])[1]
    failed = [line for line in lines if line.get("message", "").startswith("Session failed")]
    assert failed
    assert all(f'"{line["level"]}"' in levels for line in failed)


def test_there_is_a_query_for_each_question():
    assert QUERIES.keys() == {"sync summaries", "created orders", "errors", "one run", "one session"}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_reads_both_logs_and_asks_for_fields_that_are_logged(name, lines):
    body = QUERIES[name]
    assert body["LogGroupNames"] == GROUPS
    fields = re.search(r"fields (.*)", body["QueryString"])[1].split(", ")
    filtered = re.findall(r"filter (\w+) ", body["QueryString"])
    logged = set().union(*(line.keys() for line in lines if "level" in line))
    assert {field for field in [*fields, *filtered] if not field.startswith("@")} <= logged
