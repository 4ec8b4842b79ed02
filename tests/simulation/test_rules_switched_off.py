"""Each rule is needed: without it the same shops lose or double orders, so the simulation can fail."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from unittest import mock

import pytest

from producer import webhook_events, window
from recon.dynamodb.runs import Runs
from recon.timestamps import DAY
from tests.simulation.history import history_of
from tests.simulation.plans import plan_of
from tests.simulation.verdict import wrong_of

# With all rules on, each of them ends well: see test_simulated_shops.
SEEDS = range(6)
LOST, DOUBLED = "has 0 orders", "has 2 orders"
_from_watermark = window._from_watermark


def _as_if_the_last_night_was_there(at, hours, grace, covered_through):
    return _from_watermark(at, hours, grace, covered_through and at - DAY - grace)


@dataclass(frozen=True)
class Off:
    """How to switch a rule off, and what becomes of orders then."""

    rule: str
    harm: str
    patches: tuple[tuple[object, str, object], ...] = ()
    env: dict[str, str] = field(default_factory=dict)


RULES = (
    Off("late completion", LOST, ((window, "SESSION_LIFE", 0), (window, "MARGIN", 0))),
    Off("missed nights", LOST, ((window, "_from_watermark", _as_if_the_last_night_was_there),)),
    Off("delayed payment", LOST, ((Runs, "pending", lambda self: iter(())),)),
    # The fence covers what the grace lets through, but for the night on which events cannot be read.
    Off(
        "grace",
        DOUBLED,
        ((webhook_events.WebhookEvents, "_add_recent", lambda self, since: None),),
        {"SYNC_GRACE_MINUTES": "0"},
    ),
    Off("fence", DOUBLED, env={"SYNC_WEBHOOK_FENCE": "false"}),
)


@pytest.mark.parametrize("off", RULES, ids=lambda off: off.rule)
def test_without_a_rule_orders_are_lost_or_doubled(account, off):
    with ExitStack() as stack:
        for target, name, value in off.patches:
            stack.enter_context(mock.patch.object(target, name, value))
        assert any(off.harm in wrong for seed in SEEDS for wrong in _wrongs(account, seed, off.env))


def _wrongs(account, seed, env):
    with history_of(plan_of(seed), account, **env) as history:
        return [wrong.sentence for wrong in wrong_of(history)]
