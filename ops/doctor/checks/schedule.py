"""The schedule: on, at the right target, with the scheduled time in its input."""

import json
from collections.abc import Iterator

from ops.doctor.facts import Facts, Reply
from ops.doctor.finding import Finding, advice, fix, ok
from ops.doctor.shell import as_argument
from ops.doctor.unread import Unavailable, lost, rebuild, unseen
from ops.stack.pause_resume import SCHEDULE_OFF, SCHEDULE_ON, to_update_request

# The run is named after it: started late or twice, it is the same run.
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"
INPUT = json.dumps({"trigger": "scheduled", "scheduledTime": SCHEDULED_TIME}, separators=(",", ":"))


def findings(facts: Facts) -> Iterator[Finding]:
    schedule = facts.schedule
    if isinstance(schedule, Unavailable):
        yield lost("schedule", "it", schedule, facts.shell)
        return
    yield of_state(schedule, facts)
    yield of_target(schedule, facts)
    yield of_role(schedule, facts)
    yield of_input(schedule, facts)


def of_state(schedule: Reply, facts: Facts) -> Finding:
    told = f"{schedule['ScheduleExpression']} {schedule.get('ScheduleExpressionTimezone', 'UTC')}"
    if schedule.get("State", SCHEDULE_ON) == SCHEDULE_ON:
        return ok("schedule", f"on, {told}")
    if facts.is_sandbox:
        return advice("schedule", f"off ({told}), as in every sandbox: its AWS fills no scheduled time in")
    what = f"off ({told}): no run starts by itself"
    if facts.parameters.get("ScheduleState") == SCHEDULE_OFF:
        # What is only switched on is off again after the next deployment, and no alarm misses a night.
        return fix("schedule", what, facts.shell.deploy(f"ScheduleState={SCHEDULE_ON}"))
    return fix("schedule", what, facts.shell.sync("resume --schedule-only"))


def of_target(schedule: Reply, facts: Facts) -> Finding:
    name, target = "schedule: target", schedule.get("Target", {})
    if f":function:{facts.names.producer}" in target.get("Arn", ""):
        return ok(name, "the producer")
    configuration = facts.producer.configuration
    if isinstance(configuration, Unavailable):
        return unseen(name, configuration)
    right = target | {"Arn": configuration["FunctionArn"]}
    return fix(name, f"{target.get('Arn')}, not the producer", _with_target(schedule, right, facts))


def of_role(schedule: Reply, facts: Facts) -> Finding:
    name, arn = "schedule: role", schedule.get("Target", {}).get("RoleArn")
    if facts.schedule_role is None:
        return rebuild(name, "the Scheduler has none to call the producer with", facts.shell)
    if isinstance(facts.schedule_role, Unavailable):
        return lost(
            name, f"{arn}, with which the Scheduler calls the producer,", facts.schedule_role, facts.shell
        )
    return ok(name, str(facts.schedule_role["RoleName"]))


def of_input(schedule: Reply, facts: Facts) -> Finding:
    name, target = "schedule: input", schedule.get("Target", {})
    if SCHEDULED_TIME in target.get("Input", ""):
        return ok(name, "holds the scheduled time")
    return fix(
        name,
        "without the scheduled time: a run that is started twice would be two",
        _with_target(schedule, target | {"Input": INPUT}, facts),
    )


def _with_target(schedule: Reply, target: Reply, facts: Facts) -> str:
    """All of the schedule, since what is left out is set back."""
    whole = to_update_request(schedule, Target=target)
    return facts.shell.aws(f"scheduler update-schedule --cli-input-json {as_argument(whole)}")
