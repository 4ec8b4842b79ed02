"""What hands the queue's messages to the consumer."""

from collections.abc import Iterator

from ops.doctor.facts import Facts, Reply
from ops.doctor.finding import Finding, advice, fix, ok, unknown
from ops.doctor.unread import Unavailable, lost, rebuild

PARTIAL = "ReportBatchItemFailures"
# One commit of 100 actions at most: for each session an outcome, an order and the end of a wait.
LARGEST_BATCH = 25


def findings(facts: Facts) -> Iterator[Finding]:
    mapping = facts.mapping
    if isinstance(mapping, Unavailable):
        yield lost("mapping", "it", mapping, facts.shell)
        return
    yield of_state(mapping, facts)
    yield of_ends(mapping, facts)
    yield of_failures(mapping, facts)
    yield of_concurrency(mapping, facts)
    yield of_batches(mapping, facts)


def of_state(mapping: Reply, facts: Facts) -> Finding:
    state = mapping["State"]
    if state == "Enabled":
        return ok("mapping", state)
    if state in ("Enabling", "Creating", "Updating"):
        return advice("mapping", f"{state}: it works in a minute", facts.shell.sync("doctor"))
    return fix("mapping", f"{state}: messages wait in the queue", facts.shell.sync("resume --queue-only"))


def of_ends(mapping: Reply, facts: Facts) -> Finding:
    name, arn = "mapping: ends", mapping.get("FunctionArn", "")
    if mapping.get("EventSourceArn") != facts.names.queue_arn:
        return rebuild(name, f"it reads {mapping.get('EventSourceArn')}, not the stack's queue", facts.shell)
    if f":function:{facts.names.consumer}" not in arn:
        return fix(
            name,
            f"it calls {arn}, not the consumer",
            update(f"--function-name {facts.names.consumer}", facts),
        )
    return ok(name, "the stack's queue and consumer")


def of_failures(mapping: Reply, facts: Facts) -> Finding:
    name = "mapping: failures"
    if PARTIAL in mapping.get("FunctionResponseTypes", []):
        return ok(name, "one message at a time comes back")
    return fix(
        name,
        f"no {PARTIAL}: what the consumer gives back is taken for done, and its messages are deleted",
        update(f"--function-response-types {PARTIAL}", facts),
    )


def of_concurrency(mapping: Reply, facts: Facts) -> Finding:
    name, settings = "mapping: concurrency", facts.settings
    if settings is None:
        return unknown(name, "the consumer's settings cannot be read")
    most, wanted = mapping.get("ScalingConfig", {}).get("MaximumConcurrency"), settings.consumer_concurrency
    if most is not None and int(most) == wanted:
        return ok(name, f"{wanted} consumers at a time")
    return fix(
        name,
        f"{most or 'not limited'}, and each consumer takes a share of {wanted} of Stripe's pace",
        update(f"--scaling-config MaximumConcurrency={wanted}", facts),
    )


def of_batches(mapping: Reply, facts: Facts) -> Finding:
    size = mapping["BatchSize"]
    if size <= LARGEST_BATCH:
        return ok("mapping: batches", f"{size} messages at most")
    return advice(
        "mapping: batches",
        f"{size} messages: more than one transaction holds ({LARGEST_BATCH})",
        update(f"--batch-size {LARGEST_BATCH}", facts),
    )


def update(options: str, facts: Facts) -> str:
    return facts.shell.aws(f"lambda update-event-source-mapping --uuid {facts.names.mapping_id} {options}")
