"""The screen and the JSON of `nightly-sync explain`, and what they never show."""

import json
import re
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from ops.cli.commands.explain import Explanation, show
from ops.cli.screen import Screen
from ops.explain.verdict import decide_verdict
from ops.format.links import session_url
from ops.format.money import Money
from recon.dynamodb.dismissals import DismissalRecord
from tests.unit.ops.session_facts import (
    CREATED,
    DEAD,
    DISMISSED,
    FAILED,
    NO_ORDER,
    PAID,
    PENDING,
    SESSION,
    SYNC_ORDER,
    WEBHOOK_ORDER,
    event,
    facts,
    unreadable_at_stripe,
    with_orders,
)
from tests.unit.ops.test_explain_verdict import ROWS

JANE = "jane@example.com"
ADDRESS = re.compile(r"\w@\w")


def render(known, *, show_pii=False, as_json=False):
    verdict = decide_verdict(known)
    explanation = Explanation(SESSION, session_url(SESSION), verdict.needs_attention, verdict, known)
    out = StringIO()
    console = Console(file=out, width=160)
    screen = Screen(console, console, show_pii)
    if not as_json:
        show(screen, explanation)
        return out.getvalue()
    screen.json(explanation)
    return json.dumps(json.loads(out.getvalue()), ensure_ascii=False)


JANES = with_orders(
    replace(WEBHOOK_ORDER, key=f"USER#{JANE}/ORDER#1#{SESSION}"),
    replace(SYNC_ORDER, key=f"USER#{JANE}/ORDER#2#{SESSION}"),
    stripe=replace(PAID, user_id=JANE),
    drift=(f"duplicate: USER#{JANE}/ORDER#1#{SESSION}, USER#{JANE}/ORDER#2#{SESSION}",),
    runs=(replace(DISMISSED, dismissed_by=JANE, drift=(f"duplicate: USER#{JANE}/ORDER#1",)),),
)


@pytest.mark.parametrize("as_json", [False, True])
def test_address_is_shown_only_on_request(as_json):
    shown = render(JANES, as_json=as_json)
    assert "USER#j…@…/ORDER#" in shown
    assert ADDRESS.findall(shown) == []
    assert f"USER#{JANE}/ORDER#" in render(JANES, as_json=as_json, show_pii=True)


@pytest.mark.parametrize("case", ROWS)
def test_verdict_comes_first_and_each_fact_has_its_section(case):
    for known, *_ in ROWS[case]:
        shown = render(known)
        assert shown.startswith(decide_verdict(known).why[:100])
        assert shown.index("\n\nStripe\n") < shown.index("\n\nOrder") < shown.index("\n\nRuns")
        # Times have one form. Those of commands are exact to the second.
        assert re.findall(r"\d-\d\dT\d\d.*", re.sub(r"--(from|to) \S+", "", shown)) == []
        assert ("\nDead letters\n" in shown) == bool(known.dead_letters)
        assert json.loads(render(known, as_json=True))["verdict"]["case"] == case.value


def test_unavailable_sources_come_last():
    known = unreadable_at_stripe(runs=(FAILED,), orders_known=False, missing=("Stripe: no key",))
    shown = render(known)
    assert "\nOrders: not searched\n" in shown
    assert shown.endswith("Could not be read\nStripe: no key\n")


@pytest.mark.parametrize(
    ("known", "texts"),
    [
        (
            facts(events=(event(delivered=False, marker=NO_ORDER),)),
            [r"evt_1 +completed .* not delivered +by webhook, no order"],
        ),
        (facts(stripe=replace(PAID, refunded=True)), ["refunded, or lost in a dispute"]),
        (facts(stripe=replace(PAID, disputed=True)), ["money +disputed"]),
        (
            facts(stripe=replace(PAID, disputed=True, attention=("partly_refunded", "disputed"))),
            ["money +partly refunded, disputed"],
        ),
        (
            facts(stripe=replace(PAID, payment_intent_status="requires_capture", capture_before=CREATED)),
            ["payment +requires_capture, capture before 2024-11-27 01:00"],
        ),
        (
            facts(stripe=replace(PAID, livemode=True, amount=Money("", 0), user_id=None), pending=PENDING),
            [
                "complete, paid, payment, live",
                "amount +free",
                "user +none",
                "waits for its payment, last seen 2024-11-27 02:00 UTC",
            ],
        ),
        (facts(dead_letters=(DEAD,)), [r"m-1 +until 2024-12-11 02:00 UTC  SessionNotFound: Stripe"]),
    ],
)
def test_fact_is_shown(known, texts):
    shown = render(known)
    assert [text for text in texts if not re.search(text, shown)] == []


def test_dismissal_is_named_beside_an_order_that_it_leaves():
    dismissal = DismissalRecord(SESSION, "jane", "sold twice", None)
    assert "\nDismissed by jane: sold twice\n" in render(with_orders(SYNC_ORDER, dismissal=dismissal))
