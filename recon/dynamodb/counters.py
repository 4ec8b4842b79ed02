"""The counters of a run and of the sync state, moved in the transaction that holds what they count."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from recon.domain.outcome import Outcome, SkipReason
from recon.dynamodb.keys import STATE_KEY, run_key
from recon.dynamodb.records import RUN_DAYS
from recon.dynamodb.session_result import SessionResult
from recon.dynamodb.table import Action, Item, Table
from recon.timestamps import DAY, to_iso

# Counted on the run only: nothing reads it from the sync state.
RUN_ONLY = frozenset({"existing"})
_COUNTED = MappingProxyType(
    {
        Outcome.CREATED: "created",
        Outcome.SKIPPED: "skipped",
        Outcome.MISSING: "missing",
        Outcome.ERROR: "errors",
    }
)


def counter_deltas(results: Iterable[SessionResult]) -> dict[str, int]:
    """Return the change of each counter: one up for a new outcome, one down for the error it replaces."""
    deltas = dict.fromkeys(("processed", "created", "skipped", "errors", "drifted", "existing"), 0)
    for result in results:
        deltas["drifted"] += bool(result.drift)
        deltas["existing"] += result.reason is SkipReason.EXISTS
        # Only another shop's layout has missing orders, so most runs have no counter of them.
        deltas[_COUNTED[result.outcome]] = deltas.get(_COUNTED[result.outcome], 0) + 1
        if result.previous:
            deltas[_COUNTED[Outcome.ERROR]] -= 1
        else:
            deltas["processed"] += 1
    return deltas


def counter_actions(
    table: Table, run_id: str, deltas: Mapping[str, int], now: int, *, holds_state: bool
) -> list[Action]:
    """Return the actions that add `deltas` to the counters of a run, and to those of the sync state.

    The state's action has the condition that the state still belongs to this run; without `holds_state` it
    is left out. If all deltas are zero, there are no actions. `now` is in epoch seconds.
    """
    if not any(deltas.values()):
        return []
    values: Item = {f":{name}": delta for name, delta in deltas.items()} | {":now": to_iso(now)}
    # By alias, since `processed` is one of DynamoDB's reserved words.
    adds = ", ".join(f"#{name} :{name}" for name in deltas)
    run = table.update(
        run_key(run_id),
        # If the run's record is gone, this creates one, which has to expire too.
        f"SET updatedAt = :now, expiresAt = if_not_exists(expiresAt, :expires) ADD {adds}",
        values | {":expires": now + RUN_DAYS * DAY},
        names={f"#{name}": name for name in deltas},
    )
    if not holds_state:
        return [run]
    shown = {name: delta for name, delta in deltas.items() if name not in RUN_ONLY}
    adds = ", ".join(f"lastSync{name.capitalize()} :{name}" for name in shown)
    state = table.update(
        STATE_KEY,
        f"SET updatedAt = :now ADD {adds}",
        {f":{name}": delta for name, delta in shown.items()} | {":now": to_iso(now), ":run": run_id},
        condition="lastSyncRunId = :run",
    )
    return [run, state]
