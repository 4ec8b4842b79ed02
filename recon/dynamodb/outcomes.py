"""Reading outcomes: of a batch of sessions, and of a whole run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from recon.domain.reconcile import Outcome
from recon.dynamodb.attention import AttentionRecord, parse_attention
from recon.dynamodb.attribute_readers import read_text
from recon.dynamodb.keys import (
    SESSION_PREFIX,
    STATE_KEY,
    attention_key,
    dismissed_key,
    guard_key,
    marker_key,
    outcome_key,
    outcome_partition,
)
from recon.dynamodb.markers import is_completed
from recon.dynamodb.records import OutcomeRecord, parse_outcome, parse_state
from recon.dynamodb.table import MAX_BATCH_GET, Item, Key, Table
from recon.retry import Deadline

# Sorts right after every `SESSION#…`.
_BEHIND_SESSIONS = "SESSION$"

type RunSession = tuple[str, str]  # a run's id and a session's id
type Outcomes = dict[RunSession, OutcomeRecord]


@dataclass(frozen=True)
class PriorState:
    """What the table holds about the sessions of a batch before they are processed.

    `state_run_id` is the run that holds the sync state. `attention` is by session id, `dismissed` holds the
    ids of sessions whose order an operator decided never to write. `guarded` holds those whose order this
    sync has written once. `markers` says of each event of theirs with a marker of the webhook whether that is
    completed. Either is None if it did not fit into the batch's read.
    """

    outcomes: Outcomes
    state_run_id: str | None
    attention: dict[str, AttentionRecord] = field(default_factory=dict)
    dismissed: frozenset[str] = frozenset()
    guarded: frozenset[str] | None = frozenset()
    markers: dict[str, bool] | None = field(default_factory=dict)


def load_prior_state(
    table: Table, sessions: Iterable[RunSession], deadline: Deadline, event_ids: Iterable[str] = ()
) -> PriorState:
    """Read the items about these sessions and the sync state in one consistent batch read.

    One request reads 100 items. Guards and markers that do not fit are left out: most sessions have the order
    of a webhook and need neither.
    """
    keys = {outcome_key(*session): session for session in sessions}
    ids = dict.fromkeys(session_id for _, session_id in keys.values())
    wanted: list[Key] = [*keys, STATE_KEY]
    wanted += [key(session_id) for session_id in ids for key in (attention_key, dismissed_key)]
    guards = {guard_key(name): name for name in ids}
    markers = {marker_key(name): name for name in event_ids}
    reads_guards = len(wanted) + len(guards) <= MAX_BATCH_GET
    wanted += guards if reads_guards else ()
    reads_markers = len(wanted) + len(markers) <= MAX_BATCH_GET
    wanted += markers if reads_markers else ()
    items = _index(table.get_many(wanted, deadline))
    return PriorState(
        outcomes={session: parse_outcome(items[key]) for key, session in keys.items() if key in items},
        state_run_id=parse_state(items.get(STATE_KEY)).run_id,
        attention={
            name: parse_attention(items[key]) for name in ids if (key := attention_key(name)) in items
        },
        dismissed=frozenset(name for name in ids if dismissed_key(name) in items),
        guarded=_find_guarded(guards, items) if reads_guards else None,
        markers=_read_markers(markers, items) if reads_markers else None,
    )


def load_guards_and_markers(
    table: Table, session_ids: Iterable[str], event_ids: Iterable[str], deadline: Deadline
) -> tuple[frozenset[str], dict[str, bool]]:
    """Return which sessions have a guard, and of each event with a marker whether that is completed.

    Both are read in one consistent batch read of distinct keys.
    """
    guards = {guard_key(name): name for name in session_ids}
    markers = {marker_key(name): name for name in event_ids}
    items = _index(table.get_many([*guards, *markers], deadline))
    return _find_guarded(guards, items), _read_markers(markers, items)


def _index(items: Iterable[Item]) -> dict[Key, Item]:
    return {(item["PK"], item["SK"]): item for item in items}


def _find_guarded(guards: Mapping[Key, str], items: Mapping[Key, Item]) -> frozenset[str]:
    return frozenset(name for key, name in guards.items() if key in items)


def _read_markers(markers: Mapping[Key, str], items: Mapping[Key, Item]) -> dict[str, bool]:
    return {name: is_completed(items[key]) for key, name in markers.items() if key in items}


def find_outcomes(table: Table, sessions: Iterable[RunSession], deadline: Deadline) -> Outcomes:
    """Return the outcomes of these sessions by a consistent read; a session without one is left out."""
    keys = {outcome_key(*session): session for session in sessions}
    items = table.get_many(list(keys), deadline)
    return {keys[item["PK"], item["SK"]]: parse_outcome(item) for item in items}


def find_settled_pending(
    table: Table, run_id: str, deadline: Deadline, after: str = "", through: str | None = None
) -> set[str]:
    """Return the ids of the pending sessions, older than its window, that a run has an outcome of.

    They are those in the range (after, through], without an upper end if `through` is None.
    """
    first = f"{SESSION_PREFIX}{after}"
    last = _BEHIND_SESSIONS if through is None else f"{SESSION_PREFIX}{through}"
    items = table.query(
        "PK = :run AND SK BETWEEN :first AND :last",
        {":run": outcome_partition(run_id), ":yes": True, ":first": first, ":last": last},
        projection="SK",
        only="pending = :yes",
        deadline=deadline,
    )
    return {item["SK"].removeprefix(SESSION_PREFIX) for item in items} - {after}


def find_created_orders(table: Table, run_id: str, limit: int, deadline: Deadline) -> list[str]:
    """Return the numbers of the first `limit` orders that a run created, by session id."""
    items = table.query(
        "PK = :run",
        {":run": outcome_partition(run_id), ":created": Outcome.CREATED},
        projection="orderNumber",
        only="outcome = :created",
        deadline=deadline,
    )
    numbers = (read_text(item, "orderNumber") for item, _ in zip(items, range(limit), strict=False))
    return [number for number in numbers if number is not None]
