"""The objects that Stripe includes in a response on request, by the permission that each needs.

Paths have at most four levels, which is Stripe's limit: https://docs.stripe.com/expand.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from recon.domain.stripe_objects import Json
from recon.errors import KeyNotAllowed


@dataclass(frozen=True)
class Expansion:
    """Objects that need one permission of the key.

    A key without it still gets everything else. `is_detail` is True if an order that lacks these objects is
    right but less complete; without the others, a payment that was returned is not noticed.
    """

    permission: str
    paths: tuple[str, ...]
    is_detail: bool = False

    def is_inside(self, others: "Iterable[Expansion]") -> bool:
        """Return whether all objects of this expansion are parts of an object of the others."""
        outer = tuple(f"{path}." for other in others for path in other.paths)
        return all(path.startswith(outer) for path in self.paths)


PAYMENT_INTENTS, CHARGES, REVIEWS = "payment_intents", "charges", "reviews"
BALANCE_TRANSACTIONS, SHIPPING_RATES = "balance_transactions", "shipping_rates"
PROMOTION_CODES, COUPONS = "promotion_codes", "coupons"

# Without these there is no order.
REQUIRED = ("line_items", "line_items.data.price.product")
# Of the further lines of a session, which are read by a list of their own.
LINE_EXPANSIONS = ("data.price.product",)
SESSION_EXPANSIONS = (
    Expansion(PAYMENT_INTENTS, ("payment_intent",)),
    Expansion(CHARGES, ("payment_intent.latest_charge",)),
    Expansion(BALANCE_TRANSACTIONS, ("payment_intent.latest_charge.balance_transaction",), is_detail=True),
    Expansion(REVIEWS, ("payment_intent.review",), is_detail=True),
    Expansion(SHIPPING_RATES, ("shipping_cost.shipping_rate",), is_detail=True),
    Expansion(PROMOTION_CODES, ("discounts.promotion_code",), is_detail=True),
    # Sessions from before `discounts` have theirs here.
    Expansion(COUPONS, ("total_details.breakdown",), is_detail=True),
)
# The same for a list, whose objects are one level deeper. Products would be a fifth level.
LISTED_REQUIRED = ("data.line_items", "data.line_items.data.price")
LISTED_EXPANSIONS = tuple(
    replace(each, paths=tuple(f"data.{path}" for path in each.paths)) for each in SESSION_EXPANSIONS
)
# A subscription's session has no payment intent. It belongs to a payment of the first invoice, and from the
# session it would be five levels away.
INVOICE_PAYMENT_EXPANSIONS = (
    Expansion(PAYMENT_INTENTS, ("data.payment.payment_intent",)),
    Expansion(CHARGES, ("data.payment.payment_intent.latest_charge", "data.payment.charge")),
    Expansion(REVIEWS, ("data.payment.payment_intent.review",), is_detail=True),
)


class ExpandedRequests:
    """Requests with optional expansions for one invocation. It is thread-safe.

    `get` sends one request with path, parameters and the name of its permissions, and raises KeyNotAllowed if
    the key lacks one of them.
    """

    def __init__(self, get: Callable[[str, Json, str], Json]) -> None:
        self._get = get
        self._denied: frozenset[str] = frozenset()
        # With those that are parts of a denied object, whose own permission is not known.
        self._unreachable: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def list_denied(self, expansions: Iterable[Expansion]) -> list[Expansion]:
        """Return the expansions whose permission the key turned out to lack."""
        return [each for each in expansions if each.permission in self._denied]

    def get(
        self,
        path: str,
        params: Json,
        permission: str,
        optional: Iterable[Expansion],
        required: Sequence[str] = (),
    ) -> Json:
        """Send one request with all expansions except those that the key is known to lack permission for.

        If Stripe refuses it, find out what is missing. Raise KeyNotAllowed if the object itself or a required
        expansion may not be read.
        """

        def send(expansions: Iterable[Expansion]) -> Json:
            expand = [*required, *(path for each in expansions for path in each.paths)]
            name = "+".join([permission, *(each.permission for each in expansions)])
            return self._get(path, params | ({"expand": expand} if expand else {}), name)

        wanted = self.list_allowed(optional)
        try:
            return send(wanted)
        except KeyNotAllowed:
            if not wanted:
                raise
        with self._lock:
            # Another thread may have found the missing permission since.
            remaining = self.list_allowed(wanted)
            return send(remaining) if remaining != wanted else self._find_denied(send, wanted)

    def list_allowed(self, expansions: Iterable[Expansion]) -> list[Expansion]:
        """Return the expansions that the key is not known to lack permission for."""
        return [each for each in expansions if each.permission not in self._unreachable]

    def _find_denied(self, send: Callable[[list[Expansion]], Json], wanted: list[Expansion]) -> Json:
        """Return the most complete response that the key allows, and remember what it does not allow.

        Most keys that lack a permission lack only those of details, so all others are tried together first.
        """
        allowed: list[Expansion] = []
        denied: list[Expansion] = []
        unreachable: list[Expansion] = []
        response: Json | None = None
        details = [each for each in wanted if each.is_detail]
        steps = [[each for each in wanted if not each.is_detail], *([each] for each in details)]
        while steps:
            step = steps.pop(0)
            if all(each.is_inside([*denied, *unreachable]) for each in step):
                unreachable += step
                continue
            try:
                response = send([*allowed, *step])
            except KeyNotAllowed:
                if len(step) == 1:
                    denied += step
                else:
                    steps = [[each] for each in step] + steps
            else:
                allowed += step
        response = send([]) if response is None else response
        self._denied |= {each.permission for each in denied}
        self._unreachable |= {each.permission for each in [*denied, *unreachable]}
        return response
