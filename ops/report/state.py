"""The beginning of the page: the state of the system, and the list of actions."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from ops.format.money import format_worth
from ops.format.text import format_time, quantity
from ops.report import text
from ops.report.markup import Content, Html, element
from ops.report.model import SyncReport
from ops.runs.finding import StatusFinding
from ops.runs.system_state import StateLevel

_TONES: Mapping[StateLevel, str] = MappingProxyType(
    {StateLevel.FINE: "good", StateLevel.NEEDS_ACTION: "open", StateLevel.NO_RUN: "bad"}
)
_STRIPE = "https://dashboard.stripe.com/"
# The section of the page about a finding without a link; that of the runs has the rest.
_SECTIONS = MappingProxyType({"dead_letters": "errors", "run_errors": "errors", "drift": "drift"})
_RUNS = "runs"


def render_state(report: SyncReport) -> Html:
    """Return the state and, if there are any, the actions."""
    state = report.state
    actions = [_render_action(action, report) for action in state.actions]
    return element(
        "div",
        element("p", state.headline, class_="verdict"),
        element("p", _describe_nights(state.last_night, state.next_night), class_="note"),
        element("ol", *actions, class_="actions") if actions else "",
        class_=f"status {_TONES[state.level]}",
    )


def _describe_nights(last: datetime | None, following: datetime | None) -> Content:
    ended = ["The last scheduled run ended ", _render_time(last), "; the next one is "] if last else []
    if following is None:
        return [*(ended or ["The next run is "]), "not scheduled."]
    return [*(ended or ["The next scheduled run is "]), "due ", _render_time(following), "."]


def _render_time(moment: datetime) -> Html:
    shown = format_time(moment)
    return element("time", f"{shown} UTC", datetime=f"{shown}Z")


def _render_action(action: StatusFinding, report: SyncReport) -> Html:
    return element(
        "li",
        element("p", _begin_sentence(action), class_="reason"),
        _render_amount(action),
        element("p", _render_link(action, report), element("code", action.command or ""), class_="do"),
    )


def _begin_sentence(action: StatusFinding) -> str:
    """Return the reason, with a capital letter unless it begins with a stored word."""
    what = action.what
    return what if what.startswith(action.code) else f"{what[:1].upper()}{what[1:]}"


def _render_amount(action: StatusFinding) -> Content:
    """Return how many sessions the action is about and what they are worth, if it is about any."""
    if not action.sessions:
        return ""
    unknown = action.unknown_amounts if action.money else 0
    worth = format_worth(action.money, unknown, text.format_money)
    if not worth and action.unknown_amounts:
        worth = "amount unknown"
    count = quantity(action.sessions, "session")
    shown = [worth] if count in action.what else [count, worth]
    return element("p", ", ".join(filter(None, shown)), class_="amount") if any(shown) else ""


def _render_link(action: StatusFinding, report: SyncReport) -> Content:
    if action.url:
        name = "Open in Stripe" if action.url.startswith(_STRIPE) else "Runbook"
        return [element("a", name, href=action.url, rel="noopener noreferrer"), " "]
    # Without a run the page has no such section.
    if not report.runs:
        return ""
    return [element("a", "Details", href=f"#{_SECTIONS.get(action.code, _RUNS)}"), " "]
