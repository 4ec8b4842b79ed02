"""The ledger with many concurrent writers, on an engine with real transactions."""

import random
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from recon.domain.order import SnapshotContext, build_order
from recon.domain.reconcile import Outcome, SkipReason
from recon.dynamodb.dismissals import Dismissal, dismiss
from recon.dynamodb.outcomes import OutcomeWriter, Recheck, SessionResult, load_prior_state
from recon.dynamodb.records import KnownOutcome, Run
from recon.dynamodb.runs import CursorConflict, Progress, Runs
from recon.dynamodb.table import Table
from recon.retry import Deadline
from recon.timestamps import to_iso
from testkit.builders import NOW, RUN, a_line, a_session
from testkit.doubles.faults import Faulty, conflict, lost_response, on
from testkit.fake_stripe import FakeStripe, RateLimits, SessionSpec
from testkit.world import KEY, World, plain

WRITERS = 32
SESSIONS = 120


def deadline():
    return Deadline(time.monotonic() + 120, time.monotonic, time.sleep)


def commit(table):
    return OutcomeWriter(
        table, RUN, NOW, deadline(), holds_state=True, look_again=lambda results: Recheck(list(results), {})
    )


def a_run(run_id=RUN, started=NOW):
    return Run(run_id, "scheduled", to_iso(started), 25, NOW - 25 * 3600, NOW, max_sessions=500)


@pytest.fixture
def table(real_dynamodb, real_table):
    return Table(real_dynamodb, real_table)


@pytest.fixture
def items(real_dynamodb, real_table):
    def read():
        pages = real_dynamodb.get_paginator("scan").paginate(TableName=real_table, ConsistentRead=True)
        return [plain(item) for page in pages for item in page["Items"]]

    return read


def order_for(session_id):
    session = a_session(id=session_id, metadata={"userId": f"u{session_id[-1]}"})
    return build_order(session, [a_line()], f"u{session_id[-1]}", SnapshotContext(RUN, NOW))


def results_for(ids, rng):
    """Yield the same results in random order: a third each created, skipped and in error."""
    for session_id in rng.sample(ids, len(ids)):
        made = SessionResult(session_id, Outcome.CREATED, 1, f"m-{uuid.uuid4()}", order=order_for(session_id))
        match int(session_id[-3:]) % 3:
            case 0:
                yield made
            case 1:
                yield replace(made, outcome=Outcome.SKIPPED, reason=SkipReason.NO_USER, order=None)
            case _:
                yield replace(made, outcome=Outcome.ERROR, order=None, error=ValueError("x"))


def test_concurrent_commits_have_exact_totals(table, items):
    Runs(table, deadline()).start(a_run(), NOW)
    ids = [f"cs_test_{n:03}" for n in range(SESSIONS)]
    start = threading.Barrier(WRITERS)
    applied = Counter()
    lock = threading.Lock()

    def write(seed):
        rng = random.Random(seed)
        results = list(results_for(ids, rng))
        start.wait()
        while results:
            size = rng.randint(1, 25)
            batch, results = results[:size], results[size:]
            committed = commit(table)(batch)
            assert not committed.failed
            with lock:
                applied.update(
                    r.session_id for r in committed.applied.values() if r.outcome is not Outcome.ERROR
                )

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    everything = items()
    orders = [item["orderId"] for item in everything if item["SK"].startswith("ORDER#")]
    assert sorted(orders) == [session_id for session_id in ids if int(session_id[-3:]) % 3 == 0]
    assert set(applied.values()) == {1}  # one writer applied it, the others found it settled
    assert read_counters(items) == (120, 40, 40, 40)


def test_concurrent_corrections_count_once(table, items):
    Runs(table, deadline()).start(a_run(), NOW)
    failed = SessionResult("cs_test_000", Outcome.ERROR, 1, "m0", error=ValueError("x"))
    commit(table)([failed])
    made = SessionResult(
        "cs_test_000",
        Outcome.CREATED,
        1,
        "m1",
        order=order_for("cs_test_000"),
        previous=KnownOutcome(Outcome.ERROR),
    )

    def correct(_):
        return commit(table)([made])

    with ThreadPoolExecutor(WRITERS) as pool:
        done = list(pool.map(correct, range(WRITERS)))
    assert sum(len(committed.applied) for committed in done) == 1
    assert sum(len(committed.settled) for committed in done) == WRITERS - 1
    assert read_counters(items) == (1, 1, 0, 0)


def test_one_of_many_producers_moves_the_cursor(table):
    runs = Runs(table, deadline())
    run = runs.start(a_run(), NOW)

    def move(_):
        try:
            runs.advance(run, Progress(cursor=NOW - 3600, sent=100, listed=False), NOW)
        except CursorConflict:
            return 0
        return 1

    with ThreadPoolExecutor(WRITERS) as pool:
        assert sum(pool.map(move, range(WRITERS))) == 1
    assert runs.get(RUN).enqueued == 100


def test_one_of_many_consumers_finishes_a_run(table, items):
    runs = Runs(table, deadline())
    run = runs.start(a_run(), NOW)
    runs.advance(run, Progress(cursor=NOW, sent=0, listed=True), NOW)
    with ThreadPoolExecutor(WRITERS) as pool:
        finished = [
            run for run in pool.map(lambda _: runs.finish_if_complete(RUN, NOW), range(WRITERS)) if run
        ]
    assert len(finished) == 1
    state = next(item for item in items() if item["SK"] == "STRIPE_ORDER_SYNC")
    assert (state["lastSyncStatus"], state["lastSyncCompletedAt"]) == ("done", to_iso(NOW))


def test_concurrent_ends_move_the_watermark_to_the_latest(table, items):
    runs = Runs(table, deadline())
    for n in range(WRITERS):
        run = runs.start(replace(a_run(f"run-{n}", NOW + n), covers_through=NOW + n), NOW)
        runs.advance(run, Progress(cursor=NOW, sent=0, listed=True), NOW)
    with ThreadPoolExecutor(WRITERS) as pool:
        ended = list(pool.map(lambda n: runs.finish_if_complete(f"run-{n}", NOW), range(WRITERS)))
    assert all(ended)
    state = next(item for item in items() if item["SK"] == "STRIPE_ORDER_SYNC")
    assert state["lastCoveredThrough"] == NOW + WRITERS - 1
    assert state["lastSyncStatus"] == "done"


def test_latest_of_concurrent_starts_owns_the_state(table, items):
    def start(n):
        Runs(table, deadline()).start(a_run(f"run-{n}", NOW + n), NOW)

    order = list(range(WRITERS))
    random.Random(3).shuffle(order)
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(start, order))
    everything = items()
    state = next(item for item in everything if item["SK"] == "STRIPE_ORDER_SYNC")
    assert state["lastSyncRunId"] == f"run-{WRITERS - 1}"
    assert sum(item["SK"].startswith("STRIPE_ORDER_SYNC#") for item in everything) == WRITERS


def a_dismissal(session_id="cs_test_000"):
    return Dismissal(RUN, session_id, "jane", "a test order", "m0", 4999, "eur")


def read_counters(items):
    """Return (processed, created, skipped, errors) of the run, which must be those of the state."""
    everything = items()
    run = next(item for item in everything if item["SK"] == f"STRIPE_ORDER_SYNC#{RUN}")
    state = next(item for item in everything if item["SK"] == "STRIPE_ORDER_SYNC")
    names = ("processed", "created", "skipped", "errors")
    assert [run.get(name, 0) for name in names] == [state[f"lastSync{n.capitalize()}"] for n in names]
    return tuple(run.get(name, 0) for name in names)


def read_outcome(items, session_id="cs_test_000"):
    return next(item for item in items() if item["SK"] == f"SESSION#{session_id}")


@pytest.mark.parametrize("failed_before", [True, False])
def test_concurrent_dismissals_count_once(table, items, failed_before):
    Runs(table, deadline()).start(a_run(), NOW)
    if failed_before:
        commit(table)([SessionResult("cs_test_000", Outcome.ERROR, 3, "m0", error=ValueError("x"))])

    with ThreadPoolExecutor(WRITERS) as pool:
        stood = list(pool.map(lambda _: dismiss(table, a_dismissal(), NOW, deadline()), range(WRITERS)))
    assert stood.count(None) == 1
    assert {item["reason"] for item in stood if item} == {"dismissed"}
    assert read_counters(items) == (1, 0, 1, 0)
    outcome = read_outcome(items)
    assert (outcome["outcome"], outcome["dismissedBy"], outcome["messageId"]) == ("skipped", "jane", "m0")
    assert outcome["attempts"] == (3 if failed_before else 0)
    assert outcome.get("errorType") == ("ValueError" if failed_before else None)


def test_dismissals_and_commits_of_one_session_count_once(table, items):
    """The first one determines the outcome. An order exists only if that was a commit."""
    Runs(table, deadline()).start(a_run(), NOW)
    ids = [f"cs_test_{n:03}" for n in range(40)]
    commit(table)([SessionResult(name, Outcome.ERROR, 1, "m0", error=ValueError("x")) for name in ids[::2]])
    start = threading.Barrier(2)

    def consume():
        start.wait()
        for name in ids:
            read = load_prior_state(table, [(RUN, name)], deadline()).outcomes.get((RUN, name))
            if read and read.is_final:
                continue
            made = SessionResult(name, Outcome.CREATED, 1, "m1", order=order_for(name), previous=read)
            assert not commit(table)([made]).failed

    def purge():
        start.wait()
        for name in reversed(ids):
            dismiss(table, a_dismissal(name), NOW, deadline())

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(consume), pool.submit(purge)]:
            done.result()
    everything = items()
    orders = {item["orderId"] for item in everything if item["SK"].startswith("ORDER#")}
    outcomes = {
        item["SK"].removeprefix("SESSION#"): item["outcome"]
        for item in everything
        if item["SK"].startswith("SESSION#")
    }
    created = {name for name, outcome in outcomes.items() if outcome == "created"}
    assert set(outcomes) == set(ids)
    assert orders == created
    assert read_counters(items) == (len(ids), len(created), len(ids) - len(created), 0)


def test_prior_state_of_a_batch_is_one_read(table, real_dynamodb, real_table):
    Runs(table, deadline()).start(a_run(), NOW)
    failed = SessionResult("cs_test_000", Outcome.ERROR, 4, "m0", error=ValueError("x"))
    commit(table)([failed])
    recorded = Faulty(real_dynamodb)
    known = load_prior_state(
        Table(recorded, real_table), [(RUN, f"cs_test_{n:03}") for n in range(25)], deadline()
    )
    assert known.state_run_id == RUN
    assert known.outcomes == {(RUN, "cs_test_000"): KnownOutcome(Outcome.ERROR, "ValueError", "m0")}
    assert recorded.history.count("batch_get_item") == 1


@pytest.mark.parametrize("fault", [lost_response(), conflict()], ids=lambda fault: fault.name)
def test_retried_commit_and_dismissal_count_once(real_dynamodb, real_table, items, fault):
    faulty = Faulty(real_dynamodb, on("transact_write_items", fault, nth=[2, 3, 5, 6]))
    table = Table(faulty, real_table)
    Runs(table, deadline()).start(a_run(), NOW)
    made = SessionResult("cs_test_001", Outcome.CREATED, 1, "m1", order=order_for("cs_test_001"))
    assert list(commit(table)([made]).applied) == ["cs_test_001"]
    assert dismiss(table, a_dismissal(), NOW, deadline()) is None
    assert faulty.history.faults() == {fault.name: 4}
    assert read_counters(items) == (2, 1, 1, 0)


def test_whole_night_on_the_real_engine(real_dynamodb, real_table):
    """Run a night with repeat customers, webhook orders, duplicate messages and several batches."""
    with FakeStripe(KEY, limits=RateLimits(None, None)) as stripe:
        world = World(stripe, real_dynamodb, real_table)
        for n in range(120):
            session = world.sells(
                SessionSpec(f"cs_test_{n:03}", NOW - 9000 + n, metadata={"userId": f"u{n % 5}"})
            )
            if n % 3:
                world.webhook_writes(session.id, f"u{n % 5}", session.created + 45, status="shipped")
        before = sorted(map(str, world.orders()))
        world.body()
        for body in world.memory_sqs.bodies(world.queue)[:40]:
            world.sends(body)
        world.drain()
        assert world.counters() == world.state_counters() == (120, 120, 40, 80, 0)
        assert Counter(order["orderId"] for order in world.orders()).most_common(1)[0][1] == 1
        assert len(world.orders()) == 120
        assert sorted(str(order) for order in world.orders() if "source" not in order) == before
        assert world.run()["status"] == "done"
        world.close()
