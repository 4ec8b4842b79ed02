"""What `explain` is given: a session, a payment, an order number, an e-mail or a web address. Pure."""

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, unquote, urlsplit

from ops.errors import CommandError

_SESSION = re.compile(r"cs_[A-Za-z0-9_-]{1,252}")
_PAYMENT = re.compile(r"pi_[A-Za-z0-9]{1,252}")
_EMAIL = re.compile(r"[^\s@/?#]+@[^\s@/?#]+")
_NUMBER = re.compile(r"(?=.*[0-9-])[A-Za-z0-9_#.-]{1,64}")
_OTHER_OBJECT = re.compile(r"(ch|py|in|sub|cus|evt|price|prod|re|dp|du|seti|plink)_[A-Za-z0-9]+")
_WEB = ("https://", "http://")
# An address without its scheme, as browsers show it.
_HOSTS = ("dashboard.stripe.com/", "checkout.stripe.com/")
_SEARCHED = "query"
_SHOWN = 40


class ReferenceKind(StrEnum):
    """The kinds of references."""

    SESSION = "session"
    PAYMENT = "payment"
    EMAIL = "e-mail address"
    ORDER_NUMBER = "order number"


@dataclass(frozen=True)
class Reference:
    """An id or address that an operator typed, without the text around it."""

    kind: ReferenceKind
    value: str


def parse_reference(text: str) -> Reference:
    """Return what the text names. Raise CommandError if it names nothing that leads to a session."""
    typed = text.strip()
    if typed.lower().startswith(_HOSTS):
        typed = f"https://{typed}"
    reference = _parse_address(typed) if typed.lower().startswith(_WEB) else _parse(typed)
    if reference is None:
        raise CommandError(_describe_refusal(typed))
    return reference


def _parse(typed: str) -> Reference | None:
    for kind, form in (
        (ReferenceKind.SESSION, _SESSION),
        (ReferenceKind.PAYMENT, _PAYMENT),
        (ReferenceKind.EMAIL, _EMAIL),
    ):
        if form.fullmatch(typed):
            return Reference(kind, typed)
    return Reference(ReferenceKind.ORDER_NUMBER, typed) if _is_order_number(typed) else None


def _is_order_number(typed: str) -> bool:
    """Return whether it can be one of any shop: with a digit, or a prefix and a dash."""
    is_other = _OTHER_OBJECT.fullmatch(typed) or typed.startswith(("cs_", "pi_"))
    return bool(_NUMBER.fullmatch(typed)) and not is_other


def _parse_address(address: str) -> Reference | None:
    """Return what a web address names: a session before a payment, in its path or its query."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    query = parse_qsl(parts.query)
    words = [unquote(word) for word in parts.path.split("/")] + [value for _, value in query]
    for kind, form in ((ReferenceKind.SESSION, _SESSION), (ReferenceKind.PAYMENT, _PAYMENT)):
        if word := next(filter(form.fullmatch, words), None):
            return Reference(kind, word)
    searched = next((value.strip() for name, value in query if name == _SEARCHED), "")
    return _parse(searched)


def _describe_refusal(typed: str) -> str:
    forms = (
        "a Checkout Session (cs_…), a payment (pi_…), an order number (such as BC-1A2B3C4D), an e-mail "
        "address or the Dashboard's address of a session or payment"
    )
    if typed.lower().startswith(_WEB):
        return f"this web address names no session and no payment; give {forms}"
    # A part of an address would not be recognised as one and masked.
    subject = "this" if "@" in typed else repr(typed[:_SHOWN])
    return f"{subject} is not {forms}; `nightly-sync show last` lists sessions"
