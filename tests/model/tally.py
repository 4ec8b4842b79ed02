"""What many histories came to: how much happened in them, so that a model gone blind is seen."""

from collections import Counter
from dataclasses import dataclass, field

from tests.model.accidents import CALLS_OF, possible
from tests.model.driver import Played

# From here on every kind of accident has met every call.
ENOUGH_FOR_ALL = 20_000
SERVICES = {
    "list": "StripeApi",
    "events": "StripeApi",
    "retrieve": "StripeApi",
    "get_parameter": "FakeSSM",
    "invoke": "FakeLambda",
    "send_message_batch": "sqs",
    "change_message_visibility_batch": "sqs",
}
HAPPENINGS = frozenset(
    {
        "opens",
        "completes",
        "settles",
        "webhook writes",
        "webhook fails",
        "webhook swallowed",
        "webhook lost",
        "webhook twice",
        "schedule fires once",
        "schedule fires twice",
        "by hand: hours",
        "by hand: backfill",
        "by hand: limit",
        "producer begins",
        "producer goes on",
        "producer ends",
        "hop",
        "Lambda tries again",
        "Lambda drops",
        "consumer begins",
        "consumer goes on",
        "consumer ends",
        "deletion lost",
        "message duplicated",
        "operator redrives",
        "key rotates",
        "key rotates, parameter later",
        "key mended",
        "quiet",
    }
)


@dataclass
class Tally:
    histories: int = 0
    nights: int = 0
    seconds: float = 0.0
    happened: Counter[str] = field(default_factory=Counter)
    met: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[Played] = field(default_factory=list)

    def add(self, played: Played) -> None:
        self.histories += 1
        self.nights += played.nights
        self.seconds += played.seconds
        self.happened.update(played.happened)
        self.met.update(played.met)
        if played.wrong:
            self.wrong.append(played)

    def never_happened(self) -> list[str]:
        return sorted(HAPPENINGS - self.happened.keys())

    def never_met(self) -> list[tuple[str, str]]:
        """Calls and what may happen at them that never came together."""
        return sorted(_everything_possible() - self.met.keys())

    def is_blind(self) -> bool:
        """Whether something that should have happened in so many nights has not."""
        rare = self.never_met() if self.nights >= ENOUGH_FOR_ALL else []
        return bool(self.never_happened() or rare)

    def report(self) -> str:
        lines = [f"  {count:8} {what}" for what, count in sorted(self.happened.items())]
        met = Counter[str]()
        for (call, _), count in self.met.items():
            met[call] += count
        lines += [f"  {count:8} accidents at {call}" for call, count in sorted(met.items())]
        found = f"{self.nights} bad nights in {self.histories} histories, {len(self.wrong)} of them wrong"
        pace = f"{60 * self.nights / self.seconds:.0f} nights a minute on one processor"
        return "\n".join(
            [
                f"{found}; {pace}",
                *lines,
                f"  never happened: {self.never_happened() or 'nothing'}",
                f"  never met: {self.never_met() or 'nothing'}",
            ]
        )


def _everything_possible() -> set[tuple[str, str]]:
    calls = {(SERVICES.get(method, "dynamodb"), method) for calls in CALLS_OF.values() for method in calls}
    return {
        (f"{service}.{method}", name)
        for service, method in calls
        for name in ("pause", *(fault.name for fault in possible(service, method)))
    }
