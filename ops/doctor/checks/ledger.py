"""The sync's own items in the table: whose they are, and whether another program overwrites them."""

from collections.abc import Iterator

from ops.doctor.facts import StackFacts
from ops.doctor.fetched import Unavailable, unreadable
from ops.doctor.finding import CheckFinding, fix, ok


def check(facts: StackFacts) -> Iterator[CheckFinding]:
    ledger = facts.ledger
    if isinstance(ledger, Unavailable):
        yield unreadable("ledger", ledger)
        return
    if ledger.not_moved:
        yield fix("ledger: move", f"every run is refused: {ledger.not_moved}", _move_command(facts))
    yield check_owner(ledger.owner, facts)
    yield check_state(overwritten=ledger.is_state_overwritten)


def check_owner(owner: str | None, facts: StackFacts) -> CheckFinding:
    name, stack = "ledger: owner", facts.shell.stack
    if owner is None:
        return ok(name, "none yet: the first run claims it")
    if owner == stack:
        return ok(name, stack)
    return fix(
        name,
        f"stack {owner}, so every run of this stack is refused: delete {owner}, or take its ledger over",
        facts.shell.adopt(),
    )


def check_state(*, overwritten: bool) -> CheckFinding:
    name = "ledger: sync state"
    if not overwritten:
        return ok(name, "written by this stack only")
    return fix(
        name,
        "another program has put SYSTEM / STRIPE_ORDER_SYNC, most likely the Lambda that this system "
        "replaces: switch its schedule off. No order is lost, but the state's counters are",
    )


def _move_command(facts: StackFacts) -> str | None:
    """Return the command that moves the ledger to the deployed table, if that is not the shop's."""
    return None if facts.ledger_table is None else facts.shell.sync("ledger move")
