"""The alarm of a missed run is silent during a pause, whichever alarm sends the e-mails."""

from types import SimpleNamespace

import botocore.session
import pytest

from ops.stack.pause_alarm import _COMPOSITE_FIELDS, switch_alarm
from ops.stack.pause_resume import StateChange

METRIC, COMPOSITE = "shop-no-completed-run", "shop-needs-a-person"
RULE = 'ALARM("shop-dead-letters") OR ALARM("shop-no-completed-run") OR ALARM("shop-run-open")'


class CloudWatch:
    """The two alarms of a stack, of which one sends e-mails."""

    def __init__(self, *, each=True, exists=True):
        self.metric = {"AlarmName": METRIC, "ActionsEnabled": each, "Namespace": "StripeNightlySync"}
        self.composite = {
            "AlarmName": COMPOSITE,
            "AlarmRule": RULE,
            "ActionsEnabled": not each,
            "AlarmActions": ["arn:topic"],
            "OKActions": ["arn:topic"],
            "AlarmArn": "arn:alarm",
            "StateValue": "OK",
        }
        self.exists = exists
        self.puts = []

    def describe_alarms(self, AlarmNames, AlarmTypes):  # noqa: N803 - AWS's names
        assert (AlarmNames, AlarmTypes) == ([METRIC, COMPOSITE], ["MetricAlarm", "CompositeAlarm"])
        found = [self.metric] if self.exists else []
        return {"MetricAlarms": found, "CompositeAlarms": [self.composite]}

    def disable_alarm_actions(self, AlarmNames):  # noqa: N803 - AWS's names
        assert AlarmNames == [METRIC]
        self.metric["ActionsEnabled"] = False

    def enable_alarm_actions(self, AlarmNames):  # noqa: N803 - AWS's names
        assert AlarmNames == [METRIC]
        self.metric["ActionsEnabled"] = True

    def put_composite_alarm(self, **fields):
        self.puts.append(fields)
        read_only = {name: self.composite[name] for name in ("AlarmArn", "StateValue")}
        self.composite = read_only | fields


def test_actions_of_the_alarm_are_switched_off_and_on():
    client = CloudWatch()
    change = switch_alarm(client, "shop", on=False)
    assert change == StateChange("alarm", METRIC, "ENABLED", "DISABLED", "DISABLED")
    assert (client.metric["ActionsEnabled"], client.puts) == (False, [])
    assert switch_alarm(client, "shop", on=False).before == "DISABLED"
    assert switch_alarm(client, "shop", on=True).after == "ENABLED"
    assert client.metric["ActionsEnabled"] is True


def test_rule_of_the_composite_alarm_leaves_it_out():
    client = CloudWatch(each=False)
    before = dict(client.composite)
    assert switch_alarm(client, "shop", on=False).name == COMPOSITE
    assert client.composite["AlarmRule"] == RULE.replace(
        'ALARM("shop-no-completed-run")', '(ALARM("shop-no-completed-run") AND FALSE)'
    )
    assert {**client.composite, "AlarmRule": RULE} == before
    assert switch_alarm(client, "shop", on=False).before == "DISABLED"
    assert len(client.puts) == 1
    switch_alarm(client, "shop", on=True)
    assert (client.composite, client.metric["ActionsEnabled"]) == (before, False)


def test_stack_without_the_alarm_is_left_alone():
    assert switch_alarm(CloudWatch(exists=False), "shop", on=False) is None


def test_composite_fields_cover_the_installed_api():
    model = botocore.session.get_session().get_service_model("cloudwatch")
    accepted = set(model.operation_model("PutCompositeAlarm").input_shape.members) - {"Tags"}
    assert set(_COMPOSITE_FIELDS) == accepted


@pytest.mark.parametrize("each", [True, False])
def test_other_fields_stay(each):
    client = CloudWatch(each=each)
    for on in (False, True):
        switch_alarm(client, "shop", on=on)
    assert client.composite["AlarmActions"] == ["arn:topic"]
    assert SimpleNamespace(**client.metric).Namespace == "StripeNightlySync"
