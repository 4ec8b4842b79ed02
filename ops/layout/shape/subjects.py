"""Pure: the sampled sessions and the values that a key can be made of."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from recon.domain.key_template import ID, PATHS, parse_template, read_values
from recon.domain.message import SessionMessage
from recon.domain.stripe_objects import EMAIL, METADATA, Json
from recon.domain.stripe_values import find_object

PAYMENT_INTENT = "payment_intent"
# Paths that belong to the session alone, whatever the shop is.
OWN_IDS = (ID, PAYMENT_INTENT)
_OF_USERS = re.compile(
    r"user|customer|client(?!_reference)|member|account|buyer|mail|phone|name|uid\b|guest", re.IGNORECASE
)
# Sessions that share a value are of one user, tenant or campaign. A few of the same value may be retries.
_DISTINCT = 0.9


@dataclass(frozen=True)
class Subject:
    """A sampled session with its values that are not empty, by path."""

    session: Json
    message: SessionMessage
    values: Mapping[str, str]

    @property
    def session_id(self) -> str:
        return self.message.session_id


def read_subjects(sampled: Iterable[tuple[Json, SessionMessage]]) -> list[Subject]:
    """Return the sessions with the values at all paths that a template can name."""
    subjects = []
    for session, message in sampled:
        keys = [f"{METADATA}{key}" for key in find_object(session, "metadata")]
        paths = (*(path for path in PATHS[:-1] if path != ID), *filter(_is_nameable, keys))
        values = {ID: message.session_id} | read_values(session, paths)
        subjects.append(Subject(session, message, {path: value for path, value in values.items() if value}))
    return subjects


def _is_nameable(path: str) -> bool:
    try:
        return parse_template(f"{{{path}}}").paths == (path,)
    except ValueError:
        return False


def is_of_user(path: str) -> bool:
    """Return whether a path seems to name the customer and not the order."""
    return path in (EMAIL, "customer") or _OF_USERS.search(path.removeprefix(METADATA)) is not None


def is_distinct(values: Sequence[object]) -> bool:
    """Return whether nearly every session has its own value."""
    return bool(values) and len(set(values)) >= _DISTINCT * len(values)


def find_identifying(subjects: Sequence[Subject]) -> frozenset[str]:
    """Return the paths that identify an order: each session has its own value, which is not the user's."""
    paths = {path for subject in subjects for path in subject.values}
    return frozenset(
        path
        for path in paths
        if path in OWN_IDS
        or (
            not is_of_user(path) and is_distinct([one.values[path] for one in subjects if path in one.values])
        )
    )
