"""The queue and the dead-letter queue, compared with the consumer's settings."""

import json
from collections.abc import Iterator, Mapping

from ops.doctor.facts import StackFacts
from ops.doctor.fetched import Unavailable, unavailable_part, unreadable
from ops.doctor.finding import CheckFinding, advice, fix, ok, unknown
from ops.doctor.shell import Shell, quote_json
from recon.timestamps import DAY

# Lambda may retry a throttled batch until its messages become visible again.
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
TIMEOUTS_HIDDEN = 6
# Receives beyond the consumer's own limit: SQS may count one that no consumer saw.
SPARE_RECEIVES = 2
RETENTION, DEAD_RETENTION = 10 * DAY, 14 * DAY

type QueueAttributes = Mapping[str, str]


def check(facts: StackFacts) -> Iterator[CheckFinding]:
    names, shell = facts.names, facts.shell
    if isinstance(facts.queue, Unavailable):
        yield unavailable_part("queue", "the queue", facts.queue, shell)
    else:
        yield check_visibility(facts.queue, facts)
        yield check_redrive(facts.queue, facts)
        yield check_encryption("queue: encryption", facts.queue, names.queue_url, shell)
    if isinstance(facts.dead_letters, Unavailable):
        yield unavailable_part("dead letters", "the dead-letter queue", facts.dead_letters, shell)
    else:
        yield check_encryption("dead letters: encryption", facts.dead_letters, names.dlq_url, shell)
    if not isinstance(facts.queue, Unavailable) and not isinstance(facts.dead_letters, Unavailable):
        yield check_retention(facts.queue, facts.dead_letters, facts)


def check_visibility(queue: QueueAttributes, facts: StackFacts) -> CheckFinding:
    name, configuration = "queue: visibility", facts.consumer.configuration
    if isinstance(configuration, Unavailable):
        return unreadable(name, configuration)
    hidden, timeout = int(queue["VisibilityTimeout"]), int(configuration["Timeout"])
    needed = TIMEOUTS_HIDDEN * timeout
    if hidden >= needed:
        return ok(name, f"{hidden} s, for a consumer that has {timeout} s")
    return fix(
        name,
        f"{hidden} s, but should be {needed} s (6 times the consumer's {timeout} s): "
        "messages become visible while they are processed",
        set_attributes(facts.names.queue_url, {"VisibilityTimeout": str(needed)}, facts.shell),
    )


def check_redrive(queue: QueueAttributes, facts: StackFacts) -> CheckFinding:
    name, settings = "queue: redrive", facts.settings
    if settings is None:
        return unknown(name, "the consumer's settings cannot be read")
    wanted = {
        "deadLetterTargetArn": facts.names.dlq_arn,
        "maxReceiveCount": settings.max_receive_count + SPARE_RECEIVES,
    }
    policy = json.loads(queue.get("RedrivePolicy") or "{}")
    command = set_attributes(facts.names.queue_url, {"RedrivePolicy": json.dumps(wanted)}, facts.shell)
    if policy.get("deadLetterTargetArn") != facts.names.dlq_arn:
        what = f"to {policy['deadLetterTargetArn']}" if policy.get("deadLetterTargetArn") else "none"
        return fix(name, f"{what}, but should go to the stack's dead-letter queue", command)
    receives = int(policy["maxReceiveCount"])
    if receives != wanted["maxReceiveCount"]:
        return fix(
            name,
            f"after {receives} receives, but should be {wanted['maxReceiveCount']} "
            f"(SYNC_MAX_RECEIVE_COUNT {settings.max_receive_count} and {SPARE_RECEIVES} more)",
            command,
        )
    return ok(
        name,
        f"to the dead letters after {receives} receives; the consumer gives up after "
        f"{settings.max_receive_count}",
    )


def check_retention(queue: QueueAttributes, dead: QueueAttributes, facts: StackFacts) -> CheckFinding:
    """Check that dead letters are kept longer: a message keeps its age when it moves."""
    name = "dead letters: retention"
    kept, kept_dead = int(queue["MessageRetentionPeriod"]), int(dead["MessageRetentionPeriod"])
    periods = f"{kept_dead / DAY:g} days, the queue's {kept / DAY:g}"
    if kept_dead > kept:
        return ok(name, periods)
    url, seconds = facts.names.dlq_url, DEAD_RETENTION
    if kept >= DEAD_RETENTION:  # the maximum of SQS
        url, seconds = facts.names.queue_url, RETENTION
    return fix(
        name,
        f"{periods}: it must be longer, or a message that was retried for long is deleted once it is dead",
        set_attributes(url, {"MessageRetentionPeriod": str(seconds)}, facts.shell),
    )


def check_encryption(name: str, queue: QueueAttributes, url: str, shell: Shell) -> CheckFinding:
    if queue.get("KmsMasterKeyId"):
        return ok(name, "by a KMS key")
    if queue.get("SqsManagedSseEnabled") == "true":
        return ok(name, "by SQS")
    return advice(
        name,
        "off, but messages contain user ids",
        set_attributes(url, {"SqsManagedSseEnabled": "true"}, shell),
    )


def set_attributes(url: str, attributes: Mapping[str, str], shell: Shell) -> str:
    return shell.aws(f"sqs set-queue-attributes --queue-url {url} --attributes {quote_json(attributes)}")
