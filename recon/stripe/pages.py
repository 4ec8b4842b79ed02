"""The pages of Stripe's lists: https://docs.stripe.com/api/pagination."""

from dataclasses import dataclass
from typing import Any

from recon.domain.message import is_id
from recon.domain.stripe_objects import Json
from recon.errors import MalformedSession, StripeUnavailable

PAGE_SIZE = 100  # Stripe's maximum
EMPTY_PAGE = "Stripe: an empty page with has_more set"


@dataclass(frozen=True)
class Page:
    """One page of a list, newest first. `unreadable` counts entries without a valid id."""

    sessions: list[Json]
    has_more: bool
    unreadable: int = 0


def read_page(data: Json) -> Page:
    """Return the page of a response. Raise StripeUnavailable if it cannot be continued."""
    rows = read_rows(data)
    readable = [row for row in rows if has_id(row) and is_id(row["id"])]
    page = Page(readable, data.get("has_more") is True, len(rows) - len(readable))
    if page.has_more and not page.sessions:
        raise StripeUnavailable(EMPTY_PAGE)
    return page


def read_valid_rows(data: Json, name: str) -> list[Json]:
    """Return the rows of a list that is only usable if every row has an id."""
    rows = read_rows(data)
    if not all(map(has_id, rows)):
        raise MalformedSession(f"an entry of {name} has no id")
    return rows


def read_rows(data: Json) -> list[Any]:
    """Return the rows of a list, whatever they are."""
    rows = data.get("data")
    if not isinstance(rows, list):
        raise StripeUnavailable("Stripe: a list without data")
    return rows


def has_id(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("id"), str)
