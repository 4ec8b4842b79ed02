"""Pure: the forms of keys, described without any value that could be a customer's."""

import re
from collections.abc import Iterator
from enum import StrEnum

from recon.domain.message import SessionMessage
from recon.domain.order_keys import ORDER_PREFIX, OrderSortKey
from recon.domain.stripe_objects import EMAIL, METADATA, Json
from recon.domain.stripe_values import find_object
from recon.domain.user_ids import clean_user_id, read_source
from recon.dynamodb.user_orders import first_sort_key

USER_PREFIX = "USER#"
# Words of keys that are printed as they are. Anything else could be a customer's name.
_WORDS = re.compile(
    r"(user|order|customer|account|client|member|buyer|email|guest|shop|store|tenant|org|purchase|payment"
    r"|checkout|session|cart|sale|invoice|profile|item|stripe|ord|usr|cust?|date|meta|metadata)s?",
    re.IGNORECASE,
)


class KeyForm(StrEnum):
    """What a part of a key is."""

    EPOCH = "epoch seconds"
    MILLISECONDS = "milliseconds"
    ISO = "ISO 8601"
    ULID = "ULID"
    UUID = "UUID"
    SESSION = "session id"
    PAYMENT_INTENT = "payment intent"
    OTHER = "other"


_FORMS = (
    (KeyForm.EPOCH, re.compile(r"\d{10}")),
    (KeyForm.MILLISECONDS, re.compile(r"\d{13}(\d{3}){0,2}")),
    (KeyForm.ISO, re.compile(r"(19|20)\d\d-?[01]\d-?[0-3]\d([T ].*)?")),
    (KeyForm.ULID, re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.IGNORECASE)),
    (KeyForm.UUID, re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)),
    (KeyForm.SESSION, re.compile(r"cs_\w+")),
    (KeyForm.PAYMENT_INTENT, re.compile(r"pi_\w+")),
)


def find_form(text: str) -> KeyForm:
    """Return the form of one part of a key."""
    return next((form for form, pattern in _FORMS if pattern.fullmatch(text)), KeyForm.OTHER)


def find_sort_key_form(sk: str) -> KeyForm:
    """Return the form of what follows `ORDER#`, up to the next `#`."""
    return find_form(sk.removeprefix(ORDER_PREFIX).partition("#")[0])


def is_read_by_time(sk: str, created: int) -> bool:
    """Return whether a lookup by time is sure to read orders with sort keys of this form.

    Half of all UUIDs sort behind an epoch, and half before it, so that one which is found proves nothing.
    """
    is_random = find_sort_key_form(sk) in (KeyForm.ULID, KeyForm.UUID)
    return not is_random and sk >= first_sort_key(created, OrderSortKey.EPOCH)


def list_sources(session: Json) -> list[str]:
    """Return all possible sources of a user id that the session has a value of."""
    metadata = find_object(session, "metadata")
    names = [f"{METADATA}{key}" for key in metadata if "," not in key]
    sources = [*names, EMAIL, "client_reference_id", "customer"]
    return [source for source in sources if any(read_source(session, source))]


def list_spellings(session: Json, source: str) -> Iterator[tuple[str, bool]]:
    """Yield how a source's value may be spelled in a key, and whether that spelling is lower-cased."""
    for value in read_source(session, source):
        yield value, False
        yield clean_user_id(value), False
        yield value.lower(), True
        yield clean_user_id(value.lower()), True


def describe_key(pk: str, sk: str, session: Json, message: SessionMessage) -> str:
    """Return the pattern of a key, such as `USER#<customer_details.email> / ORDER#<ULID>`."""
    known = {
        text: f"<{source}>"
        for source in reversed(list_sources(session))
        for text, _ in list_spellings(session, source)
        if text
    }
    known |= {message.session_id: "<session id>", str(message.created): "<created>"}
    if message.payment_intent:
        known[message.payment_intent] = "<payment intent>"
    return f"{_describe_part(pk, known)} / {_describe_part(sk, known)}"


def _describe_part(text: str, known: dict[str, str]) -> str:
    if text in known:
        return known[text]
    return "#".join(_describe_segment(segment, known) for segment in text.split("#"))


def is_word(segment: str) -> bool:
    """Return whether a part of a key is a common word, which is no value of a customer's."""
    return _WORDS.fullmatch(segment) is not None


def _describe_segment(segment: str, known: dict[str, str]) -> str:
    if segment in known:
        return known[segment]
    return segment if not segment or is_word(segment) else f"<{find_form(segment).value}>"
