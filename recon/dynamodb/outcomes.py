"""Reading outcomes: of a batch of sessions, and of a whole run."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from recon.domain.outcome import Outcome, SkipReason
from recon.dynamodb.attention import AttentionRecord, parse_attention
from recon.dynamodb.attribute_readers import read_text
from recon.dynamodb.keys import (
    GUARD,
    SESSION_PREFIX,
    STATE_KEY,
    WATERMARK_KEY,
    attention_key,
    dismissed_key,
    guard_key,
    marker_key,
    outcome_key,
    outcome_partition,
)
from recon.dynamodb.markers import read_markers
from recon.dynamodb.records import OutcomeRecord, parse_outcome, parse_state
from recon.dynamodb.table import MAX_BATCH_GET, Item, Key, Table
from recon.dynamodb.watermark import parse_watermark
from recon.retry import Deadline

# Sorts right after every `SESSION#…`.
_BEHIND_SESSIONS = "SESSION$"

type RunSession = tuple[str, str]  # a run's id and a session's id
type Outcomes = dict[RunSession, OutcomeRecord]


@dataclass(frozen=True)
class PriorState:
    """The records about the sessions of a batch, read before they are processed.

    `state_run_id` is the run that holds the sync state. `attention` is by session id, `dismissed` holds the
    ids of sessions whose order an operator decided never to write. `guarded` holds those whose order this
    sync has written once. `markers` says of each event of theirs with a marker of the webhook whether that is
    completed. `unread` are the keys of guards and markers that did not fit into the batch's read.
    `listed_until` is until when a run lists sessions, and `proven_created` when the stored proof session was
    created, or None (both epoch seconds).
    """

    outcomes: Outcomes
    state_run_id: str | None
    attention: dict[str, AttentionRecord] = field(default_factory=dict)
    dismissed: frozenset[str] = frozenset()
    guarded: frozenset[str] = frozenset()
    markers: dict[str, bool] = field(default_factory=dict)
    unread: frozenset[Key] = frozenset()
    listed_until: int = 0
    proven_created: int | None = None


def load_prior_state(
    table: Table, sessions: Iterable[RunSession], deadline: Deadline, event_ids: Iterable[str] = ()
) -> PriorState:
    """Read the items about these sessions, the sync state and the watermark by consistent reads.

    One request reads 100 items, and more sessions take further ones. Guards and markers are read only as far
    as they fit into the first: most sessions have the order of a webhook and need neither. Raises
    LedgerNotMoved if the ledger is not open.
    """
    keys = {outcome_key(*session): session for session in sessions}
    ids = dict.fromkeys(session_id for _, session_id in keys.values())
    wanted: list[Key] = [*keys, STATE_KEY, WATERMARK_KEY]
    wanted += [key(session_id) for session_id in ids for key in (attention_key, dismissed_key)]
    further = [*map(guard_key, ids), *map(marker_key, event_ids)]
    room = max(0, MAX_BATCH_GET - len(wanted))
    items = _index(table.get_many([*wanted, *further[:room]], deadline))
    state = parse_state(items.get(STATE_KEY))
    watermark = parse_watermark(items.get(WATERMARK_KEY, {}))
    watermark.check_open()
    return PriorState(
        outcomes={session: parse_outcome(items[key]) for key, session in keys.items() if key in items},
        state_run_id=state.run_id,
        listed_until=state.lease.until,
        attention={
            name: parse_attention(items[key]) for name in ids if (key := attention_key(name)) in items
        },
        dismissed=frozenset(name for name in ids if dismissed_key(name) in items),
        guarded=_find_guarded(items),
        markers=read_markers(items.values()),
        unread=frozenset(further[room:]),
        proven_created=watermark.proven_created,
    )


def load_unread(table: Table, prior: PriorState, keys: Collection[Key], deadline: Deadline) -> PriorState:
    """Return `prior` with the guards and markers of these keys, which did not fit into its read."""
    items = _index(table.get_many(list(keys), deadline))
    return replace(
        prior,
        guarded=prior.guarded | _find_guarded(items),
        markers=prior.markers | read_markers(items.values()),
        unread=prior.unread.difference(keys),
    )


def _index(items: Iterable[Item]) -> dict[Key, Item]:
    return {(item["PK"], item["SK"]): item for item in items}


def _find_guarded(items: Collection[Key]) -> frozenset[str]:
    return frozenset(pk.removeprefix(SESSION_PREFIX) for pk, sk in items if sk == GUARD)


def find_outcomes(table: Table, sessions: Iterable[RunSession], deadline: Deadline) -> Outcomes:
    """Return the outcomes of these sessions by a consistent read; a session without one is left out."""
    keys = {outcome_key(*session): session for session in sessions}
    items = table.get_many(list(keys), deadline)
    return {keys[item["PK"], item["SK"]]: parse_outcome(item) for item in items}


def find_settled_pending(
    table: Table, run_id: str, deadline: Deadline, after: str, through: str | None
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


def find_found_sessions(table: Table, run_id: str, deadline: Deadline) -> list[str]:
    """Return the sessions whose order a run found in the table, the last one first."""
    items = table.query(
        "PK = :run",
        {":run": outcome_partition(run_id), ":exists": SkipReason.EXISTS},
        projection="SK, updatedAt",
        only="reason = :exists",
        deadline=deadline,
    )
    found = sorted(items, key=lambda item: str(item.get("updatedAt")), reverse=True)
    return [item["SK"].removeprefix(SESSION_PREFIX) for item in found]


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
