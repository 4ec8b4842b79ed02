"""What `nightly-sync dlq redrive` has done, or would do."""

from dataclasses import dataclass

from ops.cli.commands.dlq_text import show_missing, show_unmatched
from ops.cli.screen import FINE, NOTICE, TROUBLE, Screen
from ops.dlq.outcome_poller import RedriveFate, SessionStatus, SessionStatuses
from ops.dlq.redrive import RedrivePlan, RedriveProgress
from ops.format.text import counted, worth


@dataclass(frozen=True)
class Redriven:
    """`fates` holds one entry a session; those that wait still are tried again by the queue itself.

    `lapsed`: could not be held until their turn, and stayed. `nameless`: moved, and name no session, so
    nothing tells what becomes of them. `joined`: somebody else's move was under way; what it moved is not
    known here. `paused`: the consumer takes nothing, so nothing was waited for.
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
        return sum(1 for one in self.fates if one.fate is fate)

    @property
    def needs_attention(self) -> bool:
        stopped = self.task_status not in (None, "COMPLETED")
        stayed = self.rejected or self.lapsed or self.missing or self.hidden or stopped
        unknown = self.nameless or self.joined or self.paused
        unsettled = any(map(self.count, (RedriveFate.FAILED, RedriveFate.DEAD, RedriveFate.WAITING)))
        return bool(stayed or unknown or unsettled)


def redriven_of(moved: RedriveProgress, fates: SessionStatuses, *, paused: bool) -> Redriven:
    task = moved.task
    return Redriven(
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
    screen.text(f"Would move {counted(len(plan.chosen), 'message')}; {plan.others} would stay.")
    screen.table(
        ["session", "run", "amount", "error"],
        [
            [
                one.session_id or f"message {one.message_id}",
                one.run_id or "-",
                worth(one.amount, one.currency),
                one.why,
            ]
            for one in plan.chosen
        ],
        right=["amount"],
        whole=["session", "run"],
    )
    show_missing(screen, plan.missing, plan.hidden)
    show_unmatched(screen, plan.unmatched)


def show(screen: Screen, redriven: Redriven) -> None:
    screen.text(f"Moved {counted(redriven.moved, 'message')} back to the queue.")
    _show_what_stayed(screen, redriven)
    show_missing(screen, redriven.missing, redriven.hidden)
    show_unmatched(screen, redriven.unmatched)
    _show_what_nobody_tells(screen, redriven)
    _show_fates(screen, redriven)


def _show_what_stayed(screen: Screen, redriven: Redriven) -> None:
    if redriven.task_failure:
        screen.text(f"SQS stopped moving: {redriven.task_failure}", TROUBLE)
    if redriven.rejected:
        screen.text(
            f"SQS did not take {counted(redriven.rejected, 'message')}; they are where they were.", TROUBLE
        )
    if redriven.lapsed:
        screen.text(
            f"Could not hold {counted(redriven.lapsed, 'message')} until their turn; redrive again.", TROUBLE
        )


def _show_what_nobody_tells(screen: Screen, redriven: Redriven) -> None:
    if redriven.joined:
        screen.text(
            "That was a move that somebody else had started. What becomes of its sessions is not known here: "
            "look at `nightly-sync status`.",
            NOTICE,
        )
    if redriven.nameless:
        screen.text(
            f"Moved without naming a session: {counted(redriven.nameless, 'message')}. Nothing tells what "
            "becomes of it: look at `nightly-sync dlq list` again.",
            NOTICE,
        )
    if redriven.paused:
        screen.text("The consumer is paused and takes nothing: `nightly-sync resume` lets it go on.", NOTICE)


def _show_fates(screen: Screen, redriven: Redriven) -> None:
    waiting = (
        "wait for it" if redriven.paused else "have no outcome yet; the queue tries them again by itself"
    )
    for fate, words, style in (
        (RedriveFate.CREATED, "now have their order", FINE),
        (RedriveFate.SKIPPED, "need none", FINE),
        (RedriveFate.FAILED, "failed again", TROUBLE),
        (RedriveFate.DEAD, "are dead letters again", TROUBLE),
        (RedriveFate.WAITING, waiting, NOTICE),
    ):
        if count := redriven.count(fate):
            screen.text(f"  {count} {words}", style)
    failed = [one for one in redriven.fates if one.fate in (RedriveFate.FAILED, RedriveFate.DEAD)]
    if failed:
        screen.table(
            ["session", "error"],
            [[one.session_id, f"{one.error_type or '-'}: {one.error_message or '-'}"] for one in failed],
            whole=["session"],
        )
