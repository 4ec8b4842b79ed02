"""The result of `nightly-sync dlq redrive`, and what its dry run prints."""

from dataclasses import dataclass

from ops.cli.commands.dlq_text import show_missing, show_unmatched
from ops.cli.screen import FINE, NOTICE, TROUBLE, Screen
from ops.dlq.outcome_poller import RedriveFate, SessionStatus, SessionStatuses
from ops.dlq.redrive import RedrivePlan, RedriveProgress
from ops.format.money import format_price
from ops.format.text import quantity
from recon.domain.outcome import SkipReason


@dataclass(frozen=True)
class RedriveResult:
    """The counts of a move, and one entry in `fates` per session.

    `rejected` were refused by SQS and `lapsed` could not be held until their turn; both stayed in the
    dead-letter queue. `nameless` were moved and name no session, so they have no outcome. `joined`: another
    operator's move was running, and the sessions that it moved are unknown. `paused`: the consumer is off, so
    no outcome was awaited.
    """

    moved: int
    rejected: int
    lapsed: int
    nameless: int
    missing: tuple[str, ...]
    unmatched: tuple[str, ...]
    hidden: int
    task_status: str | None
    task_failure: str | None
    joined: bool
    paused: bool
    fates: tuple[SessionStatus, ...]

    def count(self, fate: RedriveFate) -> int:
        """Return the number of sessions with this fate."""
        return sum(1 for one in self.fates if one.fate is fate)

    @property
    def needs_attention(self) -> bool:
        """Return True unless every message was moved and every session is settled."""
        stopped = self.task_status not in (None, "COMPLETED")
        stayed = self.rejected or self.lapsed or self.missing or self.hidden or stopped
        unknown = self.nameless or self.joined or self.paused
        unsettled = any(map(self.count, (RedriveFate.FAILED, RedriveFate.DEAD, RedriveFate.WAITING)))
        return bool(stayed or unknown or unsettled)


def build_result(moved: RedriveProgress, fates: SessionStatuses, *, paused: bool) -> RedriveResult:
    """Combine the end of a move and the outcomes that followed it."""
    task = moved.task
    return RedriveResult(
        moved=moved.moved,
        rejected=moved.rejected,
        lapsed=moved.lapsed,
        nameless=sum(1 for letter in moved.letters if letter.is_nameless),
        missing=moved.missing,
        unmatched=moved.unmatched,
        hidden=moved.hidden,
        task_status=task.status if task else None,
        task_failure=task.failure if task else None,
        joined=bool(task and task.was_running),
        paused=paused,
        fates=fates.sessions,
    )


def show_plan(screen: Screen, plan: RedrivePlan) -> None:
    """Print what a redrive would move."""
    screen.text(f"Would move {quantity(len(plan.chosen), 'message')}; {plan.others} would stay.")
    screen.table(
        ["session", "run", "amount", "error"],
        [
            [
                one.session_id or f"message {one.message_id}",
                one.run_id or "-",
                format_price(one.amount),
                one.why,
            ]
            for one in plan.chosen
        ],
        right=["amount"],
        whole=["session", "run"],
        drop=["run"],
    )
    show_missing(screen, plan.missing, plan.hidden)
    show_unmatched(screen, plan.unmatched)


def show(screen: Screen, result: RedriveResult) -> None:
    """Print what was moved, what stayed and the outcomes."""
    screen.text(f"Moved {quantity(result.moved, 'message')} back to the queue.")
    _show_unmoved(screen, result)
    show_missing(screen, result.missing, result.hidden)
    show_unmatched(screen, result.unmatched)
    _show_unknown(screen, result)
    _show_outcomes(screen, result)


def _show_unmoved(screen: Screen, result: RedriveResult) -> None:
    if result.task_failure:
        screen.text(f"SQS stopped moving: {result.task_failure}", TROUBLE)
    if result.rejected:
        screen.text(
            f"SQS refused {quantity(result.rejected, 'message')}; they are still in the dead-letter queue.",
            TROUBLE,
        )
    if result.lapsed:
        screen.text(
            f"Could not hold {quantity(result.lapsed, 'message')} until their turn; redrive again.", TROUBLE
        )


def _show_unknown(screen: Screen, result: RedriveResult) -> None:
    if result.joined:
        screen.text(
            "Another operator had started this move, so the outcomes of its sessions are unknown here: "
            "check `nightly-sync status`.",
            NOTICE,
        )
    if result.nameless:
        screen.text(
            f"Moved without a session id: {quantity(result.nameless, 'message')}. They have no outcome: "
            "check `nightly-sync dlq list` again.",
            NOTICE,
        )
    if result.paused:
        screen.text("The consumer is paused; `nightly-sync resume` starts it again.", NOTICE)


def _show_outcomes(screen: Screen, result: RedriveResult) -> None:
    skipped = [one for one in result.fates if one.fate is RedriveFate.SKIPPED]
    existing = sum(1 for one in skipped if one.reason == SkipReason.EXISTS)
    waiting = (
        ("waits for the consumer", "wait for the consumer")
        if result.paused
        else ("has no outcome yet; the queue retries it", "have no outcome yet; the queue retries them")
    )
    for count, (one, several), style in (
        (result.count(RedriveFate.CREATED), ("now has its order", "now have their order"), FINE),
        (existing, ("already had its order", "already had their order"), FINE),
        (len(skipped) - existing, ("needs no order", "need no order"), FINE),
        (
            result.count(RedriveFate.MISSING),
            ("has no order in the shop's layout", "have no order in the shop's layout"),
            TROUBLE,
        ),
        (result.count(RedriveFate.FAILED), ("failed again", "failed again"), TROUBLE),
        (result.count(RedriveFate.DEAD), ("is a dead letter again", "are dead letters again"), TROUBLE),
        (result.count(RedriveFate.WAITING), waiting, NOTICE),
    ):
        if count:
            screen.text(f"  {quantity(count, one, several)}", style)
    failed = [one for one in result.fates if one.fate in (RedriveFate.FAILED, RedriveFate.DEAD)]
    if failed:
        screen.table(
            ["session", "error"],
            [[one.session_id, f"{one.error_type or '-'}: {one.error_message or '-'}"] for one in failed],
            whole=["session"],
        )
