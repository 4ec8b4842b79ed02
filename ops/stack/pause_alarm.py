"""The alarm `no-completed-run`, which must not ring while the nights are paused.

Its own actions are disabled. If only the composite alarm sends e-mails, the rule of that one leaves it out.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DisableAlarmActions.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html
"""

from collections.abc import Mapping
from typing import Any

from ops.stack.pause_resume import StateChange

ALARM = "alarm"
ACTIONS_ON, ACTIONS_OFF = "ENABLED", "DISABLED"
# The fields of DescribeAlarms that PutCompositeAlarm accepts. Omitted ones are reset; tags stay.
_COMPOSITE_FIELDS = (
    "AlarmName",
    "AlarmRule",
    "AlarmDescription",
    "ActionsEnabled",
    "AlarmActions",
    "OKActions",
    "InsufficientDataActions",
    "ActionsSuppressor",
    "ActionsSuppressorWaitPeriod",
    "ActionsSuppressorExtensionPeriod",
    "ActionConfiguration",
)


def name_run_alarm(stack: str) -> str:
    """Return the name of the alarm that rings if no run is completed."""
    return f"{stack}-no-completed-run"


def is_left_out(rule: str, stack: str) -> bool:
    """Return whether the rule of the composite alarm leaves the alarm out, as during a pause."""
    return _leave_out(stack) in rule


def switch_alarm(client: Any, stack: str, *, on: bool) -> StateChange | None:  # noqa: ANN401 - its types are not installed
    """Let the alarm send notifications, or not. Return None if the stack has no such alarm."""
    wanted, name = ACTIONS_ON if on else ACTIONS_OFF, name_run_alarm(stack)
    found = client.describe_alarms(
        AlarmNames=[name, f"{stack}-needs-a-person"], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    if not found["MetricAlarms"]:
        return None
    for composite in found.get("CompositeAlarms", []):
        if composite["ActionsEnabled"]:
            before = ACTIONS_OFF if is_left_out(composite["AlarmRule"], stack) else ACTIONS_ON
            if before != wanted:
                client.put_composite_alarm(**_change_rule(composite, stack, on=on))
            return StateChange(ALARM, composite["AlarmName"], before, wanted, wanted)
    before = ACTIONS_ON if found["MetricAlarms"][0]["ActionsEnabled"] else ACTIONS_OFF
    if before != wanted:
        switch = client.enable_alarm_actions if on else client.disable_alarm_actions
        switch(AlarmNames=[name])
    return StateChange(ALARM, name, before, wanted, wanted)


def _change_rule(composite: Mapping[str, Any], stack: str, *, on: bool) -> dict[str, Any]:
    """Return the request that puts the alarm with another rule and the same other fields."""
    with_alarm, without = f'ALARM("{name_run_alarm(stack)}")', _leave_out(stack)
    rule: str = composite["AlarmRule"]
    rule = rule.replace(without, with_alarm) if on else rule.replace(with_alarm, without)
    return {name: composite[name] for name in _COMPOSITE_FIELDS if name in composite} | {"AlarmRule": rule}


def _leave_out(stack: str) -> str:
    return f'(ALARM("{name_run_alarm(stack)}") AND FALSE)'
