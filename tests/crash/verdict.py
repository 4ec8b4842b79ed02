"""The check of the shop once it has recovered: the invariants, and rules that are special to crashes."""

import json
from collections.abc import Iterator, Mapping, Sequence

from recon.timestamps import DAY
from testkit.builders import NOW, RUN
from testkit.invariants import (
    TableRecords,
    Violation,
    check_run_done,
    compare_counters,
    compare_order,
    compare_pending,
    compare_state,
    find_changed_items,
    find_leaked_secrets,
    find_missing_orders,
    find_surplus_orders,
    find_unexpected_errors,
    find_unfinished_runs,
)
from testkit.shop import build_recovered_order
from tests.crash.crash_shop import CrashShop
from tests.crash.starting_points import OTHER_ORDER, Scenario, StartingPoint

GRACE = 600
# No log line and no item may contain these: see `fault_catalog.TELLTALE`.
SECRETS = ("sk_test_right", "buyer@example.com")


def check_after_queue(start: StartingPoint, shop: CrashShop) -> list[Violation]:
    """Check that each session is right, or a counted error whose message is in the dead-letter queue."""
    records = shop.records()
    dead = {
        json.loads(body)["sessionId"] for body in shop.memory_sqs.bodies(shop.dlq) if body.startswith("{")
    }
    lost = [
        Violation(wrong.subject, f"{wrong.what}, and its message is gone")
        for wrong in _outcome_mismatches(records, start)
        if wrong.subject not in dead or _read_outcome(records, wrong.subject)[0] != "error"
    ]
    return [*lost, *_run_mismatches(records, start), *_order_mismatches(records, start)]


def check_at_end(start: StartingPoint, shop: CrashShop) -> list[Violation]:
    """Check that every session is right after a redrive."""
    records = shop.records()
    unpaid = [scenario.id for scenario in start.scenarios if scenario.reason == "unpaid"]
    return [
        *_outcome_mismatches(records, start),
        *_run_mismatches(records, start),
        *_order_mismatches(records, start),
        *find_missing_orders(records, _wanted_orders(start)),
        *_unfenced_orders(records, start, shop),
        *compare_pending(records, unpaid),
        *_watermark_mismatch(records, NOW),
        *_log_violations(records, shop),
    ]


def check_after_next_night(start: StartingPoint, shop: CrashShop) -> list[Violation]:
    """Check the shop after the next night, if nothing that failed was repeated before."""
    records = shop.records()
    return [
        *find_unfinished_runs(records),
        *check_run_done(records, max(records.runs)),
        *(wrong for run_id in records.runs for wrong in compare_counters(records, run_id)),
        *compare_state(records),
        *_order_mismatches(records, start),
        *find_missing_orders(records, _wanted_orders(start)),
        *_watermark_mismatch(records, NOW + DAY),
        *_log_violations(records, shop),
    ]


def check_dry_run(start: StartingPoint, shop: CrashShop) -> list[Violation]:
    """Check that a dry run wrote and sent nothing."""
    written = [] if shop.memory.dump() == start.table else [Violation("dry run", "it wrote to the table")]
    is_sent = shop.memory_sqs.bodies(shop.queue) or shop.hops
    sent = [Violation("dry run", "it sent messages")] if is_sent else []
    return [*written, *sent, *_log_violations(shop.records(), shop)]


def _read_outcome(records: TableRecords, session_id: str) -> tuple[str | None, str | None]:
    outcome = records.outcomes[RUN].get(session_id, {})
    return outcome.get("outcome"), outcome.get("reason") or outcome.get("errorType")


def _outcome_mismatches(records: TableRecords, start: StartingPoint) -> Iterator[Violation]:
    for scenario in start.scenarios:
        found, wanted = _read_outcome(records, scenario.id), (scenario.outcome, scenario.reason)
        # A run that may not read charges warns of that, and writes the order of a refunded session.
        is_blind = scenario.reason == "refunded" and _warns(records, RUN, "no_charges")
        if found != wanted and not (is_blind and found == ("created", None)):
            yield Violation(scenario.id, f"its outcome is {found} and not {wanted}")


def _run_mismatches(records: TableRecords, start: StartingPoint) -> Iterator[Violation]:
    yield from compare_counters(records, RUN)
    yield from check_run_done(records, RUN, len(start.scenarios))
    yield from compare_state(records)


def _wanted_orders(start: StartingPoint) -> dict[str, int]:
    return {scenario.id: scenario.orders for scenario in start.scenarios} | {OTHER_ORDER: 1}


def _order_mismatches(records: TableRecords, start: StartingPoint) -> Iterator[Violation]:
    """Yield surplus, changed and wrong orders; an order may still be missing."""
    blind = {one.id: 1 for one in start.scenarios if _is_written_blindly(records, one)}
    yield from find_changed_items(records, start.foreign_items)
    yield from find_surplus_orders(records, _wanted_orders(start) | blind)
    for scenario in start.scenarios:
        for order in records.read_orders(scenario.id):
            if order.get("source") == "nightly_sync":
                expected = build_recovered_order(scenario.spec)
                if scenario.id in blind:
                    # What the key may not read is not on the order either.
                    expected.pop("attention", None)
                yield from compare_order(scenario.id, expected, order, records.runs)


def _is_written_blindly(records: TableRecords, scenario: Scenario) -> bool:
    runs = {order.get("syncRunId", "") for order in records.read_orders(scenario.id)}
    return scenario.reason == "refunded" and any(_warns(records, run, "no_charges") for run in runs)


def _warns(records: TableRecords, run_id: str, word: str) -> bool:
    run = records.runs.get(run_id, {})
    return any(warning.startswith(word) for warning in run.get("warnings", ()))


def _unfenced_orders(records: TableRecords, start: StartingPoint, shop: CrashShop) -> Iterator[Violation]:
    for scenario in start.scenarios:
        event = {"PK": f"EVENT#{scenario.spec.completed_event_id}", "SK": "METADATA"}
        is_undelivered = scenario.outcome == "created" and not scenario.spec.event_delivered
        excused = _warns(records, RUN, "no_events") or _is_put_refused(shop, event["PK"])
        if is_undelivered and (event["PK"], event["SK"]) not in records.items and not excused:
            yield Violation(scenario.id, "its order is written, and its event is not fenced off")


def _is_put_refused(shop: CrashShop, partition: str) -> bool:
    """Return whether DynamoDB refused the event's record; its order is then written without the record."""
    for event in shop.history.events:
        refusal, _, position = (event.fault or "").partition(" at ")
        if refusal in ("ValidationError", "ItemCollectionSizeLimitExceeded"):
            actions: Sequence[Mapping[str, Mapping[str, Mapping[str, object]]]]
            actions = event.call.arguments["TransactItems"]
            # A transaction that became shorter than the recorded one has no action at that position.
            for action in actions[int(position or 0) :][:1]:
                if action.get("Put", {}).get("Item", {}).get("PK") == {"S": partition}:
                    return True
    return False


def _watermark_mismatch(records: TableRecords, night: int) -> Iterator[Violation]:
    covered = records.state.get("lastCoveredThrough")
    if covered != night - GRACE:
        yield Violation("sync state", f"covered through {covered} and not {night - GRACE}")


def _log_violations(records: TableRecords, shop: CrashShop) -> Iterator[Violation]:
    lines = [*shop.log.lines, *map(str, records.items.values())]
    for line in (*find_unexpected_errors(shop.log.lines), *find_leaked_secrets(lines, SECRETS)):
        yield Violation("log", line)
