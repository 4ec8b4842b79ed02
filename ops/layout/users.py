"""Pure: which settings make the sync's user id the one that the shop's orders are under."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations

from ops.layout.keys import USER_PREFIX, list_sources, list_spellings
from ops.layout.model import Evidence
from recon.domain.stripe_objects import Json
from recon.domain.user_ids import (
    MAX_SOURCES,
    EmailCase,
    UserIdRules,
    find_candidates,
    find_usable_id,
)

# All orders of so many sources are tried. A shop uses two or three.
TRIED_SOURCES = 4


def find_user(evidence: Evidence) -> str | None:
    """Return the user id in the key of the shop's order, or None if its key has none."""
    order = evidence.order
    if order is None or not order["PK"].startswith(USER_PREFIX):
        return None
    return str(order["PK"].removeprefix(USER_PREFIX))


def is_written_under(session: Json, rules: UserIdRules, user: str) -> bool:
    """Return whether the sync writes the order of a session under this user id with these rules."""
    return find_usable_id(find_candidates(session, rules).chosen) == user


def choose_rules(evidence: Sequence[Evidence], current: UserIdRules) -> UserIdRules:
    """Return the rules that write the most of these orders under the shop's user id.

    Of equally good ones, return those that differ least from the current ones.
    """
    users = [(one.session, user) for one in evidence if (user := find_user(one)) is not None]

    def count_right(rules: UserIdRules) -> int:
        return sum(is_written_under(session, rules, user) for session, user in users)

    return max(_list_rules(users, current), key=count_right)  # the first of the best


def _list_rules(users: Sequence[tuple[Json, str]], current: UserIdRules) -> Iterator[UserIdRules]:
    """Yield the current rules first, then those that differ in more and more."""
    cases = [current.email_case, *(case for case in EmailCase if case is not current.email_case)]
    yield from (replace(current, email_case=case) for case in cases)
    matches = Counter(
        source
        for session, user in users
        for source in list_sources(session)
        if any(text == user for text, _ in list_spellings(session, source))
    )
    tried = [source for source, _ in matches.most_common(TRIED_SOURCES)]
    for length in range(1, len(tried) + 1):
        for first in permutations(tried, length):
            sources = tuple(dict.fromkeys((*first, *current.sources)))[:MAX_SOURCES]
            yield from (UserIdRules(sources, case) for case in cases)
