"""Pure: the sentences about a table, each with the setting that helps or the word that none does."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ops.layout.groups import OrderlessGroup
from ops.layout.model import Code, Evidence, LayoutFinding
from ops.runs.finding import Verdict
from recon.config import Settings
from recon.domain.order_keys import OrderSortKey
from recon.domain.user_ids import UserIdRules

EXAMPLES = 3
# As in a run's warning `nothing_found`: fewer missing orders may be those of lost webhooks.
MISSING_OF_TEN = 9
NONE = "No setting helps: "


@dataclass(frozen=True)
class Suggestions:
    """The current settings, and the rules, the sort key and the filter that would fit."""

    current: Settings
    rules: UserIdRules
    sort_key: OrderSortKey
    groups: Sequence[OrderlessGroup] = ()

    @property
    def sources(self) -> str | None:
        if self.rules.sources == self.current.user_ids.sources:
            return None
        return f"UserIdSources={','.join(self.rules.sources)}"

    @property
    def email_case(self) -> str | None:
        is_same = self.rules.email_case is self.current.user_ids.email_case
        return None if is_same else f"EmailCase={self.rules.email_case}"

    @property
    def order_sort_key(self) -> str | None:
        is_same = self.sort_key is self.current.order_sort_key
        return None if is_same else f"OrderSortKey={self.sort_key}"

    @property
    def session_filter(self) -> str | None:
        conditions = [group.condition for group in self.groups if group.is_written]
        text = " ".join(filter(None, [self.current.session_filter.text, *conditions]))
        return f"SessionFilter={text}" if conditions else None

    def list_changes(self) -> tuple[str, ...]:
        """Return all parameters that have to change, as `NAME=VALUE`."""
        changes = (self.sources, self.email_case, self.order_sort_key, self.session_filter)
        return tuple(change for change in changes if change)


# What a session's order shows, and what it means.
_MISFITS: dict[Code, str] = {
    Code.USER_ID: "The order is under another value of the session than the sync would write it under",
    Code.EMAIL_CASE: (
        "The order is under the customer's e-mail address in another case than the sync would write it under"
    ),
    Code.USER_ID_UNKNOWN: (
        "The order is under a user id that no source of the session gives. "
        f"{NONE}pass the user id to Stripe, such as in metadata.userId"
    ),
    Code.SORT_KEY: (
        "The order's sort key does not begin with the time of writing (ORDER#<epoch seconds>), so that the "
        "lookup by time misses it or may miss the next one"
    ),
    Code.MARK: (
        "The order has the session's id neither in stripeSessionId nor in orderId, and its payment intent "
        f"neither in stripePaymentIntentId nor in paymentIntentId. {NONE}let the webhook store one of them"
    ),
    Code.MAJOR_UNITS: (
        "The order has its amount in major units, such as 15.00 for Stripe's 1500. It is found, but counts "
        f"as drift every night. {NONE}let the webhook store the amount as Stripe has it"
    ),
    Code.DOUBLED: (
        "The sync has written an order beside one of the shop that it does not find. Remove its order, "
        "which has a syncRunId"
    ),
}
_NOTES: dict[Code, str] = {
    Code.SORT_KEY_READ: (
        "The order's sort key has its time in milliseconds or as ISO 8601, which the lookup reads"
    ),
    Code.PAYMENT_INTENT: "The order has the payment intent only, by which the sync knows it too",
    Code.NUMERIC_TIMES: "The order's times are numbers, which the sync reads rightly",
}
_OTHER_KEY = (
    "The session has a record under another key than USER#<user id> / ORDER#…, and no order under that. "
    f"If the record is its order: {NONE.lower()}the sync would write it again under its own key"
)


def describe_codes(
    codes: Mapping[str, Sequence[Code]], suggestions: Suggestions, evidence: Sequence[Evidence]
) -> Iterator[LayoutFinding]:
    """Yield one finding for each thing that the orders of the sessions show."""
    with_order = sum(one.order is not None for one in evidence)
    skipped = {one.message.session_id for one in evidence if one.is_skipped}
    settings = {
        Code.USER_ID: suggestions.sources,
        Code.EMAIL_CASE: suggestions.email_case,
        Code.SORT_KEY: suggestions.order_sort_key,
    }
    for code, what in (_MISFITS | _NOTES).items():
        if sessions := _list_sessions(codes, code):
            setting = settings.get(code)
            verdict = Verdict.OK if code in _NOTES else Verdict.FIX
            is_exception = _is_exception(len(sessions), with_order - len(sessions))
            if verdict is Verdict.FIX and not setting and is_exception and skipped.issuperset(sessions):
                verdict = Verdict.ADVICE
            yield _finding(code, sessions, what, setting, verdict)
    if sessions := _list_sessions(codes, Code.PREFIX):
        is_exception = _is_exception(len(sessions), with_order - len(sessions))
        verdict = Verdict.ADVICE if is_exception else Verdict.FIX
        yield _finding(Code.PREFIX, sessions, _OTHER_KEY, None, verdict)


def describe_groups(suggestions: Suggestions) -> Iterator[LayoutFinding]:
    """Yield one finding for each group of sessions that never has an order."""
    for group in suggestions.groups:
        otherwise = "the sync would write their orders" if group.is_written else "each needs a person"
        what = (
            "None of these sessions has an order, and all sessions with one differ from them. If they are "
            f"not this shop's, the filter leaves them out; otherwise {otherwise}"
        )
        verdict = Verdict.FIX if group.is_written else Verdict.ADVICE
        yield _finding(
            Code.OTHER_SESSIONS, group.session_ids, what, f"SessionFilter={group.condition}", verdict
        )


def find_missing_code(one: Evidence) -> Code:
    """Return what it means that the order of a session in no group was not seen anywhere."""
    return Code.NO_USER if one.is_skipped else Code.NO_ORDER


def describe_missing(missing: Sequence[Evidence], evidence: Sequence[Evidence]) -> Iterator[LayoutFinding]:
    """Yield what the sessions mean whose order was not seen anywhere and that are in no group."""
    users = [one for one in missing if find_missing_code(one) is Code.NO_ORDER]
    if nobodys := [one.message.session_id for one in missing if one not in users]:
        what = (
            "No source gives a user id, so that no order is written and each paid session needs a person; "
            "UserIdSources can name another source, and SessionFilter leaves other sessions out"
        )
        # Runs skip and report each of them. A setting is wrong only if nearly all sessions are so.
        is_exception = len(nobodys) == 1 or _is_exception(len(nobodys), len(evidence) - len(nobodys))
        verdict = Verdict.ADVICE if is_exception else Verdict.FIX
        yield _finding(Code.NO_USER, nobodys, what, None, verdict)
    if not users:
        return
    with_order = sum(one.order is not None for one in evidence)
    is_exception = _is_exception(len(users), with_order)
    what = (
        "No order was seen, neither under the keys that the session's values give nor in the sample of the "
        "table. The sync would write it unless it was refunded, which is right if a webhook was lost"
    )
    if not is_exception:
        what += (
            ". If it is so of nearly all sessions, though, the table or the key's account and mode may be "
            "another shop's"
        )
    verdict = Verdict.ADVICE if is_exception else Verdict.FIX
    yield _finding(Code.NO_ORDER, [one.message.session_id for one in users], what, None, verdict)


def _list_sessions(codes: Mapping[str, Sequence[Code]], code: Code) -> list[str]:
    return [session_id for session_id, each in codes.items() if code in each]


def _is_exception(count: int, with_order: int) -> bool:
    return 10 * count < MISSING_OF_TEN * (count + with_order)


def _finding(
    code: Code, session_ids: Sequence[str], what: str, setting: str | None, verdict: Verdict
) -> LayoutFinding:
    examples = tuple(session_ids[:EXAMPLES])
    command = f"nightly-sync layout --set {shlex.quote(setting)}" if setting else None
    if code in (Code.NO_ORDER, Code.NO_USER):
        command = f"nightly-sync explain {examples[0]}"
    return LayoutFinding(
        code, what, command, len(session_ids), verdict=verdict, setting=setting, examples=examples
    )
