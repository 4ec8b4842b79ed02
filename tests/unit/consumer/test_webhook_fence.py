"""Which of the webhook's markers go with an order: those of undelivered and delivered events, and claims."""

from dataclasses import replace

import pytest

from recon.config import FenceMode
from recon.domain.outcome import SkipReason
from recon.dynamodb.keys import marker_key
from recon.errors import MalformedSession, StripeRejected, StripeUnavailable
from recon.stripe.source import SessionEvent
from recon.timestamps import DAY, HOUR, MINUTE
from testkit.batches import USER, a_fetched_session, parse_log
from testkit.builders import NOW, RUN, a_message
from testkit.doubles.faults import on, throttled

COMPLETED, PAID = "checkout.session.completed", "checkout.session.async_payment_succeeded"
CREATED = NOW - 2 * HOUR
EVENT = marker_key("evt_1")


def event(event_id="evt_9", created=CREATED + MINUTE, kind=COMPLETED, session_id="cs_1"):
    return SessionEvent(event_id, kind, created, session_id)


@pytest.fixture
def night(consumer):
    """Return a function that processes the session once, and returns its outcome and what failed."""
    consumer.answers["cs_1"] = a_fetched_session("cs_1")

    def play(*, events=("evt_1",), times=(CREATED + MINUTE,), types=(COMPLETED,), receives=1, **changes):
        message = a_message(
            **{"session_id": "cs_1", "user_id": USER, "created": CREATED} | changes,
            event_ids=events,
            event_types=types,
            event_times=times,
        )
        record = consumer.receive(message, receives=receives)
        failed = consumer.process(record)
        outcome = consumer.outcome("cs_1", message.run_id)
        return outcome.get("reason") or outcome.get("outcome"), record if failed else None

    return play


def paid_at(moment):
    charge = {"id": "ch_1", "created": moment}
    return a_fetched_session(
        "cs_1", payment_intent={"id": "pi_1", "status": "succeeded", "latest_charge": charge}
    )


def use(consumer, mode):
    consumer.settings = replace(consumer.settings, webhook_fence=mode)


def read_statuses(consumer, *event_ids):
    return [consumer.item(marker_key(name)).get("status") for name in event_ids]


# Events of orders that are written


def test_undelivered_event_is_marked_with_the_order(consumer, night):
    assert night() == ("created", None)
    marker = consumer.item(EVENT)
    assert (marker["status"], marker["eventType"], marker["sessionId"]) == ("completed", COMPLETED, "cs_1")
    assert marker["orderNumber"] == consumer.orders()[0]["orderNumber"]


def test_delivered_events_of_one_page_are_marked_with_the_order(consumer, night):
    consumer.events = [event("evt_9"), event("evt_8", kind=PAID), event("evt_7", session_id="cs_other")]
    assert night(events=(), times=(), types=()) == ("created", None)
    assert read_statuses(consumer, "evt_9", "evt_8", "evt_7") == ["completed", "completed", None]
    assert consumer.item(marker_key("evt_8"))["eventType"] == PAID
    # To the end of most checkouts, since this payment has no time.
    assert consumer.event_pages == [(CREATED, CREATED + HOUR + 5 * MINUTE)]


@pytest.mark.parametrize(("paid", "until"), [(CREATED + 60, CREATED + 60 + 300), (NOW - 5, NOW)])
def test_page_ends_after_the_payment(consumer, night, paid, until):
    consumer.answers["cs_1"] = a_fetched_session(
        "cs_1",
        payment_intent={
            "id": "pi_1",
            "status": "succeeded",
            "latest_charge": {"id": "ch_1", "created": paid},
        },
    )
    night()
    assert consumer.event_pages == [(CREATED, until)]


@pytest.mark.parametrize("hours", [2, 24])
def test_event_of_a_free_session_is_searched_until_its_expiry(consumer, night, hours):
    free = {"payment_status": "no_payment_required", "amount_total": 0, "payment_intent": None}
    consumer.answers["cs_1"] = a_fetched_session("cs_1", **free)
    consumer.events = [event(created=CREATED + hours * HOUR)]
    consumer.clock.now = CREATED + 2 * DAY
    assert night(events=(), times=(), types=()) == ("created", None)
    assert read_statuses(consumer, "evt_9") == ["completed"]
    usual = CREATED + HOUR + 5 * MINUTE
    assert consumer.event_pages == [(CREATED, usual), (usual + 1, CREATED + DAY + 5 * MINUTE)]


def test_search_for_a_free_session_hides_no_payment_of_a_later_part(consumer):
    free = {"payment_status": "no_payment_required", "amount_total": 0, "payment_intent": None}
    later = CREATED + 3 * HOUR
    consumer.answers = {"cs_1": a_fetched_session("cs_1", **free), "cs_2": paid_at(later + MINUTE)}
    consumer.answers["cs_2"].session["id"] = "cs_2"
    others = [event(f"evt_{n}", CREATED + 10 * HOUR, session_id="cs_other") for n in range(100)]
    consumer.events = [*others, event("evt_late", later + MINUTE, session_id="cs_2")]
    consumer.clock.now = CREATED + 2 * DAY
    find = consumer.stripe.find_events_between
    consumer.stripe.find_events_between = lambda start, end: find(start, end)[:100]
    consumer.stripe.list_together = lambda _wanted, _pool: (part for part in ({"cs_1": {}}, {"cs_2": {}}))
    messages = [
        a_message(
            session_id=name, user_id=USER, created=created, event_ids=(), event_types=(), event_times=()
        )
        for name, created in (("cs_1", CREATED), ("cs_2", later))
    ]
    assert consumer.process(*map(consumer.receive, messages)) == []
    assert read_statuses(consumer, "evt_late") == ["completed"]


@pytest.mark.parametrize("known", ["event", "payment"])
def test_second_page_is_not_read_if_the_event_or_the_payment_is_known(consumer, night, known):
    events = {"events": (), "times": (), "types": ()}
    if known == "payment":
        consumer.answers["cs_1"] = paid_at(CREATED + 60)
    assert night(**({} if known == "event" else events)) == ("created", None)
    assert len(consumer.event_pages) == 1


def test_event_of_the_very_second_is_read(consumer, night):
    consumer.events = [event(created=NOW)]
    assert night(created=NOW, events=(), times=(), types=()) == ("created", None)
    assert read_statuses(consumer, "evt_9") == ["completed"]


def test_marker_of_a_delivered_event_stays(consumer, night):
    consumer.events = [event()]
    consumer.put(marker_key("evt_9"), status="completed", sessionId="theirs")
    assert night() == ("created", None)
    assert consumer.item(marker_key("evt_9"))["sessionId"] == "theirs"


def test_markers_of_found_orders_are_read_before_the_commit(consumer, night):
    use(consumer, FenceMode.ALL)
    consumer.put_webhook_order("cs_1")
    consumer.events = [event()]
    for name in ("evt_1", "evt_9"):
        consumer.put(marker_key(name), status="completed", sessionId="theirs")
    assert night() == ("exists", None)
    assert consumer.item(marker_key("evt_9"))["sessionId"] == "theirs"
    assert len(consumer.commits()) == 1


def test_completed_marker_is_not_put_again(consumer, night):
    consumer.put(EVENT, status="completed", note="theirs")
    assert night() == ("created", None)
    assert consumer.item(EVENT)["note"] == "theirs"
    assert len(consumer.commits()) == 1


@pytest.mark.parametrize(
    ("error", "outcome"), [(StripeUnavailable("no"), None), (StripeRejected("no"), "created")]
)
def test_order_waits_for_its_events_if_they_may_be_read_later(consumer, night, capsys, error, outcome):
    def fail(*_):
        raise error

    consumer.stripe.find_events_between = fail
    assert night()[0] == outcome
    assert read_statuses(consumer, "evt_1") == ["completed" if outcome else None]
    lines = [(line["message"], line.get("run_id")) for line in parse_log(capsys.readouterr().out)]
    assert ("Delivered events cannot be read: no", RUN) in lines


def test_found_order_does_not_wait_for_its_events(consumer, night):
    def fail(*_):
        raise StripeUnavailable("no")

    use(consumer, FenceMode.ALL)
    consumer.stripe.find_events_between = fail
    consumer.put_webhook_order("cs_1")
    assert night() == ("exists", None)


def test_session_without_an_order_marks_and_reads_nothing(consumer, night):
    consumer.answers["cs_1"] = a_fetched_session("cs_1", payment_status="unpaid")
    assert night() == ("unpaid", None)
    assert (consumer.item(EVENT), consumer.event_pages) == ({}, [])


def test_fence_that_is_off_marks_and_reads_nothing(consumer, night):
    use(consumer, FenceMode.OFF)
    consumer.events = [event()]
    consumer.put(marker_key("evt_2"), status="processing")
    assert night(events=("evt_1", "evt_2"), times=(NOW, NOW), types=()) == ("created", None)
    assert (read_statuses(consumer, "evt_1", "evt_9", "evt_2"), consumer.event_pages) == (
        [None, None, "processing"],
        [],
    )
    assert "EVENT#" not in str([call.arguments for call in consumer.dynamodb.history.calls])


# Claims


@pytest.mark.parametrize("status", ["processing", "started", "", None, 7, {"at": 5}])
def test_young_claim_sends_the_session_back_until_it_is_old(consumer, night, status):
    consumer.put(EVENT, status=status)
    outcome, record = night(times=(NOW - 5 * MINUTE,))
    assert (outcome, consumer.orders()) == (None, [])
    assert consumer.seconds_until_visible(record) == 10 * MINUTE
    consumer.clock.now += 10 * MINUTE
    assert night(times=(NOW - 5 * MINUTE,), receives=2) == ("created", None)


def test_old_claim_is_completed_with_the_order(consumer, night):
    consumer.put(EVENT, status="processing")
    assert night(times=(NOW - 15 * MINUTE,)) == ("created", None)
    marker = consumer.item(EVENT)
    assert (marker["status"], marker["source"], marker["orderCreated"]) == ("completed", "nightly_sync", True)


@pytest.mark.parametrize("marker", [{"status": "completed"}, {"status": "processed"}, {"note": "no status"}])
def test_marker_of_a_handled_event_stays_and_the_order_is_written(consumer, night, marker):
    consumer.put(EVENT, **marker)
    assert night(times=(NOW,)) == ("created", None)
    assert {name: consumer.item(EVENT)[name] for name in marker} == marker
    assert "source" not in consumer.item(EVENT)


def test_young_claim_of_a_delivered_event_sends_the_session_back(consumer, night):
    consumer.events = [event("evt_9", created=NOW - 60)]
    consumer.put(marker_key("evt_9"), status="processing")
    consumer.answers["cs_1"] = a_fetched_session(
        "cs_1",
        payment_intent={
            "id": "pi_1",
            "status": "succeeded",
            "latest_charge": {"id": "ch_1", "created": NOW - 70},
        },
    )
    assert night()[0] is None
    assert consumer.orders() == []


def test_claim_without_a_known_time_is_as_old_as_its_session(consumer, night):
    consumer.put(EVENT, status="processing")
    assert night(times=(), created=NOW - 5 * MINUTE)[0] is None
    assert night(times=(), created=NOW - 15 * MINUTE)[0] == "created"


def test_time_of_the_page_replaces_an_unknown_one(consumer, night):
    consumer.put(EVENT, status="processing")
    consumer.events = [event("evt_1", created=NOW - 60)]
    consumer.answers["cs_1"] = a_fetched_session(
        "cs_1",
        payment_intent={
            "id": "pi_1",
            "status": "succeeded",
            "latest_charge": {"id": "ch_1", "created": NOW - 70},
        },
    )
    assert night(times=())[0] is None


def test_time_in_the_future_is_not_believed(consumer, night):
    consumer.put(EVENT, status="processing")
    assert night(times=(NOW + DAY,)) == ("created", None)


@pytest.mark.parametrize(("age", "outcome"), [(MINUTE, None), (HOUR, "created")])
def test_claim_made_during_the_fetch_counts_too(consumer, night, age, outcome):
    fetch = consumer.stripe.fetch

    def fetch_while_the_webhook_claims(session_id, *listed):
        consumer.put(EVENT, status="processing")
        return fetch(session_id, *listed)

    consumer.stripe.fetch = fetch_while_the_webhook_claims
    assert night(times=(NOW - age,))[0] == outcome
    assert read_statuses(consumer, "evt_1") == ["completed" if outcome else "processing"]


def test_claim_that_ends_during_the_fetch_is_left_alone(consumer, night):
    consumer.put(EVENT, status="processing")
    fetch = consumer.stripe.fetch

    def fetch_while_the_webhook_ends(session_id, *listed):
        consumer.put(EVENT, status="completed", note="theirs")
        return fetch(session_id, *listed)

    consumer.stripe.fetch = fetch_while_the_webhook_ends
    assert night() == ("created", None)
    assert consumer.item(EVENT)["note"] == "theirs"


def test_young_claim_is_no_error_at_the_last_attempt(consumer, night):
    consumer.put(EVENT, status="processing")
    consumer.settings = replace(consumer.settings, max_receive_count=2)
    outcome, record = night(times=(NOW,), receives=2)
    assert outcome == "error"
    assert consumer.outcome("cs_1")["errorType"] == "Unfinished"
    assert consumer.seconds_until_visible(record) == 15 * MINUTE
    consumer.clock.now += 15 * MINUTE
    assert night(times=(NOW,), receives=3) == ("created", None)


# Found orders


@pytest.mark.parametrize(
    ("mode", "payment_status", "marked"),
    [
        (FenceMode.WRITTEN, "paid", []),
        (FenceMode.OFF, "paid", []),
        (FenceMode.ALL, "paid", ["evt_1", "evt_3", "evt_9"]),
        (FenceMode.ALL, None, ["evt_1", "evt_3", "evt_9"]),
        (FenceMode.ALL, "unpaid", ["evt_1", "evt_9"]),
    ],
)
def test_events_of_found_orders_are_marked_with_all_only(consumer, night, mode, payment_status, marked):
    use(consumer, mode)
    status = {"stripePaymentStatus": payment_status} if payment_status else {}
    consumer.put_webhook_order("cs_1", orderNumber="BC-7", **status)
    consumer.events = [event("evt_9")]
    old = CREATED + MINUTE
    night(
        events=("evt_1", "evt_2", "evt_3"), times=(old, NOW - HOUR, old), types=(COMPLETED, COMPLETED, PAID)
    )
    events = ["evt_1", "evt_2", "evt_3", "evt_9"]
    assert [name for name in events if consumer.item(marker_key(name))] == marked
    if marked:
        assert consumer.item(EVENT)["orderNumber"] == "BC-7"


def test_events_of_a_found_order_whose_payment_cannot_be_read_stay(consumer, night):
    use(consumer, FenceMode.ALL)
    consumer.put_webhook_order("cs_1", stripePaymentStatus="unpaid")
    consumer.answers["cs_1"] = MalformedSession("id must be a string")
    assert night()[0] == "error"
    assert read_statuses(consumer, "evt_1") == [None]


@pytest.mark.parametrize(
    ("suffixes", "end"),
    [(("x",), CREATED + HOUR), ((str(CREATED + 7),), CREATED + 7), (("x", str(CREATED + 9)), CREATED + 9)],
)
def test_page_around_found_orders_ends_after_the_time_in_their_keys(consumer, night, suffixes, end):
    use(consumer, FenceMode.ALL)
    for suffix in suffixes:
        consumer.put((f"USER#{USER}", f"ORDER#{suffix}"), orderId="cs_1", stripeSessionId="cs_1")
    assert night() == ("exists", None)
    assert consumer.event_pages == [(CREATED, end + 5 * MINUTE)]


def test_found_order_beside_a_missing_one_waits_for_its_marks(consumer):
    use(consumer, FenceMode.ALL)
    consumer.answers["cs_1"] = a_fetched_session("cs_1")
    consumer.put_webhook_order("cs_2")
    sessions = {name: {"session_id": name, "event_ids": (f"evt_{name}",)} for name in ("cs_1", "cs_2")}
    common = {"user_id": USER, "created": CREATED, "event_times": (CREATED,)}
    messages = [a_message(**common, **changes) for changes in sessions.values()]
    consumer.stripe.list_together = lambda _wanted, _pool: iter([{"cs_1": {}}])
    consumer.process(*map(consumer.receive, messages))
    assert read_statuses(consumer, "evt_cs_1", "evt_cs_2") == ["completed", "completed"]
    # The page of the found order follows that of the part which was listed.
    assert len(consumer.event_pages) == 2


def test_event_of_a_found_order_without_a_time_is_not_marked(consumer, night):
    use(consumer, FenceMode.ALL)
    consumer.put_webhook_order("cs_1")
    assert night(times=()) == ("exists", None)
    assert consumer.item(EVENT) == {}


def test_unpaid_session_with_an_unpaid_order_keeps_the_event_of_its_payment(consumer, night):
    use(consumer, FenceMode.ALL)
    consumer.put_webhook_order("cs_1", stripePaymentStatus="unpaid")
    old = (CREATED + MINUTE,) * 2
    outcome = night(events=("evt_1", "evt_2"), times=old, types=(COMPLETED, PAID), payment_status="unpaid")
    assert outcome == (SkipReason.UNPAID, None)
    assert read_statuses(consumer, "evt_1", "evt_2") == ["completed", None]


def test_order_found_right_before_the_commit_is_fenced_with_all(consumer, night):
    use(consumer, FenceMode.ALL)
    fetch = consumer.stripe.fetch

    def fetch_while_the_webhook_writes(session_id, *listed):
        consumer.put_webhook_order("cs_1", stripePaymentStatus="paid")
        return fetch(session_id, *listed)

    consumer.stripe.fetch = fetch_while_the_webhook_writes
    assert night() == ("exists", None)
    assert read_statuses(consumer, "evt_1") == ["completed"]


def test_session_without_an_order_is_not_fenced_with_all(consumer, night):
    use(consumer, FenceMode.ALL)
    assert night(user_id=None) == ("no_user", None)
    assert (consumer.item(EVENT), consumer.event_pages) == ({}, [])


# Reads


def play_batch(consumer, sessions, events, *, found):
    for number in range(sessions):
        name = f"cs_{number}"
        consumer.answers[name] = a_fetched_session(name)
        if found:
            consumer.put_webhook_order(name)
    messages = [
        a_message(
            session_id=f"cs_{n}",
            user_id=USER,
            event_ids=tuple(f"evt_{n}_{k}" for k in range(events)),
        )
        for n in range(sessions)
    ]
    assert consumer.process(*map(consumer.receive, messages)) == []
    return consumer.dynamodb.history.count("batch_get_item")


@pytest.mark.parametrize(
    ("sessions", "events", "found", "reads"),
    [
        (25, 0, True, 1),
        (25, 1, True, 1),
        (25, 0, False, 2),
        (25, 1, False, 2),
        (24, 0, False, 1),
        (24, 3, True, 1),
        (19, 1, False, 1),
        (20, 1, False, 2),
    ],
)
def test_batch_takes_one_read_where_it_fits(consumer, sessions, events, found, reads):
    assert play_batch(consumer, sessions, events, found=found) == reads
    outcomes = {consumer.outcome(f"cs_{n}").get("reason") for n in range(sessions)}
    assert outcomes == ({"exists"} if found else {None})


def test_failed_second_read_sends_the_sessions_back(consumer):
    consumer.dynamodb.plan = on("batch_get_item", throttled(), nth=tuple(range(2, 60)))
    for number in range(25):
        consumer.answers[f"cs_{number}"] = a_fetched_session(f"cs_{number}")
    consumer.put_webhook_order("cs_0")
    messages = [a_message(session_id=f"cs_{n}", user_id=f"other-{n}" if n else USER) for n in range(25)]
    # The guard of the last session, and the marker of each session without an order, do not fit.
    assert len(consumer.process(*map(consumer.receive, messages))) == 24
    assert consumer.outcome("cs_0")["reason"] == "exists"
    assert consumer.asked == []


def test_guard_put_with_its_order_after_the_lookup_is_no_removal(consumer):
    """With 25 sessions the guards are read after the orders."""
    for number in range(25):
        consumer.answers[f"cs_{number}"] = a_fetched_session(f"cs_{number}")

    def plan(call):
        if call.method == "batch_get_item" and consumer.dynamodb.history.count("query"):
            consumer.put_webhook_order("cs_24", syncRunId="another")
            consumer.put(("SESSION#cs_24", "SYNC_ORDER"), syncRunId="another")

    consumer.dynamodb.plan = plan
    messages = [a_message(session_id=f"cs_{n}", user_id=USER) for n in range(25)]
    assert consumer.process(*map(consumer.receive, messages)) == []
    assert consumer.outcome("cs_24")["reason"] == "exists"


# Many events


def test_session_with_very_many_events_gets_its_order_and_all_markers(consumer, night):
    names = tuple(f"evt_{n}" for n in range(350))
    consumer.put(marker_key("evt_200"), status="completed", note="theirs")
    assert night(events=names, times=(CREATED,) * 350, types=(COMPLETED,) * 350) == ("created", None)
    assert set(read_statuses(consumer, *names)) == {"completed"}
    sizes = [
        len(call.arguments["TransactItems"])
        for call in consumer.dynamodb.history.calls
        if call.method == "transact_write_items"
    ]
    assert max(sizes) <= 100
    assert consumer.commits()[0] == ["cs_1"]


def test_marker_completed_by_the_webhook_does_not_block_the_others(consumer, night):
    names = tuple(f"evt_{n}" for n in range(350))
    fetch = consumer.stripe.fetch

    def fetch_while_the_webhook_ends(session_id, *listed):
        consumer.put(marker_key("evt_200"), status="completed", note="theirs")
        return fetch(session_id, *listed)

    consumer.stripe.fetch = fetch_while_the_webhook_ends
    assert night(events=names, times=(CREATED,) * 350, types=(COMPLETED,) * 350) == ("created", None)
    assert set(read_statuses(consumer, *names)) == {"completed"}
    assert consumer.item(marker_key("evt_200"))["note"] == "theirs"


def test_markers_that_cannot_follow_the_order_are_a_warning(consumer, night, capsys):
    consumer.dynamodb.plan = on("transact_write_items", throttled(), nth=tuple(range(2, 60)))
    names = tuple(f"evt_{n}" for n in range(350))
    assert night(events=names, times=(), types=())[0] == "created"
    assert len(consumer.orders()) == 1
    [warning] = [line for line in parse_log(capsys.readouterr().out) if "fenced" in line["message"]]
    assert warning["message"].startswith("Not all events of the session are fenced: DynamoDB")
    assert (warning["run_id"], warning["session_id"]) == (RUN, "cs_1")
