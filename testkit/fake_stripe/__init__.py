"""A fake Stripe over real HTTP, for tests and for the demo."""

from testkit.fake_stripe.admin_client import FakeStripeAdmin, FakeStripeAdminError
from testkit.fake_stripe.details import (
    BillingSpec,
    CustomFieldSpec,
    DetailSpec,
    DiscountSpec,
    PriceSpec,
)
from testkit.fake_stripe.faults import Endpoint, FaultKind, StripeFault
from testkit.fake_stripe.server import FakeStripe
from testkit.fake_stripe.specs import LineSpec, SessionSpec, ShippingSpec
from testkit.fake_stripe.traffic import LoggedCall, RateLimits

__all__ = [
    "BillingSpec",
    "CustomFieldSpec",
    "DetailSpec",
    "DiscountSpec",
    "Endpoint",
    "FakeStripe",
    "FakeStripeAdmin",
    "FakeStripeAdminError",
    "FaultKind",
    "LineSpec",
    "LoggedCall",
    "PriceSpec",
    "RateLimits",
    "SessionSpec",
    "ShippingSpec",
    "StripeFault",
]
