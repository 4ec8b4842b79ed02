"""Payments of invoices and disputes as Stripe might answer them one day: each field has every odd value."""

import pytest
import stripe

from recon.domain.message import build_message
from recon.domain.user_ids import UserIdRules
from testkit.builders import RUN
from testkit.invariants import find_unexpected_errors
from tests.hostile.field_mutations import list_mutations
from tests.hostile.field_paths import list_paths
from tests.hostile.hostile_shop import HostileShop, fetch_object, fetch_session, rich_session
from tests.hostile.verdict import check_secrets, check_session
from tests.proofs import PROVE_ALL

BATCH = 20
# The fields that the state of a payment is read from.
READ = frozenset(
    {"status", "amount", "amount_captured", "currency", "payment", "payment_intent", "is_default"}
)
INTENT = "data.payment.payment_intent"
INVOICE_PAYMENTS = (
    f"/v1/invoice_payments?invoice={{}}&expand[0]={INTENT}&expand[1]={INTENT}.latest_charge"
    f"&expand[2]={INTENT}.review"
)


@pytest.fixture(scope="module")
def subscription(account):
    """Return a subscription's session, the payment of its invoice, and the id that it is asked for by."""
    session = fetch_session(account, rich_session("subscribed", mode="subscription", amount_refunded=100))
    [payment] = fetch_object(account, INVOICE_PAYMENTS.format(session["invoice"]))["data"]
    return session, payment, ("invoice",)


@pytest.fixture(scope="module")
def disputed(account):
    """Return a session whose payment is disputed, the dispute, and the id that it is asked for by."""
    session = fetch_session(account, rich_session("disputed", dispute_status="lost", dispute_amount=100))
    charge = session["payment_intent"]["latest_charge"]
    [dispute] = fetch_object(account, f"/v1/disputes?charge={charge['id']}")["data"]
    return session, dispute, ("payment_intent", "latest_charge", "id")


def slice_mutations(mutations):
    """Return a few of the mutations, and more of those of the fields that are read."""
    if PROVE_ALL:
        return mutations
    read = [one for one in mutations if one.path[-1] in READ]
    return read[::7] + [one for one in mutations if one.path[-1] not in READ][::151]


def play(account, session, rows_by_id, asked_by):
    """Play a batch of copies of a session that differ in their rows. Return the shop."""
    shop = HostileShop(account)
    shop.clock.now += 60
    for session_id, rows in rows_by_id.items():
        copy = build_copy(session, session_id, asked_by)
        shop.sends(build_message(copy, RUN, UserIdRules()))
        shop.set_session(session_id, copy)
        shop.scripted.rows[f"owner_{session_id}"] = rows
    delivery = shop.deliver(len(rows_by_id))
    assert delivery.error is None
    return shop


def build_copy(session, session_id, asked_by):
    """Return the session with an id of its own, and of the object that its rows are asked for by."""
    first, *further = asked_by
    value = f"owner_{session_id}"
    for name in reversed(further):
        value = {name: value}
    changed = {first: _merge(session.get(first), value)} if further else {first: value}
    return session | {"id": session_id} | changed


def _merge(old, new):
    if not isinstance(new, dict):
        return new
    return old | {name: _merge(old[name], value) for name, value in new.items()}


@pytest.mark.parametrize(
    ("kind", "cls"), [("subscription", stripe.InvoicePayment), ("disputed", stripe.Dispute)]
)
def test_mutated_payment_becomes_an_order_a_skip_or_an_error(account, request, kind, cls):
    session, row, asked_by = request.getfixturevalue(kind)
    mutations = slice_mutations(list_mutations(row, list_paths(cls)))
    assert len(mutations) > BATCH
    wrong = []
    for start in range(0, len(mutations), BATCH):
        part = {f"cs_test_{kind}{n}": one for n, one in enumerate(mutations[start : start + BATCH])}
        rows = {session_id: [mutation.apply(row)] for session_id, mutation in part.items()}
        shop = play(account, session, rows | {"cs_test_healthy": [row]}, asked_by)
        records = shop.records()
        for session_id, mutation in part.items():
            found = check_session(shop, records, session_id, session, mutation.path)
            wrong += [f"{mutation}: {one}" for one in found]
        [healthy] = records.read_orders("cs_test_healthy")
        if not healthy["attention"]:
            wrong.append(f"the neighbour has no attention beside {list(map(str, part.values()))}")
        wrong += [*find_unexpected_errors(shop.log.lines), *check_secrets(shop)]
    assert not wrong, "\n".join(wrong[:40])
