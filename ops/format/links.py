"""Where an operator sees in Stripe's Dashboard what this system talks about."""

from urllib.parse import quote

_DASHBOARD = "https://dashboard.stripe.com"
_TEST_SESSION = "cs_test_"


def session_url(session_id: str) -> str:
    """The Dashboard's search for a Checkout Session, in test mode for a session of test mode.

    The search and not a page of the session's own: Stripe documents that an object's id typed there leads to
    the object (https://docs.stripe.com/dashboard/search), and documents no address of a session. Ids begin
    with `cs_live_` or `cs_test_`; a session of a sandbox is found while that sandbox is the one selected.
    """
    mode = "/test" if session_id.startswith(_TEST_SESSION) else ""
    return f"{_DASHBOARD}{mode}/search?query={quote(session_id, safe='')}"
