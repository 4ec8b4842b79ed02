"""Pure: the sentences about a table with another layout: what the file rests on, and what is unsure."""

from collections.abc import Iterator, Sequence

from ops.format.text import quantity
from ops.layout.model import Code, LayoutFinding
from ops.layout.shape.holders import Holder
from ops.layout.shape.index import IdAttribute
from ops.layout.shape.search import Candidate, KeyMatch
from ops.layout.shape.subjects import Subject
from ops.layout.shape.verify import Verified
from ops.layout.shape.words import Words, choose_words
from ops.runs.finding import Verdict
from recon.dynamodb.table import Item

# A file that rests on fewer orders may have met no other kind.
FEW = 10
EXAMPLES = 3
MOST_NAMED = 3
# As in a run's warning `nothing_found`.
_MISSING_OF_TEN = 9


def note(
    code: Code,
    what: str,
    sessions: Sequence[str] = (),
    *,
    verdict: Verdict = Verdict.ADVICE,
    command: str | None = None,
) -> LayoutFinding:
    """Return a finding with some of its sessions as examples."""
    return LayoutFinding(
        code, what, command, len(sessions), verdict=verdict, examples=tuple(sessions[:EXAMPLES])
    )


def describe_choice(found: Sequence[KeyMatch], other_case: int) -> Iterator[LayoutFinding]:
    """Yield what is unsure about the best key. `other_case` items have its value in another case."""
    best, *others = found
    if not best.identifies:
        what = (
            "the key is made of the customer's values alone, so that it also finds what an earlier order "
            "of the customer left; store the session's id with the order, and add an index on it"
        )
        yield note(Code.USER_KEY, what)
    if len(best.items) < FEW:
        yield note(Code.FEW_SESSIONS, f"it rests on {quantity(len(best.items), 'order')} only")
    also = [one for one in others if one.identifies and 2 * len(one.items) >= len(best.items)]
    if also:
        named = "; ".join(f"{_describe(one.candidate)} ({len(one.items)})" for one in also[:MOST_NAMED])
        yield note(Code.CANDIDATES, f"other keys lead to items of these sessions too: {named}")
    if other_case:
        what = (
            f"the items of {quantity(other_case, 'session')} have the value of the key in another case, "
            "which no template can make: they count as missing"
        )
        yield note(Code.ID_CASE, what)


def _describe(candidate: Candidate) -> str:
    key = ", ".join(f"{name} = {text}" for name, text in candidate.templates)
    return f"{key} in {candidate.holder.name}"


def describe_words(words: Words, holder: Holder | None, items: Sequence[Item]) -> Iterator[LayoutFinding]:
    """Yield what is unsure about the status words. `items` are those that were read, with all attributes."""
    for what in words.unsure:
        yield note(Code.STATUS_WORDS, what)
    if words.by_person and words.done and words.open:
        listed = ", ".join(map(repr, words.by_person))
        what = (
            f"{words.attribute} is also {listed}: in neither list, so set by a person and reported as drift"
        )
        yield note(Code.STATUS_WORDS, what, verdict=Verdict.OK)
    if words.attribute is not None:
        return
    if holder and holder.projected is not None:
        status = choose_words([item for item in items if holder.keys[0] in item], [], holder.keys).attribute
        if status and not holder.has(status):
            what = (
                f"{holder.name} does not project {status}, so that an item that is present counts as done; "
                "make an index with the projection ALL, and run this again"
            )
            yield note(Code.PROJECTION, what)
            return
    what = (
        "no status attribute was seen, so that an item that is present counts as done: if the shop makes it "
        "before the checkout, no lost webhook is noticed"
    )
    yield note(Code.NO_STATUS, what)


def describe_verified(verified: Verified, *, is_given: bool) -> Iterator[LayoutFinding]:
    """Yield what the lookup did not find. A given file that finds hardly any order does not fit."""
    found = len(verified.found)
    missing = len(verified.open) + len(verified.absent)
    is_wrong = is_given and 10 * missing >= _MISSING_OF_TEN * (missing + found) and missing > 0
    verdict = Verdict.FIX if is_wrong else Verdict.ADVICE
    if verified.open:
        what = f"the orders of {quantity(len(verified.open), 'paid session')} are open and count as missing"
        yield note(Code.OPEN_ORDERS, what, verified.open, verdict=verdict)
    if verified.absent:
        what = (
            f"the orders of {quantity(len(verified.absent), 'paid session')} are absent and count as missing"
        )
        yield note(Code.NO_ORDER, what, verified.absent, verdict=verdict)
    if verified.no_key:
        what = (
            f"{quantity(len(verified.no_key), 'paid session')} cannot have the key, lacking its values: "
            "runs skip them as no orders of this shop (no_key)"
        )
        is_all = is_given and not found and not missing
        yield note(Code.NO_KEY, what, verified.no_key, verdict=Verdict.FIX if is_all else Verdict.ADVICE)
    if is_given and verified.by_person:
        what = "the status of these orders is in neither list, so set by a person and reported as drift"
        yield note(Code.STATUS_WORDS, what, verified.by_person)


def describe_attribute(
    attribute: IdAttribute, command: str | None, subjects: Sequence[Subject]
) -> Iterator[LayoutFinding]:
    """Yield what the attribute with the ids needs before the sync can find them. `command` adds its index."""
    where = f"{{{attribute.path}}} of the session is in the attribute {attribute.name}"
    if attribute.is_nested:
        what = (
            f"{where}, which is within another one and can have no index: let the webhook store the value in "
            "a top-level attribute, and add an index on that"
        )
        yield note(Code.NESTED_ID, what, verdict=Verdict.FIX)
        return
    what = (
        f"{where}, which is no key and has no index (seen for {attribute.sessions} of "
        f"{quantity(len(subjects), 'session')}). The sync never scans: add an index, wait until it is "
        "ACTIVE, and run this again"
    )
    yield note(Code.NEEDS_INDEX, what, verdict=Verdict.FIX, command=command)
    if attribute.sessions == 0:
        yield note(Code.FEW_SESSIONS, "no order of a sampled session was seen, only others with such ids")
    if attribute.unusable:
        what = (
            f"{quantity(attribute.unusable, 'item')} of the sample have {attribute.name} null, empty or not "
            "as a text: with the index DynamoDB refuses to write such items. Let the shop leave the "
            "attribute out until it has a value, before the index is added"
        )
        yield note(Code.NULL_IDS, what)


def describe_dead_end(
    subjects: Sequence[Subject], holders: Sequence[Holder], *, is_other_case: bool
) -> Iterator[LayoutFinding]:
    """Yield why no file finds the orders."""
    if not subjects:
        return
    if is_other_case:
        what = (
            "the keys of the items have the values of the session in another case, which no template can "
            "make: let the shop pass them to Stripe as it stores them"
        )
        yield note(Code.ID_CASE, what, verdict=Verdict.FIX)
    unusable = [holder for holder in holders if not holder.is_usable]
    if unusable:
        names = ", ".join(holder.name for holder in unusable)
        what = f"keys of numbers or bytes cannot be made from a session, as those of {names}"
        yield note(Code.KEY_TYPE, what)
    what = (
        "nothing in the table that was read leads from these sessions to orders: neither a key, an index nor "
        "an attribute has one of their values. Compare the table and the key's account and mode with the "
        "shop's; if both are right, let the webhook store the session's id with the order, and index it"
    )
    yield note(Code.NO_SHAPE, what, verdict=Verdict.FIX)
