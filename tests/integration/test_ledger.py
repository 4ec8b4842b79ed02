"""The ledger under many writers on an engine with real transactions: exact totals, everything once."""

import random
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from recon.domain.order import SnapshotContext, build_order
from recon.domain.outcome import Outcome, SkipReason
from recon.domain.run import Listing, Part
from recon.dynamodb.dismissals import Dismissal, dismiss
from recon.dynamodb.keys import STATE_KEY, outcome_key, run_key
from recon.dynamodb.outcome_writer import OutcomeWriter, Recheck
from recon.dynamodb.outcomes import load_prior_state
from recon.dynamodb.records import OutcomeRecord
from recon.dynamodb.runs import CursorConflict, Progress, Runs
from recon.dynamodb.session_result import SessionResult
from recon.dynamodb.table import Table
from recon.retry import Deadline
from recon.timestamps import to_iso
from testkit.builders import NOW, RUN, a_line, a_session
from testkit.doubles.faults import Faulty, conflict, lost_response, on
from testkit.fake_stripe import FakeStripe, RateLimits, SessionSpec
from testkit.runs import a_run
from testkit.world import KEY, World, plain
from tests.proofs import PROVE_ALL

WRITERS = 32
SESSIONS = 120 if PROVE_ALL else 45
SESSION = "cs_test_000"
LISTED = Progress(cursor=NOW, sent=0, listed=True)


def deadline():
    return Deadline(time.monotonic() + 120, time.monotonic, time.sleep)


@pytest.fixture
def table(real_dynamodb, real_table):
    return Table(real_dynamodb, real_table)


@pytest.fixture
def runs(table):
    return Runs(table, deadline())


@pytest.fixture
def items(real_dynamodb, real_table):
    """Return a reader of the whole table, by key."""

    def read():
        pages = real_dynamodb.get_paginator("scan").paginate(TableName=real_table, ConsistentRead=True)
        found = [plain(item) for page in pages for item in page["Items"]]
        return {(item["PK"], item["SK"]): item for item in found}

    return read


@pytest.fixture
def counters(items):
    """Return a reader of processed, created, skipped and errors, which run and state must agree on."""

    def read():
        run, state = (items()[key] for key in (run_key(RUN), STATE_KEY))
        names = ("processed", "created", "skipped", "errors")
        counted = [run.get(name, 0) for name in names]
        assert counted == [state[f"lastSync{name.capitalize()}"] for name in names]
        return tuple(counted)

    return read


def in_parallel(act, arguments=range(WRITERS)):
    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(act, arguments))


def write(table, *results):
    writer = OutcomeWriter(
        table, RUN, NOW, deadline(), holds_state=True, look_again=lambda results: Recheck(list(results), {})
    )
    return writer.write(results)


def dismiss_session(table, session_id=SESSION):
    return dismiss(
        table, Dismissal(RUN, session_id, "jane", "a test order", "m0", 4999, "eur"), NOW, deadline()
    )


def created(session_id=SESSION, **changes):
    user = f"u{session_id[-1]}"
    session = a_session(id=session_id, metadata={"userId": user})
    order = build_order(session, [a_line()], user, SnapshotContext(RUN, NOW))
    return replace(SessionResult(session_id, Outcome.CREATED, 1, "m1", order=order), **changes)


def failed(session_id=SESSION, attempts=1):
    return SessionResult(session_id, Outcome.ERROR, attempts, "m0", error=ValueError("x"))


def results_of_writer(ids, rng):
    """Yield the same decisions for every writer, in its own order: created, skipped, error in turn."""
    for session_id in rng.sample(ids, len(ids)):
        result = created(session_id, message_id=f"m-{uuid.uuid4()}")
        match int(session_id[-3:]) % 3:
            case 0:
                yield result
            case 1:
                yield replace(result, outcome=Outcome.SKIPPED, reason=SkipReason.NO_USER, order=None)
            case _:
                yield result.to_error(ValueError("x"))


def test_many_writers_write_each_outcome_and_order_once(table, runs, items, counters):
    runs.start(a_run(), NOW)
    ids = [f"cs_test_{n:03}" for n in range(SESSIONS)]
    start = threading.Barrier(WRITERS)

    def write_all(seed):
        rng = random.Random(seed)
        results = list(results_of_writer(ids, rng))
        applied = []
        start.wait()
        while results:
            size = rng.randint(1, 25)
            batch, results = results[:size], results[size:]
            committed = write(table, *batch)
            assert not committed.failed
            applied += [r.session_id for r in committed.applied.values() if r.outcome is not Outcome.ERROR]
        return applied

    applied = Counter(session_id for writer in in_parallel(write_all) for session_id in writer)
    assert set(applied.values()) == {1}
    orders = [item["orderId"] for (_, sk), item in items().items() if sk.startswith("ORDER#")]
    assert sorted(orders) == ids[::3]
    assert counters() == (SESSIONS, *[SESSIONS // 3] * 3)


def test_error_is_corrected_by_one_of_many(table, runs, counters):
    runs.start(a_run(), NOW)
    write(table, failed())
    correction = created(previous=OutcomeRecord(SESSION, Outcome.ERROR))
    done = in_parallel(lambda _: write(table, correction))
    assert sum(len(committed.applied) for committed in done) == 1
    assert sum(len(committed.settled) for committed in done) == WRITERS - 1
    assert counters() == (1, 1, 0, 0)


def test_cursor_is_moved_by_one_of_many(runs):
    run = runs.start(a_run(), NOW)

    def advance(_):
        try:
            runs.advance(run, Progress(cursor=NOW - 3600, sent=100, listed=False), NOW)
        except CursorConflict:
            return 0
        return 1

    assert sum(in_parallel(advance)) == 1
    assert runs.get(RUN).enqueued == 100


def test_parts_are_counted_by_one_of_many(runs):
    """The cursor is null from then on, so that no version that moves only a cursor counts them again."""
    start = runs.advance(runs.start(a_run(), NOW), in_parts(1), NOW)

    def advance(_):
        try:
            runs.advance(start, in_parts(2), NOW)
        except CursorConflict:
            return 0
        return 1

    assert sum(in_parallel(advance)) == 1
    with pytest.raises(CursorConflict):
        runs.advance(replace(start, listing=None), LISTED, NOW)
    run = runs.get(RUN)
    assert (run.enqueued, run.cursor, run.listing) == (200, None, in_parts(2).listing)


def in_parts(number):
    listing = Listing((Part(NOW - 3600, NOW - number), Part(NOW, NOW, "cs_1", NOW)), made=2)
    return Progress(cursor=None, sent=100, listed=False, listing=listing)


def test_complete_run_is_finished_by_one_of_many(runs, items):
    runs.advance(runs.start(a_run(), NOW), LISTED, NOW)
    finished = in_parallel(lambda _: runs.finish_if_complete(RUN, NOW))
    assert len([run for run in finished if run]) == 1
    state = items()[STATE_KEY]
    assert (state["lastSyncStatus"], state["lastSyncCompletedAt"]) == ("done", to_iso(NOW))


def test_parallel_ends_move_the_watermark_to_the_latest(runs, items):
    for n in range(WRITERS):
        run = a_run(run_id=f"run-{n}", started_at=to_iso(NOW + n), covers_through=NOW + n)
        runs.advance(runs.start(run, NOW), LISTED, NOW)
    assert all(in_parallel(lambda n: runs.finish_if_complete(f"run-{n}", NOW)))
    state = items()[STATE_KEY]
    assert (state["lastCoveredThrough"], state["lastSyncStatus"]) == (NOW + WRITERS - 1, "done")


def test_parallel_starts_leave_the_state_to_the_latest(runs, items):
    order = random.Random(3).sample(range(WRITERS), WRITERS)
    in_parallel(lambda n: runs.start(a_run(run_id=f"run-{n}", started_at=to_iso(NOW + n)), NOW), order)
    assert items()[STATE_KEY]["lastSyncRunId"] == f"run-{WRITERS - 1}"
    assert sum(sk.startswith("STRIPE_ORDER_SYNC#") for _, sk in items()) == WRITERS


@pytest.mark.parametrize("failed_before", [True, False])
def test_session_is_dismissed_by_one_of_many(failed_before, table, runs, items, counters):
    runs.start(a_run(), NOW)
    if failed_before:
        write(table, failed(attempts=3))
    returned = in_parallel(lambda _: dismiss_session(table))
    assert returned.count(None) == 1
    assert {outcome.reason for outcome in returned if outcome} == {"dismissed"}
    assert counters() == (1, 0, 1, 0)
    outcome = items()[outcome_key(RUN, SESSION)]
    assert (outcome["outcome"], outcome["dismissedBy"], outcome["messageId"]) == ("skipped", "jane", "m0")
    assert outcome["attempts"] == (3 if failed_before else 0)
    assert outcome.get("errorType") == ("ValueError" if failed_before else None)


def test_parallel_dismissals_and_commits_count_each_session_once(table, runs, items, counters):
    runs.start(a_run(), NOW)
    ids = [f"cs_test_{n:03}" for n in range(40)]
    write(table, *map(failed, ids[::2]))
    start = threading.Barrier(2)

    def commit_all():
        start.wait()
        for session_id in ids:
            key = (RUN, session_id)
            previous = load_prior_state(table, [key], deadline()).outcomes.get(key)
            if not previous or not previous.is_final:
                assert not write(table, created(session_id, previous=previous)).failed

    def dismiss_all():
        start.wait()
        for session_id in reversed(ids):
            dismiss_session(table, session_id)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(commit_all), pool.submit(dismiss_all)]:
            done.result()
    stored = items()
    outcomes = {name: stored[outcome_key(RUN, name)]["outcome"] for name in ids}
    made = {name for name, outcome in outcomes.items() if outcome == "created"}
    # An order exists exactly if the commit was first.
    assert {item["orderId"] for (_, sk), item in stored.items() if sk.startswith("ORDER#")} == made
    assert counters() == (len(ids), len(made), len(ids) - len(made), 0)


@pytest.mark.parametrize("fault", [lost_response(), conflict()], ids=lambda fault: fault.name)
@pytest.mark.parametrize("act", ["commit", "dismissal"])
def test_lost_response_or_conflict_does_not_count_twice(act, fault, real_dynamodb, real_table, counters):
    # The first transaction starts the run; before a dismissal, the second one writes the error.
    calls = [2, 3] if act == "commit" else [3, 4]
    table = Table(Faulty(real_dynamodb, on("transact_write_items", fault, nth=calls)), real_table)
    Runs(table, deadline()).start(a_run(), NOW)
    if act == "commit":
        assert list(write(table, created()).applied) == [SESSION]
        assert counters() == (1, 1, 0, 0)
    else:
        write(table, failed())
        assert dismiss_session(table) is None
        assert counters() == (1, 0, 1, 0)


def test_prior_state_of_25_sessions_is_one_read(table, runs, real_dynamodb, real_table):
    runs.start(a_run(), NOW)
    write(table, failed())
    recorded = Faulty(real_dynamodb)
    sessions = [(RUN, f"cs_test_{n:03}") for n in range(25)]
    known = load_prior_state(Table(recorded, real_table), sessions, deadline())
    assert known.state_run_id == RUN
    [outcome] = known.outcomes.values()
    assert (outcome.outcome, outcome.error_type, outcome.message_id) == ("error", "ValueError", "m0")
    assert recorded.history.count("batch_get_item") == 1


def test_whole_night_on_a_real_engine(real_dynamodb, real_table):
    """Run a night with repeat customers, webhook orders, duplicate messages and several batches."""
    with FakeStripe(KEY, limits=RateLimits(None, None)) as stripe:
        world = World(stripe, real_dynamodb, real_table)
        for n in range(120):
            user = f"u{n % 5}"
            spec = SessionSpec(f"cs_test_{n:03}", NOW - 9000 + n, metadata={"userId": user})
            session = world.sells(spec)
            if n % 3:
                world.webhook_writes(session.id, user, session.created + 45, status="shipped")
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
