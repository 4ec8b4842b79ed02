"""The counters of a run and of the sync state, moved in the transaction that holds what they count."""

from collections.abc import Mapping
from types import MappingProxyType

from recon.domain.reconcile import Outcome
from recon.dynamodb.records import RUN_DAYS, STATE_KEY, run_key
from recon.dynamodb.table import Action, Item, Table
from recon.timestamps import DAY, to_iso

COUNTED = MappingProxyType({Outcome.CREATED: "created", Outcome.SKIPPED: "skipped", Outcome.ERROR: "errors"})


def counter_actions(
    table: Table, run_id: str, moves: Mapping[str, int], now: int, *, holds_state: bool
) -> list[Action]:
    """Adds `moves` to a run's counters, and to the state's under the condition that the state is this run's.

    Nothing where nothing moves. `now` is in epoch seconds.
    """
    if not any(moves.values()):
        return []
    values: Item = {f":{name}": move for name, move in moves.items()} | {":now": to_iso(now)}
    # By alias: `processed` is one of DynamoDB's reserved words.
    adds = ", ".join(f"#{name} :{name}" for name in moves)
    run = table.update(
        run_key(run_id),
        # A run whose record is gone leaves a record that goes as well.
        f"SET updatedAt = :now, expiresAt = if_not_exists(expiresAt, :expires) ADD {adds}",
        values | {":expires": now + RUN_DAYS * DAY},
        names={f"#{name}": name for name in moves},
    )
    if not holds_state:
        return [run]
    adds = ", ".join(f"lastSync{name.capitalize()} :{name}" for name in moves)
    state = table.update(
        STATE_KEY,
        f"SET updatedAt = :now ADD {adds}",
        values | {":run": run_id},
        condition="lastSyncRunId = :run",
    )
    return [run, state]
