"""One step of a night, by whatever version is first on the path: `python roll.py begin|go_on|finish STATE`.

STATE is the file with all that a step leaves for the next: the table, both queues, and the invocation that
the producer has asked for. It may use only what every version's `testkit` has.
"""

import json
import sys
from pathlib import Path

from recon.timestamps import DAY, HOUR, to_iso
from testkit.builders import NOW
from testkit.fake_stripe import FakeStripe, SessionSpec
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY, World

SOLD = 160
LATE, BROKEN = "cs_test_late", "cs_test_broken"
# Nights after which a session that is paid late has its order.
NIGHTS = 3
PART = {"SYNC_MAX_SESSIONS": "40", "SYNC_MAX_RECEIVE_COUNT": "3"}


def list_sessions(*, late_is_paid: bool) -> list[SessionSpec]:
    """Return the sessions of the night: every third one has its order, one fails, one is paid late."""
    late = {"async_paid_at": NOW + HOUR} if late_is_paid else {"payment_status": "unpaid"}
    return [
        *(
            SessionSpec(
                f"cs_test_{n:03}",
                NOW - 20 * HOUR + n * 60,
                metadata={"userId": f"u{n % 7}"},
                event_delivered=n % 5 > 0,
            )
            for n in range(SOLD)
        ),
        SessionSpec(BROKEN, NOW - 19 * HOUR, metadata={"userId": "u1"}),
        SessionSpec(LATE, NOW - 19 * HOUR + 1, metadata={"userId": "u2"}, **late),
    ]


def begin(world: World) -> None:
    """Start the run and settle a batch of it."""
    for n in range(0, SOLD, 3):
        world.webhook_writes(f"cs_test_{n:03}", f"u{n % 7}", NOW - 20 * HOUR + n * 60 + 41)
    world.produce()
    world.deliver(10)


def go_on(world: World) -> None:
    """Continue the run by one invocation, and settle another batch."""
    world.produce(world.hops.pop(0))
    world.deliver(10)


def finish(world: World) -> None:
    """Let the run end, redrive what failed, and pass the next nights."""
    world.hop_all()
    world.drain()
    world.redrive()
    world.drain()
    for night in range(1, NIGHTS):
        world.clock.now = NOW + night * DAY
        world.night({"trigger": "scheduled", "scheduledTime": to_iso(world.clock.now)})


STEPS = {"begin": begin, "go_on": go_on, "finish": finish}


def main(step: str, path: Path) -> None:
    """Load the state, if there is any, take the step and store the state."""
    with FakeStripe(KEY, limits=RateLimits(None, None)) as stripe:
        world = World(stripe, **PART)
        stripe.store.add_all(list_sessions(late_is_paid=step == "finish"))
        if step != "finish":
            stripe.faults.missing(session=BROKEN)
        if path.exists():
            load(world, json.loads(path.read_text()))
        STEPS[step](world)
        path.write_text(json.dumps(dump(world)))
        world.close()


def load(world: World, state: dict[str, list[str]]) -> None:
    world.memory.load(state["tables"][0].encode())
    for queue, name in ((world.queue, "queue"), (world.dlq, "dead")):
        for body in state[name]:
            world.memory_sqs.send_message(QueueUrl=queue, MessageBody=body)
    world.hops.extend(map(json.loads, state["hops"]))


def dump(world: World) -> dict[str, list[str]]:
    return {
        "tables": [world.memory.dump().decode()],
        "queue": world.memory_sqs.bodies(world.queue),
        "dead": world.memory_sqs.bodies(world.dlq),
        "hops": list(map(json.dumps, world.hops)),
    }


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
