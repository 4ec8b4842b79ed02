"""Pure: which values of a status attribute the shop calls done, and which open."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recon.domain.shape import Word
from recon.dynamodb.table import Item

MOST_WORDS = 12
# A value that few paid orders have says little about what it means.
_USUAL = 0.1
_SHOWABLE = re.compile(r"[\w][\w .:/-]{0,39}")
_NAME = re.compile(r"status|state|stage|phase|paid|fulfil|complete|confirmed|captured|shipped", re.IGNORECASE)
_FLAG = re.compile(r"(is|has)?_?(paid|fulfil+ed|completed?|confirmed|captured|done|processed)", re.IGNORECASE)
_DONE = frozenset(
    """paid complete completed done confirmed fulfilled fulfilling shipped shipping delivered
    succeeded success successful captured active processed settled sent payment_received
    payment_succeeded payment_complete payment_completed payment_confirmed approved dispatched
    ready ready_to_ship ready_for_pickup packed in_production in_delivery accepted finished
    purchased sold downloaded
    """.split()  # noqa: SIM905 - a line for each would fill a page
)
_OPEN = frozenset(
    """pending open created new draft unpaid not_paid initiated init incomplete awaiting_payment
    pending_payment payment_pending waiting waiting_for_payment awaiting requires_payment
    requires_payment_method requires_action started cart reserved checkout in_checkout
    checkout_started checkout_pending payment_required payment_failed failed expired abandoned
    declined
    """.split()  # noqa: SIM905 - as above
)
# A paid order with these is not done, but it is no usual state of one that waits either.
_ENDED = frozenset(["payment_failed", "failed", "expired", "abandoned", "declined"])
# Set by a person, so that they are in neither list.
_BY_PERSON = frozenset(
    """cancelled canceled refunded partially_refunded partly_refunded refund_pending returned void voided
    disputed rejected on_hold""".split()  # noqa: SIM905 - as above
)


@dataclass(frozen=True)
class Words:
    """The lists of a status attribute, and what is unsure about them, as sentences.

    `by_person` are the values in neither list. Without an attribute, an item that is present is done.
    """

    attribute: str | None = None
    done: tuple[Word, ...] = ()
    open: tuple[Word, ...] = ()
    by_person: tuple[Word, ...] = ()
    unsure: tuple[str, ...] = ()


def choose_words(paid: Sequence[Item], others: Sequence[Item], keys: Iterable[str]) -> Words:
    """Return the lists of the attribute that tells done orders best, by the orders of paid sessions.

    `others` are further items like them, `keys` their key attributes.
    """
    names = dict.fromkeys(name for item in paid for name in item)
    excluded = set(keys)
    ranked = sorted(
        (_rank(name, paid, others), name) for name in names if name not in excluded and _tells(name, paid)
    )
    usable = [name for _, name in ranked if _is_status(name, paid)]
    if not usable:
        return Words()
    words = _classify(usable[0], paid, others)
    if len(usable) > 1:
        other = ", ".join(usable[1:4])
        note = f"{usable[0]} is taken for the status; also possible: {other}"
        words = Words(words.attribute, words.done, words.open, words.by_person, (note, *words.unsure))
    return words


def _tells(name: str, paid: Sequence[Item]) -> bool:
    """Return whether an attribute can be the status of these orders."""
    values = _read(name, paid)
    if not values or 2 * len(values) < len(paid) or not all(_is_word(value) for value in values):
        return False
    if all(isinstance(value, bool) for value in values):
        return _FLAG.fullmatch(name) is not None
    is_few = len(set(values)) <= MOST_WORDS
    is_known = 5 * sum(_is_known(value) for value in values) >= 4 * len(values)
    return is_few and (is_known or _NAME.search(name) is not None)


def _is_status(name: str, paid: Sequence[Item]) -> bool:
    """Return whether name and values show a status: `state` may be where a person lives."""
    values = _read(name, paid)
    is_named = _NAME.search(name) is not None and any(map(_is_known, values))
    return is_named or any(map(_is_done, values)) or name.lower().endswith("status")


def _is_word(value: object) -> bool:
    if isinstance(value, str):
        return _SHOWABLE.fullmatch(value) is not None
    return isinstance(value, bool | int)


def _rank(name: str, paid: Sequence[Item], others: Sequence[Item]) -> tuple[bool, int, bool, int]:
    """Return the rank: attributes with done and open values first, then those with more known values."""
    values = _read(name, paid)
    every = [*values, *_read(name, others)]
    known = sum(_is_known(value) for value in values)
    has_both = any(map(_is_done, every)) and any(map(_is_open, every))
    return not has_both, -known, name.lower() != "status", len(name)


def _normalize(value: object) -> str:
    text = re.sub(r"([a-z])([A-Z])", r"\1_\2", str(value)).lower()
    # A prefix such as `order.` or `ORDER_` says nothing.
    return re.sub(r"^(order|checkout|payment(?=_paid))_", "", re.sub(r"[ .:/-]+", "_", text))


def _is_done(value: object) -> bool:
    return value is True or (isinstance(value, str) and _normalize(value) in _DONE)


def _is_open(value: object) -> bool:
    return value is False or (isinstance(value, str) and _normalize(value) in _OPEN)


def _is_by_person(value: object) -> bool:
    return isinstance(value, str) and _normalize(value) in _BY_PERSON


def _is_known(value: object) -> bool:
    return _is_done(value) or _is_open(value) or _is_by_person(value)


def _classify(name: str, paid: Sequence[Item], others: Sequence[Item]) -> Words:
    counts = Counter(_to_key(value) for value in _read(name, paid))
    seen = [*counts, *(_to_key(value) for value in _read(name, others) if _is_word(value))]
    done: list[Word] = []
    opened: list[Word] = []
    by_person: list[Word] = []
    unsure: list[str] = []
    for key in dict.fromkeys(seen):
        word, count = key[1], counts[key]
        if _is_done(word):
            done.append(word)
        elif _is_open(word):
            opened.append(word)
            if count and _normalize(word) in _ENDED:
                unsure.append(f"{count} paid sessions have {word!r}, which is taken for open")
        elif _is_by_person(word):
            by_person.append(word)
        elif count >= max(2, _USUAL * counts.total()):
            done.append(word)
            unsure.append(f"{word!r} is no known word; {count} paid sessions have it: taken for done")
        else:
            by_person.append(word)
            unsure.append(f"{word!r} is no known word, and {count} paid sessions have it: it is in no list")
    waiting = sum(counts[_to_key(word)] for word in opened)
    if 2 * waiting > counts.total():
        unsure.append(
            f"{waiting} of {counts.total()} paid sessions are open by {name}: if the shop leaves its paid "
            "orders so, the value belongs in done"
        )
    if not opened:
        unsure.append(f"no open value of {name} was seen; with done alone, every other value is open")
    lists = [tuple(words[:MOST_WORDS]) for words in (done, opened, by_person)]
    return Words(name, lists[0], lists[1], lists[2], tuple(unsure))


def _read(name: str, items: Iterable[Item]) -> list[Word]:
    """Return the values of an attribute. Null is none."""
    return [item[name] for item in items if item.get(name) is not None]


def _to_key(value: Word) -> tuple[bool, Word]:
    """Return a key that tells 1 from true."""
    return isinstance(value, bool), value
