"""Pure: which texts of a key are made from which values of a session.

A text is split at the separators that keys use. A part that many items share, or that is a common word, is
literal. Anything else may be a customer's value: it is either a value of the session, or no template fits.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, permutations, product, zip_longest

from ops.layout.keys import is_word

HOLE = "\0"
_SEPARATORS = re.compile(r"([#|:/]+)")
_PREFIX = re.compile(r"([A-Za-z]{2,}[_-])(.+)")
_FEWEST, _SHARE = 5, 0.3
MOST_TEMPLATES = 8
MOST_HOLES = 2
MOST_CHOSEN = 30


class Literals:
    """The literal parts of the texts of one key attribute."""

    def __init__(self, texts: Sequence[str]) -> None:
        parts = Counter(part for text in texts for part in {*_split(text), *_list_prefixes(text)})
        enough = max(_FEWEST, _SHARE * len(texts))
        self._common = {part for part, count in parts.items() if count >= enough}

    def __contains__(self, part: str) -> bool:
        if "{" in part or "}" in part:
            return False  # a template cannot have it
        is_known = part in self._common or is_word(part.rstrip("_-"))
        return is_known or _SEPARATORS.fullmatch(part) is not None


def learn(text: str, values: Mapping[str, str], literals: Literals) -> list[str]:
    """Return the templates that make this text of the values of a session, which it has by path."""
    by_value: dict[str, list[str]] = {}
    for path, value in values.items():
        by_value.setdefault(value, []).append(path)
    if text in by_value:
        return [f"{{{path}}}" for path in by_value[text]]
    choices = [_learn_part(part, by_value, literals) for part in _split(text)]
    return ["".join(parts) for parts in islice(product(*choices), MOST_TEMPLATES)]


def _learn_part(part: str, by_value: Mapping[str, list[str]], literals: Literals) -> list[str]:
    if part in by_value:
        return [f"{{{path}}}" for path in by_value[part]]
    if part in literals:
        return [part]
    prefixed = _PREFIX.fullmatch(part)
    if prefixed and prefixed[1] in literals:
        return [f"{prefixed[1]}{{{path}}}" for path in by_value.get(prefixed[2], ())]
    return []


def find_forms(texts: Sequence[str], literals: Literals, most: int) -> list[str]:
    """Return the most frequent forms of these texts, with `HOLE` for what differs.

    Leave out those with more than two holes.
    """
    forms: Counter[str] = Counter()
    for text in texts:
        parts = _split(text)
        # What looks like a prefix may belong to the value, as in Stripe's own ids.
        whole = "".join(part if part in literals else HOLE for part in parts)
        forms.update(list(dict.fromkeys([whole, "".join(_to_hole(part, literals) for part in parts)])))
    return [form for form, _ in forms.most_common() if form.count(HOLE) <= MOST_HOLES][:most]


def fill_forms(forms: Iterable[str], paths: Sequence[str]) -> list[str]:
    """Return the templates of these forms with the paths in their holes, in any order."""
    forms = list(forms)
    return [
        "".join(
            part + path
            for part, path in zip_longest(form.split(HOLE), [f"{{{path}}}" for path in chosen], fillvalue="")
        )
        for holes in range(1, MOST_HOLES + 1)
        for chosen in islice(permutations(paths, holes), MOST_CHOSEN)
        for form in forms
        if form.count(HOLE) == holes
    ]


def list_parts(text: str) -> set[str]:
    """Return the text, and its parts that may be a value of a session."""
    prefixed = (_PREFIX.fullmatch(part) for part in _split(text))
    return {text, *_split(text), *(one[2] for one in prefixed if one)}


def _list_prefixes(text: str) -> list[str]:
    return [found[1] for part in _split(text) if (found := _PREFIX.fullmatch(part))]


def _split(text: str) -> list[str]:
    return [part for part in _SEPARATORS.split(text) if part]


def _to_hole(part: str, literals: Literals) -> str:
    if part in literals:
        return part
    prefixed = _PREFIX.fullmatch(part)
    return f"{prefixed[1]}{HOLE}" if prefixed and prefixed[1] in literals else HOLE
