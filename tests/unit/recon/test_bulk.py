"""Sessions that lists bring: as if fetched one by one, in fewer requests, and never without a way back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from threading import Event, Timer

import pytest

from consumer.stripe_decision import decide_from_stripe
from recon.config import Settings
from recon.domain.message import build_message, dumps, loads
from recon.domain.user_ids import UserIdRules
from recon.stripe.bulk import PART, PRODUCT_LIFE, Products, read_together, select_dense
from recon.stripe.connection import StripeConnection
from recon.stripe.key import StripeKey
from recon.stripe.pages import Page
from recon.stripe.rate_limiter import RateLimiter
from recon.stripe.source import StripeSource
from testkit.builders import NOW, FakeTime
from testkit.fake_stripe import Endpoint, LineSpec, SessionSpec
from testkit.fake_stripe.objects import session_object
from testkit.shop import make_shop

KEY = "sk_test_right"
SETTINGS = Settings(table="t", queue_url="q", stripe_secret=KEY)


@pytest.fixture
def clock():
    return FakeTime()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.fixture
def timeout():
    """Return how long a request may take: more than a busy machine needs."""
    return 30.0


@pytest.fixture
def make_source(stripe, clock, timeout):
    """Return the source of a new invocation of one process."""
    key = StripeKey(SETTINGS, lambda: None)
    connection = StripeConnection(
        key, RateLimiter(10_000, clock), timeout=timeout, clock=clock, api_base=stripe.url
    )
    yield lambda: StripeSource(connection, clock.deadline(60.0), lambda: None)
    connection.close()


@pytest.fixture
def together(make_source, pool):
    """List sessions together, as one invocation."""

    def read(specs, source=None):
        return list_whole(source or make_source(), specs, pool)

    return read


@pytest.mark.parametrize(
    ("lost", "selected"),
    [
        # A page of Stripe's list would bring one or two of them.
        (range(0, 200, 25), set()),
        # A webhook that was down for a while, and a few losses elsewhere.
        ({3, 120, 160, *range(60, 75)}, set(range(60, 75))),
        (range(10, 60, 10), set()),
        (range(50, 100, 10), set(range(50, 100, 10))),
        # The oldest ten have no other neighbours.
        ({199, 209}, {209}),
        (range(210), set(range(210))),
    ],
)
def test_only_sessions_that_are_many_among_their_neighbours_are_selected(lost, selected):
    # No session's id says when it was created.
    batch = {str(number * 37 % 211): NOW - 60 * number for number in reversed(range(210))}
    dense = select_dense(batch, {str(number * 37 % 211) for number in lost})
    assert sorted(dense.values()) == sorted(NOW - 60 * number for number in selected)
    assert dense.items() <= batch.items()


def list_whole(source, specs, pool):
    parts = list(source.list_together({spec.id: spec.created for spec in specs}, pool))
    if len(specs) < PART:
        assert len(parts) <= 1
    # Each session is in exactly one part.
    assert sorted(name for part in parts for name in part) == sorted(spec.id for spec in specs)
    return {name: session for part in parts for name, session in part.items() if session}


def some_sessions(count, *, step=60, **changes):
    # No id says when its session was created.
    return [SessionSpec(f"cs_test_{n * 37 % 9973:04}", NOW - n * step, **changes) for n in range(count)]


def requests(stripe):
    return stripe.calls.count(Endpoint.LIST), stripe.calls.count(Endpoint.PRODUCTS)


@dataclass
class Lists:
    """Lists without products. `list_expanded` is called with the oldest and newest second of a span."""

    list_expanded: Callable[[int, int], Page]

    def list_products(self, ids):
        return []


def list_rows(size):
    lines = {"data": [], "has_more": False}
    return [{"id": f"cs_{n}", "created": n, "line_items": lines} for n in range(size, 0, -1)]


def read_rows(lists, rows, pool):
    wanted = {row["id"]: row["created"] for row in rows}
    return read_together(lists, Products(lambda: 0.0), wanted, pool)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_listed_sessions_are_decided_as_if_each_was_fetched(seed, stripe, make_source, pool):
    shop = make_shop(150, seed, NOW)
    stripe.store.add_all(shop.sessions)
    source = make_source()
    listed = list_whole(source, shop.sessions, pool)
    assert len(listed) > 120
    for spec in shop.sessions:
        message = loads(dumps(build_message(session_object(spec), "run", UserIdRules())))
        if not message.user_id:
            continue
        ways = [
            decide_from_stripe(source, message, SETTINGS, lambda: NOW, listed=way)
            for way in (None, listed.get(spec.id))
        ]
        assert ways[0] == ways[1]


def test_close_sessions_take_a_page_for_each_hundred(stripe, together):
    specs = some_sessions(400)
    stripe.store.add_all(specs)
    assert len(together(specs)) == 400
    assert requests(stripe) == (4, 1)


@pytest.mark.parametrize(
    ("between", "lists", "brought"),
    [(1, 1, 30), (4, 2, 30), (30, 8, 30), (99, 15, 30), (100, 1, 1), (500, 1, 0)],
)
def test_scattered_sessions_cost_one_request_more_at_most(between, lists, brought, stripe, together):
    stripe.store.add_all(specs := some_sessions(30 * between))
    wanted = specs[::between]
    listed = together(wanted)
    products = requests(stripe)[1]
    # From 100 on, the first page shows that no other would bring two.
    assert (requests(stripe)[0], len(listed)) == (lists, brought)
    assert products <= 1
    assert lists + products + len(wanted) - len(listed) <= len(wanted) + 1


def test_line_that_is_no_object_is_left_for_its_reader_to_name(pool):
    rows = [
        {"id": f"cs_{n}", "created": n, "line_items": {"data": ["x"], "has_more": False}}
        for n in range(5, 0, -1)
    ]
    lists = Lists(lambda _from, _to: Page(rows, has_more=False))
    assert list(read_rows(lists, rows, pool)) == [{row["id"]: row for row in rows}]


def test_page_is_asked_for_no_older_sessions_than_are_wanted(pool):
    """An expanded session costs Stripe several times the time of another."""
    rows, spans = list_rows(40), []
    lists = Lists(lambda *span: spans.append(span) or Page(rows, has_more=False))
    assert [len(part) for part in read_rows(lists, rows, pool)] == [40]
    assert spans == [(1, 40)]


def test_reader_that_stops_awaits_and_cancels_requests(pool):
    rows, may_end, calls, began, ended = list_rows(1_000), Event(), count(), [], []

    def list_expanded(oldest, newest):
        if next(calls):
            began.append(newest)
            may_end.wait(timeout=60)
            ended.append(newest)
        return Page([row for row in rows if oldest <= row["created"] <= newest], has_more=False)

    parts = read_rows(Lists(list_expanded), rows, pool)
    assert len(next(parts)) == 100
    Timer(0.05, may_end.set).start()
    parts.close()
    assert began
    assert sorted(ended) == sorted(began)


def test_sessions_are_yielded_before_the_last_page_has_come(stripe, make_source, pool):
    stripe.store.add_all(specs := some_sessions(600))
    parts = make_source().list_together({spec.id: spec.created for spec in specs[::2]}, pool)
    first = next(parts)
    assert PART <= len(first) < 300
    parts.close()
    # No thread goes on to ask Stripe.
    asked = requests(stripe)
    assert set(first) <= {spec.id for spec in specs[::2]}
    assert requests(stripe) == asked


@pytest.mark.parametrize(("count", "lists"), [(4, 0), (5, 1)])
def test_few_sessions_are_not_listed(stripe, make_source, pool, count, lists):
    stripe.store.add_all(specs := some_sessions(count))
    listed = list(make_source().list_together({spec.id: spec.created for spec in specs}, pool))
    assert (len(listed), requests(stripe)) == (lists, (lists, lists))


def test_only_wanted_sessions_are_returned(stripe, together):
    stripe.store.add_all(specs := some_sessions(40))
    assert set(together(specs[::2])) == {spec.id for spec in specs[::2]}


@pytest.mark.parametrize(
    "left",
    [
        {"lines": tuple(LineSpec(f"Item {n}") for n in range(11))},
        {"lines": (LineSpec(product="deleted"),)},
        {"status": "open"},
    ],
    ids=["more lines than are embedded", "deleted product", "not complete"],
)
def test_session_that_is_not_whole_is_left_to_its_own_request(left, stripe, together):
    specs = some_sessions(20)
    stripe.store.add_all([*specs[1:], replace(specs[0], **left)])
    assert set(together(specs)) == {spec.id for spec in specs[1:]}


@pytest.mark.parametrize("places", [(3, 140), (3, 148, 149)])
def test_unknown_session_is_left_to_its_own_request(stripe, together, places):
    specs = some_sessions(150)
    unknown = {specs[place].id for place in places}
    stripe.store.add_all(spec for spec in specs if spec.id not in unknown)
    assert set(together(specs)) == {spec.id for spec in specs} - unknown
    assert requests(stripe)[0] == 2


def test_unknown_sessions_of_a_full_page_are_not_asked_for_again(stripe, together):
    specs = some_sessions(150)
    stripe.store.add_all(specs[:50:2])
    stripe.store.add_all(specs[50:])
    wanted = [*specs[1:50:2], *specs[50:60]]
    assert set(together(wanted)) == {spec.id for spec in specs[50:60]}
    assert requests(stripe)[0] == 1


def test_sessions_of_the_last_second_of_a_page_are_read_by_the_next(stripe, together):
    specs = [replace(spec, created=NOW - n // 3 * 60) for n, spec in enumerate(some_sessions(150))]
    stripe.store.add_all(specs)
    assert len(together([specs[0], *specs[60:]])) == 91
    assert requests(stripe)[0] == 2


def test_sessions_of_one_second_beyond_the_page_are_left_or_read(stripe, together):
    stripe.store.add_all(specs := some_sessions(260, step=0))
    listed = together(specs)
    assert listed.keys() <= {spec.id for spec in specs}
    assert len(listed) >= 100


@pytest.mark.parametrize("fault", ["server_error", "drop", "forbidden", "unauthorized"])
def test_refused_page_is_not_asked_for_again(fault, stripe, together):
    stripe.store.add_all(specs := some_sessions(40))
    getattr(stripe.faults, fault)(endpoint=Endpoint.LIST)
    assert together(specs) == {}
    assert requests(stripe)[0] == 1


def test_throttled_page_is_asked_for_again(stripe, together):
    stripe.store.add_all(specs := some_sessions(40))
    stripe.faults.rate_limit(endpoint=Endpoint.LIST, times=2)
    assert len(together(specs)) == 40


@pytest.mark.parametrize("timeout", [0.5])
def test_late_page_is_not_waited_for_twice(stripe, together, timeout):
    stripe.store.add_all(specs := some_sessions(20))
    stripe.faults.latency(2 * timeout, endpoint=Endpoint.LIST)
    began = []
    stripe.on_request = began.append
    assert together(specs) == {}
    assert len(began) == 1


def test_unreadable_products_leave_all_sessions_to_their_own_request(stripe, together):
    stripe.store.add_all(specs := some_sessions(20))
    stripe.faults.forbidden(endpoint=Endpoint.PRODUCTS)
    assert together(specs) == {}


def test_products_are_read_once_in_five_minutes(stripe, together, clock):
    stripe.store.add_all(specs := some_sessions(20))
    together(specs)
    together(specs)
    assert requests(stripe)[1] == 1
    clock.now += PRODUCT_LIFE
    together(specs)
    assert requests(stripe)[1] == 2


def test_old_products_are_forgotten(clock):
    products = Products(clock)
    products.put([{"id": "prod_1"}])
    clock.now += PRODUCT_LIFE - 1
    products.put([{"id": "prod_2"}])
    assert (products.find("prod_1"), products.find("prod_2")) == ({"id": "prod_1"}, {"id": "prod_2"})
    clock.now += 1
    assert products.find("prod_1") is None
    products.put([])
    clock.now -= 1
    assert (products.find("prod_1"), products.find("prod_2")) == (None, {"id": "prod_2"})


def test_more_products_than_a_request_takes_are_read_in_several(stripe, together):
    specs = [replace(spec, lines=(LineSpec(f"Print {spec.id}"),)) for spec in some_sessions(120)]
    stripe.store.add_all(specs)
    assert len(together(specs)) == 120
    assert requests(stripe)[1] == 2


def test_key_without_optional_permissions_lists_once_that_is_known(stripe, make_source, together):
    stripe.store.add_all(specs := some_sessions(20))
    stripe.faults.forbidden(expanding="payment_intent.review")
    source = make_source()
    assert together(specs, source) == {}
    fetched = source.fetch(specs[0].id)
    listed = together(specs, source)
    assert len(listed) == 20
    again = source.fetch(specs[0].id, listed[specs[0].id])
    assert (again.details_known, again.payment) == (fetched.details_known, fetched.payment)
