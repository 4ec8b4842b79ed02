"""Links to Stripe's Dashboard."""

from urllib.parse import quote

_DASHBOARD = "https://dashboard.stripe.com"
_TEST_SESSION = "cs_test_"


def session_url(session_id: str) -> str:
    """Return the address of the Dashboard's search for a Checkout Session, in test mode for `cs_test_` ids.

    Stripe documents that searching for an object's id leads to the object
    (https://docs.stripe.com/dashboard/search), but it documents no address of a session's page. A session of
    a Stripe sandbox is found while that sandbox is selected.
    """
    mode = "/test" if session_id.startswith(_TEST_SESSION) else ""
    return f"{_DASHBOARD}{mode}/search?query={quote(session_id, safe='')}"
