"""A Stripe-shaped server over real HTTP, for tests and for the demonstration."""

from testkit.fake_stripe.admin_client import FakeStripeAdmin, FakeStripeAdminError
from testkit.fake_stripe.faults import Endpoint, Fault, FaultKind
from testkit.fake_stripe.server import FakeStripe
from testkit.fake_stripe.specs import LineSpec, SessionSpec, ShippingSpec
from testkit.fake_stripe.traffic import Call, RateLimits

__all__ = [
    "Call",
    "Endpoint",
    "FakeStripe",
    "FakeStripeAdmin",
    "FakeStripeAdminError",
    "Fault",
    "FaultKind",
    "LineSpec",
    "RateLimits",
    "SessionSpec",
    "ShippingSpec",
]
