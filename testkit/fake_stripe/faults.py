"""Everything that can go wrong between a client and Stripe, switched on and off while the server runs."""

import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, TypedDict, Unpack

# Longer than any client waits: the stripe library's default timeout is 80 seconds.
HANG_SECONDS = 120.0


class Endpoint(StrEnum):
    """What a request asks for. `UNKNOWN` is a URL that Stripe does not have."""

    LIST = "list"
    RETRIEVE = "retrieve"
    LINE_ITEMS = "line_items"
    EVENTS = "events"
    DISPUTES = "disputes"
    UNKNOWN = "unknown"


class FaultKind(StrEnum):
    LATENCY = "latency"
    RATE_LIMIT = "rate_limit"
    SERVER_ERROR = "server_error"
    DROP = "drop"
    HANG = "hang"
    MISSING = "missing"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong: for one session or all, one endpoint or all, some times or until cleared.

    `seconds` is how long latency delays an answer, or how long a hang holds the connection. `expanding` hits
    only requests that expand this path, or something behind it: what a restricted key may not read may stand
    inside of what it may.
    """

    kind: FaultKind
    session: str | None = None
    endpoint: Endpoint | None = None
    times: int | None = None
    seconds: float = 0.0
    expanding: str | None = None

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise ValueError("a fault happens at least once")
        if self.seconds < 0:
            raise ValueError("a fault cannot end before it starts")

    def concerns(
        self, endpoint: Endpoint, session: str | None = None, expanded: Collection[str] = ()
    ) -> bool:
        if self.expanding is not None and not any(_leads_through(self.expanding, path) for path in expanded):
            return False
        return self.endpoint in (None, endpoint) and self.session in (None, session)


def _leads_through(part: str, path: str) -> bool:
    """A list's paths begin with `data`."""
    return f"{path.removeprefix('data.')}.".startswith(f"{part}.")


def fault_to_json(fault: Fault) -> dict[str, Any]:
    return {name: value for name, value in asdict(fault).items() if value is not None}


def fault_from_json(body: Mapping[str, Any]) -> Fault:
    """The reverse of `fault_to_json`. ValueError when it is none."""
    fields = dict(body)
    try:
        fields["kind"] = FaultKind(fields["kind"])
        if fields.get("endpoint") is not None:
            fields["endpoint"] = Endpoint(fields["endpoint"])
        return Fault(**fields)
    except (KeyError, TypeError) as exc:
        raise ValueError(f"not a fault: {exc}") from exc


class Where(TypedDict, total=False):
    """Whom a fault hits and how often: the fields of `Fault` that every kind has."""

    session: str | None
    endpoint: Endpoint | None
    times: int | None
    expanding: str | None


class Faults:
    """The faults that are switched on. Safe to change while requests are answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._active.append(fault)

    def latency(self, seconds: float, **where: Unpack[Where]) -> None:
        self.add(Fault(FaultKind.LATENCY, seconds=seconds, **where))

    def hang(self, seconds: float = HANG_SECONDS, **where: Unpack[Where]) -> None:
        self.add(Fault(FaultKind.HANG, seconds=seconds, **where))

    def drop(self, **where: Unpack[Where]) -> None:
        self.add(Fault(FaultKind.DROP, **where))

    def rate_limit(self, **where: Unpack[Where]) -> None:
        self.add(Fault(FaultKind.RATE_LIMIT, **where))

    def server_error(self, **where: Unpack[Where]) -> None:
        self.add(Fault(FaultKind.SERVER_ERROR, **where))

    def missing(self, **where: Unpack[Where]) -> None:
        self.add(Fault(FaultKind.MISSING, **where))

    def unauthorized(self, **where: Unpack[Where]) -> None:
        self.add(Fault(FaultKind.UNAUTHORIZED, **where))

    def forbidden(self, **where: Unpack[Where]) -> None:
        """A restricted key that may not read this."""
        self.add(Fault(FaultKind.FORBIDDEN, **where))

    def heal(self, session: str) -> None:
        """Clear what was switched on for one session."""
        with self._lock:
            self._active = [fault for fault in self._active if fault.session != session]

    def clear(self) -> None:
        with self._lock:
            self._active = []

    def active(self) -> list[Fault]:
        with self._lock:
            return list(self._active)

    def take(
        self, endpoint: Endpoint, session: str | None = None, expanded: Collection[str] = ()
    ) -> list[Fault]:
        """What hits this request: every latency, then the first other fault. Each is used up once."""
        with self._lock:
            concerned = [fault for fault in self._active if fault.concerns(endpoint, session, expanded)]
            slow = [fault for fault in concerned if fault.kind is FaultKind.LATENCY]
            others = [fault for fault in concerned if fault.kind is not FaultKind.LATENCY]
            hits = slow + others[:1]
            for fault in hits:
                self._use_up(fault)
            return hits

    def _use_up(self, fault: Fault) -> None:
        if fault.times is None:
            return
        position = self._active.index(fault)
        if fault.times == 1:
            del self._active[position]
        else:
            self._active[position] = replace(fault, times=fault.times - 1)
