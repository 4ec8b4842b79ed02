"""Pure: the facts of a session become a verdict: why it is as it is, what comes next, and what to do.

The rules stand in the order in which they are asked, and the first one that applies says it.
"""

from ops.explain import rules_order_found as with_order
from ops.explain import rules_order_missing as without_order
from ops.explain.facts import Facts
from ops.explain.verdict_types import Verdict

RULES = (*with_order.RULES, *without_order.RULES)


def verdict_of(facts: Facts) -> Verdict:
    return next(verdict for rule in RULES if (verdict := rule(facts)))
