"""Shapes and words of Stripe's objects that more than one module uses.

The values are Stripe's own: https://docs.stripe.com/api/checkout/sessions/object and
https://docs.stripe.com/api/events/types.
"""

from typing import Any

type Json = dict[str, Any]

# `payment_status` of a session.
PAID, UNPAID = "paid", "unpaid"
# Event types: the customer completed the checkout; a delayed payment (bank debit, voucher) succeeded later.
CHECKOUT_COMPLETED = "checkout.session.completed"
ASYNC_PAYMENT_SUCCEEDED = "checkout.session.async_payment_succeeded"
# No amount, quantity or time reaches this. DynamoDB would refuse a number of more than 38 digits.
MAX_NUMBER = 10**18
