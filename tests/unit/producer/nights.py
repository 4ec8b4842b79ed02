"""Scheduled runs on consecutive nights, and the sessions that they find."""

from recon.timestamps import DAY, HOUR, MINUTE, to_iso, to_run_id
from testkit.builders import NOW
from testkit.fake_stripe import SessionSpec

GRACE = 10 * MINUTE
# The id of a run that a manual event starts at NOW.
MANUAL_RUN = "20241127T020000Z-8f3c1d"


def session_spec(session_id="cs_test_session1", created=NOW - HOUR, **changes):
    return SessionSpec(session_id, created, **{"metadata": {"userId": "u1"}} | changes)


def scheduled(night=0, **options):
    return {"trigger": "scheduled", "scheduledTime": to_iso(NOW + night * DAY), **options}


def run_id(night=0):
    return to_run_id(NOW + night * DAY)


def run_night(world, night=0, **options):
    """Produce and consume the scheduled run of a night, at its time. Return its record."""
    world.clock.now = max(world.clock.now, NOW + night * DAY)
    return world.night(scheduled(night, **options))


def sell(world, count, *, every=1, **changes):
    """Sell sessions to seven users, the first one last, `every` so many seconds, before the grace period."""
    for n in range(count):
        user = {"metadata": {"userId": f"u{n % 7}"}}
        spec = SessionSpec(f"cs_test_{n:05}", NOW - 700 - n * every, completed_at=NOW - 700, **user | changes)
        world.sells(spec)


def sell_without_user(world, count, *, every):
    """Sell sessions that the consumer skips without a request."""
    sell(world, count, every=every, metadata={})


def delay_requests(world, seconds):
    """Let each request to Stripe take so many seconds."""

    def pass_time(_request):
        world.clock.now += seconds

    world.stripe.on_request = pass_time


def at_first_listing(world, action):
    """Call `action` once, during the first request for a page of sessions. Return a list of the calls."""
    calls = []

    def act(request):
        if request.endpoint == "list" and not calls:
            calls.append(request)
            action()

    world.stripe.on_request = act
    return calls
