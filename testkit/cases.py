"""Plays a case: sessions at Stripe, items in the table, nights, and questions of an operator.

Steps: `stripe_has` a session, `stripe_changes` it, `table_has` an item, `night` so many days later, and
`explain` a session. What a session does not say is that of an ordinary paid one.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ops.dlq.queue import DeadLetterQueue
from ops.explain.facts import SessionFacts
from ops.explain.gather import FactSources, gather_facts
from ops.explain.verdict import decide_verdict
from ops.explain.verdict_types import SessionVerdict
from ops.runs.status import Schedule
from recon.stripe.source import StripeSource
from recon.timestamps import DAY, HOUR, to_iso, to_run_id
from testkit.builders import NOW
from testkit.fake_stripe import SessionSpec
from testkit.fake_stripe.specs import spec_from_json
from testkit.shapes import JsonObject
from testkit.world import World, wire

CREATED = NOW - HOUR
_TIMES = ("completed_at", "async_paid_at", "capture_before")


@dataclass
class CasePlayer:
    """Plays steps in a world. `runs` are the ids of its nights, `answers` are to its questions, in order."""

    world: World
    runs: list[str] = field(default_factory=list)
    answers: list[tuple[SessionFacts, SessionVerdict]] = field(default_factory=list)
    _days: int = 0

    def play(self, steps: Iterable[Mapping[str, Any]]) -> None:
        actions: dict[str, Callable[[Any], object]] = {
            "stripe_has": self.sell,
            "stripe_changes": self.change,
            "table_has": self.put,
            "night": self.night,
            "explain": self.explain,
        }
        for step in steps:
            for name, argument in step.items():
                actions[name](argument)

    def sell(self, fields: Mapping[str, Any]) -> SessionSpec:
        """Add a session that was created an hour before the first night."""
        return self.world.sells(spec_from_json({"created": CREATED} | _with_epochs(fields)))

    def change(self, fields: Mapping[str, Any]) -> SessionSpec:
        """Change fields of a session. Times are in seconds from its creation, or in epoch seconds."""
        spec = self.world.stripe.store.session(fields["id"])
        assert spec is not None, f"no session {fields['id']}"
        return self.world.sells(replace(spec, **_with_epochs(fields)))

    def put(self, item: JsonObject) -> None:
        self.world.memory.put_item(TableName=self.world.table, Item=wire(item))

    def night(self, days: int) -> JsonObject:
        """Play a scheduled run so many days after the one before. Return its record."""
        self._days += days
        at = NOW + self._days * DAY
        self.world.clock.now = max(self.world.clock.now, at)
        run = self.world.night({"trigger": "scheduled", "scheduledTime": to_iso(at)})
        self.runs.append(to_run_id(at))
        return run

    def explain(self, session_id: str) -> tuple[SessionFacts, SessionVerdict]:
        """Ask what the command `explain` would show now."""
        now = int(self.world.clock.now)
        deadline = self.world.clock.deadline(3600)
        due = datetime.fromtimestamp(NOW + (self._days + 1) * DAY, UTC)
        sources = FactSources(
            table=self.world.open_table(),
            queue=DeadLetterQueue(self.world.sqs, self.world.dlq, self.world.queue),  # type: ignore[arg-type]
            stripe=lambda: StripeSource(self.world.connect(), deadline, lambda: None),
            settings=self.world.settings,
            producer=self.world.settings,
            schedule=Schedule(enabled=True, expression="cron(0 2 * * ? *)", timezone="UTC", next_due=due),
            deadline=deadline,
        )
        facts = gather_facts(sources, session_id, now)
        self.answers.append((facts, decide_verdict(facts)))
        return self.answers[-1]

    def outcome(self, session_id: str, night: int = -1) -> JsonObject:
        """Return the outcome of a session in a night, by default in the last."""
        return self.world.outcome(session_id, self.runs[night]) or {}

    def order(self, session_id: str) -> JsonObject:
        """Return the only order of a session."""
        [order] = self.world.orders(session_id)
        return order


def load_case(directory: Path, number: str) -> JsonObject:
    """Return the case whose file name begins with the number."""
    [path] = directory.glob(f"{number}-*.json")
    case: JsonObject = json.loads(path.read_text())
    return case


def _with_epochs(fields: Mapping[str, Any]) -> JsonObject:
    near = CREATED - int(timedelta(days=365).total_seconds())
    times = {name: fields[name] for name in _TIMES if fields.get(name) is not None}
    return dict(fields) | {name: at if at > near else CREATED + at for name, at in times.items()}
