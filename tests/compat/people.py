"""Record what this version keeps for people: `python -m tests.compat.people 0.2.0` writes people/0.2.0.json.

As with tests/compat/record.py, run it once for each version, with the code of that version, and never again.
The file holds attention items, open and acknowledged, a dismissal, a permission, and what belongs to them.
"""

import json
import sys
from pathlib import Path

from recon.dynamodb.attention import acknowledge, parse_attention
from recon.dynamodb.dismissals import allow, dismiss_session
from recon.dynamodb.keys import attention_key
from recon.timestamps import DAY, HOUR, MINUTE
from testkit.builders import NOW
from testkit.fake_stripe import FakeStripe, SessionSpec
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY, World
from tests.compat.record import to_int

PEOPLE = Path(__file__).parent / "people"
HELD = {"payment_status": "unpaid", "intent_status": "requires_capture", "amount_captured": 0}
# Each session is named after what a person has done about it.
FIELDS: dict[str, dict[str, object]] = {
    "open": HELD | {"capture_before": NOW + 6 * DAY},
    "seen": {"dispute_status": "needs_response"},
    "dismissed": HELD,
    "allowed": HELD,
}
SESSIONS = [
    SessionSpec(f"cs_test_{name}", NOW - HOUR, metadata={"userId": name}, **fields)  # type: ignore[arg-type]
    for name, fields in FIELDS.items()
]


def main(version: str) -> None:
    """Write the sample of this version."""
    with FakeStripe(KEY, limits=RateLimits(None, None)) as stripe:
        world = World(stripe)
        stripe.store.add_all(SESSIONS)
        world.night()
        table, deadline = world.open_table(), world.clock.deadline(MINUTE)
        seen = parse_attention(table.get(attention_key("cs_test_seen")) or {})
        assert acknowledge(table, seen, "jane", NOW, deadline)
        for name in ("dismissed", "allowed"):
            dismiss_session(table, f"cs_test_{name}", "jane", "sold in the shop", NOW, deadline)
        assert allow(table, "cs_test_allowed", "jane", "not sold", NOW, deadline)
        items = world.items()
        world.close()
    text = json.dumps(items, indent=1, default=to_int, sort_keys=True)
    (PEOPLE / f"{version}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
