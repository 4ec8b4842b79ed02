"""The watermark: sessions completed late and missed nights are covered by a later run."""

from dataclasses import replace

import pytest

from recon.errors import StripeUnavailable
from recon.timestamps import DAY, HOUR
from testkit.builders import NOW
from tests.unit.producer.nights import GRACE, run_id, run_night, scheduled, session_spec


def watermark(world):
    return world.state().get("lastCoveredThrough")


def fail_night(world, night):
    """Let the scheduled run of a night fail for a failure of Stripe."""
    world.clock.now = NOW + night * DAY
    world.stripe.faults.server_error()
    with pytest.raises(StripeUnavailable):
        world.produce(scheduled(night))
    world.stripe.faults.clear()


def test_session_completed_after_a_run_is_found_by_the_next(world):
    session = session_spec(created=NOW - 4 * HOUR, status="open")
    world.sells(session)
    run_night(world)
    assert world.orders() == []
    world.sells(replace(session, status="complete", completed_at=NOW + HOUR))
    run_night(world, 1)
    assert len(world.orders(session.id)) == 1


def test_watermark_moves_when_a_scheduled_run_is_done(world):
    world.sells(session_spec())
    world.body()
    assert watermark(world) is None
    world.drain()
    assert watermark(world) == NOW - GRACE
    run_night(world, 1)
    assert watermark(world) == NOW + DAY - GRACE


@pytest.mark.parametrize(
    "event",
    [{"lookbackHours": 1}, {"from": "2024-01-01T00:00:00Z", "to": "2024-02-01T00:00:00Z"}, {"dryRun": True}],
)
def test_run_with_less_coverage_leaves_the_watermark(world, event):
    run_night(world)
    world.clock.now += 5 * HOUR
    world.body(event)
    world.drain()
    assert watermark(world) == NOW - GRACE


def test_failed_night_leaves_the_watermark_and_is_covered_later(world):
    run_night(world)
    lost = world.sells(session_spec(created=NOW + 20 * HOUR, completed_at=NOW + 21 * HOUR))
    fail_night(world, 1)
    assert watermark(world) == NOW - GRACE
    for night in (4, 5):
        run_night(world, night)
    assert len(world.orders(lost.id)) == 1
    assert world.run(run_id(1))["status"] == "failed"
    assert watermark(world) == NOW + 5 * DAY - GRACE


def test_failed_first_night_is_covered_by_the_second(world):
    lost = world.sells(session_spec(created=NOW - 10 * HOUR))
    fail_night(world, 0)
    world.clock.now += HOUR
    world.body({"lookbackHours": 1})
    world.drain()
    assert watermark(world) is None
    run_night(world, 1)
    assert len(world.orders(lost.id)) == 1
    assert watermark(world) == NOW + DAY - GRACE


def test_missed_nights_are_covered_by_the_next_run(world):
    run_night(world)
    for night in range(5):
        world.sells(session_spec(f"cs_test_night{night}", NOW + night * DAY + 8 * HOUR))
    run_night(world, 5)
    assert len(world.orders()) == 5


def test_truncated_run_moves_the_watermark_to_its_cursor(world):
    run_night(world)
    for n in range(10):
        world.sells(session_spec(f"cs_test_{n}", NOW + n * HOUR))
    assert run_night(world, 1, maxSessions=4)["truncated"] is True
    # Four were sent. The fifth was created four hours after the first.
    assert watermark(world) == NOW + 4 * HOUR - 1
    run_night(world, 2)
    assert len(world.orders()) == 10
