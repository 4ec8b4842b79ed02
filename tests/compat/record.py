"""Record what this version writes: `python -m tests.compat.record 0.2.0` writes samples/0.2.0.json.

Run it once for each released version, with the code of that version, and never again. The file holds the
content of a shop's queue and table when the next version is deployed, or when this one is rolled back to.
"""

import json
import re
import sys
from decimal import Decimal
from pathlib import Path

from recon.timestamps import HOUR
from testkit.builders import NOW, RUN
from testkit.fake_stripe import FakeStripe, SessionSpec
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY, SCHEDULED, World

SAMPLES = Path(__file__).parent / "samples"
SECOND, THIRD = (SCHEDULED | {"scheduledTime": f"2024-11-{day}T02:00:00Z"} for day in (28, 29))
UNPAID = {"payment_status": "unpaid"}
# Each session of the night is named after its outcome.
SESSIONS = [
    SessionSpec("cs_test_created", NOW - HOUR, metadata={"userId": "u1"}, email="a@shop.test"),
    SessionSpec("cs_test_fenced", NOW - HOUR, metadata={"userId": "u2"}, event_delivered=False),
    SessionSpec("cs_test_exists", NOW - HOUR, metadata={"userId": "u3"}),
    SessionSpec("cs_test_drifted", NOW - HOUR, metadata={"userId": "u4"}),
    SessionSpec("cs_test_unpaid", NOW - HOUR, metadata={"userId": "u5"}, **UNPAID),
    SessionSpec("cs_test_no_user", NOW - HOUR),
    SessionSpec("cs_test_not_a_sale", NOW - HOUR, mode="setup", metadata={"userId": "u6"}),
    SessionSpec("cs_test_refunded", NOW - HOUR, metadata={"userId": "u7"}, amount_refunded=1500),
    SessionSpec("cs_test_expired", NOW - 25 * HOUR + 60, metadata={"userId": "u8"}),
    SessionSpec("cs_test_error", NOW - HOUR, metadata={"userId": "u9"}),
    SessionSpec("cs_test_free", NOW - HOUR, currency=None, metadata={"userId": "u10"}),
]


def main(version: str) -> None:
    """Write the sample of this version."""
    with FakeStripe(KEY, limits=RateLimits(None, None)) as stripe:
        hop = {"trigger": "continue", "runId": RUN, "hop": 1}
        sample = record_night(stripe) | record_open_run(stripe) | {"hop": hop}
    text = json.dumps(sample, indent=1, default=to_int, sort_keys=True)
    (SAMPLES / f"{version}.json").write_text(text + "\n")


def record_night(stripe: FakeStripe) -> dict[str, object]:
    """Return the messages and items after a night with all outcomes, and a truncated manual run."""
    world = World(stripe, ORDER_TTL_DAYS="1")
    stripe.store.add_all(SESSIONS)
    stripe.faults.missing(session="cs_test_error")
    world.webhook_writes("cs_test_exists", "u3", NOW - HOUR + 9)
    world.webhook_writes("cs_test_drifted", "u4", NOW - HOUR + 9, amount=1, currency="usd")
    world.body(SCHEDULED)
    messages = world.memory_sqs.bodies(world.queue)
    world.drain()
    dead = world.memory_sqs.bodies(world.dlq)
    items = world.items()
    # Two nights later the unpaid session is outside the window and has a pending entry.
    for later in SECOND, THIRD:
        world.drain()
        world.clock.now += 24 * HOUR
        world.body(later)
    messages += [body for body in world.memory_sqs.bodies(world.queue) if '"pending"' in body]
    world.body({"requestedAt": "2024-11-29T03:00:00Z", "maxSessions": 1, "lookbackHours": 72})
    truncated = [item for item in world.items() if item.get("truncated")]
    world.close()
    return {"messages": messages, "dead": dead, "items": items, "truncated": truncated[0]}


def record_open_run(stripe: FakeStripe) -> dict[str, object]:
    """Return the records of a run between two invocations, and the run after it was marked failed."""
    stripe.store.add_all(
        SessionSpec(f"cs_test_{n:03}", NOW - 20 * HOUR + n, metadata={"userId": "u"}) for n in range(250)
    )
    world = World(stripe, SYNC_MAX_SESSIONS="100")
    world.produce(SCHEDULED)
    records = [item for item in world.items() if item["PK"] == "SYSTEM"]
    world.hops.clear()  # as if Lambda had lost the next invocation
    world.clock.now += 24 * HOUR
    world.body(SECOND)
    world.close()
    return {"open": records, "failed": world.run(RUN)}


def to_int(number: object) -> int:
    """Return a number of DynamoDB as an int."""
    assert isinstance(number, Decimal)
    return int(number)


if __name__ == "__main__":
    if len(sys.argv) != len(["program", "version"]) or not re.fullmatch(r"\d+\.\d+\.\d+", sys.argv[1]):
        sys.exit("name the version that writes the records: python -m tests.compat.record 0.2.0")
    main(sys.argv[1])
