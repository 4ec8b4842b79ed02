"""The orders of steps that no condition of the sync can close: each is known, short, and found as drift."""

from pathlib import Path

import pytest

from tests.model.interleavings import Rules, is_left, list_step_orders, mean_window, play_steps, table

BOTH, NO_SECOND_LOOK = Rules(), Rules(second_look=False)
NO_FENCE, NEITHER = Rules(fence=False), Rules(second_look=False, fence=False)
ORDERS = list(list_step_orders())


@pytest.mark.parametrize("rules", [BOTH, NO_SECOND_LOOK, NO_FENCE, NEITHER], ids=str)
def test_orders_that_leave_a_double_are_those_of_the_argument(rules):
    doubles = {order for order in ORDERS if play_steps(order, rules).orders == 2}
    assert doubles == {order for order in ORDERS if is_left(order, rules)}


def test_exactly_the_doubles_are_drift_in_the_next_run():
    for order in ORDERS:
        result = play_steps(order, BOTH)
        assert result.orders in (1, 2)
        assert any(drift.startswith("duplicate") for drift in result.drift) == (result.orders == 2), order


def test_each_rule_closes_orders_that_the_other_leaves():
    rules = (BOTH, NO_SECOND_LOOK, NO_FENCE)
    both, no_second_look, no_fence = (sum(is_left(order, one) for order in ORDERS) for one in rules)
    assert len(ORDERS) == 35
    assert both < min(no_second_look, no_fence)


def test_window_is_no_longer_than_a_webhook_takes():
    assert mean_window(BOTH) < mean_window(NO_SECOND_LOOK) < mean_window(NO_FENCE) == float("inf")
    assert mean_window(BOTH) < 1.0


def test_table_of_the_documentation_is_current():
    assert table() in Path("docs/correctness.md").read_text()
