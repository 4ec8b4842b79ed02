"""Everything that can fail between a client and Stripe, changeable while the server runs."""

import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, TypedDict, Unpack

# Longer than any client waits: the stripe library's default timeout is 80 seconds.
HANG_SECONDS = 120.0


class Endpoint(StrEnum):
    """The endpoint of a request. `UNKNOWN` is a URL that Stripe does not have."""

    LIST = "list"
    RETRIEVE = "retrieve"
    LINE_ITEMS = "line_items"
    EVENTS = "events"
    DISPUTES = "disputes"
    INVOICE_PAYMENTS = "invoice_payments"
    PRODUCTS = "products"
    UNKNOWN = "unknown"


class FaultKind(StrEnum):
    """The effects that a fault can have on a request."""

    LATENCY = "latency"
    RATE_LIMIT = "rate_limit"
    SERVER_ERROR = "server_error"
    DROP = "drop"
    HANG = "hang"
    MISSING = "missing"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class StripeFault:
    """A fault of one session or all, of one endpoint or all, for a number of times or until it is removed.

    `seconds` is the duration of a latency or of a hang. `expanding` limits the fault to requests that expand
    this path or a path below it, such as an object that a restricted key may not read.
    """

    kind: FaultKind
    session: str | None = None
    endpoint: Endpoint | None = None
    times: int | None = None
    seconds: float = 0.0
    expanding: str | None = None

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise ValueError("times must be 1 or more")
        if self.seconds < 0:
            raise ValueError("seconds must not be negative")

    def matches(self, endpoint: Endpoint, session: str | None = None, expanded: Collection[str] = ()) -> bool:
        if self.expanding is not None and not any(_leads_through(self.expanding, path) for path in expanded):
            return False
        return self.endpoint in (None, endpoint) and self.session in (None, session)


def _leads_through(part: str, path: str) -> bool:
    # The paths of a list begin with `data`; a subscription's payment is a part of an invoice payment.
    inner = path.removeprefix("data.").removeprefix("payment.")
    return f"{inner}.".startswith(f"{part}.")


def fault_to_json(fault: StripeFault) -> dict[str, Any]:
    return {name: value for name, value in asdict(fault).items() if value is not None}


def fault_from_json(body: Mapping[str, Any]) -> StripeFault:
    """Reverse `fault_to_json`. Raise ValueError if the body is no fault."""
    fields = dict(body)
    try:
        fields["kind"] = FaultKind(fields["kind"])
        if fields.get("endpoint") is not None:
            fields["endpoint"] = Endpoint(fields["endpoint"])
        return StripeFault(**fields)
    except (KeyError, TypeError) as exc:
        raise ValueError(f"not a fault: {exc}") from exc


class Where(TypedDict, total=False):
    """The requests that a fault matches, and how often: the fields that every kind has."""

    session: str | None
    endpoint: Endpoint | None
    times: int | None
    expanding: str | None


class Faults:
    """The active faults. They can be changed while requests are answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[StripeFault] = []

    def add(self, fault: StripeFault) -> None:
        with self._lock:
            self._active.append(fault)

    def latency(self, seconds: float, **where: Unpack[Where]) -> None:
        self.add(StripeFault(FaultKind.LATENCY, seconds=seconds, **where))

    def hang(self, seconds: float = HANG_SECONDS, **where: Unpack[Where]) -> None:
        self.add(StripeFault(FaultKind.HANG, seconds=seconds, **where))

    def drop(self, **where: Unpack[Where]) -> None:
        self.add(StripeFault(FaultKind.DROP, **where))

    def rate_limit(self, **where: Unpack[Where]) -> None:
        self.add(StripeFault(FaultKind.RATE_LIMIT, **where))

    def server_error(self, **where: Unpack[Where]) -> None:
        self.add(StripeFault(FaultKind.SERVER_ERROR, **where))

    def missing(self, **where: Unpack[Where]) -> None:
        self.add(StripeFault(FaultKind.MISSING, **where))

    def unauthorized(self, **where: Unpack[Where]) -> None:
        self.add(StripeFault(FaultKind.UNAUTHORIZED, **where))

    def forbidden(self, **where: Unpack[Where]) -> None:
        """Refuse a restricted key that has no permission."""
        self.add(StripeFault(FaultKind.FORBIDDEN, **where))

    def heal(self, session: str) -> None:
        """Remove the faults of one session."""
        with self._lock:
            self._active = [fault for fault in self._active if fault.session != session]

    def clear(self) -> None:
        with self._lock:
            self._active = []

    def active(self) -> list[StripeFault]:
        with self._lock:
            return list(self._active)

    def sessions(self) -> set[str]:
        """Return the sessions with faults of their own."""
        with self._lock:
            return {fault.session for fault in self._active if fault.session is not None}

    def take(
        self, endpoint: Endpoint, session: str | None = None, expanded: Collection[str] = ()
    ) -> list[StripeFault]:
        """Return the faults of a request: every latency, then the first other fault. Each counts once."""
        with self._lock:
            matching = [fault for fault in self._active if fault.matches(endpoint, session, expanded)]
            slow = [fault for fault in matching if fault.kind is FaultKind.LATENCY]
            others = [fault for fault in matching if fault.kind is not FaultKind.LATENCY]
            hits = slow + others[:1]
            for fault in hits:
                self._use_up(fault)
            return hits

    def _use_up(self, fault: StripeFault) -> None:
        if fault.times is None:
            return
        position = self._active.index(fault)
        if fault.times == 1:
            del self._active[position]
        else:
            self._active[position] = replace(fault, times=fault.times - 1)
