"""The queue message: one session to reconcile in one run, as JSON without name, address or phone."""

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from recon.domain.fence import FencedEvent
from recon.domain.key_template import MAX_KEY_VALUE, is_key_value
from recon.domain.shape import Shape
from recon.domain.stripe_objects import CHECKOUT_COMPLETED, MAX_NUMBER
from recon.domain.stripe_values import find_reference
from recon.domain.user_ids import MAX_RAW_USER_ID, UserIdCandidates, UserIdRules, find_candidates
from recon.errors import MalformedMessage

VERSION = 1
_ID = re.compile(r"[\x21-\x7e]{1,255}")
# Longer than any word or id of Stripe's. A message too long for SQS would block all others.
_LONGEST = 255
_USER_IDS = frozenset({"userId", "rawUserId", "userIds"})


@dataclass(frozen=True)
class SessionMessage:
    """The fields of a session that decide without a request to Stripe.

    `created` is in epoch seconds, the amount in the currency's smallest unit; `user_id` is the id to write
    under before cleaning, `raw_user_id` the same before it was lower-cased, if it was. `other_user_ids` are
    further ids, under which the order may be already. `payment_intent` is a further mark of its order.
    `event_ids` are events that the webhook may still receive, `event_types` their types and `event_times`
    when they were created (epoch seconds), in the same order. `pending` is set for a session that an earlier
    run found unpaid: the epoch second up to which this run listed events. A session paid after it is left to
    the next run.

    `key_values` and `missing_since` are for another shop's layout: the paths of the session that the key
    needs with their values, and when its order was first missed (epoch seconds).
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
    event_times: tuple[int, ...] = ()
    pending: int | None = None
    key_values: tuple[tuple[str, str], ...] = ()
    missing_since: int | None = None
    raw_user_id: str | None = None
    other_user_ids: tuple[str, ...] = ()
    payment_intent: str | None = None

    @property
    def events(self) -> tuple[FencedEvent, ...]:
        """Return the events that the webhook may still receive; earlier versions sent no times."""
        types = (*self.event_types, *[CHECKOUT_COMPLETED] * len(self.event_ids))
        times = (*self.event_times, *[None] * len(self.event_ids))
        return tuple(map(FencedEvent, self.event_ids, types, times))


# JSON key -> (field, type, may be null)
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
# Omitted if empty, so that most messages look like the first ones of version 1.
_OPTIONAL: dict[str, tuple[str, type[Any]]] = {
    "eventTypes": ("event_types", list),
    "eventTimes": ("event_times", list),
    "pending": ("pending", int),
    "keyValues": ("key_values", dict),
    "missingSince": ("missing_since", int),
    "rawUserId": ("raw_user_id", str),
    "userIds": ("other_user_ids", list),
    "paymentIntent": ("payment_intent", str),
}


def build_message(
    session: dict[str, Any], run_id: str, rules: UserIdRules, shape: Shape | None = None
) -> SessionMessage:
    """Build the message for a listed session. `rules` say where its user id comes from.

    With a shape, the message has what the key needs in place of the user.

    The values are not validated here. `loads` rejects wrong ones later, which fails one session instead of
    the whole listing. The id and `created` are already validated by the listing.
    """
    candidates = UserIdCandidates() if shape else find_candidates(session, rules)
    return SessionMessage(
        run_id=run_id,
        session_id=session["id"],
        user_id=candidates.chosen,
        raw_user_id=candidates.raw,
        other_user_ids=candidates.others,
        key_values=shape.read_values(session) if shape else (),
        payment_intent=_find_payment_intent(session),
        **{name: _limit_length(session.get(name)) for name in _COPIED},
    )


_COPIED = ("created", "amount_total", "currency", "payment_status", "mode", "livemode")


def _find_payment_intent(session: dict[str, Any]) -> str | None:
    """Return the payment intent, or None: without it, an order is still known by the session's id."""
    intent = find_reference(session, "payment_intent")
    return intent if is_id(intent) else None


def _limit_length(value: object) -> Any:  # noqa: ANN401 - JSON
    """Replace a value that is too long by an empty object, which no field accepts."""
    fits = value is None or type(value) in (bool, float)
    fits = fits or (type(value) is int and abs(value) < MAX_NUMBER)
    return value if fits or (isinstance(value, str) and len(value) <= _LONGEST) else {}


def with_user(message: SessionMessage, session: dict[str, Any], rules: UserIdRules) -> SessionMessage:
    """Return a message that was made with a shape as one of this system's layout, for Stripe's session."""
    found = find_candidates(session, rules)
    named = replace(message, user_id=found.chosen, raw_user_id=found.raw, other_user_ids=found.others)
    return replace(named, key_values=())


def dumps(message: SessionMessage) -> str:
    """Serialize a message to JSON without spaces."""
    fields = vars(message) | {"key_values": dict(message.key_values)}
    body = {"v": VERSION} | {wire: fields[name] for wire, (name, _, _) in _FIELDS.items()}
    optional = {wire: fields[name] for wire, (name, _) in _OPTIONAL.items()}
    body |= {wire: value for wire, value in optional.items() if value not in (None, (), {})}
    return json.dumps(body, separators=(",", ":"))


def loads(body: str) -> SessionMessage:
    """Parse and validate a message.

    Raise MalformedMessage that names the wrong field, and run and session if both can be read.
    """
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise MalformedMessage("the body is not JSON") from exc
    if not isinstance(raw, dict):
        raise MalformedMessage("the body is not a JSON object")
    ids = _read_ids(raw)
    if type(raw.get("v")) is not int or raw["v"] != VERSION:
        raise MalformedMessage(f"v must be {VERSION}", **ids)
    values = {}
    for wire, (name, kind, null) in _FIELDS.items():
        values[name] = _read_field(raw, wire, kind, null=null, ids=ids)
    for wire, (name, kind) in _OPTIONAL.items():
        if wire in raw:
            values[name] = _read_field(raw, wire, kind, null=False, ids=ids)
    tuples = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    tuples |= {name: tuple(value.items()) for name, value in values.items() if isinstance(value, dict)}
    return SessionMessage(**values | tuples)


def _read_ids(raw: dict[str, Any]) -> dict[str, str]:
    """Return run and session if both are valid in a key: one invalid key fails the read of a whole batch."""
    run_id, session_id = raw.get("runId"), raw.get("sessionId")
    if not is_id(run_id) or not is_id(session_id):
        return {}
    return {"run_id": str(run_id), "session_id": str(session_id)}


def is_id(value: object) -> bool:
    """Return whether the value is valid as an id in keys and messages, as all of Stripe's ids are."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _read_field(raw: dict[str, Any], wire: str, kind: type[Any], *, null: bool, ids: dict[str, str]) -> Any:  # noqa: ANN401 - JSON
    value = raw.get(wire)
    if wire not in raw or (value is None and not null):
        raise MalformedMessage(f"{wire} is missing", **ids)
    # type() instead of isinstance(), which accepts a boolean as an integer.
    if value is not None and type(value) is not kind:
        raise MalformedMessage(f"{wire} must be a {kind.__name__}", **ids)
    if problem := _find_problem(wire, value):
        raise MalformedMessage(f"{wire} must {problem}", **ids)
    return value


def _is_time(value: object) -> bool:
    return type(value) is int and 0 <= value < MAX_NUMBER


def _find_problem(wire: str, value: object) -> str | None:  # noqa: PLR0911 - one return per constraint
    """Return the constraint that a value of the right type violates.

    A value that DynamoDB rejects would fail the transaction of all sessions of a batch.
    """
    match value:
        case str() if wire in ("runId", "sessionId"):
            return None if is_id(value) else "be 1 to 255 printable ASCII characters"
        case str() if wire not in _USER_IDS and len(value) > _LONGEST:
            return f"be at most {_LONGEST} characters"
        case int() if abs(value) >= MAX_NUMBER:
            return "be a number of at most 18 digits"
        case list() if wire == "eventTimes":
            return None if all(map(_is_time, value)) else "hold numbers of at most 18 digits"
        case dict():
            fits = all(isinstance(text, str) and is_key_value(text) for text in value.values())
            return None if fits else f"hold texts of at most {MAX_KEY_VALUE} characters"
        case list() if not all(map(_is_user_id if wire in _USER_IDS else is_id, value)):
            longest = MAX_RAW_USER_ID if wire in _USER_IDS else f"{_LONGEST} printable ASCII"
            return f"hold strings of 1 to {longest} characters"
    return None


def _is_user_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_RAW_USER_ID
