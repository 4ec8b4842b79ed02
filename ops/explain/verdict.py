"""The decision table. Pure: the first rule that applies to the facts gives the verdict."""

from ops.explain import rules_order_found, rules_order_missing
from ops.explain.facts import SessionFacts
from ops.explain.verdict_types import SessionVerdict

RULES = (*rules_order_found.RULES, *rules_order_missing.RULES)


def decide_verdict(facts: SessionFacts) -> SessionVerdict:
    """Return why the session is as it is, what happens next and what to do."""
    return next(verdict for rule in RULES if (verdict := rule(facts)))
