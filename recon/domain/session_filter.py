"""Pure: which sessions are the shop's, by the conditions of the setting `SYNC_ONLY`.

Conditions are separated by spaces, and all must hold: `path` (is there), `!path` (is not there), `path=a,b`
(is one of), `path^=prefix`. A value with a space is quoted as in a shell.
"""

import re
import shlex
from dataclasses import dataclass
from enum import StrEnum

from recon.domain.stripe_objects import METADATA, MODES, Json
from recon.domain.stripe_values import find_object, find_reference, find_text
from recon.errors import ConfigError

PATHS = ("metadata.<key>", "payment_link", "client_reference_id", "mode", "success_url", "currency")
_FIELDS = frozenset(PATHS[1:])
_FORMS = "path, !path, path=a,b and path^=prefix"
_CURRENCY = re.compile(r"[A-Za-z]{3,8}")


class Operator(StrEnum):
    """The demands of a condition on the value at its path."""

    PRESENT = ""
    ABSENT = "!"
    ONE_OF = "="
    PREFIX = "^="


@dataclass(frozen=True)
class FilterCondition:
    """One condition; `text` is how it was written, without quotes."""

    text: str
    path: str
    operator: Operator
    values: tuple[str, ...] = ()

    def holds(self, session: Json) -> bool:
        value = _read_value(session, self.path)
        match self.operator:
            case Operator.PRESENT:
                return value is not None
            case Operator.ABSENT:
                return value is None
            case Operator.ONE_OF:
                return value is not None and value in self.values
            case Operator.PREFIX:
                return value is not None and value.startswith(self.values)


@dataclass(frozen=True)
class SessionFilter:
    """The conditions that all sessions of the shop meet. Without any, every session is the shop's.

    `text` is the setting as it was written.
    """

    text: str = ""
    conditions: tuple[FilterCondition, ...] = ()

    def passes(self, session: Json) -> bool:
        """Return whether a session of Stripe's is the shop's."""
        return self.find_failed(session) is None

    def find_failed(self, session: Json) -> str | None:
        """Return the first condition that the session does not meet, or None if it meets all."""
        return next((each.text for each in self.conditions if not each.holds(session)), None)


def parse_filter(text: str) -> SessionFilter:
    """Return the filter of a setting. Raise ConfigError that names the wrong condition and the right form."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(
            f"{text.strip()!r} has a quote or backslash that is not closed ({error}); quote a value with a "
            'space as in a shell, such as metadata.shop="My shop"'
        ) from error
    return SessionFilter(text.strip(), tuple(map(_parse_condition, words)))


def _parse_condition(text: str) -> FilterCondition:
    left, equals, right = text.partition("=")
    if not equals:
        negated = text.startswith("!")
        operator = Operator.ABSENT if negated else Operator.PRESENT
        return FilterCondition(text, _check_path(text, text[negated:]), operator)
    if left.startswith("!") or left.endswith("!"):
        raise _wrong(text, "! demands that a path is not there and takes no value")
    operator = Operator.PREFIX if left.endswith("^") else Operator.ONE_OF
    path = _check_path(text, left.removesuffix("^"))
    values = (right,) if operator is Operator.PREFIX else tuple(right.split(","))
    if right.startswith("="):
        raise _wrong(text, "write = once")
    if "" in values:
        raise _wrong(text, "a value is empty; without = the condition is that the path is there")
    return FilterCondition(text, path, operator, _check_values(text, path, operator, values))


def _check_path(text: str, path: str) -> str:
    if path in _FIELDS or (path.startswith(METADATA) and path != METADATA):
        return path
    raise _wrong(text, f"the paths are {', '.join(PATHS)}, in the forms {_FORMS}")


def _check_values(text: str, path: str, operator: Operator, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values as Stripe spells them. Raise ConfigError for one that no session can have."""
    if path == "mode" and operator is Operator.ONE_OF and not MODES.issuperset(values):
        raise _wrong(text, f"mode is one of {', '.join(sorted(MODES))}")
    if path == "currency":
        if operator is Operator.ONE_OF and not all(map(_CURRENCY.fullmatch, values)):
            raise _wrong(text, "a currency is a code such as eur")
        return tuple(value.lower() for value in values)
    return values


def _wrong(text: str, why: str) -> ConfigError:
    return ConfigError(f"the condition {text!r} is wrong: {why}")


def _read_value(session: Json, path: str) -> str | None:
    """Return the text at a path, or None if it is absent or empty."""
    if path.startswith(METADATA):
        return find_text(find_object(session, "metadata"), path.removeprefix(METADATA))
    return find_reference(session, path)
