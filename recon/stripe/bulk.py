"""Many sessions in few requests: pages of Stripe's list, and the products apart.

A list can contain all that an order needs but its products, which would be at a fifth level. What a page does
not bring whole is left to the request for the single session, which remains the only place that reports an
error.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from recon.domain.message import is_id
from recon.domain.stripe_objects import Json
from recon.errors import SyncError

if TYPE_CHECKING:
    from recon.stripe.source import StripeSource

# With fewer sessions, single requests in parallel are sooner done than one page, and no page may pay.
LEAST = 5
# Parts of the time that are read side by side. A page of 100 sessions with ten lines each takes some 20 MB.
PARTS = 4
# A page that brings only one of the wanted sessions saves no request. The others are as far apart.
WORTHWHILE = 2
PRODUCTS_A_REQUEST = 100
# Seconds. A shop that renames a product does not mean the orders of the same minutes.
PRODUCT_LIFE = 300
# What an order keeps of a product, so that a warm process holds thousands of them.
_KEPT = ("id", "object", "name", "metadata")


class Products:
    """The products that a process has read in the last five minutes; thread-safe. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._read: dict[str, tuple[float, Json]] = {}
        self._lock = threading.Lock()

    def put(self, products: Iterable[Json]) -> None:
        now = self._clock()
        with self._lock:
            self._read = {each: read for each, read in self._read.items() if now - read[0] < PRODUCT_LIFE}
            for product in products:
                kept = {name: product[name] for name in _KEPT if name in product}
                self._read[product["id"]] = (now, kept)

    def find(self, product_id: str) -> Json | None:
        """Return a product that is not too old, or None."""
        with self._lock:
            at, product = self._read.get(product_id, (0.0, None))
        return product if product is not None and self._clock() - at < PRODUCT_LIFE else None


def read_together(
    stripe: "StripeSource", products: Products, wanted: Mapping[str, int], pool: Executor
) -> dict[str, Json]:
    """Return those of the wanted sessions that lists bring whole, as if each had been fetched.

    `wanted` has the `created` of each session id. It costs at most one request more than to fetch each.
    """
    if len(wanted) < LEAST:
        return {}
    newest_first = sorted(wanted, key=lambda each: (wanted[each], each), reverse=True)
    size = max(LEAST, -(-len(wanted) // PARTS))
    parts = [
        {each: wanted[each] for each in newest_first[start : start + size]}
        for start in range(0, len(wanted), size)
    ]
    sessions: dict[str, Json] = {}
    for found in pool.map(lambda part: _read_part(stripe, part), parts):
        sessions |= found
    missing = {each for session in sessions.values() for each in _find_product_ids(session)}
    _read_products(stripe, products, sorted(each for each in missing if products.find(each) is None))
    whole = {each: _with_products(session, products) for each, session in sessions.items()}
    return {each: session for each, session in whole.items() if session is not None}


def _read_part(stripe: "StripeSource", wanted: Mapping[str, int]) -> dict[str, Json]:
    """Read the pages from the newest to the oldest wanted session as long as they save requests."""
    found: dict[str, Json] = {}
    remaining = dict(wanted)
    while len(remaining) >= WORTHWHILE:
        try:
            page = stripe.list_expanded(min(remaining.values()), max(remaining.values()))
        except SyncError:
            break
        brought = {row["id"]: row for row in page.sessions if row["id"] in remaining}
        found |= {each: row for each, row in brought.items() if _has_all_lines(row)}
        if not page.has_more or len(brought) < WORTHWHILE:
            break
        reached = page.sessions[-1].get("created")
        if not isinstance(reached, int):
            break
        # What was created later and is not on the page was not listed, and is left to a single request.
        remaining = {
            each: created for each, created in remaining.items() if each not in brought and created <= reached
        }
    return found


def _has_all_lines(session: Json) -> bool:
    lines = session.get("line_items")
    return isinstance(lines, dict) and lines.get("has_more") is False and isinstance(lines.get("data"), list)


def _find_product_ids(session: Json) -> set[str]:
    """Return the products of the lines that are ids, as lists have them."""
    prices = [line.get("price") for line in session["line_items"]["data"] if isinstance(line, dict)]
    ids = [price.get("product") for price in prices if isinstance(price, dict)]
    return {each for each in ids if isinstance(each, str) and is_id(each)}


def _read_products(stripe: "StripeSource", products: Products, ids: Sequence[str]) -> None:
    for start in range(0, len(ids), PRODUCTS_A_REQUEST):
        try:
            products.put(stripe.list_products(ids[start : start + PRODUCTS_A_REQUEST]))
        except SyncError:
            return


def _with_products(session: Json, products: Products) -> Json | None:
    """Return the session with its products expanded, or None if one is not known, such as a deleted one."""
    lines = []
    for line in session["line_items"]["data"]:
        price = line.get("price") if isinstance(line, dict) else None
        if not isinstance(price, dict) or not isinstance(price.get("product"), str):
            lines.append(line)
        elif product := products.find(price["product"]):
            lines.append(line | {"price": price | {"product": product}})
        else:
            return None
    return session | {"line_items": session["line_items"] | {"data": lines}}
