"""The sentence for each skip reason, the same on every screen and in the report.

It is in `ops`, because `recon` is deployed with the functions, which store reasons and never show them.
"""

from typing import assert_never

from recon.domain.outcome import SkipReason


def describe_skip(reason: SkipReason) -> str:  # noqa: C901, PLR0911, PLR0912 - one case per reason
    """Return why a session is skipped, as a clause such as `it is not paid yet`."""
    match reason:
        case SkipReason.EXISTS:
            return "its order already exists"
        case SkipReason.NO_USER:
            return "it has no user id"
        case SkipReason.UNPAID:
            return "it is not paid yet"
        case SkipReason.NOT_A_SALE:
            return "it sells nothing"
        case SkipReason.EXPIRED:
            return "it is older than orders are kept"
        case SkipReason.REFUNDED:
            return "it was refunded or lost in a dispute"
        case SkipReason.PAYMENT_FAILED:
            return "its payment failed or was cancelled"
        case SkipReason.AWAITING_CAPTURE:
            return "its payment is authorised and not captured yet"
        case SkipReason.GONE:
            return "Stripe no longer finds it"
        case SkipReason.REMOVED:
            return "its order was written once and removed since"
        case SkipReason.FILTERED:
            return "the filter leaves it out"
        case SkipReason.DISMISSED:
            return "an operator dismissed it"
        case SkipReason.NO_KEY:
            return "it lacks what the key in shape.toml needs"
    assert_never(reason)


def describe_stored_skip(reason: str) -> str:
    """Return `describe_skip` for a stored reason, or the reason itself if another version wrote it."""
    try:
        return describe_skip(SkipReason(reason))
    except ValueError:
        return reason
