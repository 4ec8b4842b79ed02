"""Replace parts of a served object, for what Stripe may say although no spec describes it."""

from collections.abc import Mapping
from typing import Any, Final

from testkit.shapes import JsonObject

# In a given object: it takes the place of the served one instead of being merged into it.
REPLACE: Final = "__replace__"


def merge(served: JsonObject, given: Mapping[str, Any] | None) -> JsonObject:
    """Return the served object with the given fields; objects inside are merged as well."""
    if not given:
        return served
    return served | {name: _replace(served.get(name), value) for name, value in given.items()}


def _replace(served: Any, given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    if given.get(REPLACE) or not isinstance(served, dict):
        return {name: value for name, value in given.items() if name != REPLACE}
    return merge(served, given)
