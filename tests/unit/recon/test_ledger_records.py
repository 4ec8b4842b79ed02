"""Parsing the records of runs and outcomes, whatever version wrote them."""

from dataclasses import replace

import pytest

from recon.domain.run import Listing, Part, RunStatus, Trigger
from recon.dynamodb.records import Failure, OutcomeRecord, Run, State, parse_outcome, parse_run, parse_state
from testkit.builders import NOW, RUN
from testkit.runs import AFTER_A_MINUTE, BEGAN, LATER, a_run

BARE_RUN = Run(RUN, trigger="", started_at="", lookback_hours=0, lookback_start=0, lookback_end=0)
# Each attribute with its field and a value.
RUN_ATTRIBUTES = {
    "trigger": ("trigger", "manual"),
    "syncStartedAt": ("started_at", BEGAN),
    "syncCompletedAt": ("completed_at", AFTER_A_MINUTE),
    "lookbackHours": ("lookback_hours", 1),
    "lookbackStart": ("lookback_start", 2),
    "lookbackEnd": ("lookback_end", 3),
    "maxSessions": ("max_sessions", 4),
    "coversThrough": ("covers_through", 5),
    "drifted": ("drifted", 6),
    "listing": ("listing", {"made": 3, "parts": [{"from": 1, "to": 2, "after": "cs_1", "reached": 2}]}),
    "livemode": ("livemode", True),
    "status": ("status", "done"),
    "enqueued": ("enqueued", 8),
    "processed": ("processed", 9),
    "created": ("created", 10),
    "skipped": ("skipped", 11),
    "errors": ("errors", 12),
    "listed": ("listed", True),
    "truncated": ("truncated", True),
    "cursor": ("cursor", 13),
    "listingMovedAt": ("listing_moved_at", 14),
    "warnings": ("warnings", ["careful"]),
}
OUTCOME_ATTRIBUTES = {
    "outcome": ("outcome", "postponed"),
    "reason": ("reason", "dismissed"),
    "orderNumber": ("order_number", "BC-1"),
    "amount": ("amount", 4999),
    "currency": ("currency", "eur"),
    "errorType": ("error_type", "Unfinished"),
    "errorMessage": ("error_message", ""),
    "attempts": ("attempts", 0),
    "messageId": ("message_id", "m-1"),
    "drift": ("drift", ["amount: 1, 2"]),
    "updatedAt": ("updated_at", BEGAN),
    "dismissedBy": ("dismissed_by", "jane"),
    "dismissedBecause": ("dismissed_because", "test"),
}
RECORDS = [
    pytest.param(parse_run, f"STRIPE_ORDER_SYNC#{RUN}", BARE_RUN, RUN_ATTRIBUTES, id="run"),
    pytest.param(
        parse_outcome, "SESSION#cs_1", OutcomeRecord("cs_1", "unknown"), OUTCOME_ATTRIBUTES, id="outcome"
    ),
]


@pytest.mark.parametrize(("parse", "sk", "bare", "attributes"), RECORDS)
def test_record_has_all_attributes_of_its_item(parse, sk, bare, attributes):
    item = {"SK": sk} | {name: value for name, (_, value) in attributes.items()}
    fields = {
        field: tuple(value) if isinstance(value, list) else value for field, value in attributes.values()
    }
    if "listing" in fields:
        fields["listing"] = Listing((Part(1, 2, "cs_1", 2),), made=3)
    assert parse(item) == replace(bare, **fields)


@pytest.mark.parametrize(("parse", "sk", "bare", "attributes"), RECORDS)
def test_absent_and_odd_attributes_get_defaults(parse, sk, bare, attributes):
    odd = {name: 1 if isinstance(value, bool) else True for name, (_, value) in attributes.items()}
    assert parse({"SK": sk}) == parse({"SK": sk} | odd) == bare


@pytest.mark.parametrize("status", RunStatus)
def test_failure_counts_only_while_the_run_is_failed(status):
    """An earlier version reopens a run and leaves the attributes that it does not know."""
    item = {"SK": f"STRIPE_ORDER_SYNC#{RUN}", "status": status, "failureType": "KeyRejected"}
    texts = {"failureMessage": "401", "failedAt": BEGAN, "failedRequestId": "8f3c"}
    full, bare = parse_run(item | texts | {"failedAttempts": 2}), parse_run(item)
    if status == RunStatus.FAILED:
        assert full.failure == Failure("KeyRejected", "401", BEGAN, attempts=2, request_id="8f3c")
        assert bare.failure == Failure("KeyRejected", "", "", attempts=1, request_id="")
    else:
        assert full.failure is bare.failure is None


def test_failed_run_of_an_earlier_version_has_no_cause():
    assert parse_run({"SK": f"STRIPE_ORDER_SYNC#{RUN}", "status": "failed"}).failure is None


def test_words_of_runs_are_stored_words():
    assert [*RunStatus, *Trigger] == ["running", "done", "failed", "held", "scheduled", "manual"]


def test_only_an_error_is_not_final():
    words = ("created", "skipped", "error", "postponed")
    assert [OutcomeRecord("cs_1", word).is_final for word in words] == [True, True, False, True]


def test_times_of_a_run_are_read_as_epochs():
    run = a_run(completed_at=AFTER_A_MINUTE)
    assert (run.started_epoch, run.completed_epoch, run.seconds(LATER)) == (NOW, LATER, 60)
    odd = a_run(started_at="yesterday")
    assert (odd.started_epoch, odd.completed_epoch, odd.seconds(LATER)) == (None, None, 0)
    assert BARE_RUN.seconds(NOW) == 0


def test_state_is_read_from_its_item():
    item = {
        "lastSyncRunId": RUN,
        "lastCoveredThrough": NOW - 600,
        "lastLivemode": False,
        "firstLookbackStart": 1,
    }
    assert parse_state(item) == State(RUN, NOW - 600, livemode=False, first_lookback_start=1)
    assert parse_state(None) == State(None, None, None, None)


PART = {"from": 1, "to": 2}


@pytest.mark.parametrize(
    "listing",
    [
        {"parts": []},
        {"made": 1},
        {"parts": PART},
        {"parts": ["x"]},
        {"parts": [PART, {"from": 1}]},
        {"parts": [PART | {"to": "2"}]},
    ],
)
def test_listing_is_read_whole_or_not_at_all(listing):
    """A part that is left out would leave its sessions out."""
    assert parse_run({"SK": f"STRIPE_ORDER_SYNC#{RUN}", "listing": listing}).listing is None


def test_listing_without_a_count_has_made_its_open_parts():
    read = parse_run({"SK": f"STRIPE_ORDER_SYNC#{RUN}", "listing": {"parts": [PART, PART], "later": 1}})
    assert read.listing == Listing((Part(1, 2), Part(1, 2)), made=2)
