"""The proof that key, table and layout of the orders belong together, before a run sends anything.

A key of another account or mode lists other sessions: their orders would be written into the shop's table,
and the watermark would move past the shop's own sessions.
"""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from producer.sample import draw_sample, read_message
from recon.domain.message import SessionMessage
from recon.domain.table_decision import amount_and_currency
from recon.dynamodb.order_lookup import make_lookup
from recon.dynamodb.records import Sample
from recon.dynamodb.runs import Runs
from recon.dynamodb.user_orders import is_proof
from recon.dynamodb.watermark import Watermark
from recon.errors import SyncError
from recon.retry import Deadline

if TYPE_CHECKING:
    from recon.config import Settings
    from recon.stripe.source import StripeSource

_COMPARE = (
    "nothing was sent or written. Compare the key's account and mode, the layout of the orders, and the "
    "filter with the shop's. If all of them are right, start nightly-sync run --confirm-empty"
)
WRONG_KEY = (
    "wrong_key: the Stripe key cannot read session {session}, which has an order in the table, so it belongs "
    "to another account or mode; " + _COMPARE
)
UNPROVEN = (
    "unproven: of {size} paid sessions of the last 30 days none has an order that the webhook wrote, so the "
    "key, the table or the layout of its orders may be another shop's; " + _COMPARE
)
NO_SESSIONS = (
    "no_sessions: Stripe lists no paid session with a user in the last 30 days, so nothing shows that the "
    "key is the shop's; check its account and mode, and whether the shop still sells through Checkout"
)


class ProofContext(Protocol):
    """What the check reads: the table, Stripe and the clock. `now` returns epoch seconds."""

    @property
    def settings(self) -> "Settings": ...
    @property
    def runs(self) -> Runs: ...
    @property
    def stripe(self) -> "Callable[[], StripeSource]": ...
    @property
    def pool(self) -> Executor: ...
    @property
    def deadline(self) -> Deadline: ...
    @property
    def now(self) -> Callable[[], int]: ...


@dataclass(frozen=True)
class ProofVerdict:
    """The result of the proof.

    `proven` is the session that this check found as a proof, which is to be stored. `sample` is set if the
    run must be held.
    """

    warning: str | None = None
    proven: SessionMessage | None = None
    sample: Sample | None = None

    @property
    def is_held(self) -> bool:
        return self.sample is not None


def check_proof(context: ProofContext, watermark: Watermark) -> ProofVerdict:
    """Return whether the run may go on. Write nothing.

    If a proof session is known, the key must be able to read it. Otherwise one of a sample of paid sessions
    must have an order that this sync did not write, unless an operator has confirmed the table. Raise the
    error of a request that failed for another reason. Before a run is held, read the key's parameter again:
    a warm function keeps the key from before it was corrected.
    """
    verdict = _check(context, watermark)
    if verdict.is_held and context.stripe().reload_key():
        return _check(context, watermark)
    return verdict


def _check(context: ProofContext, watermark: Watermark) -> ProofVerdict:
    # Orders that were found with one shape.toml do not prove another, or this system's layout. A proof
    # without a file, which is also that of earlier versions, is one of the key, and counts for any layout.
    is_of_layout = watermark.proven_shape in ("", context.settings.shape_text)
    if session_id := watermark.proven_by or _find_proof_of_earlier_runs(context, watermark):
        session = context.stripe().find_session(session_id)
        if session is None:
            _, sample = _look_up(context, _draw_sample(context))
            return ProofVerdict(WRONG_KEY.format(session=session_id), sample=sample)
        if is_of_layout:
            return ProofVerdict(
                proven=None if watermark.proven_by else read_message(session, context.settings)
            )
    elif watermark.confirmed_by and is_of_layout:
        return ProofVerdict()
    messages = _draw_sample(context)
    if not messages:
        return ProofVerdict(NO_SESSIONS)
    proven, sample = _look_up(context, messages)
    if proven:
        return ProofVerdict(proven=proven)
    return ProofVerdict(UNPROVEN.format(size=sample.size), sample=sample)


def _find_proof_of_earlier_runs(context: ProofContext, watermark: Watermark) -> str | None:
    is_of_earlier_version = not watermark.confirmed_by and not context.settings.shape
    return context.runs.find_found_session() if is_of_earlier_version else None


def _draw_sample(context: ProofContext) -> list[SessionMessage]:
    """Return up to 50 paid sessions with a user, spread over the last 30 days, the newest first."""
    stripe, now = context.stripe(), context.now()
    sample = draw_sample(stripe, context.pool, context.settings, now, needs_user=True)
    return [message for _, message in sample]


def _look_up(context: ProofContext, messages: list[SessionMessage]) -> tuple[SessionMessage | None, Sample]:
    """Return the newest session with an order of another writer, and what the table lacks.

    Raise the error of a failed lookup if no session is proven.
    """
    settings = context.settings
    lookup = make_lookup(context.runs.table, context.pool, settings.shape, settings.order_sort_key)
    orders = lookup.find(messages, context.deadline)
    proven = next((message for message in messages if is_proof(orders[message])), None)
    errors = (found for found in orders.values() if isinstance(found, SyncError))
    if proven is None and (error := next(errors, None)):
        raise error
    missing = [message for message in messages if orders[message] == []]
    amounts: Counter[str] = Counter()
    for message in missing:
        amount, currency = amount_and_currency(message)
        if amount and currency:
            amounts[currency] += amount
    return proven, Sample(len(messages), len(missing), amounts)
