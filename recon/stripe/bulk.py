"""Many sessions in few requests: pages of Stripe's list, and the products apart.

A list can contain all that an order needs but its products, which would be at a fifth level. What a page does
not bring whole is left to the request for the single session, which remains the only place that reports an
error.
"""

import threading
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from itertools import batched
from typing import Protocol

from recon.domain.message import is_id
from recon.domain.stripe_objects import Json
from recon.errors import SyncError
from recon.stripe.pages import PAGE_SIZE, Page

# With fewer sessions, single requests in parallel are sooner done than one page, and no page may pay.
LEAST = 5
# Of so many neighbours in time, one in so many has to be missing. A page also has the sessions of other
# batches, so that it would hardly bring more than one of fewer, and later than their own requests do.
NEIGHBOURS, ONE_IN = 50, 10
# Pages that are read side by side, and that are requested, so that a reader of the sessions delays none. One
# of 100 sessions with ten lines each takes some 20 MB.
PAGES, REQUESTED = 5, 10
# So many sessions are yielded together: they fill three transactions, and share a request for products.
PART = 48
PRODUCTS_A_REQUEST = 100
# Seconds. A shop that renames a product does not mean the orders of the same minutes.
PRODUCT_LIFE = 300
# The fields of a product that an order keeps, so that a warm process holds thousands of them.
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


class ExpandedLists(Protocol):
    """The lists of a `StripeSource`."""

    def list_expanded(self, created_from: int, created_to: int) -> Page: ...

    def list_products(self, ids: Sequence[str]) -> list[Json]: ...


def select_dense(batch: Mapping[str, int], missing: Collection[str]) -> dict[str, int]:
    """Return the missing sessions that are many among their neighbours, so that lists may pay for them.

    `batch` has the `created` of each session id of a batch, and the result that of the selected ones.
    """
    newest_first = sorted(batch, key=lambda each: -batch[each])
    selected: dict[str, int] = {}
    for neighbours in batched(newest_first, NEIGHBOURS):
        lost = {each: batch[each] for each in neighbours if each in missing}
        if len(lost) * ONE_IN >= len(neighbours):
            selected |= lost
    return selected


def read_together(
    stripe: ExpandedLists, products: Products, wanted: Mapping[str, int], pool: Executor
) -> Generator[dict[str, Json | None]]:
    """Yield the wanted sessions in parts, while further pages are requested. Close it to stop early.

    A session that lists bring whole is as if it had been fetched. One that is left to its own request is
    None, and fewer than `LEAST` are not yielded at all. `wanted` has the `created` of each session id. A page
    shows how long a time it covers. Where at least two of the older sessions lie within such a time, they are
    read by a page too, so that no page costs more requests than it saves.
    """
    if len(wanted) < LEAST:
        return
    places = threading.BoundedSemaphore(PAGES)

    def read(span: Mapping[str, int]) -> "_Brought":
        with places:
            return _read_page(stripe, span)

    newest_first = sorted(wanted.items(), key=lambda each: -each[1])
    spans = list(map(dict, batched(newest_first, PAGE_SIZE)))
    requests: list[Future[_Brought]] = []
    part: dict[str, Json | None] = {}
    try:
        while spans or requests:
            # The smallest at the end, since nothing is done while the last page is on its way.
            spans.sort(key=len)
            while spans and len(requests) < REQUESTED:
                requests.append(pool.submit(read, spans.pop()))
            done, _ = wait(requests, return_when=FIRST_COMPLETED)
            pages = [each.result() for each in requests if each in done]
            requests = [each for each in requests if each not in done]
            for page in pages:
                part |= page.sessions
                for span in _split(page.left, page.seconds):
                    if len(span) > 1:
                        spans.append(span)
                    else:
                        part |= dict.fromkeys(span)
            if len(part) >= PART or not (spans or requests):
                yield _complete(stripe, products, part)
                part = {}
    finally:
        # Cancel or await requests in flight, so that no thread keeps calling Stripe.
        wait([each for each in requests if not each.cancel()])


@dataclass(frozen=True)
class _Brought:
    """What a page says of its sessions, those older than its last one, and the seconds that it covers.

    A session that it does not bring whole is None.
    """

    sessions: dict[str, Json | None]
    left: dict[str, int] = field(default_factory=dict)
    seconds: int = 0


def _split(wanted: Mapping[str, int], seconds: int) -> list[dict[str, int]]:
    """Return the sessions in spans of so many seconds, newest first."""
    spans: list[dict[str, int]] = []
    for each in sorted(wanted, key=lambda each: -wanted[each]):
        if not spans or max(spans[-1].values()) - wanted[each] > seconds:
            spans.append({})
        spans[-1][each] = wanted[each]
    return spans


def _read_page(stripe: ExpandedLists, span: Mapping[str, int]) -> _Brought:
    newest = max(span.values())
    try:
        page = stripe.list_expanded(min(span.values()), newest)
    except SyncError:
        return _Brought(dict.fromkeys(span))
    brought: dict[str, Json | None] = {
        row["id"]: row if _has_all_lines(row) else None for row in page.sessions if row["id"] in span
    }
    reached = page.sessions[-1].get("created") if page.has_more else None
    if not isinstance(reached, int) or not brought:
        return _Brought(dict.fromkeys(span) | brought)
    # Younger sessions that are not on the page were not listed, and are left to a single request.
    left = {each: created for each, created in span.items() if each not in brought and created <= reached}
    return _Brought({each: brought.get(each) for each in span if each not in left}, left, newest - reached)


def _has_all_lines(session: Json) -> bool:
    lines = session.get("line_items")
    return isinstance(lines, dict) and lines.get("has_more") is False and isinstance(lines.get("data"), list)


def _complete(
    stripe: ExpandedLists, products: Products, part: Mapping[str, Json | None]
) -> dict[str, Json | None]:
    """Return the part with the products of its sessions, and None for one with an unknown product."""
    missing = {product for session in part.values() if session for product in _find_product_ids(session)}
    _read_products(stripe, products, sorted(each for each in missing if products.find(each) is None))
    return {each: session and _with_products(session, products) for each, session in part.items()}


def _find_product_ids(session: Json) -> set[str]:
    """Return the products of the lines that are ids, as lists have them."""
    prices = [line.get("price") for line in session["line_items"]["data"] if isinstance(line, dict)]
    ids = [price.get("product") for price in prices if isinstance(price, dict)]
    return {str(each) for each in ids if is_id(each)}


def _read_products(stripe: ExpandedLists, products: Products, ids: Sequence[str]) -> None:
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
