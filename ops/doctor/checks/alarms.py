"""The stack's alarms, and whether anybody hears them."""

from collections.abc import Iterator

from ops.doctor.facts import Facts, Reply
from ops.doctor.finding import Finding, advice, fix, ok
from ops.doctor.unread import Unavailable, rebuild, unseen

PENDING = "PendingConfirmation"
DEAD_LETTERS = "-dead-letters"
THE_ONE = "-needs-a-person"


def findings(facts: Facts) -> Iterator[Finding]:
    if isinstance(facts.alarm_names, Unavailable):
        yield unseen("alarms", facts.alarm_names)
    elif isinstance(facts.alarms, Unavailable):
        yield unseen("alarms", facts.alarms)
    else:
        found = {alarm["AlarmName"]: alarm for alarm in facts.alarms}
        for name in sorted(facts.alarm_names):
            yield of_alarm(name, found.get(name), facts)
    yield of_subscriptions(facts)


def of_alarm(alarm_name: str, alarm: Reply | None, facts: Facts) -> Finding:
    name = f"alarm: {alarm_name.removeprefix(f'{facts.shell.stack}-')}"
    if alarm is None:
        return rebuild(name, "it is gone, and nobody hears of it", facts.shell)
    if mails(alarm_name, facts) and not alarm.get("ActionsEnabled", True):
        enable = f"cloudwatch enable-alarm-actions --alarm-names {alarm_name}"
        return fix(name, "its actions are off: nobody hears of it", facts.shell.aws(enable))
    if facts.names.alarm_topic not in alarm.get("AlarmActions", []):
        return rebuild(name, "it does not go to the stack's topic, and nobody hears of it", facts.shell)
    if alarm["StateValue"] == "ALARM":
        first = "dlq list --check" if alarm_name.endswith(DEAD_LETTERS) else "status"
        return fix(name, "it rings at this moment", facts.shell.sync(first))
    return ok(name, "quiet" if alarm["StateValue"] == "OK" else "no data yet")


def mails(alarm_name: str, facts: Facts) -> bool:
    """By the stack's parameter AlarmMails: each alarm, or only the one that is on when any of them is."""
    is_the_one = alarm_name.endswith(THE_ONE)
    return is_the_one == (facts.parameters.get("AlarmMails") == "one")


def of_subscriptions(facts: Facts) -> Finding:
    name, found = "alarms: heard by", facts.subscriptions
    if isinstance(found, Unavailable):
        return unseen(name, found)
    confirmed = [one for one in found if one["SubscriptionArn"] != PENDING]
    if confirmed:
        return ok(name, ", ".join(sorted({one["Protocol"] for one in confirmed})))
    if found:
        what = "nobody yet: the mail `AWS Notification - Subscription Confirmation` has to be confirmed"
        return fix(name, f"{what}; this sends it again", _subscribe(facts))
    if facts.is_sandbox:
        return advice(name, "nobody, as in every sandbox")
    return fix(name, "nobody: the topic has no subscription", facts.shell.deploy("AlarmEmail=YOUR-ADDRESS"))


def _subscribe(facts: Facts) -> str:
    """The address is the stack's own, and is not shown."""
    parameter = "Stacks[0].Parameters[?ParameterKey=='AlarmEmail'].ParameterValue"
    about = f"--stack-name {facts.shell.stack} --output text"
    address = facts.shell.aws(f'cloudformation describe-stacks {about} --query "{parameter}"')
    topic = facts.names.alarm_topic
    return facts.shell.aws(
        f'sns subscribe --protocol email --topic-arn {topic} --notification-endpoint "$({address})"'
    )
