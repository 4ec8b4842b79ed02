"""The queue and its dead letters, against the function that works on them."""

import json
from collections.abc import Iterator, Mapping

from ops.doctor.facts import Facts
from ops.doctor.finding import Finding, advice, fix, ok, unknown
from ops.doctor.shell import Shell, as_argument
from ops.doctor.unread import Unavailable, lost, unseen
from recon.timestamps import DAY

# Lambda may go on retrying a throttled batch until its messages show up again.
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
TIMEOUTS_HIDDEN = 6
# Receives of the queue beyond the consumer's own limit: one can be counted that no consumer saw.
SPARE_RECEIVES = 2
RETENTION, DEAD_RETENTION = 10 * DAY, 14 * DAY

type Attributes = Mapping[str, str]


def findings(facts: Facts) -> Iterator[Finding]:
    names, shell = facts.names, facts.shell
    if isinstance(facts.queue, Unavailable):
        yield lost("queue", "the queue", facts.queue, shell)
    else:
        yield of_visibility(facts.queue, facts)
        yield of_redrive(facts.queue, facts)
        yield of_encryption("queue: encryption", facts.queue, names.queue_url, shell)
    if isinstance(facts.dead_letters, Unavailable):
        yield lost("dead letters", "the queue", facts.dead_letters, shell)
    else:
        yield of_encryption("dead letters: encryption", facts.dead_letters, names.dlq_url, shell)
    if not isinstance(facts.queue, Unavailable) and not isinstance(facts.dead_letters, Unavailable):
        yield of_retention(facts.queue, facts.dead_letters, facts)


def of_visibility(queue: Attributes, facts: Facts) -> Finding:
    name, configuration = "queue: visibility", facts.consumer.configuration
    if isinstance(configuration, Unavailable):
        return unseen(name, configuration)
    hidden, timeout = int(queue["VisibilityTimeout"]), int(configuration["Timeout"])
    needed = TIMEOUTS_HIDDEN * timeout
    if hidden >= needed:
        return ok(name, f"{hidden} s, for a consumer that has {timeout} s")
    return fix(
        name,
        f"{hidden} s, and should be {needed} s (6 times the consumer's {timeout} s): "
        "messages come back while they are worked on",
        set_attributes(facts.names.queue_url, {"VisibilityTimeout": str(needed)}, facts.shell),
    )


def of_redrive(queue: Attributes, facts: Facts) -> Finding:
    name, settings = "queue: redrive", facts.settings
    if settings is None:
        return unknown(name, "the consumer's settings cannot be read")
    wanted = {
        "deadLetterTargetArn": facts.names.dlq_arn,
        "maxReceiveCount": settings.max_receive_count + SPARE_RECEIVES,
    }
    policy = json.loads(queue.get("RedrivePolicy") or "{}")
    mend = set_attributes(facts.names.queue_url, {"RedrivePolicy": json.dumps(wanted)}, facts.shell)
    if policy.get("deadLetterTargetArn") != facts.names.dlq_arn:
        what = f"to {policy['deadLetterTargetArn']}" if policy.get("deadLetterTargetArn") else "none"
        return fix(name, f"{what}, and should go to the stack's dead-letter queue", mend)
    receives = int(policy["maxReceiveCount"])
    if receives != wanted["maxReceiveCount"]:
        return fix(
            name,
            f"after {receives} receives, and should be {wanted['maxReceiveCount']} "
            f"(SYNC_MAX_RECEIVE_COUNT {settings.max_receive_count} and {SPARE_RECEIVES} more)",
            mend,
        )
    return ok(
        name,
        f"to the dead letters after {receives} receives; the consumer gives up after "
        f"{settings.max_receive_count}",
    )


def of_retention(queue: Attributes, dead: Attributes, facts: Facts) -> Finding:
    """A message keeps the age that it was sent with when it moves."""
    name = "dead letters: retention"
    kept, kept_dead = int(queue["MessageRetentionPeriod"]), int(dead["MessageRetentionPeriod"])
    told = f"{kept_dead / DAY:g} days, the queue's {kept / DAY:g}"
    if kept_dead > kept:
        return ok(name, told)
    url, seconds = facts.names.dlq_url, DEAD_RETENTION
    if kept >= DEAD_RETENTION:  # SQS has no longer one
        url, seconds = facts.names.queue_url, RETENTION
    return fix(
        name,
        f"{told}: it has to be longer, or what was retried for long is dropped as soon as it is given up",
        set_attributes(url, {"MessageRetentionPeriod": str(seconds)}, facts.shell),
    )


def of_encryption(name: str, queue: Attributes, url: str, shell: Shell) -> Finding:
    if queue.get("KmsMasterKeyId"):
        return ok(name, "by a KMS key")
    if queue.get("SqsManagedSseEnabled") == "true":
        return ok(name, "by SQS")
    return advice(
        name, "off: messages hold user ids", set_attributes(url, {"SqsManagedSseEnabled": "true"}, shell)
    )


def set_attributes(url: str, attributes: Mapping[str, str], shell: Shell) -> str:
    return shell.aws(f"sqs set-queue-attributes --queue-url {url} --attributes {as_argument(attributes)}")
