"""Days, fates and ids as the page writes them."""

from datetime import UTC, datetime

_SHOWN_OF_AN_ID = 8  # what an order number is made of as well

FATES = {
    "created": "Recovered: the order was missing and a run wrote it",
    "exists": "The order was there",
    "unpaid": "Not paid yet: looked at again every night",
    "not_a_sale": "Nothing was sold",
    "no_user": "No customer to write an order for",
    "expired": "Older than the shop keeps orders",
    "refunded": "Refunded before an order was written",
    "dismissed": "Dismissed by an operator",
    "error": "Error: still open",
}


def fate(word: str) -> str:
    """Of a word of another version, the word itself."""
    return FATES.get(word, word)


def date(epoch: int) -> str:
    """`2024-11-27`."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d")


def moment(epoch: int) -> str:
    """`2024-11-27 02:00`."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M")


def short_id(session_id: str) -> str:
    """`cs_live_…a1B2c3D4`; what is short already stays whole."""
    kind = "_".join(session_id.split("_")[:2])
    short = f"{kind}_…{session_id[-_SHOWN_OF_AN_ID:]}"
    return short if len(short) < len(session_id) else session_id
