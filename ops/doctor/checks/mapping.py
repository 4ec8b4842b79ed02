"""The event source mapping, which passes the queue's messages to the consumer."""

from collections.abc import Iterator

from ops.doctor.facts import AwsReply, StackFacts
from ops.doctor.fetched import Unavailable, redeploy, unavailable_part
from ops.doctor.finding import CheckFinding, advice, fix, ok, unknown

PARTIAL = "ReportBatchItemFailures"
# At a default consumer's pace, more sessions would not all be fetched before its timeout.
LARGEST_BATCH = 200


def check(facts: StackFacts) -> Iterator[CheckFinding]:
    mapping = facts.mapping
    if isinstance(mapping, Unavailable):
        yield unavailable_part("mapping", "the event source mapping", mapping, facts.shell)
        return
    yield check_state(mapping, facts)
    yield check_ends(mapping, facts)
    yield check_failures(mapping, facts)
    yield check_concurrency(mapping, facts)
    yield check_batches(mapping, facts)


def check_state(mapping: AwsReply, facts: StackFacts) -> CheckFinding:
    state = mapping["State"]
    if state == "Enabled":
        return ok("mapping", state)
    if state in ("Enabling", "Creating", "Updating"):
        return advice("mapping", f"{state}: ready in a minute", facts.shell.sync("doctor"))
    return fix("mapping", f"{state}: messages wait in the queue", facts.shell.sync("resume --queue-only"))


def check_ends(mapping: AwsReply, facts: StackFacts) -> CheckFinding:
    name, arn = "mapping: ends", mapping.get("FunctionArn", "")
    if mapping.get("EventSourceArn") != facts.names.queue_arn:
        return redeploy(name, f"it reads {mapping.get('EventSourceArn')}, not the stack's queue", facts.shell)
    if f":function:{facts.names.consumer}" not in arn:
        return fix(
            name,
            f"it calls {arn}, not the consumer",
            update(f"--function-name {facts.names.consumer}", facts),
        )
    return ok(name, "the stack's queue and consumer")


def check_failures(mapping: AwsReply, facts: StackFacts) -> CheckFinding:
    name = "mapping: failures"
    if PARTIAL in mapping.get("FunctionResponseTypes", []):
        return ok(name, "single messages can be returned")
    return fix(
        name,
        f"no {PARTIAL}: messages that the consumer returns for a retry are deleted",
        update(f"--function-response-types {PARTIAL}", facts),
    )


def check_concurrency(mapping: AwsReply, facts: StackFacts) -> CheckFinding:
    name, settings = "mapping: concurrency", facts.settings
    if settings is None:
        return unknown(name, "the consumer's settings cannot be read")
    most, wanted = mapping.get("ScalingConfig", {}).get("MaximumConcurrency"), settings.consumer_concurrency
    if most is not None and int(most) == wanted:
        return ok(name, f"{wanted} consumers at a time")
    return fix(
        name,
        f"{most or 'not limited'}, but each consumer uses 1/{wanted} of the Stripe rate",
        update(f"--scaling-config MaximumConcurrency={wanted}", facts),
    )


def check_batches(mapping: AwsReply, facts: StackFacts) -> CheckFinding:
    size = mapping["BatchSize"]
    if size <= LARGEST_BATCH:
        return ok("mapping: batches", f"{size} messages at most")
    return advice(
        "mapping: batches",
        f"{size} messages, but the consumer has time for {LARGEST_BATCH}",
        update(f"--batch-size {LARGEST_BATCH}", facts),
    )


def update(options: str, facts: StackFacts) -> str:
    return facts.shell.aws(f"lambda update-event-source-mapping --uuid {facts.names.mapping_id} {options}")
