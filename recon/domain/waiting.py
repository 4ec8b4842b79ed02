"""Pure: how long a session waits for its payment or its order, and in which nights it is checked."""

from recon.domain.outcome import SkipReason
from recon.timestamps import DAY, HOUR

# Most delayed payments settle within days; a bank transfer may take weeks.
NIGHTLY = 30 * DAY
LONGEST_WAIT = 400 * DAY
# An entry is deleted when its session is settled or given up. The time-to-live is for what neither reaches.
ENTRY_LIFE = LONGEST_WAIT + 60 * DAY
# A missing order is looked for that long after it was first missed.
LONGEST_MISSING = 30 * DAY
# Six and a half days: a night in which the run or the session's message was late does not cost another night.
WEEKLY = 7 * DAY - 12 * HOUR


def is_due(created: int, asked_at: int | None, expires_at: int | None, night: int) -> bool:
    """Return whether the run of a night checks a waiting session; all moments are in epoch seconds.

    `asked_at` is when a run last checked the session, so that a missed night is made up for in the next one.
    An entry that would expire before the wait ends, as those of earlier versions do, is due at once.
    """
    if expires_at is not None and expires_at < created + LONGEST_WAIT:
        return True
    if night - created < NIGHTLY or is_wait_over(created, night):
        return True
    return asked_at is None or night - asked_at >= WEEKLY


def is_missing_due(missing_since: int, night: int) -> bool:
    """Return whether the run of a night looks for an order that is missing since then (epoch seconds)."""
    return night - missing_since < LONGEST_MISSING


def is_wait_over(created: int, now: int) -> bool:
    """Return whether a session is too old to wait any longer for its payment."""
    return now - created >= LONGEST_WAIT


def may_wait(reason: SkipReason, created: int, now: int) -> bool:
    """Return whether a session that Stripe may still change goes on waiting."""
    if reason is SkipReason.PAYMENT_FAILED:
        return now - created < NIGHTLY
    return not is_wait_over(created, now)
