"""The attention item, for a session that a person has to look at: `SYSTEM / ATTENTION#<session>`.

The item is put or ended in the transaction of an outcome, or by a person.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from recon.domain.attention import ENDED_BY_NEXT_OUTCOME, Attention
from recon.dynamodb.attribute_readers import read_integer, read_text, read_texts
from recon.dynamodb.keys import ATTENTION_PREFIX, SYSTEM, attention_key
from recon.dynamodb.table import Action, Item, Table, TransactionCancelled
from recon.retry import Deadline
from recon.timestamps import DAY

# Longer than any session waits for its payment, so that an acknowledged word stays silent until the end.
ACKNOWLEDGED_DAYS = 450


@dataclass(frozen=True)
class AttentionRecord:
    """The words about one session, as `recon.domain.attention` or another version has them.

    `since` is when they were new (ISO 8601). `until` is when the money can be captured at the latest (epoch
    seconds), if it is known. `expires_at` is set when a person acknowledges them. `stored_words` is the
    attribute as it was read.
    """

    session_id: str
    words: tuple[str, ...]
    amount: int | None = None
    currency: str | None = None
    since: str | None = None
    until: int | None = None
    acknowledged_by: str | None = None
    expires_at: int | None = None
    stored_words: object = field(default=None, compare=False, repr=False)

    @property
    def is_open(self) -> bool:
        """Return True unless a person has acknowledged the words."""
        return self.acknowledged_by is None

    def is_acknowledged(self, word: Attention) -> bool:
        """Return True if a person has acknowledged this word."""
        return not self.is_open and word in self.words


def parse_attention(item: Item) -> AttentionRecord:
    """Return the record of an item of any version; an empty item gives one without words."""
    return AttentionRecord(
        session_id=str(item.get("SK", "")).removeprefix(ATTENTION_PREFIX),
        words=read_texts(item, "words"),
        amount=read_integer(item, "amount"),
        currency=read_text(item, "currency"),
        since=read_text(item, "since"),
        until=read_integer(item, "until"),
        acknowledged_by=read_text(item, "acknowledgedBy"),
        expires_at=read_integer(item, "expiresAt"),
        stored_words=item.get("words"),
    )


def update_attention(
    before: AttentionRecord | None, said: AttentionRecord, *, order_says_paid: bool
) -> AttentionRecord | None:
    """Return what is left of `before` after an outcome that `said` these words, or None if nothing is.

    A word that is repeated keeps its date, its amount and its acknowledgement. A new word starts all over.
    """
    old = before.words if before else ()
    ended = ENDED_BY_NEXT_OUTCOME | ({Attention.ORDER_SAYS_UNPAID} if order_says_paid else set())
    words = tuple(dict.fromkeys([word for word in old if word in said.words or word not in ended]))
    words += tuple(word for word in said.words if word not in words)
    if not words:
        return None
    until = said.until
    if before and until is None:
        until = before.until
    until = until if Attention.AWAITING_CAPTURE in words else None
    if before and set(words) <= set(old):
        return replace(before, words=words, until=until)
    return replace(said, words=words, until=until)


def is_same_attention(before: AttentionRecord | None, after: AttentionRecord | None) -> bool:
    """Return True if words and date are those that were read."""
    if before is None or after is None:
        return before is after
    return (set(before.words), before.until) == (set(after.words), after.until)


def concerns_attention(before: AttentionRecord | None, after: AttentionRecord | None) -> bool:
    """Return True if an outcome changes the item, or rests on words that were read."""
    return after is not None or (before is not None and before.stored_words is not None)


def attention_action(
    table: Table, before: AttentionRecord | None, after: AttentionRecord | None
) -> Action | None:
    """Return the action that puts, deletes or only checks the item if it still has the words that were read.

    Words that are repeated are checked: another run may have ended them since. Return None if there are none.
    """
    if not concerns_attention(before, after):
        return None
    condition, values = _words_unchanged(before)
    if before is not None and is_same_attention(before, after):
        return table.check(attention_key(before.session_id), condition, values)
    if after is not None:
        return table.put(_attention_item(after), condition, values)
    return table.delete(attention_key(before.session_id), condition, values) if before else None


def acknowledge(table: Table, record: AttentionRecord, by: str, now: int, deadline: Deadline) -> bool:
    """Keep the words silent until they change. Return False if they changed since `record` was read."""
    condition, values = _words_unchanged(record)
    action = table.update(
        attention_key(record.session_id),
        "SET acknowledgedBy = :by, expiresAt = :expires",
        {":by": by, ":expires": now + ACKNOWLEDGED_DAYS * DAY} | (values or {}),
        condition=condition,
    )
    try:
        table.transact([action], deadline)
    except TransactionCancelled:
        return False
    return True


def find_attention(
    table: Table, deadline: Deadline | None = None, *, only_open: bool = False
) -> Iterator[AttentionRecord]:
    """Yield the items of all sessions, or only those that nobody has acknowledged, by session id."""
    items = table.query(
        "PK = :pk AND begins_with(SK, :prefix)",
        {":pk": SYSTEM, ":prefix": ATTENTION_PREFIX},
        only="attribute_not_exists(acknowledgedBy)" if only_open else None,
        deadline=deadline,
    )
    return map(parse_attention, items)


def _words_unchanged(before: AttentionRecord | None) -> tuple[str, Item | None]:
    """Return the condition, and its values, that the item has the words that were read."""
    if before is None or before.stored_words is None:
        return "attribute_not_exists(words)", None
    return "words = :read", {":read": before.stored_words}


def _attention_item(record: AttentionRecord) -> Item:
    pk, sk = attention_key(record.session_id)
    fields: Item = {
        "PK": pk,
        "SK": sk,
        "words": list(record.words),
        "amount": record.amount,
        "currency": record.currency,
        "since": record.since,
        "until": record.until,
        "acknowledgedBy": record.acknowledged_by,
        "expiresAt": record.expires_at,
    }
    return {name: value for name, value in fields.items() if value is not None}
