"""The queue message: one session to reconcile, for one run. JSON, version 1, no name, address or phone."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from recon.domain.order import clean_user_id, find_raw_user_id
from recon.domain.stripe_objects import MAX_NUMBER
from recon.errors import MalformedMessage

VERSION = 1
_ID = re.compile(r"[\x21-\x7e]{1,255}")
# Longer than any word or id of Stripe's. A message that does not fit into SQS would keep all others back.
_LONGEST = 255
# No key holds more, so that no order can lie under a longer raw id.
_LONGEST_USER_ID = 2048


@dataclass(frozen=True)
class SessionMessage:
    """What the consumer needs to decide without asking Stripe. `created` is in epoch seconds, the amount
    in the currency's smallest unit; `user_id` is raw, as the shop wrote it.

    `event_ids` are events that a webhook may still get, `event_types` their types in the same order.
    `pending`: an unpaid session that was seen before; only Stripe knows whether it is paid by now. The run
    has asked for events up to that moment (epoch seconds); what was paid after it is left to the next run.
    """

    run_id: str
    session_id: str
    user_id: str | None
    created: int
    amount_total: int | None
    currency: str | None
    payment_status: str
    mode: str
    livemode: bool
    event_ids: tuple[str, ...] = ()
    event_types: tuple[str, ...] = ()
    pending: int | None = None


# wire name -> (field, types, may be null)
_FIELDS: dict[str, tuple[str, type[Any], bool]] = {
    "runId": ("run_id", str, False),
    "sessionId": ("session_id", str, False),
    "userId": ("user_id", str, True),
    "created": ("created", int, False),
    "amountTotal": ("amount_total", int, True),
    "currency": ("currency", str, True),
    "paymentStatus": ("payment_status", str, False),
    "mode": ("mode", str, False),
    "livemode": ("livemode", bool, False),
    "eventIds": ("event_ids", list, False),
}
# Left out where they say nothing, so that most messages are what version 1 always was.
_OPTIONAL: dict[str, tuple[str, type[Any]]] = {
    "eventTypes": ("event_types", list),
    "pending": ("pending", int),
}


def build_message(session: dict[str, Any], run_id: str) -> SessionMessage:
    """The message for a session as Stripe lists it.

    Neither the id nor `created` is checked here, since the listing needs both and has checked them. Any other
    field that is missing or of a wrong type travels as such, and `loads` turns it into an error outcome of
    that one session instead of an end of the whole listing.
    """
    user_id = find_raw_user_id(session)
    return SessionMessage(
        run_id=run_id,
        session_id=session["id"],
        user_id=clean_user_id(user_id) if user_id and len(user_id) > _LONGEST_USER_ID else user_id,
        **{name: _short(session.get(name)) for name in _AS_LISTED},
    )


_AS_LISTED = ("created", "amount_total", "currency", "payment_status", "mode", "livemode")


def _short(value: object) -> Any:  # noqa: ANN401 - JSON
    """What is too long to travel becomes an empty object, which no field may be."""
    fits = value is None or type(value) in (bool, float)
    fits = fits or (type(value) is int and abs(value) < MAX_NUMBER)
    return value if fits or (isinstance(value, str) and len(value) <= _LONGEST) else {}


def dumps(message: SessionMessage) -> str:
    fields = asdict(message)
    body = {"v": VERSION} | {wire: fields[name] for wire, (name, _, _) in _FIELDS.items()}
    body |= {wire: fields[name] for wire, (name, _) in _OPTIONAL.items() if fields[name] not in (None, ())}
    return json.dumps(body, separators=(",", ":"))


def loads(body: str) -> SessionMessage:
    """Raises MalformedMessage that names the field; with run and session where these two can be read."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise MalformedMessage("the body is not JSON") from exc
    if not isinstance(raw, dict):
        raise MalformedMessage("the body is not a JSON object")
    known = _identity(raw)
    if type(raw.get("v")) is not int or raw["v"] != VERSION:
        raise MalformedMessage(f"v must be {VERSION}", **known)
    values = {}
    for wire, (name, kind, null) in _FIELDS.items():
        values[name] = _value(raw, wire, kind, null=null, known=known)
    for wire, (name, kind) in _OPTIONAL.items():
        if wire in raw:
            values[name] = _value(raw, wire, kind, null=False, known=known)
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return SessionMessage(**values | lists)


def _identity(raw: dict[str, Any]) -> dict[str, str]:
    """Run and session where both can be part of a key. One bad key would fail the read of a whole batch."""
    run_id, session_id = raw.get("runId"), raw.get("sessionId")
    if not is_id(run_id) or not is_id(session_id):
        return {}
    return {"run_id": str(run_id), "session_id": str(session_id)}


def is_id(value: object) -> bool:
    """Whether it can be an id of Stripe's, and so part of a key and of a message."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _value(raw: dict[str, Any], wire: str, kind: type[Any], *, null: bool, known: dict[str, str]) -> Any:  # noqa: ANN401 - JSON
    value = raw.get(wire)
    if wire not in raw or (value is None and not null):
        raise MalformedMessage(f"{wire} is missing", **known)
    # type(), not isinstance: in JSON a boolean is no integer.
    if value is not None and type(value) is not kind:
        raise MalformedMessage(f"{wire} must be a {kind.__name__}", **known)
    if problem := _problem(wire, value):
        raise MalformedMessage(f"{wire} must {problem}", **known)
    return value


def _problem(wire: str, value: object) -> str | None:
    """What a value of the right type has to be besides: nothing in it may refuse a whole transaction."""
    match value:
        case str() if wire in ("runId", "sessionId"):
            return None if is_id(value) else "be 1 to 255 printable ASCII characters"
        case str() if wire != "userId" and len(value) > _LONGEST:
            return f"be at most {_LONGEST} characters"
        case bool():
            return None
        case int() if abs(value) >= MAX_NUMBER:
            return "be a number of at most 18 digits"
        case list() if not all(map(is_id, value)):
            return "hold strings of 1 to 255 printable ASCII characters"
        case _:
            return None
