"""What many histories came to: how much happened in them, so that a model gone blind is noticed."""

from collections import Counter
from dataclasses import dataclass, field

from tests.model.accidents import CALL_WEIGHTS, list_faults
from tests.model.driver import PlayedHistory

# After this many nights, every kind of accident has met every call.
NIGHTS_FOR_ALL_ACCIDENTS = 20_000
SERVICES = {
    "list": "StripeApi",
    "events": "StripeApi",
    "retrieve": "StripeApi",
    "invoice_payments": "StripeApi",
    "disputes": "StripeApi",
    "products": "StripeApi",
    "get_parameter": "FakeSSM",
    "invoke": "FakeLambda",
    "send_message_batch": "sqs",
    "change_message_visibility_batch": "sqs",
}
HAPPENINGS = frozenset(
    {
        "session opened",
        "session completed",
        "session expired",
        "payment settled",
        "payment settled after weeks",
        "payment settled after months",
        "schedule paused for months",
        "session deleted by Stripe",
        "attention acknowledged",
        "payment canceled",
        "payment needs a person",
        "hold captured",
        "hold released",
        "money returned",
        "webhook writes",
        "webhook fails",
        "webhook swallowed",
        "webhook lost",
        "webhook repeated",
        "webhook acknowledges",
        "webhook claims",
        "webhook works",
        "order deleted",
        "order claimed",
        "order written unpaid",
        "schedule fired once",
        "schedule fired twice",
        "schedule never fired",
        "state overwritten",
        "second stack started",
        "neighbour acted",
        "manual run: hours",
        "manual run: backfill",
        "manual run: limit",
        "producer began",
        "producer resumed",
        "producer ended",
        "producer continued",
        "Lambda retried",
        "Lambda dropped an event",
        "consumer began",
        "consumer resumed",
        "consumer ended",
        "deletion lost",
        "message duplicated",
        "dead letters redriven",
        "key rotated",
        "key rotated, parameter later",
        "key mended",
        "key cannot read events",
        "key of another account",
        "wrong filter",
        "filter corrected in time",
        "run held",
        "missing order done",
        "missing order dismissed",
        "missing order refunded",
        "quiet",
    }
)


@dataclass
class HistoryTally:
    """The sums over many histories."""

    histories: int = 0
    nights: int = 0
    seconds: float = 0.0
    happened: Counter[str] = field(default_factory=Counter)
    met: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[PlayedHistory] = field(default_factory=list)

    def add(self, played: PlayedHistory) -> None:
        self.histories += 1
        self.nights += played.nights
        self.seconds += played.seconds
        self.happened.update(played.happened)
        self.met.update(played.met)
        if played.violations:
            self.wrong.append(played)

    def list_missing_happenings(self) -> list[str]:
        return sorted(HAPPENINGS - self.happened.keys())

    def list_missing_accidents(self) -> list[tuple[str, str]]:
        """Return the pairs of call and accident that never met."""
        calls = {(SERVICES.get(name, "dynamodb"), name) for names in CALL_WEIGHTS.values() for name in names}
        possible = {
            (f"{service}.{method}", accident)
            for service, method in calls
            for accident in ("pause", *(fault.name for fault in list_faults(service, method)))
        }
        return sorted(possible - self.met.keys())

    def is_blind(self) -> bool:
        """Return whether something never happened that should have in so many nights."""
        rare = self.list_missing_accidents() if self.nights >= NIGHTS_FOR_ALL_ACCIDENTS else []
        return bool(self.list_missing_happenings() or rare)

    def report(self) -> str:
        met = Counter[str]()
        for (call, _), count in self.met.items():
            met[call] += count
        found = f"{self.nights} bad nights in {self.histories} histories, {len(self.wrong)} of them wrong"
        return "\n".join(
            [
                f"{found}; {60 * self.nights / self.seconds:.0f} nights a minute on one processor",
                *(f"  {count:8} {what}" for what, count in sorted(self.happened.items())),
                *(f"  {count:8} accidents at {call}" for call, count in sorted(met.items())),
                f"  never happened: {self.list_missing_happenings() or 'nothing'}",
                f"  never met: {self.list_missing_accidents() or 'nothing'}",
            ]
        )
