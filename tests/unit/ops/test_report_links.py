"""Where a session is found in Stripe's Dashboard."""

import pytest

from ops.format.links import session_url


@pytest.mark.parametrize(
    ("session_id", "url"),
    [
        ("cs_live_a1B2", "https://dashboard.stripe.com/search?query=cs_live_a1B2"),
        ("cs_test_a1B2", "https://dashboard.stripe.com/test/search?query=cs_test_a1B2"),
    ],
)
def test_a_session_is_searched_for_in_its_own_mode(session_id, url):
    assert session_url(session_id) == url


def test_an_id_of_strange_characters_stays_one_query():
    assert session_url('cs_&q="/?#').endswith("/search?query=cs_%26q%3D%22%2F%3F%23")
