"""The stack's alarms and who receives their notifications."""

from collections.abc import Iterator, Mapping

from ops.doctor.facts import AwsReply, StackFacts
from ops.doctor.fetched import Unavailable, redeploy, unreadable
from ops.doctor.finding import CheckFinding, advice, fix, ok
from ops.stack.pause_alarm import is_left_out, name_run_alarm
from ops.stack.pause_resume import SCHEDULE_OFF

PENDING = "PendingConfirmation"
DEAD_LETTERS = "-dead-letters"
COMPOSITE = "-needs-a-person"


def check(facts: StackFacts) -> Iterator[CheckFinding]:
    if isinstance(facts.alarm_names, Unavailable):
        yield unreadable("alarms", facts.alarm_names)
    elif isinstance(facts.alarms, Unavailable):
        yield unreadable("alarms", facts.alarms)
    else:
        found = {alarm["AlarmName"]: alarm for alarm in facts.alarms}
        for name in sorted(facts.alarm_names):
            yield check_alarm(name, found.get(name), facts)
    yield check_subscriptions(facts)


def check_alarm(alarm_name: str, alarm: AwsReply | None, facts: StackFacts) -> CheckFinding:
    name = f"alarm: {alarm_name.removeprefix(f'{facts.shell.stack}-')}"
    if alarm is None:
        return redeploy(name, "it does not exist any more", facts.shell)
    if _is_silenced(alarm_name, alarm, facts):
        return _check_silenced(name, facts)
    if sends_mail(alarm_name, facts) and not alarm.get("ActionsEnabled", True):
        enable = f"cloudwatch enable-alarm-actions --alarm-names {alarm_name}"
        return fix(name, "its actions are off, so it sends no notification", facts.shell.aws(enable))
    if facts.names.alarm_topic not in alarm.get("AlarmActions", []):
        return redeploy(name, "it does not notify the stack's topic", facts.shell)
    if alarm["StateValue"] == "ALARM":
        command = "dlq list --check" if alarm_name.endswith(DEAD_LETTERS) else "status"
        return fix(name, "it is in alarm now", facts.shell.sync(command))
    return ok(name, "quiet" if alarm["StateValue"] == "OK" else "no data yet")


def _is_silenced(alarm_name: str, alarm: AwsReply, facts: StackFacts) -> bool:
    """Return whether `nightly-sync pause` has switched off the notification of a missed run."""
    if not sends_mail(alarm_name, facts):
        return False
    if alarm_name.endswith(COMPOSITE):
        return is_left_out(alarm.get("AlarmRule", ""), facts.shell.stack)
    return alarm_name == name_run_alarm(facts.shell.stack) and not alarm.get("ActionsEnabled", True)


def _check_silenced(name: str, facts: StackFacts) -> CheckFinding:
    schedule = facts.schedule
    if isinstance(schedule, Mapping) and schedule.get("State") == SCHEDULE_OFF:
        return ok(name, "silent about missed runs while the schedule is paused")
    resume = facts.shell.sync("resume --schedule-only")
    return fix(name, "it sends no notification of a missed run, as during a pause", resume)


def sends_mail(alarm_name: str, facts: StackFacts) -> bool:
    """Return whether the stack's parameter AlarmMails makes this alarm send mails.

    Either each alarm does, or only the composite alarm that is on when any other one is.
    """
    is_composite = alarm_name.endswith(COMPOSITE)
    return is_composite == (facts.parameters.get("AlarmMails") == "one")


def check_subscriptions(facts: StackFacts) -> CheckFinding:
    name, subscriptions = "alarms: subscribers", facts.subscriptions
    if isinstance(subscriptions, Unavailable):
        return unreadable(name, subscriptions)
    confirmed = [one for one in subscriptions if one["SubscriptionArn"] != PENDING]
    if confirmed:
        return ok(name, ", ".join(sorted({one["Protocol"] for one in confirmed})))
    if subscriptions:
        what = "none yet: the mail `AWS Notification - Subscription Confirmation` must be confirmed"
        return fix(name, f"{what}; this command sends it again", _subscribe_command(facts))
    if facts.is_sandbox:
        return advice(name, "none, as in every sandbox")
    return fix(name, "none: the topic has no subscription", facts.shell.deploy("AlarmEmail=YOUR-ADDRESS"))


def _subscribe_command(facts: StackFacts) -> str:
    """Return a command that takes the address from the stack, so that it is not shown."""
    parameter = "Stacks[0].Parameters[?ParameterKey=='AlarmEmail'].ParameterValue"
    about = f"--stack-name {facts.shell.stack} --output text"
    address = facts.shell.aws(f'cloudformation describe-stacks {about} --query "{parameter}"')
    topic = facts.names.alarm_topic
    return facts.shell.aws(
        f'sns subscribe --protocol email --topic-arn {topic} --notification-endpoint "$({address})"'
    )
