"""Reading outcomes: of a batch of sessions, and of a whole run."""

from collections.abc import Iterable
from dataclasses import dataclass

from recon.domain.reconcile import Outcome
from recon.dynamodb.attribute_readers import read_text
from recon.dynamodb.keys import SESSION_PREFIX, STATE_KEY, outcome_key, outcome_partition
from recon.dynamodb.records import OutcomeRecord, parse_outcome, parse_state
from recon.dynamodb.table import Table
from recon.retry import Deadline

type RunSession = tuple[str, str]  # a run's id and a session's id
type Outcomes = dict[RunSession, OutcomeRecord]


@dataclass(frozen=True)
class PriorState:
    """The outcomes of a batch's sessions, and the run that holds the sync state, before processing."""

    outcomes: Outcomes
    state_run_id: str | None


def load_prior_state(table: Table, sessions: Iterable[RunSession], deadline: Deadline) -> PriorState:
    """Read the outcomes of these sessions and the sync state in one consistent batch read."""
    keys = {outcome_key(*session): session for session in sessions}
    items = {(item["PK"], item["SK"]): item for item in table.get_many([*keys, STATE_KEY], deadline)}
    outcomes = {session: parse_outcome(items[key]) for key, session in keys.items() if key in items}
    return PriorState(outcomes, parse_state(items.get(STATE_KEY)).run_id)


def find_outcomes(table: Table, sessions: Iterable[RunSession], deadline: Deadline) -> Outcomes:
    """Return the outcomes of these sessions by a consistent read; a session without one is left out."""
    keys = {outcome_key(*session): session for session in sessions}
    items = table.get_many(list(keys), deadline)
    return {keys[item["PK"], item["SK"]]: parse_outcome(item) for item in items}


def find_settled_pending(table: Table, run_id: str, deadline: Deadline) -> set[str]:
    """Return the ids of the pending sessions, older than its window, that a run has an outcome of."""
    items = table.query(
        "PK = :run",
        {":run": outcome_partition(run_id), ":yes": True},
        projection="SK",
        only="pending = :yes",
        deadline=deadline,
    )
    return {item["SK"].removeprefix(SESSION_PREFIX) for item in items}


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
