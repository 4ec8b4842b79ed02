"""The independent check of attention items finds each way in which one does not follow from the outcomes."""

import pytest

from testkit.invariants import check_attention_change, compare_attention

SKIPPED = {"outcome": "skipped", "reason": "exists"}


def item(*words, **fields):
    return {"words": list(words), "since": "2024-11-27T02:00:00Z"} | fields if words else {}


def seen(*words):
    return item(*words, acknowledgedBy="jane")


def said(*words, **fields):
    return SKIPPED | ({"attention": list(words)} if words else {}) | fields


HELD, DISPUTED, UNPAID = "awaiting_capture", "disputed", "order_says_unpaid"
DRIFT = ["payment_status: the order says unpaid, Stripe paid"]
RIGHT = [
    (item(), said(), item(), False),
    (item(), said(HELD), item(HELD), False),
    (item(HELD), said(HELD), item(HELD), False),
    (item(HELD), said(), item(), False),
    (item(DISPUTED), said(), item(DISPUTED), False),
    (seen(DISPUTED), said(), seen(DISPUTED), False),
    (seen(DISPUTED, HELD), said(), seen(DISPUTED), False),
    (seen(DISPUTED), said(HELD), item(DISPUTED, HELD, since="later"), False),
    (item(UNPAID), said(UNPAID, drift=DRIFT), item(UNPAID), False),
    (item(UNPAID), said(), item(), True),
    (item(UNPAID), said(UNPAID), item(UNPAID), True),
    (item(DISPUTED, HELD), said(reason="dismissed"), item(), False),
    (item(HELD), {"outcome": "error"}, item(HELD), False),
]
WRONG = [
    ("is [] and not", item(), said(HELD), item(), False),
    ("and not []", item(), said(), item(HELD), False),
    ("and not []", item(HELD), said(), item(HELD), False),
    ("is [] and not", item(DISPUTED), said(), item(), False),
    ("is [] and not", item(UNPAID), said(), item(), False),
    ("and not []", item(DISPUTED), said(reason="dismissed"), item(DISPUTED), False),
    ("is [] and not", item(HELD), {"outcome": "error"}, item(), False),
    ("rings again", seen(DISPUTED), said(DISPUTED), item(DISPUTED), False),
    ("rings again", item(HELD), said(HELD), item(HELD, since="later"), False),
    ("silent about a new word", seen(DISPUTED), said(HELD), seen(DISPUTED, HELD), False),
    ("drifts again", seen(UNPAID), said(UNPAID, drift=DRIFT), seen(UNPAID), False),
]


@pytest.mark.parametrize(("before", "outcome", "after", "paid"), RIGHT)
def test_right_attention_has_no_violation(before, outcome, after, paid):
    assert list(compare_attention("cs_1", before, outcome, after, order_says_paid=paid)) == []


@pytest.mark.parametrize(("part", "before", "outcome", "after", "paid"), WRONG)
def test_wrong_attention_is_found(part, before, outcome, after, paid):
    [violation] = compare_attention("cs_1", before, outcome, after, order_says_paid=paid)
    assert part in str(violation)


@pytest.mark.parametrize(
    ("before", "after", "is_dismissed", "is_right"),
    [
        (item(HELD), seen(HELD), False, True),
        (item(HELD), item(), True, True),
        (item(HELD), item(), False, False),
        (item(), item(HELD), False, False),
        (item(HELD), seen(DISPUTED), False, False),
        (item(HELD), item(DISPUTED), True, False),
    ],
)
def test_only_a_person_changes_attention_without_an_outcome(before, after, is_dismissed, is_right):
    found = list(check_attention_change("cs_1", before, after, is_dismissed=is_dismissed))
    assert (found == []) is is_right
