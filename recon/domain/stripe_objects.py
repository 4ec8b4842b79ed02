"""Values of Stripe's objects that more than one module uses.

The values are Stripe's own: https://docs.stripe.com/api/checkout/sessions/object and
https://docs.stripe.com/api/events/types.
"""

import re
from collections.abc import Collection
from typing import Any

from recon.errors import UnknownState

type Json = dict[str, Any]

# `payment_status` of a session.
PAID, UNPAID, FREE = "paid", "unpaid", "no_payment_required"
PAYMENT_STATUSES = frozenset({PAID, UNPAID, FREE})
# `mode` of a session.
SETUP, SUBSCRIPTION = "setup", "subscription"
MODES = frozenset({"payment", SETUP, SUBSCRIPTION})
# `status` of a session.
COMPLETE = "complete"
STATUSES = frozenset({"open", COMPLETE, "expired"})
# Event types: a completed checkout; a delayed payment (bank debit, voucher) that succeeded later.
CHECKOUT_COMPLETED = "checkout.session.completed"
ASYNC_PAYMENT_SUCCEEDED = "checkout.session.async_payment_succeeded"
# Paths in a session, as settings name them: the first is followed by a key of the shop's.
METADATA, EMAIL = "metadata.", "customer_details.email"
# Seconds that a session stays open. One that is completed now was created up to a day earlier.
SESSION_LIFE = 24 * 3600
# Above any amount, quantity or time. DynamoDB rejects numbers of more than 38 digits.
MAX_NUMBER = 10**18
# A word of Stripe's, as opposed to free text, which no error may repeat.
_WORD = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


def require_known(field: str, word: str, known: Collection[str]) -> None:
    """Raise UnknownState if Stripe uses a word for the field that has no meaning here yet."""
    if word not in known:
        shown = f' "{word}"' if _WORD.fullmatch(word) else ""
        raise UnknownState(f"{field} has the unknown value{shown}; known are {', '.join(sorted(known))}")
