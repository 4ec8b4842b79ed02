"""Reading outcomes: of a batch of sessions, and of a whole run."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from recon.domain.reconcile import Outcome, SkipReason
from recon.dynamodb.attention import AttentionRecord, parse_attention
from recon.dynamodb.attribute_readers import read_text
from recon.dynamodb.keys import (
    SESSION_PREFIX,
    STATE_KEY,
    WATERMARK_KEY,
    attention_key,
    dismissed_key,
    guard_key,
    outcome_key,
    outcome_partition,
)
from recon.dynamodb.records import OutcomeRecord, parse_outcome, parse_state
from recon.dynamodb.table import Table
from recon.dynamodb.watermark import parse_watermark
from recon.retry import Deadline

# Sorts right after every `SESSION#…`.
_BEHIND_SESSIONS = "SESSION$"

type RunSession = tuple[str, str]  # a run's id and a session's id
type Outcomes = dict[RunSession, OutcomeRecord]


@dataclass(frozen=True)
class PriorState:
    """What the table holds about the sessions of a batch before they are processed.

    `state_run_id` is the run that holds the sync state. `attention` is by session id, `dismissed` holds the
    ids of sessions whose order an operator decided never to write. `guarded` holds
    those whose order this sync has written once. `proven_created` is when the stored proof session was
    created (epoch seconds), or None.
    """

    outcomes: Outcomes
    state_run_id: str | None
    attention: dict[str, AttentionRecord] = field(default_factory=dict)
    dismissed: frozenset[str] = frozenset()
    guarded: frozenset[str] = frozenset()
    proven_created: int | None = None


def load_prior_state(table: Table, sessions: Iterable[RunSession], deadline: Deadline) -> PriorState:
    """Read the items about these sessions, the sync state and the watermark in one consistent batch read.

    Raises LedgerNotMoved if the ledger is not open.
    """
    keys = {outcome_key(*session): session for session in sessions}
    ids = dict.fromkeys(session_id for _, session_id in keys.values())
    about = [key(session_id) for session_id in ids for key in (attention_key, dismissed_key, guard_key)]
    found = table.get_many([*keys, STATE_KEY, WATERMARK_KEY, *about], deadline)
    items = {(item["PK"], item["SK"]): item for item in found}
    watermark = parse_watermark(items.get(WATERMARK_KEY, {}))
    watermark.check_open()
    return PriorState(
        outcomes={session: parse_outcome(items[key]) for key, session in keys.items() if key in items},
        state_run_id=parse_state(items.get(STATE_KEY)).run_id,
        attention={
            name: parse_attention(items[key]) for name in ids if (key := attention_key(name)) in items
        },
        dismissed=frozenset(name for name in ids if dismissed_key(name) in items),
        guarded=frozenset(name for name in ids if guard_key(name) in items),
        proven_created=watermark.proven_created,
    )


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
