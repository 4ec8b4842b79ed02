"""The definitions of the alarms, and the model that evaluates them."""

import pytest

from recon.retry import BACKOFF_CAP_SECONDS
from recon.timestamps import DAY, HOUR, MINUTE
from tests.infra.alarms import ALARM, OK, UNKNOWN, Alarm, Datapoints, make_metric
from tests.infra.metrics import metric_exists
from tests.infra.resolved import (
    ALARMS,
    ALL_ALARMS,
    COMPOSITE,
    PARAMETERS,
    RESOURCES,
    STACK,
    TEMPLATE,
    ResolvedTemplate,
)

SEVEN_DAYS = 7 * DAY
TREATMENTS = {"no-completed-run": "breaching", "watermark-old": "ignore"}


@pytest.mark.parametrize("name", ALARMS)
def test_alarm_evaluates_existing_metrics_within_cloudwatchs_limits(name):
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    alarm = Alarm(ALARMS[name])
    assert alarm.terms
    assert all(metric_exists(term.metric) for term in alarm.terms)
    assert alarm.period % MINUTE == 0
    assert alarm.period * alarm.periods <= (SEVEN_DAYS if alarm.period >= HOUR else DAY)
    assert alarm.missing == TREATMENTS.get(name, "notBreaching")


def test_longest_allowed_wait_for_a_run_fits_cloudwatchs_limit():
    hours = PARAMETERS["AlarmNoRunHours"]["MaxValue"]
    assert RESOURCES["NoCompletedRunAlarm"]["Properties"]["Period"] * hours == SEVEN_DAYS


@pytest.mark.parametrize(("mails", "each", "composite"), [("each", True, False), ("one", False, True)])
def test_either_each_alarm_or_the_composite_one_sends_mails(mails, each, composite):
    resolved = ResolvedTemplate(AlarmMails=mails)
    bodies = resolved.of_type("AWS::CloudWatch::Alarm").values()
    assert {(*body["AlarmActions"], body["ActionsEnabled"]) for body in bodies} == {("arn:AlarmTopic", each)}
    [(name, body)] = resolved.of_type("AWS::CloudWatch::CompositeAlarm").items()
    assert resolved.holds(RESOURCES[name]["Condition"]) is composite
    assert body["AlarmActions"] == body["OKActions"] == ["arn:AlarmTopic"]


def test_composite_alarm_is_on_if_any_alarm_is():
    rule = COMPOSITE["AlarmRule"].split(" OR ")
    assert sorted(rule) == sorted(f'ALARM("{STACK}-{name}")' for name in ALARMS)


def test_only_alarms_that_end_with_their_cause_mail_their_end():
    with_end = {name for name, body in ALARMS.items() if "OKActions" in body}
    assert {name for name, body in ALARMS.items() if is_nightly(Alarm(body))} == ALARMS.keys() - with_end


def is_nightly(alarm):
    return (alarm.period, alarm.periods, alarm.enough) == (HOUR, 12, 1)


@pytest.mark.parametrize("name", ALARMS)
def test_alarm_evaluates_its_window_in_documented_parts(name):
    """Its periods are an hour at most. Where one of several is enough, each has a value, by FILL."""
    alarm = Alarm(ALARMS[name])
    assert alarm.period <= HOUR
    assert (alarm.fill is not None) is (alarm.enough < alarm.periods)


def test_dead_letter_age_alarm_is_raised_within_ten_days():
    """Its metric starts when a message is moved; the retries before that take at most so long."""
    receives = max(int(pair["Queue"]) for pair in TEMPLATE["Mappings"]["MaxReceiveCount"].values())
    assert float(ALARMS["dead-letter-age"]["Threshold"]) + receives * BACKOFF_CAP_SECONDS <= 10 * DAY


@pytest.mark.parametrize("name", ALL_ALARMS)
def test_alarm_description_links_the_runbook_and_fits(name):
    text = ALL_ALARMS[name]["AlarmDescription"]
    assert text.endswith(f" docs/runbook.md#{name}")
    assert "$" not in text
    assert 80 < len(text) < 1024 - 128 - 200  # room for a long stack name and a long runbook URL


# --- the model ----------------------------------------------------------------------------------------------

METRIC = make_metric("n", "m", {"d": "v"})


def make_alarm(missing, periods=2, **properties):
    return Alarm(
        {
            "AlarmName": "a",
            "Namespace": "n",
            "MetricName": "m",
            "Dimensions": [{"Name": "d", "Value": "v"}],
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": periods,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 1,
            "TreatMissingData": missing,
            **properties,
        }
    )


@pytest.mark.parametrize(
    ("missing", "state"), [("breaching", ALARM), ("notBreaching", OK), ("ignore", UNKNOWN)]
)
def test_model_treats_missing_data_as_defined(missing, state):
    assert make_alarm(missing).evaluate(Datapoints(), 600) == state


def test_model_raises_an_alarm_if_all_periods_breach():
    points = Datapoints()
    points.add(METRIC, 2, 550)
    assert make_alarm("notBreaching").evaluate(points, 600) == OK
    assert make_alarm("breaching").evaluate(points, 600) == ALARM
    points.add(METRIC, 2, 600)
    assert make_alarm("notBreaching").evaluate(points, 610) == ALARM


def test_model_keeps_the_state_if_missing_data_is_ignored():
    points, ignoring = Datapoints(), make_alarm("ignore", periods=1)
    points.add(METRIC, 2, 600)
    assert ignoring.evaluate(points, 600) == ALARM
    assert ignoring.evaluate(points, 6000) == ALARM


def test_model_raises_an_alarm_if_enough_of_the_periods_breach():
    points, one_of_two = Datapoints(), make_alarm("notBreaching", DatapointsToAlarm=1)
    points.add(METRIC, 2, 550)
    points.add(METRIC, 0, 600)
    assert one_of_two.evaluate(points, 600) == ALARM
    points.add(METRIC, 0, 680)
    assert one_of_two.evaluate(points, 680) == OK
