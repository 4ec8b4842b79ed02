"""Whose the latest sessions are: how many pass the filter, and how many of those have a user id."""

from collections.abc import Iterator

from ops.doctor.facts import RecentSessions, StackFacts
from ops.doctor.finding import CheckFinding, fix, ok

_NAMED = "UserIdSources=metadata.userId,client_reference_id,customer_details.email,customer"


def check(facts: StackFacts) -> Iterator[CheckFinding]:
    if facts.settings is None or facts.permissions is None or facts.permissions.recent is None:
        return
    recent = facts.permissions.recent
    yield check_filter(recent, facts.settings.session_filter.text)
    yield check_users(recent, facts)


def check_filter(recent: RecentSessions, text: str) -> CheckFinding:
    name = "sessions: filter"
    if not text:
        return ok(name, "none: every session of the account is the shop's")
    verb = "passes" if recent.passed == 1 else "pass"
    passed = f"{recent.passed} of the latest {recent.listed} sessions {verb} {text}"
    if recent.listed and not recent.passed:
        return fix(name, f"{passed}; compare its conditions with `nightly-sync explain` of a session")
    return ok(name, passed)


def check_users(recent: RecentSessions, facts: StackFacts) -> CheckFinding:
    """Check the user ids. Single sessions without one are normal; every second is a wrong setting."""
    name = "sessions: users"
    verb = "has" if recent.without_user == 1 else "have"
    what = f"{recent.without_user} of the latest {recent.passed} sessions {verb} no user id"
    if recent.without_user and recent.without_user * 2 >= recent.passed:
        return fix(name, f"{what}, so no order is written; name its sources", facts.shell.deploy(_NAMED))
    return ok(name, what)
