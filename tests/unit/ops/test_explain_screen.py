"""How `nightly-sync explain` shows a session, and what it never shows."""

import json
import re
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from ops.cli.commands.explain import Explanation, show
from ops.cli.screen import Screen
from ops.explain.facts import Marker
from ops.explain.verdict import verdict_of
from ops.format.links import session_url
from tests.unit.ops.test_explain_verdict import (
    DEAD,
    DISMISSED,
    FAILED,
    OURS,
    PAID,
    ROWS,
    SESSION,
    WAITS,
    WEBHOOKS,
    event,
    facts,
    stripe_unasked,
    there,
)

JANE = "jane@example.com"
ADDRESS = re.compile(r"\w@\w")


def said(known):
    verdict = verdict_of(known)
    return Explanation(SESSION, session_url(SESSION), verdict.needs_attention, verdict, known)


def text_of(known, *, show_pii=False):
    out = StringIO()
    console = Console(file=out, width=160)
    show(Screen(console, console, show_pii), said(known))
    return out.getvalue()


def json_of(known, *, show_pii=False):
    out = StringIO()
    console = Console(file=out, width=160)
    Screen(console, console, show_pii).json(said(known))
    return json.dumps(json.loads(out.getvalue()), ensure_ascii=False)


JANES = there(
    replace(WEBHOOKS, key=f"USER#{JANE}/ORDER#1#{SESSION}"),
    replace(OURS, key=f"USER#{JANE}/ORDER#2#{SESSION}"),
    stripe=replace(PAID, user_id=JANE),
    drift=(f"duplicate: USER#{JANE}/ORDER#1#{SESSION}, USER#{JANE}/ORDER#2#{SESSION}",),
    runs=(replace(DISMISSED, dismissed_by=JANE, drift=(f"duplicate: USER#{JANE}/ORDER#1",)),),
)


@pytest.mark.parametrize("show_it", [text_of, json_of])
def test_no_address_is_shown_unless_it_is_asked_for(show_it):
    assert "USER#j…@…/ORDER#" in show_it(JANES)
    assert ADDRESS.findall(show_it(JANES)) == []
    assert f"USER#{JANE}/ORDER#" in show_it(JANES, show_pii=True)


@pytest.mark.parametrize("row", ROWS, ids=[str(row[1]) for row in ROWS])
def test_the_sentences_come_first_and_everything_known_has_its_section(row):
    known = row[0]
    shown = text_of(known)
    assert shown.startswith(verdict_of(known).why[:100])
    assert shown.index("\n\nStripe\n") < shown.index("\n\nOrder") < shown.index("\n\nRuns")
    assert ("\nDead letters\n" in shown) == bool(known.dead_letters)
    assert json.loads(json_of(known))["verdict"]["case"] == row[1].value


def test_what_could_not_be_asked_is_told_last():
    shown = text_of(stripe_unasked(runs=(FAILED,), orders_known=False, missing=("Stripe: no key",)))
    assert "\nOrders: not looked for\n" in shown
    assert shown.endswith("Not known\nStripe: no key\n")


def test_events_are_told_with_what_the_webhook_did():
    came = event(delivered=False, marker=Marker("webhook", "processed", False, None))
    [line] = [line for line in text_of(facts(events=(came,))).splitlines() if line.startswith("evt_1")]
    assert "completed" in line
    assert "not delivered" in line
    assert "by webhook, no order" in line


def test_money_that_went_back_is_told():
    assert "refunded, or lost in a dispute" in text_of(facts(stripe=replace(PAID, refunded=True)))
    assert "disputed" in text_of(facts(stripe=replace(PAID, disputed=True)))


def test_a_session_of_the_live_mode_that_is_free_and_nobodys_is_told_so():
    shown = text_of(facts(stripe=replace(PAID, livemode=True, amount=None, user_id=None), pending=WAITS))
    assert "complete, paid, payment, live" in shown
    assert "free" in shown
    assert "nobody" in shown
    assert "for its payment, last seen 2024-11-27T02:00:08Z" in shown


def test_a_dead_message_is_told_with_its_id_and_reason():
    shown = text_of(facts(dead_letters=(DEAD,)))
    assert re.search(r"m-1 +until 2024-12-11 02:00  SessionNotFound: Stripe", shown)
