"""Record what a stack with a shape.toml stores: `python -m tests.compat.shaped 0.2.0` writes its file.

As with tests/compat/record.py, run it once for each version, with the code of that version, and never again.
The file holds the ledger after a night, and the messages of that night and of a later one.
"""

import json
import sys
from pathlib import Path

from recon.timestamps import DAY, HOUR
from testkit.builders import NOW, TABLE
from testkit.fake_stripe import FakeStripe, SessionSpec
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY, SCHEDULED, World, wire
from tests.compat.record import SECOND, THIRD, to_int

SHAPES = Path(__file__).parent / "shapes"
LEDGER = "books"
ENVIRONMENT = {
    "SYNC_LEDGER_TABLE": LEDGER,
    "SYNC_SHAPE": '[find]\nkey = { PK = "CART#{metadata.cart}", SK = "ORDER" }\n'
    'done = { status = ["PAID"] }\nopen = { status = ["PENDING"] }',
}
# The status of each session's order, or None for one without an order. Each session is named after it.
STATUSES = {"found": "PAID", "drifted": "CANCELLED", "open": "PENDING", "missing": None}
SESSIONS = [
    *(
        SessionSpec(f"cs_test_{name}", NOW - HOUR, metadata={"cart": name, "userId": "u1"})
        for name in STATUSES
    ),
    SessionSpec("cs_test_no_key", NOW - HOUR),
]


def write_order(world: World, name: str, status: str) -> None:
    """Put the order of a session as the shop has it."""
    order = {"PK": f"CART#{name}", "SK": "ORDER", "status": status}
    world.memory.put_item(TableName=TABLE, Item=wire(order))


def main(version: str) -> None:
    """Write the sample of this version."""
    with FakeStripe(KEY, limits=RateLimits(None, None)) as stripe:
        world = World(stripe, **ENVIRONMENT)
        stripe.store.add_all(SESSIONS)
        for name, status in STATUSES.items():
            if status:
                write_order(world, name, status)
        world.body(SCHEDULED)
        messages = world.memory_sqs.bodies(world.queue)
        world.drain()
        items = [item for item in world.items() if not item["PK"].startswith("CART#")]
        # Two nights later, only entries lead to the missing orders.
        for later in SECOND, THIRD:
            world.clock.now += DAY
            world.body(later)
            messages += world.memory_sqs.bodies(world.queue)
            world.drain()
        world.close()
    text = json.dumps({"messages": messages, "items": items}, indent=1, default=to_int, sort_keys=True)
    (SHAPES / f"{version}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
