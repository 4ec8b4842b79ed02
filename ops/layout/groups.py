"""Pure: groups of sessions that never have an order, and the filter that leaves each of them out."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ops.layout.model import Evidence
from recon.domain.session_filter import parse_filter
from recon.domain.stripe_values import find_text, find_texts
from recon.errors import ConfigError

# One session without an order may as well be a lost webhook's.
SMALLEST_GROUP = 2
# A value that separates shops is one of few, and users of all kinds share it.
MOST_VALUES, USERS_OF_A_VALUE = 3, 2


@dataclass(frozen=True)
class OrderlessGroup:
    """Sessions without an order that `condition`, which all sessions with an order meet, leaves out.

    Runs would write the orders of `written` of them, and skip the others by themselves.
    """

    condition: str
    session_ids: tuple[str, ...]
    written: int

    @property
    def is_written(self) -> bool:
        """Return whether runs would write more orders than one lost webhook explains."""
        return self.written >= SMALLEST_GROUP


def find_groups(evidence: Sequence[Evidence]) -> list[OrderlessGroup]:
    """Return the groups of sessions that never have an order, the most telling ones first."""
    with_order = [one for one in evidence if one.order is not None]
    rest = [one for one in evidence if one.order is None and not one.found]
    groups = []
    for condition in _list_conditions(with_order, rest) if with_order else ():
        try:
            passes = parse_filter(_quote(condition)).passes
        except ConfigError:  # a word of a later version of Stripe's API
            continue
        left_out = [one for one in rest if not passes(one.session)]
        if len(left_out) >= SMALLEST_GROUP and all(passes(one.session) for one in with_order):
            ids = tuple(one.message.session_id for one in left_out)
            written = sum(not one.is_skipped for one in left_out)
            groups.append(OrderlessGroup(_quote(condition), ids, written))
            rest = [one for one in rest if passes(one.session)]
    return groups


def _quote(condition: str) -> str:
    """Quote a condition as the filter expects it, if it needs that."""
    try:
        return condition if shlex.split(condition) == [condition] else shlex.quote(condition)
    except ValueError:
        return shlex.quote(condition)


def _list_conditions(with_order: Sequence[Evidence], rest: Sequence[Evidence]) -> Iterator[str]:
    """Yield conditions that may tell the sessions apart. Not all of them do."""
    yield "!payment_link"
    yield "payment_link"
    urls = [find_text(one.session, "success_url") or "" for one in with_order]
    for prefix in _list_url_prefixes(urls):
        yield f"success_url^={prefix}"
    modes = sorted({one.message.mode for one in with_order})
    yield f"mode={','.join(modes)}"
    yield "client_reference_id"
    yield "!client_reference_id"
    keys = dict.fromkeys(key for one in (*with_order, *rest) for key in find_texts(one.session, "metadata"))
    for key in keys:
        path = f"metadata.{key}"
        if "=" in key or key.endswith("^"):
            continue
        yield path
        yield f"!{path}"
        if values := _find_shared_values(with_order, key):
            yield f"{path}={','.join(values)}"
    currencies = sorted({one.message.currency or "" for one in with_order})
    if all(currencies):
        yield f"currency={','.join(currencies)}"


def _list_url_prefixes(urls: Sequence[str]) -> Iterator[str]:
    """Yield the site that all URLs have in common, then their common folders."""
    parts = [urlsplit(url) for url in urls]
    sites = {f"{part.scheme}://{part.netloc}/" for part in parts}
    if len(sites) != 1 or not all(part.netloc for part in parts):
        return
    [prefix] = sites
    yield prefix
    for segments in zip(*(part.path.split("/")[1:-1] for part in parts), strict=False):
        if len(set(segments)) > 1:
            return
        prefix += f"{segments[0]}/"
        yield prefix


def _find_shared_values(evidence: Sequence[Evidence], key: str) -> list[str]:
    """Return the few values that all these sessions have under a key, or [] if they tell no shops apart."""
    users: dict[str, set[str | None]] = {}
    for one in evidence:
        value = find_texts(one.session, "metadata").get(key)
        if value is None or "," in value:
            return []
        users.setdefault(value, set()).add(one.message.user_id)
    is_shared = all(len(each) >= USERS_OF_A_VALUE for each in users.values())
    return sorted(users) if is_shared and len(users) <= MOST_VALUES else []
