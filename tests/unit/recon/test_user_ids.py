"""Whose a session is: sources in their order, cleaned by the webhook's rule, and never a stranger's."""

import pytest

from recon.domain.user_ids import (
    EmailCase,
    UserIdCandidates,
    UserIdRules,
    clean_user_id,
    find_candidates,
    find_usable_id,
    parse_sources,
)
from recon.errors import ConfigError
from testkit.builders import a_session


@pytest.mark.parametrize(
    ("raw", "clean"),
    [("a+b@x.com", "ab@x.com"), ("ü ser/1", "ser1"), ("x" * 300, "x" * 256), ("A-b_c.d@e", "A-b_c.d@e")],
)
def test_user_id_is_cleaned_by_the_webhooks_rule(raw, clean):
    assert clean_user_id(raw) == clean


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metadata": {"userId": "u1", "user_id": "u2"}}, "u1"),
        ({"metadata": {"user_id": "u2"}}, "u2"),
        ({"metadata": {"userId": "", "user_id": "u2"}}, "u2"),
        ({"metadata": {"userId": "+++", "user_id": "u2"}}, "u2"),
        ({"metadata": {}}, "a+b@example.com"),
        ({"metadata": None}, "a+b@example.com"),
        ({"metadata": {"userId": 7}}, "a+b@example.com"),
        ({"metadata": {}, "customer_details": None}, None),
        ({"metadata": {}, "customer_details": {"email": None}, "customer_email": "c@x.io"}, "c@x.io"),
        ({"metadata": "?", "customer_details": 3}, None),
    ],
)
def test_user_is_the_first_valid_candidate(changes, expected):
    assert find_candidates(a_session(**changes), UserIdRules()).chosen == expected


@pytest.mark.parametrize("raw", ["+++", "@.", "用户@例子.广告", "иван", "-._", " ", "", None, "..@.."])
def test_id_without_letter_or_digit_is_not_usable(raw):
    assert find_usable_id(raw) is None


def session(**fields):
    return {"metadata": {}, "customer_details": {}, **fields}


@pytest.mark.parametrize(
    ("sources", "fields", "chosen"),
    [
        (("client_reference_id",), {"client_reference_id": "u1"}, "u1"),
        (("customer",), {"customer": "cus_1"}, "cus_1"),
        (("customer",), {"customer": {"id": "cus_1"}}, "cus_1"),
        (("metadata.account id",), {"metadata": {"account id": "u1"}}, "u1"),
        (("customer", "metadata.userId"), {"customer": None, "metadata": {"userId": "u1"}}, "u1"),
        (("customer_details.email",), {"customer_email": "c@x.io"}, "c@x.io"),
        (("client_reference_id",), {"client_reference_id": "@.", "metadata": {"userId": "u1"}}, None),
        (("client_reference_id", "customer"), {"client_reference_id": "用户", "customer": "cus_1"}, "cus_1"),
        (("customer",), {"customer": 5, "client_reference_id": ["u"]}, None),
    ],
)
def test_sources_are_tried_in_the_order_of_the_setting(sources, fields, chosen):
    assert find_candidates(session(**fields), UserIdRules(sources)).chosen == chosen


def test_all_other_candidates_are_looked_up_and_the_default_ones_too():
    fields = {
        "client_reference_id": "用户",
        "customer": "cus_1",
        "metadata": {"userId": "u1", "user_id": "cus_1"},
        "customer_details": {"email": "A@x.com"},
        "customer_email": "b@x.com",
    }
    candidates = find_candidates(session(**fields), UserIdRules(("client_reference_id", "customer")))
    assert candidates == UserIdCandidates("cus_1", None, ("用户", "u1", "A@x.com", "b@x.com"))


@pytest.mark.parametrize(
    ("case", "fields", "candidates"),
    [
        ("keep", {"customer_details": {"email": "A@X.com"}}, UserIdCandidates("A@X.com")),
        ("lower", {"customer_details": {"email": "A@X.com"}}, UserIdCandidates("a@x.com", "A@X.com")),
        ("lower", {"customer_email": "A@X.com"}, UserIdCandidates("a@x.com", "A@X.com")),
        ("lower", {"customer_details": {"email": "a@x.com"}}, UserIdCandidates("a@x.com")),
        ("lower", {"metadata": {"userId": "User_A"}}, UserIdCandidates("User_A")),
    ],
)
def test_only_an_email_address_is_lower_cased(case, fields, candidates):
    assert find_candidates(session(**fields), UserIdRules(email_case=EmailCase(case))) == candidates


def test_candidate_too_long_for_a_key_is_cleaned():
    fields = {"metadata": {"userId": "u1", "user_id": "ä" + "x" * 2048}}
    assert find_candidates(session(**fields), UserIdRules()).others == ("x" * 256,)


TEN = tuple(f"metadata.{number}" for number in range(10))


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("metadata.userId", ("metadata.userId",)),
        (" customer , client_reference_id", ("customer", "client_reference_id")),
        ("customer_details.email,metadata.a.b", ("customer_details.email", "metadata.a.b")),
        (",".join(TEN), TEN),
    ],
)
def test_sources_are_read(text, sources):
    assert parse_sources(text) == sources


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "email",
            "^'email' is no source of a user id; the sources are metadata.<key>, customer_details.email",
        ),
        ("customer_email", "'customer_email' is no source.*customer_details.email"),
        ("metadata.", "'metadata.' is no source"),
        ("metadata.<key>,", "'' is no source"),
        ("customer,", "'' is no source"),
        ("customer metadata.userId", "'customer metadata.userId' is no source"),
        ("metadata.a,customer,customer,metadata.a", "'metadata.a' is named twice"),
        (",".join((*TEN, "customer")), "11 sources are named; name 10 at most"),
    ],
)
def test_wrong_source_is_named(text, problem):
    with pytest.raises(ConfigError, match=problem):
        parse_sources(text)
