"""A connection to Stripe with given responses, and the sessions in them."""

from copy import deepcopy
from types import SimpleNamespace

from recon.errors import KeyNotAllowed, SessionNotFound
from recon.stripe.source import StripeSource
from testkit.builders import FakeTime

EXPANDED = ["line_items", "line_items.data.price.product"]
CORE = ["payment_intent", "payment_intent.latest_charge"]
BALANCE, REVIEW = "payment_intent.latest_charge.balance_transaction", "payment_intent.review"
DETAILS = ["shipping_cost.shipping_rate", "discounts.promotion_code", "total_details.breakdown"]
WITH_ALL = [*EXPANDED, *CORE, BALANCE, REVIEW, *DETAILS]
MISSING = SessionNotFound("no")
DENIED = KeyNotAllowed("denied")


class StubConnection:
    """A connection with given responses; an exception among them is raised. `asked` keeps the requests."""

    def __init__(self, *responses):
        self.responses = list(responses)
        self.asked = []
        self.timeout = 1.0
        self.key = SimpleNamespace(
            read=lambda: "sk_test_1", find_replacement=lambda rejected: None, renew=lambda: None
        )
        self.rate_limiter = SimpleNamespace(
            wait=lambda *_, **__: None, speed_up=lambda: None, slow_down=lambda: None
        )

    def get(self, path, params, key):
        self.asked.append((path.removeprefix("/v1/"), params))
        response = self.responses.pop(0)
        if isinstance(response, Exception):
            raise response
        # As Stripe's answers, which the source may extend.
        return deepcopy(response)


def connect(*responses, tries=1, clock=None):
    connection = StubConnection(*responses)
    return StripeSource(connection, (clock or FakeTime()).deadline(600), lambda: None, tries), connection


def session(**changes):
    return {"id": "cs_1", "line_items": {"data": [{"id": "li_1"}], "has_more": False}} | changes


def a_charged_session(**charge):
    return session(payment_intent={"latest_charge": {"id": "ch_1"} | charge})


FIRST_ITEMS = session(line_items={"data": [{"id": "li_1"}], "has_more": True})
