"""Pure: what the evidence says of a table, and which settings make it fit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from ops.format.money import count_decimals
from ops.layout.findings import (
    Suggestions,
    describe_codes,
    describe_groups,
    describe_missing,
    find_missing_code,
)
from ops.layout.groups import find_groups
from ops.layout.keys import (
    USER_PREFIX,
    KeyForm,
    describe_key,
    find_sort_key_form,
    is_read_by_time,
)
from ops.layout.model import Code, Evidence, Layout, LayoutFinding, ReadCounts, SessionPlace
from ops.layout.users import choose_rules, find_user, is_written_under
from ops.runs.finding import Verdict
from recon.config import Settings
from recon.domain.message import build_message
from recon.domain.order_keys import ORDER_PREFIX, OrderSortKey
from recon.domain.table_decision import other_user_ids, user_ids
from recon.domain.user_ids import UserIdRules
from recon.dynamodb.attribute_readers import read_number
from recon.dynamodb.table import Item
from recon.dynamodb.user_orders import BEHIND_ORDERS, first_sort_key, parse_order
from recon.timestamps import to_iso

_TIMES = ("createdAt", "completedAt", "updatedAt", "paidAt")
# Forms of a time that is read rightly although it is no epoch second.
_OTHER_TIMES = (KeyForm.MILLISECONDS, KeyForm.ISO)


def judge_layout(
    evidence: Sequence[Evidence], settings: Settings, read: ReadCounts, *, is_scan_denied: bool = False
) -> Layout:
    """Return where the orders of these sessions are, and what has to change.

    `is_scan_denied` is True if the operator may not scan the table, so that less of it was searched.
    """
    rules = choose_rules(evidence, settings.user_ids)
    codes = {one.message.session_id: tuple(_list_codes(one, settings, rules)) for one in evidence}
    sort_key = settings.order_sort_key
    if any(Code.SORT_KEY in each for each in codes.values()):
        sort_key = OrderSortKey.ANY
    groups = find_groups(evidence)
    in_group = {session_id for group in groups for session_id in group.session_ids}
    missing = [
        one
        for one in evidence
        if not one.found and one.order is None and one.message.session_id not in in_group
    ]
    with_order = sum(one.order is not None for one in evidence)
    suggestions = Suggestions(settings, rules, sort_key, groups)
    findings: list[LayoutFinding] = [
        *describe_codes(codes, suggestions, evidence),
        *describe_groups(suggestions),
        *describe_missing(missing, evidence),
    ]
    if not evidence:
        findings.append(LayoutFinding(Code.NO_SESSIONS, _NO_SESSIONS, None, verdict=Verdict.UNKNOWN))
    if is_scan_denied:
        findings.append(LayoutFinding(Code.NOT_SCANNED, _NOT_SCANNED, None, verdict=Verdict.UNKNOWN))
    without = {one.message.session_id: (find_missing_code(one),) for one in missing}
    without |= dict.fromkeys(in_group, (Code.OTHER_SESSIONS,))
    return Layout(
        table=settings.table,
        sessions=len(evidence),
        with_order=with_order,
        found=sum(one.is_found for one in evidence),
        found_with_settings=sum(_would_be_found(one, rules, sort_key) for one in evidence),
        fits=all(finding.fits for finding in findings),
        settings=suggestions.list_changes(),
        findings=tuple(findings),
        places=tuple(_describe_place(one, codes | without) for one in evidence),
        read=read,
    )


_NO_SESSIONS = (
    "Stripe lists no paid session that passes the filter in the last 30 days, so nothing can be compared. "
    "Check the key's account and mode, and SessionFilter"
)
_NOT_SCANNED = (
    "these AWS credentials may not call dynamodb:Scan, so orders under unknown keys were not searched"
)


def _list_codes(one: Evidence, settings: Settings, rules: UserIdRules) -> Iterator[Code]:
    """Yield what there is to say of a session whose order was seen."""
    order = one.order
    if order is None:
        return
    if one.is_doubled:
        yield Code.DOUBLED
    if order["PK"].startswith(USER_PREFIX) and order["SK"].startswith(ORDER_PREFIX):
        yield from _list_user_codes(one, settings, rules)
        yield from _list_sort_key_codes(one, order, settings)
    else:
        yield Code.PREFIX
    yield from _list_mark_codes(one, order)
    if _is_in_major_units(one, order):
        yield Code.MAJOR_UNITS
    if any(read_number(order, name) is not None for name in _TIMES):
        yield Code.NUMERIC_TIMES


def _list_user_codes(one: Evidence, settings: Settings, rules: UserIdRules) -> Iterator[Code]:
    current, user = settings.user_ids, find_user(one) or ""
    if is_written_under(one.session, current, user):
        return
    if not is_written_under(one.session, rules, user):
        yield Code.USER_ID_UNKNOWN
        return
    needs_case = not is_written_under(one.session, replace(rules, email_case=current.email_case), user)
    if needs_case:
        yield Code.EMAIL_CASE
    if not needs_case or not is_written_under(
        one.session, replace(current, email_case=rules.email_case), user
    ):
        yield Code.USER_ID


def _list_sort_key_codes(one: Evidence, order: Item, settings: Settings) -> Iterator[Code]:
    if settings.order_sort_key is OrderSortKey.ANY:
        return
    if not is_read_by_time(order["SK"], one.message.created):
        yield Code.SORT_KEY
    elif find_sort_key_form(order["SK"]) in _OTHER_TIMES:
        yield Code.SORT_KEY_READ


def _list_mark_codes(one: Evidence, order: Item) -> Iterator[Code]:
    existing = parse_order(order)
    if not existing.belongs_to(one.message):
        yield Code.MARK
    elif one.message.session_id not in (existing.stripe_session_id, existing.order_id):
        yield Code.PAYMENT_INTENT


def _is_in_major_units(one: Evidence, order: Item) -> bool:
    amount, expected, currency = read_number(order, "amount"), one.message.amount_total, one.message.currency
    if amount is None or not expected or not currency or amount == expected:
        return False
    return Decimal(amount).scaleb(count_decimals(currency)) == expected


def _would_be_found(one: Evidence, rules: UserIdRules, sort_key: OrderSortKey) -> bool:
    """Return whether the lookup finds the shop's order with these settings."""
    if one.order is None:
        return False
    order, message = parse_order(one.order), build_message(one.session, "layout", rules)
    ids = (*user_ids(message), *other_user_ids(message))
    is_read = first_sort_key(message.created, sort_key) <= order.sk <= BEHIND_ORDERS
    return order.pk in {f"{USER_PREFIX}{each}" for each in ids} and is_read and order.belongs_to(message)


def _describe_place(one: Evidence, codes: Mapping[str, tuple[Code, ...]]) -> SessionPlace:
    message = one.message
    order = one.order or next(iter(one.found), None)
    return SessionPlace(
        session_id=message.session_id,
        created=to_iso(message.created),
        found=bool(one.found) and not one.is_doubled,
        key=describe_key(order["PK"], order["SK"], one.session, message) if order else None,
        codes=codes.get(message.session_id, ()),
    )
