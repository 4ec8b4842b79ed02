"""Values of Stripe's objects that more than one module uses.

The values are Stripe's own: https://docs.stripe.com/api/checkout/sessions/object and
https://docs.stripe.com/api/events/types.
"""

from typing import Any

type Json = dict[str, Any]

# `payment_status` of a session.
PAID, UNPAID = "paid", "unpaid"
# Event types: a completed checkout; a delayed payment (bank debit, voucher) that succeeded later.
CHECKOUT_COMPLETED = "checkout.session.completed"
ASYNC_PAYMENT_SUCCEEDED = "checkout.session.async_payment_succeeded"
# Above any amount, quantity or time. DynamoDB rejects numbers of more than 38 digits.
MAX_NUMBER = 10**18
