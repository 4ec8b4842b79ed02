"""Masking of keys and e-mail addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.format.masking import mask_emails, mask_keys


@pytest.mark.parametrize(
    ("text", "masked"),
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
def test_mask_emails_keeps_the_first_letter(text, masked):
    assert mask_emails(text) == masked


# The characters that the webhook keeps in a user id.
ID_TEXT = st.text("abcXYZ019.-_", min_size=1, max_size=30)


@given(ID_TEXT, ID_TEXT.filter(lambda text: text.strip(".-_")))
def test_mask_emails_hides_every_domain(name, domain):
    assert f"@{domain}" not in mask_emails(f"USER#{name}@{domain} ")


@pytest.mark.parametrize("prefix", ["sk_live", "sk_test", "rk_live", "rk_test"])
def test_mask_keys_keeps_only_the_prefix(prefix):
    assert mask_keys(f"Invalid API Key: {prefix}_51AbCdEfGh0123456789!") == f"Invalid API Key: {prefix}_…!"
    assert mask_keys("cs_test_a1B2c3D4e5F6") == "cs_test_a1B2c3D4e5F6"
