"""The fake serves Stripe's objects: by the types of the pinned library, and by Stripe's schemas."""

import inspect
import json
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest
import stripe
from stripe._api_version import _ApiVersion
from stripe._stripe_object import UntypedStripeObject

from testkit.fake_stripe.objects import API_VERSION
from testkit.fake_stripe.specs import DisputeStatus, IntentStatus, ReviewStatus
from testkit.stripe_types import properties
from tests.unit.testkit.awkward_shop import SESSIONS, awkward_sessions, get, pages, serve_awkward_sessions

pytestmark = pytest.mark.slow

SCHEMAS = Path(__file__).parents[4] / "shared" / "stripe" / "schemas.json"

# Properties without a type in the library, each with its reason.
UNTYPED = {
    (
        "checkout.session",
        "shipping_details",
    ): "where API versions before 2025-03-31 carry the shipping address",
}
# Properties that are absent although the library has a type for them, each with its reason.
LEFT_OUT = {
    ("checkout.session", "line_items"): "Stripe includes it only when it is expanded",
    **{
        (kind, "presentment_details"): "Stripe includes it if the customer saw another currency"
        for kind in ("checkout.session", "payment_intent", "charge")
    },
    ("Session.TotalDetails", "breakdown"): "Stripe includes it only when it is expanded",
    **{
        ("Session.CustomField", kind): "Stripe includes the part of the field's own type"
        for kind in ("dropdown", "numeric", "text")
    },
    **{
        ("InvoicePayment.Payment", kind): "Stripe includes the object of the payment's own type"
        for kind in ("charge", "payment_record")
    },
    ("coupon", "deleted"): "true of a deleted object, and absent from every other",
    ("discount", "deleted"): "true of a deleted object, and absent from every other",
    ("price", "deleted"): "true of a deleted object, and absent from every other",
    ("product", "deleted"): "true of a deleted object, and absent from every other",
}
# Objects of which Stripe sends only the parts that were set or that happened.
PARTLY_FILLED = {
    "payment_method_options": "one part for each payment method with settings: a card's",
    "payment_method_details": "one part for each kind of payment method: none is read",
    "amount_details": "discounts, taxes and errors of a payment that itemises them",
    "hooks": "the tax calculation behind a payment that has one",
    "fraud_details": "what was reported about a fraudulent charge",
    "radar_options": "what was passed to Radar for a charge",
    "enhanced_evidence": "the card networks' programmes that a dispute takes part in: none",
    "enhanced_eligibility": "as above",
}

DELETED_PRODUCT = {"id", "object", "deleted"}


@pytest.fixture(scope="module")
def fake():
    with serve_awkward_sessions() as fake:
        yield fake


DISPUTES = "/v1/disputes"
INVOICE_PAYMENTS = "/v1/invoice_payments"
WITH_PRODUCTS = {"expand[]": ["line_items.data.price.product"]}
WITH_INTENT = {"expand[]": ["payment_intent"]}
WITH_CHARGE = {"expand[]": ["payment_intent.latest_charge.balance_transaction", "payment_intent.review"]}
WITH_INVOICED = {
    "expand[]": ["data.payment.payment_intent.latest_charge", "data.payment.payment_intent.review"]
}
WITH_BREAKDOWN = {"expand[]": ["total_details.breakdown"]}
WITH_DETAILS = {
    "expand[]": [
        "shipping_cost.shipping_rate",
        "discounts.coupon",
        "discounts.promotion_code",
        "total_details.breakdown",
        "payment_intent.latest_charge.balance_transaction",
    ]
}


@pytest.fixture(scope="module")
def lists(fake):
    """Return every list that the fake serves, with each expansion."""
    served = [*pages(fake, SESSIONS), *pages(fake, "/v1/events"), *pages(fake, DISPUTES)]
    for spec in awkward_sessions():
        path = f"{SESSIONS}/{spec.id}/line_items"
        served += [*pages(fake, path), *pages(fake, path, **{"expand[]": ["data.price.product"]})]
        if spec.invoice:
            served += pages(fake, INVOICE_PAYMENTS, invoice=spec.invoice)
            served += pages(fake, INVOICE_PAYMENTS, invoice=spec.invoice, **WITH_INVOICED)
    return served


@pytest.fixture(scope="module")
def sessions(fake):
    """Return every session without expansion, with its products, with its charge, and with its details."""
    expansions = ({}, WITH_PRODUCTS, WITH_CHARGE, WITH_DETAILS)
    return [
        get(fake, f"{SESSIONS}/{spec.id}", **expand)
        for spec, expand in product(awkward_sessions(), expansions)
    ]


# The types of the library


def mismatches(value, hint, path) -> Iterator[str]:
    """Yield every difference between a served value and its type."""
    if hint is Any:
        return
    if get_origin(hint) is Union:
        yield from union_mismatches(value, get_args(hint), path)
    elif get_origin(hint) is Literal:
        if value not in get_args(hint):
            yield f"{path}: {value!r} is none of {get_args(hint)}"
    elif get_origin(hint) in (list, stripe.ListObject):
        yield from list_mismatches(value, hint, path)
    elif get_origin(hint) is UntypedStripeObject:
        yield from untyped_mismatches(value, get_args(hint)[0], path)
    elif inspect.isclass(hint) and issubclass(hint, stripe.StripeObject):
        yield from object_mismatches(value, hint, path)
    else:
        yield from plain_mismatches(value, hint, path)


def partly_filled(path):
    return not PARTLY_FILLED.keys().isdisjoint(path.split("."))


def union_mismatches(value, members, path):
    # `Union[Literal[…], str]` allows future values, but the fake serves only known ones.
    literals = [member for member in members if get_origin(member) is Literal]
    if literals and isinstance(value, str):
        members = literals
    tried = [list(mismatches(value, member, path)) for member in members]
    if all(tried):
        yield nearest(tried)


def nearest(tried):
    """Return the difference that is deepest inside, which belongs to the alternative that was meant."""
    return max((found[0] for found in tried), key=lambda reason: len(reason.partition(":")[0]))


def list_mismatches(value, hint, path):
    (element,) = get_args(hint)
    if get_origin(hint) is stripe.ListObject:
        if not isinstance(value, dict) or set(value) != {"object", "data", "has_more", "url"}:
            yield f"{path}: not a list object"
            return
        yield from mismatches(value["has_more"], bool, f"{path}.has_more")
        yield from mismatches(value["url"], str, f"{path}.url")
        value = value["data"]
    if not isinstance(value, list):
        yield f"{path}: not a list"
        return
    for position, part in enumerate(value):
        yield from mismatches(part, element, f"{path}[{position}]")


def untyped_mismatches(value, element, path):
    if not isinstance(value, dict):
        yield f"{path}: not an object"
        return
    for name, part in value.items():
        yield from mismatches(part, element, f"{path}.{name}")


def object_mismatches(value, cls, path):
    if not isinstance(value, dict):
        yield f"{path}: not an object"
        return
    if cls is stripe.Product and value.get("deleted"):
        yield from (f"{path}.{name}: not of a deleted product" for name in set(value) ^ DELETED_PRODUCT)
        return
    kind = getattr(cls, "OBJECT_NAME", cls.__qualname__)
    hints = properties(cls)
    for name, hint in hints.items():
        if name in value:
            yield from mismatches(value[name], hint, f"{path}.{name}")
        elif (kind, name) not in LEFT_OUT and not partly_filled(path):
            yield f"{path}.{name}: absent"
    yield from (f"{path}.{name}: unknown" for name in set(value) - set(hints) if (kind, name) not in UNTYPED)


def plain_mismatches(value, hint, path):
    served_as = {Decimal: (str,), float: (int, float)}.get(hint, (hint,))
    if type(value) not in served_as:
        yield f"{path}: {value!r} is no {hint}"


CLASS_OF = {
    "checkout.session": stripe.checkout.Session,
    "item": stripe.LineItem,
    "event": stripe.Event,
    "dispute": stripe.Dispute,
    "invoice_payment": stripe.InvoicePayment,
}


def test_sessions_have_the_properties_of_their_type(sessions):
    found = [wrong for served in sessions for wrong in mismatches(served, stripe.checkout.Session, "session")]
    assert not found


def test_listed_objects_have_the_properties_of_their_type(lists):
    kinds = set()
    for page in lists:
        for served in page["data"]:
            kinds.add(served["object"])
            assert not list(mismatches(served, CLASS_OF[served["object"]], served["object"]))
    assert kinds == set(CLASS_OF)


def test_every_list_is_a_list_object(lists):
    assert all(set(page) == {"object", "data", "has_more", "url"} for page in lists)
    assert {page["object"] for page in lists} == {"list"}


def test_events_contain_a_whole_session(lists):
    events = [served for page in lists for served in page["data"] if served["object"] == "event"]
    assert {event["type"] for event in events} == {
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
    }
    for event in events:
        carried = event["data"]["object"]
        assert not list(mismatches(carried, stripe.checkout.Session, event["type"]))


def test_expansions_are_served(sessions):
    lines = [line for served in sessions for line in served.get("line_items", {"data": []})["data"]]
    products = [line["price"]["product"] for line in lines if line["price"]]
    assert {served.get("deleted", False) for served in products} == {True, False}
    intents = [served["payment_intent"] for served in sessions if isinstance(served["payment_intent"], dict)]
    assert any(intent["latest_charge"]["refunded"] for intent in intents if intent["latest_charge"])
    assert any(intent["latest_charge"]["disputed"] for intent in intents if intent["latest_charge"])


def test_details_are_expanded_only_on_request(fake):
    session = f"{SESSIONS}/cs_test_detailed"
    plain, detailed = get(fake, session), get(fake, session, **WITH_DETAILS)
    assert "breakdown" not in plain["total_details"]
    assert plain["shipping_cost"]["shipping_rate"] == detailed["shipping_cost"]["shipping_rate"]["id"]
    assert [list(map(type, discount.values())) for discount in plain["discounts"]] == [
        [type(None), str],
        [str, type(None)],
    ]
    code, coupon = detailed["discounts"]
    assert (code["promotion_code"]["code"], coupon["coupon"]["name"]) == ("AUTUMN20", "Loyal")
    charge = detailed["payment_intent"]["latest_charge"]
    assert charge["balance_transaction"]["source"] == charge["id"]


def test_breakdown_has_the_discounts_of_an_old_session(fake):
    session = get(fake, f"{SESSIONS}/cs_test_converted", **WITH_DETAILS)
    [entry] = session["total_details"]["breakdown"]["discounts"]
    assert session["discounts"] == []
    assert entry["discount"]["source"]["coupon"]


@pytest.mark.parametrize("name", ["cs_test_detailed", "cs_test_disputed", "cs_test_converted"])
def test_totals_add_up(fake, name):
    session = get(fake, f"{SESSIONS}/{name}")
    totals = session["total_details"]
    added = totals["amount_shipping"] + totals["amount_tax"] - totals["amount_discount"]
    assert session["amount_subtotal"] + added == session["amount_total"]


def test_payments_and_their_parts_are_served(sessions, lists):
    intents = [served["payment_intent"] for served in sessions if isinstance(served["payment_intent"], dict)]
    assert {intent["status"] for intent in intents} == set(get_args(IntentStatus))
    assert {intent["review"]["open"] for intent in intents if isinstance(intent["review"], dict)} == {
        True,
        False,
    }
    charges = [intent["latest_charge"] for intent in intents if isinstance(intent["latest_charge"], dict)]
    assert any(isinstance(charge["balance_transaction"], dict) for charge in charges)
    payments = [row for page in lists for row in page["data"] if row["object"] == "invoice_payment"]
    assert {payment["status"] for payment in payments} == {"paid", "open", "canceled"}
    expanded = [row["payment"]["payment_intent"] for row in payments]
    assert {type(intent) for intent in expanded} == {str, dict}


@pytest.mark.parametrize(
    ("cls", "name", "ours"),
    [
        (stripe.Dispute, "status", get_args(DisputeStatus)),
        (stripe.PaymentIntent, "status", get_args(IntentStatus)),
        (stripe.Review, "closed_reason", tuple(set(get_args(ReviewStatus)) - {"open"})),
    ],
)
def test_words_are_those_of_the_library(cls, name, ours):
    literals = [hint for hint in get_args(properties(cls)[name]) if get_origin(hint) is Literal]
    assert {word for hint in literals for word in get_args(hint)} == set(ours)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"currency": 5}, "session.currency"),
        ({"status": "finished"}, "session.status"),
        ({"created": True}, "session.created"),
        ({"surprise": 1}, "session.surprise: unknown"),
        ({"metadata": {"a": 1}}, "session.metadata.a"),
        ({"customer_details": {}}, "session.customer_details"),
        ({"line_items": []}, "session.line_items: not a list object"),
    ],
)
def test_type_check_reports_a_wrong_property(sessions, change, complaint):
    found = list(mismatches(sessions[0] | change, stripe.checkout.Session, "session"))
    assert found
    assert found[0].startswith(complaint)


def test_type_check_reports_an_absent_property(sessions):
    served = {name: value for name, value in sessions[0].items() if name != "amount_total"}
    assert list(mismatches(served, stripe.checkout.Session, "session")) == ["session.amount_total: absent"]


def test_version_is_that_of_the_library():
    assert API_VERSION == _ApiVersion.CURRENT


# Compared with Stripe's JSON schemas, if they are beside this repository

JSON_TYPES = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


@pytest.fixture(scope="module")
def schemas():
    if not SCHEMAS.exists():
        pytest.skip("Stripe's JSON schemas are not beside this repository")
    return json.loads(SCHEMAS.read_text())["components"]["schemas"]


def schema_mismatches(value, schema, schemas, path) -> Iterator[str]:
    """Yield each deviation from an OpenAPI schema, which must have every property, not only required ones."""
    if "$ref" in schema:
        yield from schema_mismatches(value, schemas[schema["$ref"].rpartition("/")[2]], schemas, path)
    elif "anyOf" in schema:
        tried = [list(schema_mismatches(value, choice, schemas, path)) for choice in schema["anyOf"]]
        if all(tried):
            yield nearest(tried)
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is not in {schema['enum']}"
    elif type(value) not in JSON_TYPES[schema["type"]]:
        yield f"{path}: {value!r} is no {schema['type']}"
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from schema_mismatches(part, schema["items"], schemas, f"{path}[{position}]")
    elif isinstance(value, dict):
        yield from schema_object_mismatches(value, schema, schemas, path)


def schema_object_mismatches(value, schema, schemas, path):
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    # Only whole objects name their kind; the library names the class of a part.
    left_out = {(kind if kind in CLASS_OF or "." not in kind else None, name) for kind, name in LEFT_OUT}
    for name in known.keys() - value.keys():
        if (value.get("object"), name) not in left_out and not partly_filled(path):
            yield f"{path}.{name}: absent"
    for name in value:
        if inner := known.get(name, others if isinstance(others, dict) else None):
            yield from schema_mismatches(value[name], inner, schemas, f"{path}.{name}")


@pytest.fixture(scope="module")
def check(schemas):
    return lambda served, kind: list(schema_mismatches(served, schemas[kind], schemas, kind))


def without_deleted_products(items):
    """Return the items with the id of each deleted product, for which there is no schema."""
    for item in items:
        with suppress(TypeError, KeyError):
            if item["price"]["product"]["deleted"]:
                item["price"]["product"] = item["price"]["product"]["id"]
    return items


def test_sessions_fit_the_schema(check, fake):
    for spec, expand in product(awkward_sessions(), ({}, WITH_PRODUCTS, WITH_BREAKDOWN)):
        served = get(fake, f"{SESSIONS}/{spec.id}", **expand)
        without_deleted_products(served.get("line_items", {"data": []})["data"])
        assert not check(served, "checkout.session")


def test_payment_intents_fit_the_schema(check, fake):
    served = [get(fake, f"{SESSIONS}/{spec.id}", **WITH_INTENT) for spec in awkward_sessions()]
    intents = [session["payment_intent"] for session in served if session["payment_intent"]]
    assert intents
    assert [wrong for intent in intents for wrong in check(intent, "payment_intent")] == []


def test_line_items_fit_the_schema(check, fake):
    for spec in awkward_sessions():
        for page in pages(fake, f"{SESSIONS}/{spec.id}/line_items", **{"expand[]": ["data.price.product"]}):
            for served in without_deleted_products(page["data"]):
                assert not check(served, "item")


def test_events_fit_the_schema(check, fake):
    for page in pages(fake, "/v1/events"):
        for served in page["data"]:
            assert not check(served, "event")
            assert not check(served["data"]["object"], "checkout.session")


@pytest.mark.parametrize("change", [{"created": "today"}, {"mode": "gift"}, {"metadata": {"a": 1}}])
def test_schema_check_reports_a_wrong_property(check, fake, change):
    assert check(get(fake, f"{SESSIONS}/cs_test_open") | change, "checkout.session")


def test_schema_check_reports_an_absent_property(check, fake):
    served = get(fake, f"{SESSIONS}/cs_test_open")
    del served["invoice"]
    assert check(served, "checkout.session") == ["checkout.session.invoice: absent"]
