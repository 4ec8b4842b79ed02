"""Pure: whose a session is. The candidates for its user id, the one to write under, and those to look under.

The webhook cleans its user id, and so does the sync: both must use the same key.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from recon.domain.stripe_objects import EMAIL, METADATA, Json
from recon.domain.stripe_values import find_object, is_storable
from recon.errors import ConfigError

MAX_USER_ID = 256  # the webhook truncates there
# The limit of a partition key, so no order can be stored under a longer raw id.
MAX_RAW_USER_ID = 2048
# A message holds a candidate of each source and must stay far below the limits of SQS.
MAX_SOURCES = 10
SOURCES = ("metadata.<key>", EMAIL, "client_reference_id", "customer")
DEFAULT_SOURCES = ("metadata.userId", "metadata.user_id", EMAIL)
_NOT_IN_USER_ID = re.compile(r"[^a-zA-Z0-9@.\-_]")
_ALPHANUMERIC = re.compile(r"[a-zA-Z0-9]")


class EmailCase(StrEnum):
    """How an e-mail address becomes a user id."""

    KEEP = "keep"
    LOWER = "lower"


@dataclass(frozen=True)
class UserIdRules:
    """Where a session's user id comes from: the first source with a usable value."""

    sources: tuple[str, ...] = DEFAULT_SOURCES
    email_case: EmailCase = EmailCase.KEEP


@dataclass(frozen=True)
class UserIdCandidates:
    """The user ids that a session may have, none of them cleaned.

    `chosen` is the one to write under, in the case of the setting, or None if no candidate is usable. `raw`
    is the chosen one as Stripe has it, if the setting changed its case. `others` are all other candidates.
    """

    chosen: str | None = None
    raw: str | None = None
    others: tuple[str, ...] = ()


def parse_sources(text: str) -> tuple[str, ...]:
    """Return the sources of a setting, separated by commas. Raise ConfigError that names a wrong one."""
    sources = tuple(source.strip() for source in text.split(","))
    for source in sources:
        is_metadata = source.startswith(METADATA) and source != METADATA
        if not is_metadata and source not in SOURCES[1:]:
            raise ConfigError(f"{source!r} is no source of a user id; the sources are {', '.join(SOURCES)}")
    if repeated := [source for source in sources if sources.count(source) > 1]:
        raise ConfigError(f"{repeated[0]!r} is named twice; name each source once")
    if len(sources) > MAX_SOURCES:
        raise ConfigError(f"{len(sources)} sources are named; name {MAX_SOURCES} at most")
    return sources


def clean_user_id(raw: str) -> str:
    """Clean a user id by the webhook's rule, so that both use the same key."""
    return _NOT_IN_USER_ID.sub("", raw)[:MAX_USER_ID]


def find_usable_id(raw: str | None) -> str | None:
    """Return the cleaned user id, or None if it keeps no letter or digit.

    Ids of other letters are cleaned to nothing or to `@.`, under which the orders of strangers would meet.
    """
    clean = clean_user_id(raw or "")
    return clean if _ALPHANUMERIC.search(clean) else None


def find_candidates(session: Json, rules: UserIdRules) -> UserIdCandidates:
    """Return the user ids that a session may have. A value that is not a string counts as absent.

    The default sources are candidates too, so that orders from before a change of the setting are found.
    """
    chosen = raw = None
    for source in rules.sources:
        for value in read_source(session, source):
            lowers = source == EMAIL and rules.email_case is EmailCase.LOWER
            cased = value.lower() if lowers else value
            if chosen is None and find_usable_id(cased):
                chosen, raw = cased, value if cased != value else None
    sources = dict.fromkeys((*rules.sources, *DEFAULT_SOURCES))
    values = (value for source in sources for value in read_source(session, source))
    others = dict.fromkeys(map(_limit_length, values))
    return UserIdCandidates(
        chosen and _limit_length(chosen),
        raw and _limit_length(raw),
        tuple(other for other in others if other and other not in (chosen, raw)),
    )


def spellings(candidates: Iterable[str]) -> Iterator[str]:
    """Yield the ids under which the orders of these candidates may be: raw, cleaned and lower-cased."""
    for raw in candidates:
        for spelling in (raw, clean_user_id(raw), raw.lower(), clean_user_id(raw.lower())):
            if is_storable(spelling):
                yield spelling


def read_source(session: Json, source: str) -> Iterator[str]:
    """Yield the texts that a session has at a source, none of them empty."""
    if source == EMAIL:
        yield from _texts(
            find_object(session, "customer_details").get("email"), session.get("customer_email")
        )
    elif source.startswith(METADATA):
        yield from _texts(find_object(session, "metadata").get(source.removeprefix(METADATA)))
    else:
        value = session.get(source)
        yield from _texts(value.get("id") if isinstance(value, dict) else value)


def _texts(*values: object) -> Iterator[str]:
    yield from (value for value in values if isinstance(value, str) and value)


def _limit_length(raw: str) -> str:
    return raw if len(raw) <= MAX_RAW_USER_ID else clean_user_id(raw)
