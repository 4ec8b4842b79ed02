"""What no condition of ours can close: which orders of steps, that drift finds each, how long it takes."""

from pathlib import Path

import pytest

from tests.model.interleavings import Rules, all_orders, is_left, mean_window, played, table

BOTH, NO_SECOND_LOOK = Rules(), Rules(second_look=False)
NO_FENCE, NEITHER = Rules(fence=False), Rules(second_look=False, fence=False)
ORDERS = list(all_orders())


@pytest.mark.parametrize("rules", [BOTH, NO_SECOND_LOOK, NO_FENCE, NEITHER], ids=str)
def test_the_orders_that_leave_a_double_are_those_of_the_argument(rules):
    doubles = {order for order in ORDERS if played(order, rules).orders == 2}
    assert doubles == {order for order in ORDERS if is_left(order, rules)}


def test_each_double_is_drift_in_the_next_run_and_nothing_else_is():
    for order in ORDERS:
        came = played(order, BOTH)
        assert came.orders in (1, 2)
        assert any(drift.startswith("duplicate") for drift in came.drift) == (came.orders == 2), order


def test_each_rule_closes_orders_that_the_other_leaves():
    rules = (BOTH, NO_SECOND_LOOK, NO_FENCE)
    both, no_second_look, no_fence = (sum(is_left(order, one) for order in ORDERS) for one in rules)
    assert len(ORDERS) == 35
    assert both < min(no_second_look, no_fence)


def test_the_window_is_no_longer_than_a_webhook_takes():
    assert mean_window(BOTH) < mean_window(NO_SECOND_LOOK) < mean_window(NO_FENCE) == float("inf")
    assert mean_window(BOTH) < 1.0


def test_the_table_of_the_documentation_is_made_by_the_command():
    assert table() in Path("docs/correctness.md").read_text()
