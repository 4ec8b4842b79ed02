"""The ledger under many writers, on an engine with real transactions: every total exact, everything once."""

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
from recon.dynamodb.outcome_writer import OutcomeWriter, Recheck
from recon.dynamodb.outcomes import load_prior_state
from recon.dynamodb.records import OutcomeRecord, Run
from recon.dynamodb.runs import CursorConflict, Progress, Runs
from recon.dynamodb.session_result import SessionResult
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


def order_of(session_id):
    session = a_session(id=session_id, metadata={"userId": f"u{session_id[-1]}"})
    return build_order(session, [a_line()], f"u{session_id[-1]}", SnapshotContext(RUN, NOW))


def results_for(ids, rng):
    """Every writer decides alike, as consumers do: a third each is created, skipped and in error."""
    for session_id in rng.sample(ids, len(ids)):
        made = SessionResult(session_id, Outcome.CREATED, 1, f"m-{uuid.uuid4()}", order=order_of(session_id))
        match int(session_id[-3:]) % 3:
            case 0:
                yield made
            case 1:
                yield replace(made, outcome=Outcome.SKIPPED, reason=SkipReason.NO_USER, order=None)
            case _:
                yield replace(made, outcome=Outcome.ERROR, order=None, error=ValueError("x"))


def test_totals_are_exact_and_each_outcome_and_order_is_there_once(table, items):
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
            committed = commit(table).write(batch)
            assert not committed.failed
            with lock:
                applied.update(
                    r.session_id for r in committed.applied.values() if r.outcome is not Outcome.ERROR
                )

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    everything = items()
    orders = [item["orderId"] for item in everything if item["SK"].startswith("ORDER#")]
    run = next(item for item in everything if item["SK"] == f"STRIPE_ORDER_SYNC#{RUN}")
    state = next(item for item in everything if item["SK"] == "STRIPE_ORDER_SYNC")
    assert sorted(orders) == [session_id for session_id in ids if int(session_id[-3:]) % 3 == 0]
    assert set(applied.values()) == {1}  # one writer applied it, all others found it settled
    assert [run[name] for name in ("processed", "created", "skipped", "errors")] == [120, 40, 40, 40]
    assert [state[f"lastSync{name}"] for name in ("Processed", "Created", "Skipped", "Errors")] == [
        120,
        40,
        40,
        40,
    ]


def test_an_error_corrected_by_many_at_once_is_corrected_once(table, items):
    Runs(table, deadline()).start(a_run(), NOW)
    failed = SessionResult("cs_test_000", Outcome.ERROR, 1, "m0", error=ValueError("x"))
    commit(table).write([failed])
    made = SessionResult(
        "cs_test_000",
        Outcome.CREATED,
        1,
        "m1",
        order=order_of("cs_test_000"),
        previous=OutcomeRecord("cs_test_000", Outcome.ERROR),
    )

    def correct(_):
        return commit(table).write([made])

    with ThreadPoolExecutor(WRITERS) as pool:
        done = list(pool.map(correct, range(WRITERS)))
    assert sum(len(committed.applied) for committed in done) == 1
    assert sum(len(committed.settled) for committed in done) == WRITERS - 1
    run = next(item for item in items() if item["SK"] == f"STRIPE_ORDER_SYNC#{RUN}")
    assert [run[name] for name in ("processed", "created", "skipped", "errors")] == [1, 1, 0, 0]


def test_of_many_producers_at_one_cursor_one_moves_it(table):
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


def test_of_many_that_find_a_run_through_one_finishes_it(table, items):
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


def test_runs_that_end_at_once_move_the_watermark_to_the_latest_and_only_forward(table, items):
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


def test_runs_that_start_at_once_leave_the_state_to_the_one_that_started_last(table, items):
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


def counted(items):
    """(processed, created, skipped, errors) of the run and of the state, which have to agree."""
    everything = items()
    run = next(item for item in everything if item["SK"] == f"STRIPE_ORDER_SYNC#{RUN}")
    state = next(item for item in everything if item["SK"] == "STRIPE_ORDER_SYNC")
    names = ("processed", "created", "skipped", "errors")
    assert [run.get(name, 0) for name in names] == [state[f"lastSync{n.capitalize()}"] for n in names]
    return tuple(run.get(name, 0) for name in names)


def outcome_of(items, session_id="cs_test_000"):
    return next(item for item in items() if item["SK"] == f"SESSION#{session_id}")


@pytest.mark.parametrize("failed_before", [True, False])
def test_a_session_dismissed_by_many_at_once_is_dismissed_once(table, items, failed_before):
    Runs(table, deadline()).start(a_run(), NOW)
    if failed_before:
        commit(table).write([SessionResult("cs_test_000", Outcome.ERROR, 3, "m0", error=ValueError("x"))])

    with ThreadPoolExecutor(WRITERS) as pool:
        stood = list(pool.map(lambda _: dismiss(table, a_dismissal(), NOW, deadline()), range(WRITERS)))
    assert stood.count(None) == 1
    assert {item["reason"] for item in stood if item} == {"dismissed"}
    assert counted(items) == (1, 0, 1, 0)
    outcome = outcome_of(items)
    assert (outcome["outcome"], outcome["dismissedBy"], outcome["messageId"]) == ("skipped", "jane", "m0")
    assert outcome["attempts"] == (3 if failed_before else 0)
    assert outcome.get("errorType") == ("ValueError" if failed_before else None)


def test_of_dismissals_and_commits_of_the_same_sessions_one_counts_for_each(table, items):
    """Whoever is first makes the outcome; an order is there exactly where that was a commit."""
    Runs(table, deadline()).start(a_run(), NOW)
    ids = [f"cs_test_{n:03}" for n in range(40)]
    commit(table).write(
        [SessionResult(name, Outcome.ERROR, 1, "m0", error=ValueError("x")) for name in ids[::2]]
    )
    start = threading.Barrier(2)

    def consume():
        start.wait()
        for name in ids:
            read = load_prior_state(table, [(RUN, name)], deadline()).outcomes.get((RUN, name))
            if read and read.is_final:
                continue
            made = SessionResult(name, Outcome.CREATED, 1, "m1", order=order_of(name), previous=read)
            assert not commit(table).write([made]).failed

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
    assert counted(items) == (len(ids), len(created), len(ids) - len(created), 0)


@pytest.mark.parametrize("fault", [lost_response(), conflict()], ids=lambda fault: fault.name)
def test_a_dismissal_whose_answer_is_lost_or_that_conflicts_is_made_once(
    real_dynamodb, real_table, items, fault
):
    faulty = Faulty(real_dynamodb, on("transact_write_items", fault, nth=[3, 4]))
    table = Table(faulty, real_table)
    Runs(table, deadline()).start(a_run(), NOW)
    commit(table).write([SessionResult("cs_test_000", Outcome.ERROR, 1, "m0", error=ValueError("x"))])
    assert dismiss(table, a_dismissal(), NOW, deadline()) is None
    assert counted(items) == (1, 0, 1, 0)


def test_what_a_batch_needs_to_know_is_one_read(table, real_dynamodb, real_table):
    Runs(table, deadline()).start(a_run(), NOW)
    failed = SessionResult("cs_test_000", Outcome.ERROR, 4, "m0", error=ValueError("x"))
    commit(table).write([failed])
    recorded = Faulty(real_dynamodb)
    known = load_prior_state(
        Table(recorded, real_table), [(RUN, f"cs_test_{n:03}") for n in range(25)], deadline()
    )
    assert known.state_run_id == RUN
    [outcome] = known.outcomes.values()
    assert (outcome.outcome, outcome.error_type, outcome.message_id) == ("error", "ValueError", "m0")
    assert recorded.history.count("batch_get_item") == 1


@pytest.mark.parametrize("fault", [lost_response(), conflict()], ids=lambda fault: fault.name)
def test_a_commit_whose_answer_is_lost_or_that_conflicts_is_made_once(
    real_dynamodb, real_table, items, fault
):
    faulty = Faulty(real_dynamodb, on("transact_write_items", fault, nth=[2, 3]))
    table = Table(faulty, real_table)
    Runs(table, deadline()).start(a_run(), NOW)
    made = SessionResult("cs_test_000", Outcome.CREATED, 1, "m1", order=order_of("cs_test_000"))
    committed = commit(table).write([made])
    assert list(committed.applied) == ["cs_test_000"]
    run = next(item for item in items() if item["SK"] == f"STRIPE_ORDER_SYNC#{RUN}")
    assert (run["processed"], run["created"]) == (1, 1)


def test_a_whole_night_on_the_real_engine(real_dynamodb, real_table):
    """Repeat customers, webhook orders under their own keys, duplicates, and several batches."""
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
