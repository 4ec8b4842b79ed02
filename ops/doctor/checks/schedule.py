"""The schedule: enabled, with the right target and role, and with the scheduled time in its input."""

import json
from collections.abc import Iterator

from ops.doctor.facts import AwsReply, StackFacts
from ops.doctor.fetched import Unavailable, redeploy, unavailable_part, unreadable
from ops.doctor.finding import CheckFinding, advice, fix, ok
from ops.doctor.shell import quote_json
from ops.stack.pause_resume import SCHEDULE_OFF, SCHEDULE_ON, to_update_request
from recon.domain.run import Trigger

# The run is named after it, so that a late or repeated start is the same run.
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"
INPUT = json.dumps({"trigger": Trigger.SCHEDULED, "scheduledTime": SCHEDULED_TIME}, separators=(",", ":"))


def check(facts: StackFacts) -> Iterator[CheckFinding]:
    schedule = facts.schedule
    if isinstance(schedule, Unavailable):
        yield unavailable_part("schedule", "the schedule", schedule, facts.shell)
        return
    yield check_state(schedule, facts)
    yield check_target(schedule, facts)
    yield check_role(schedule, facts)
    yield check_input(schedule, facts)


def check_state(schedule: AwsReply, facts: StackFacts) -> CheckFinding:
    when = f"{schedule['ScheduleExpression']} {schedule.get('ScheduleExpressionTimezone', 'UTC')}"
    if schedule.get("State", SCHEDULE_ON) == SCHEDULE_ON:
        return ok("schedule", f"on, {when}")
    if facts.is_sandbox:
        return advice("schedule", f"off ({when}), as in every sandbox: the emulator has no scheduled time")
    what = f"off ({when}): no run starts automatically"
    if facts.parameters.get("ScheduleState") == SCHEDULE_OFF:
        # If it were only switched on, the next deployment would switch it off again without an alarm.
        return fix("schedule", what, facts.shell.deploy(f"ScheduleState={SCHEDULE_ON}"))
    return fix("schedule", what, facts.shell.sync("resume --schedule-only"))


def check_target(schedule: AwsReply, facts: StackFacts) -> CheckFinding:
    name, target = "schedule: target", schedule.get("Target", {})
    if f":function:{facts.names.producer}" in target.get("Arn", ""):
        return ok(name, "the producer")
    configuration = facts.producer.configuration
    if isinstance(configuration, Unavailable):
        return unreadable(name, configuration)
    right = target | {"Arn": configuration["FunctionArn"]}
    return fix(name, f"{target.get('Arn')}, not the producer", _target_command(schedule, right, facts))


def check_role(schedule: AwsReply, facts: StackFacts) -> CheckFinding:
    name, arn = "schedule: role", schedule.get("Target", {}).get("RoleArn")
    if facts.schedule_role is None:
        return redeploy(name, "the Scheduler has no role to invoke the producer with", facts.shell)
    if isinstance(facts.schedule_role, Unavailable):
        return unavailable_part(
            name, f"{arn}, the role for invoking the producer,", facts.schedule_role, facts.shell
        )
    return ok(name, str(facts.schedule_role["RoleName"]))


def check_input(schedule: AwsReply, facts: StackFacts) -> CheckFinding:
    name, target = "schedule: input", schedule.get("Target", {})
    if SCHEDULED_TIME in target.get("Input", ""):
        return ok(name, "contains the scheduled time")
    return fix(
        name,
        "without the scheduled time, a repeated start would be a second run",
        _target_command(schedule, target | {"Input": INPUT}, facts),
    )


def _target_command(schedule: AwsReply, target: AwsReply, facts: StackFacts) -> str:
    """Return a command that sends the whole schedule, since AWS resets omitted fields."""
    whole = to_update_request(schedule, Target=target)
    return facts.shell.aws(f"scheduler update-schedule --cli-input-json {quote_json(whole)}")
