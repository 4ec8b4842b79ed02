"""What a batch says of itself: lines, metrics, warnings; and that no line's failure is a session's."""

import pytest

from recon.dynamodb.records import outcome_key, run_key
from recon.errors import KeyRejected, SessionNotFound, StripeUnavailable
from recon.retry import READ_ATTEMPTS, TRANSACTION_ATTEMPTS
from testkit.batches import USER, Batches, fetched, lines, metrics
from testkit.builders import NOW, RUN, a_message
from testkit.doubles.faults import on, throttled


@pytest.fixture
def told(capfd):
    """The lines and the metrics of one batch."""

    def tell(batches, *deliveries, **options):
        batches.process(*deliveries, **options)
        batches.telemetry.flush()
        printed = capfd.readouterr().out
        return lines(printed), metrics(printed)

    return tell


@pytest.fixture
def batches():
    return Batches()


def missing(batches, session_id="cs_1", **answer):
    batches.answers[session_id] = fetched(session_id, **answer)
    return a_message(session_id=session_id, user_id=USER)


def unpaid(session_id):
    return a_message(session_id=session_id, payment_status="unpaid")


def line_of(said, beginning):
    [line] = [line for line in said if line["message"].startswith(beginning)]
    return line


def ids(line):
    return (line["level"], line["run_id"], line["session_id"])


def test_each_outcome_has_a_metric_of_its_own(batches, told):
    batches.answers["cs_5"] = SessionNotFound("no")
    deliveries = [
        batches.received(missing(batches, "cs_1")),
        *(batches.received(unpaid(session)) for session in ("cs_2", "cs_3", "cs_4")),
        batches.received(a_message(session_id="cs_5", user_id=USER)),
    ]
    _, counted = told(batches, *deliveries)
    assert counted == {
        "OrdersCreated": [1],
        "SessionsSkipped": [3],
        "SessionErrors": [1],
        "MoneyRecovered": [4999],
        "OpenRunSeconds": [0],
    }


def test_what_a_commit_could_not_write_is_no_outcome_yet(batches, told):
    delivery = batches.received(missing(batches))
    batches.dynamodb.plan = on("transact_write_items", throttled())
    said, counted = told(batches, delivery)
    line = line_of(said, "Session is tried again later: DynamoDB")
    assert (*ids(line), line["error_type"], line["receive_count"]) == (
        "WARNING", RUN, "cs_1", "TableUnavailable", 1
    )  # fmt: skip
    assert counted == {}


def test_a_batch_whose_outcomes_cannot_be_read_says_so_of_each_session(batches, told):
    deliveries = [batches.received(unpaid(session), receives=3) for session in ("cs_1", "cs_2")]
    batches.dynamodb.plan = on("batch_get_item", throttled())
    said, _ = told(batches, *deliveries)
    assert [(*ids(line), line["error_type"], line["receive_count"]) for line in said] == [
        ("WARNING", RUN, session, "TableUnavailable", 3) for session in ("cs_1", "cs_2")
    ]


def test_what_time_was_up_for_says_so(batches, told):
    said, _ = told(batches, batches.received(missing(batches)), seconds=0)
    line = line_of(said, "Session is tried again later: no time left in this invocation")
    assert (*ids(line), line["error_type"]) == ("WARNING", RUN, "cs_1", "OutOfTime")


def test_a_bug_met_by_a_group_is_told_by_kind_and_place_and_sends_all_of_it_back(batches, told):
    def bug():
        raise ZeroDivisionError("a secret")

    batches.connect = bug
    said, _ = told(batches, *(batches.received(missing(batches, session)) for session in ("cs_1", "cs_2")))
    line = line_of(said, "Unexpected ZeroDivisionError")
    assert ids(line) == ("ERROR", RUN, "-")
    assert line["frames"][-1].endswith(" bug")
    later = [line for line in said if line["message"].startswith("Session is tried again later")]
    assert [(*ids(line), line["error_type"], line["message"]) for line in later] == [
        (
            "WARNING",
            RUN,
            session,
            "Unexpected",
            "Session is tried again later: ZeroDivisionError in the batch",
        )
        for session in ("cs_1", "cs_2")
    ]
    assert "a secret" not in str(said)


def test_an_error_that_was_announced_is_counted_once_and_an_order_after_it_too(batches, told):
    for n in (1, 2):
        missing(batches, f"cs_{n}")
    batches.answers["cs_2"] = StripeUnavailable("no")
    deliveries = [
        batches.received(a_message(session_id=f"cs_{n}", user_id=USER), receives=10) for n in (1, 2)
    ]
    said, counted = told(batches, *deliveries)
    assert (counted["SessionErrors"], counted["OrdersCreated"]) == ([2], [1])
    failed = line_of(said, "Session failed: no")
    assert (*ids(failed), failed["error_type"], failed["receive_count"]) == (
        "ERROR", RUN, "cs_2", "StripeUnavailable", 10
    )  # fmt: skip


def test_a_redriven_session_that_fails_again_is_not_counted_again(batches, told):
    batches.put(outcome_key(RUN, "cs_1"), outcome="error", errorType="SessionNotFound", messageId="old")
    batches.answers["cs_1"] = SessionNotFound("no")
    _, counted = told(batches, batches.received(a_message(user_id=USER)))
    assert "SessionErrors" not in counted


def test_a_session_that_waits_for_the_key_is_counted_as_such(batches, told):
    batches.answers["cs_1"] = KeyRejected("no")
    _, counted = told(batches, batches.received(a_message(user_id=USER)))
    assert counted == {"KeyRejected": [1]}


def test_drift_is_told_by_its_kind_and_counted_once_a_session(batches, told):
    batches.webhook_wrote("cs_1", amount=1, currency="usd")
    said, counted = told(batches, batches.received(a_message(user_id=USER)))
    drifts = [line for line in said if line["message"].startswith("Order drifts")]
    assert [(*ids(line), line["message"]) for line in drifts] == [
        ("WARNING", RUN, "cs_1", "Order drifts from Stripe: amount"),
        ("WARNING", RUN, "cs_1", "Order drifts from Stripe: currency"),
    ]
    assert (counted["OrdersDrifted"], counted["SessionsSkipped"]) == ([1], [1])


def test_the_keys_of_a_duplicate_are_stored_and_never_logged(batches, told):
    """They hold the user's id, raw in one of them, with whatever characters the shop put there."""
    for user in ("jane:doe", "janedoe"):
        batches.put((f"USER#{user}", f"ORDER#{NOW}#cs_1"), stripeSessionId="cs_1")
    said, _ = told(batches, batches.received(a_message(user_id="jane:doe")))
    assert line_of(said, "Order drifts")["message"] == "Order drifts from Stripe: duplicate"
    assert "jane" not in str(said)
    assert "USER#jane:doe" in batches.outcome("cs_1")["drift"][0]


def test_an_order_without_an_amount_recovers_no_money(batches, told):
    said, counted = told(batches, batches.received(missing(batches, amount_total=None)))
    assert ids(line_of(said, "Created order snapshot BC-CS1 via sync")) == ("INFO", RUN, "cs_1")
    assert counted["OrdersCreated"] == [1]
    assert "MoneyRecovered" not in counted


# Warnings of a run


def test_a_key_that_may_not_read_charges_is_warned_of_once_a_run(batches, told):
    batches.runs(enqueued=5)
    deliveries = []
    for session, receives in (("cs_1", 1), ("cs_2", 1), ("cs_3", 2)):
        batches.answers[session] = fetched(session, charges_known=False)
        message = a_message(session_id=session, user_id=USER)
        deliveries.append(batches.received(message, receives=receives))
    said, counted = told(batches, *deliveries)
    line = line_of(said, "no_charges: the Stripe key may not read charges or disputes")
    assert ids(line) == ("WARNING", RUN, "-")
    assert batches.run()["warnings"] == [line["message"]]
    assert (counted["RunWarnings"], counted["OrdersCreated"]) == ([1], [3])


def test_a_warning_that_cannot_be_kept_is_told_and_keeps_no_session_back(batches, told):
    batches.runs(enqueued=5)
    batches.answers["cs_1"] = fetched("cs_1", charges_known=False)
    delivery = batches.received(a_message(user_id=USER))
    later = range(2, 2 + TRANSACTION_ATTEMPTS)
    batches.dynamodb.plan = on("transact_write_items", throttled(), nth=later)
    said, counted = told(batches, delivery)
    line = line_of(said, "A warning could not be kept: DynamoDB: ")
    assert ids(line) == ("WARNING", RUN, "-")
    assert "RunWarnings" not in counted
    assert counted["OrdersCreated"] == [1]


# The end of a run


def test_the_last_batch_of_a_run_completes_it_and_tells_of_the_watermark(batches, told):
    batches.runs(enqueued=1, syncStartedAt="2024-11-27T01:59:00Z", coversThrough=NOW - 600)
    said, counted = told(batches, batches.received(unpaid("cs_1")))
    line = line_of(said, "Sync completed: processed=1, created=0, skipped=1, errors=0")
    assert (*ids(line), line["seconds"]) == ("INFO", RUN, "-", 60)
    assert (counted["RunsCompleted"], counted["RunSeconds"]) == ([1], [60])
    assert counted["WatermarkAgeSeconds"] == [600]
    assert "OpenRunSeconds" not in counted


@pytest.mark.parametrize(
    ("record", "told_of"),
    [
        ({"status": "running", "listed": True, "enqueued": 2}, True),
        ({"status": "running", "listed": False, "enqueued": 1}, True),
        ({"status": "failed", "listed": False, "enqueued": 2}, False),
        ({"status": "done", "listed": True, "enqueued": 1}, False),
    ],
)
def test_only_a_run_that_goes_on_is_said_to_be_open(batches, told, record, told_of):
    batches.put(run_key(RUN), processed=0, syncStartedAt="2024-11-27T01:00:00Z", **record)
    _, counted = told(batches, batches.received(unpaid("cs_1")))
    assert counted.get("OpenRunSeconds") == ([3600] if told_of else None)
    assert "RunsCompleted" not in counted


def test_a_run_that_cannot_be_asked_whether_it_is_done_is_named_and_keeps_no_session_back(batches, told):
    delivery = batches.received(unpaid("cs_1"))
    batches.dynamodb.plan = on("get_item", throttled(), nth=range(1, 1 + READ_ATTEMPTS))
    said, counted = told(batches, delivery)
    line = line_of(said, "Whether the run is done is not known: DynamoDB: ")
    assert ids(line) == ("WARNING", RUN, "-")
    assert counted["SessionsSkipped"] == [1]


# Words


def test_a_message_whose_visibility_cannot_be_set_is_named_by_the_beginning_of_its_receipt(batches, told):
    delivery = batches.received("no JSON")
    batches.sqs.plan = on("change_message_visibility_batch", throttled())
    said, _ = told(batches, delivery)
    line = line_of(said, "A message comes back with the queue's own visibility timeout: SQS: ")
    assert ids(line) == ("WARNING", "-", "-")
    assert line["receipt"] == delivery.receipt_handle[:20]
