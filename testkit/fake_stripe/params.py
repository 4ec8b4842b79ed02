"""Query parameters, read as strictly as Stripe reads them: an unknown parameter is an error."""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import parse_qsl

from testkit.fake_stripe import errors
from testkit.fake_stripe.store import CreatedRange

DEFAULT_LIMIT = 10
MAX_LIMIT = 100
PAGING = frozenset({"limit", "starting_after", "expand"})
CREATED = frozenset({"created[gte]", "created[lte]"})

# Clients write a list as `expand[]=a` or as `expand[0]=a`; Stripe takes both.
_ELEMENT = re.compile(r"^(?P<name>[a-z_]+)\[\d*\]$")


class Params:
    """The parameters of one request. A name that is not in `allowed` is an error; None allows every name."""

    def __init__(self, query: str, allowed: Iterable[str] | None = None) -> None:
        self._values: dict[str, list[str]] = {}
        for raw_name, value in parse_qsl(query, keep_blank_values=True):
            element = _ELEMENT.match(raw_name)
            self._values.setdefault(element["name"] if element else raw_name, []).append(value)
        unknown = set() if allowed is None else set(self._values) - set(allowed)
        if unknown:
            raise errors.unknown_parameter(min(unknown))

    def text(self, name: str) -> str | None:
        values = self._values.get(name)
        return values[-1] if values else None

    def texts(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def integer(self, name: str) -> int | None:
        text = self.text(name)
        if text is None:
            return None
        if not re.fullmatch(r"-?[0-9]+", text):
            raise errors.invalid_integer(name, f"Invalid integer: {text}")
        return int(text)

    def boolean(self, name: str) -> bool | None:
        text = self.text(name)
        if text not in (None, "true", "false"):
            raise errors.invalid(f"Invalid boolean: {text}", name)
        return None if text is None else text == "true"

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        text = self.text(name)
        if text is not None and text not in choices:
            listed = f"{', '.join(choices[:-1])}, or {choices[-1]}"
            raise errors.invalid(f"Invalid {name}: must be one of {listed}", name)
        return text

    def limit(self) -> int:
        limit = self.integer("limit")
        if limit is None:
            return DEFAULT_LIMIT
        if limit < 1:
            raise errors.invalid_integer("limit", "This value must be greater than or equal to 1.")
        if limit > MAX_LIMIT:
            raise errors.invalid_integer("limit", f"This value must be less than or equal to {MAX_LIMIT}.")
        return limit

    def created(self) -> CreatedRange:
        return CreatedRange(self.integer("created[gte]"), self.integer("created[lte]"))
