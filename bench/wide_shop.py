"""A Stripe account with any number of sessions, which are made when they are listed."""

import bisect
import json
from array import array
from collections.abc import Callable
from urllib.parse import urlsplit

from bench.shops import GRACE
from recon.timestamps import DAY
from testkit.fake_stripe import SessionSpec, ShippingSpec
from testkit.fake_stripe.api import EVENTS_URL, SESSIONS_URL
from testkit.fake_stripe.objects import event_object, session_object
from testkit.fake_stripe.params import Params
from testkit.fake_stripe.store import COMPLETED, EventSpec

DIGITS = 50
# The number of the first sale after the day; later ones count down.
LATEST = 10**12
_NUMBER, _CREATED = "9" * DIGITS, 8_888_888_888


class WideShop:
    """The sessions of the day that ends `GRACE` seconds before `now`, evenly spaced.

    With `undelivered`, no webhook has acknowledged their events, a minute after each. `sales` sessions a
    second are completed after that day, whose events Stripe lists. `page_times` and `event_pages` are the
    times of the answered pages of sessions, and the number of those of events.
    """

    def __init__(self, count: int, now: int, *, undelivered: bool = False, sales: float = 0.0) -> None:
        self.count = count
        self.end = now - GRACE
        self.undelivered = undelivered
        self.sales = sales
        self.page_times = array("d")
        self.event_pages = 0
        spec = SessionSpec(
            f"cs_live_{_NUMBER}",
            _CREATED,
            metadata={"userId": f"user-{_NUMBER}"},
            email=f"customer-{_NUMBER}@example.com",
            phone="+15550100",
            shipping=ShippingSpec(),
        )
        event = EventSpec(f"evt_{_NUMBER}", _CREATED, COMPLETED, spec.id)
        self._session = json.dumps(session_object(spec))
        self._event = json.dumps(event_object(event, spec))

    def number_of(self, session_id: str) -> int:
        return int(session_id.removeprefix("cs_live_"))

    def answer(self, target: str, now: float) -> bytes:
        """Return the body of a list of sessions or events at a time."""
        url = urlsplit(target)
        params = Params(url.query)
        if url.path == SESSIONS_URL:
            self.page_times.append(now)
            return _list(self._session, range(self.count), self._created, params)
        assert url.path == EVENTS_URL  # noqa: S101 - the producer needs nothing else here
        self.event_pages += 1
        if params.boolean("delivery_success") is None:
            sold = round((now - self.end) * self.sales)
            latest = range(LATEST - sold, LATEST)
            return _list(self._event, latest, lambda n: self.end + int((LATEST - n) / self.sales), params)
        undelivered = range(self.count if self.undelivered and COMPLETED in params.texts("types") else 0)
        return _list(self._event, undelivered, lambda n: self._created(n) + 60, params)

    def _created(self, n: int) -> int:
        return self.end - 60 - n * (DAY - GRACE) // self.count


def _list(template: str, numbers: range, created: Callable[[int], int], params: Params) -> bytes:
    """Return the page of a list whose numbers count from the newest to the oldest."""
    within, after = params.created(), params.text("starting_after")
    newest = float("-inf") if within.last is None else -within.last
    first = bisect.bisect_left(numbers, newest, key=lambda n: -created(n))
    if after:
        first = numbers.index(int(after.rpartition("_")[2])) + 1
    last = bisect.bisect_right(numbers, -(within.first or 0), key=lambda n: -created(n))
    shown = numbers[first : min(first + params.limit(), last)]
    rows = ",".join(
        template.replace(_NUMBER, f"{n:0{DIGITS}}").replace(str(_CREATED), str(created(n))) for n in shown
    )
    more = json.dumps(bool(shown) and first + len(shown) < last)
    return f'{{"object":"list","data":[{rows}],"has_more":{more},"url":"/"}}'.encode()
