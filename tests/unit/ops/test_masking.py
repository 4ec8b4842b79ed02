"""What never leaves the operator's command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.format.masking import mask_emails, mask_keys


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("jane.doe@example.com", "j…@…"),
        ("USER#jane+shop@example.co.uk / ORDER#1", "USER#j…@… / ORDER#1"),
        ("a@b", "a…@…"),
        ("USER#jane!o'doe=x@example.com", "USER#j…@…"),
        ("jürgen@müller.example", "j…@…"),
        ("no address at all", "no address at all"),
        ("two: a@x.org, b@y.org", "two: a…@…, b…@…"),
        ('{"userId": "jane@example.com"}', '{"userId": "j…@…"}'),
    ],
)
def test_an_address_is_cut_to_its_first_letter(text, shown):
    assert mask_emails(text) == shown


# What the webhook's cleaning leaves of an id.
of_an_id = st.text("abcXYZ019.-_", min_size=1, max_size=30)


@given(of_an_id, of_an_id.filter(lambda text: text.strip(".-_")))
def test_no_form_of_an_address_gets_through(name, domain):
    shown = mask_emails(f"USER#{name}@{domain} ")
    assert f"@{domain}" not in shown


@pytest.mark.parametrize("kind", ["sk_live", "sk_test", "rk_live", "rk_test"])
def test_of_a_key_only_its_kind_is_left(kind):
    assert mask_keys(f"Invalid API Key: {kind}_51AbCdEfGh0123456789!") == f"Invalid API Key: {kind}_…!"


def test_a_session_id_is_no_key():
    assert mask_keys("cs_test_a1B2c3D4e5F6") == "cs_test_a1B2c3D4e5F6"
