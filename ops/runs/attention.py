"""The sessions that a person has to look at, by the word that says why."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.format.links import session_url
from ops.format.money import Money, to_money, totals
from ops.format.text import standard_time
from recon.domain.attention import Attention
from recon.dynamodb.attention import AttentionRecord


@dataclass(frozen=True)
class OpenAttention:
    """A session that waits for a person.

    `until` is when its money can be captured at the latest, if that is known.
    """

    session_id: str
    words: tuple[str, ...]
    amount: Money | None
    since: str | None
    until: datetime | None
    acknowledged_by: str | None
    url: str

    @property
    def is_open(self) -> bool:
        """Return True unless a person has acknowledged the words."""
        return self.acknowledged_by is None


@dataclass(frozen=True)
class AttentionGroup:
    """The open sessions with one word, the most urgent first, and their money by currency."""

    word: str
    count: int
    money: tuple[Money, ...]
    command: str
    sessions: tuple[OpenAttention, ...]

    @property
    def until(self) -> datetime | None:
        """Return the first date at which money of these sessions can be captured no longer."""
        dates = [one.until for one in self.sessions if one.until]
        return min(dates, default=None) if self.word == Attention.AWAITING_CAPTURE else None


def to_open_attention(record: AttentionRecord) -> OpenAttention:
    """Convert an item of the table."""
    return OpenAttention(
        session_id=record.session_id,
        words=record.words,
        amount=to_money(record.amount, record.currency),
        since=standard_time(record.since),
        until=None if record.until is None else datetime.fromtimestamp(record.until, UTC),
        acknowledged_by=record.acknowledged_by,
        url=session_url(record.session_id),
    )


def group_by_word(records: Iterable[AttentionRecord]) -> tuple[AttentionGroup, ...]:
    """Return the open sessions by word; one with two words is in both groups."""
    found = sorted((to_open_attention(record) for record in records if record.is_open), key=_urgency)
    known = [str(word) for word in Attention]
    words = {word for one in found for word in one.words}
    ordered = sorted(words, key=lambda word: (known.index(word) if word in known else len(known), word))
    return tuple(_group(word, [one for one in found if word in one.words]) for word in ordered)


def _group(word: str, sessions: list[OpenAttention]) -> AttentionGroup:
    return AttentionGroup(
        word=word,
        count=len(sessions),
        money=tuple(totals(one.amount for one in sessions if one.amount)),
        command=_find_command(word, sessions[0]),
        sessions=tuple(sessions),
    )


def _find_command(word: str, first: OpenAttention) -> str:
    return "nightly-sync missing" if word == Attention.MISSING else describe_session_command(first.session_id)


def describe_session_command(session_id: str) -> str:
    """Return the command that says what a session needs."""
    return f"nightly-sync explain {session_id}"


def _urgency(one: OpenAttention) -> tuple[float, str, str]:
    until = one.until.timestamp() if one.until else float("inf")
    return until, one.since or "", one.session_id
