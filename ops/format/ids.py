"""Stripe's ids, shortened for a terminal and for the report."""

import re

# The characters that an order number is made of.
_SHOWN = 8
_STRIPE_ID = re.compile(r"\b(?:cs|pi|evt)_[A-Za-z0-9_]+")


def shorten_id(stripe_id: str) -> str:
    """Return `cs_live_…a1B2c3D4`, or the id unchanged if that is not shorter."""
    kind = "_".join(stripe_id.split("_")[:2]) if stripe_id.startswith("cs_") else stripe_id.partition("_")[0]
    short = f"{kind}_…{stripe_id[-_SHOWN:]}"
    return short if len(short) < len(stripe_id) else stripe_id


def shorten_ids(text: str) -> str:
    """Return a text with every id in it shortened."""
    return _STRIPE_ID.sub(lambda found: shorten_id(found[0]), text)


def has_id(text: str) -> bool:
    """Return True if there is an id in a text."""
    return _STRIPE_ID.search(text) is not None
