"""A Stripe-shaped server over real HTTP, for tests and for the demonstration."""

from sandbox.fake_stripe.admin_client import FakeStripeAdmin, FakeStripeAdminError
from sandbox.fake_stripe.faults import Endpoint, Fault, FaultKind
from sandbox.fake_stripe.server import FakeStripe
from sandbox.fake_stripe.specs import LineSpec, SessionSpec, ShippingSpec
from sandbox.fake_stripe.traffic import Call, RateLimits

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
