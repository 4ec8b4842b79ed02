"""The log lines and metrics of a batch, and the warnings and the end of its run."""

from dataclasses import replace

import pytest

from recon.domain.shape import parse_shape
from recon.dynamodb.keys import outcome_key, run_key
from recon.dynamodb.outcome_writer import Committed, OutcomeWriter
from recon.errors import KeyRejected, SessionNotFound, StripeUnavailable
from recon.retry import READ_ATTEMPTS, TRANSACTION_ATTEMPTS
from recon.timestamps import to_iso
from testkit.batches import USER, a_fetched_session, parse_log, parse_metrics
from testkit.builders import NOW, RUN, a_message
from testkit.doubles.faults import entries_rejected, on, throttled

UNKNOWN_CHARGES = a_fetched_session("cs_1", charges_known=False)


@pytest.fixture
def process(consumer, capfd):
    """Return a function that processes a batch and returns its log lines and metrics."""

    def process(*messages, receives=1, **options):
        consumer.records = [
            each if hasattr(each, "body") else consumer.receive(each, receives=receives) for each in messages
        ]
        consumer.returned = consumer.process(*consumer.records, **options)
        consumer.telemetry.flush()
        printed = capfd.readouterr().out
        return parse_log(printed), parse_metrics(printed)

    return process


def find_lines(log, beginning, *facts):
    """Return level, run, session and the facts of each line whose message begins so."""
    names = ("level", "run_id", "session_id", *facts)
    return [tuple(line[name] for name in names) for line in log if line["message"].startswith(beginning)]


RETRY = "Session is tried again later: "


def test_each_outcome_is_logged_and_counted(missing, unpaid, process):
    failing = missing("cs_5", SessionNotFound("Stripe: no"))
    log, metrics = process(missing("cs_1"), *map(unpaid, ("cs_2", "cs_3", "cs_4")), failing)
    assert metrics == {
        "OrdersCreated": [1],
        "SessionsSkipped": [3],
        "SessionErrors": [1],
        "MoneyRecovered": [4999],
        "OpenRunSeconds": [0],
    }
    assert find_lines(log, "Created order snapshot BC-CS1 via sync") == [("INFO", RUN, "cs_1")]
    assert find_lines(log, "Skipped session: unpaid", "reason") == [
        ("INFO", RUN, session, "unpaid") for session in ("cs_2", "cs_3", "cs_4")
    ]
    assert find_lines(log, "Session failed: Stripe: no", "error_type", "receive_count") == [
        ("ERROR", RUN, "cs_5", "SessionNotFound", 1)
    ]


def test_missing_order_of_another_layout_is_logged_and_counted(consumer, missing, process):
    shape = parse_shape('[find]\nkey = { PK = "{id}", SK = "x" }')
    consumer.settings = replace(consumer.settings, shape=shape)
    log, metrics = process(missing())
    assert find_lines(log, "The shop's order of a paid session is missing") == [("WARNING", RUN, "cs_1")]
    assert metrics["OrdersMissing"] == [1]


def test_session_without_a_result_is_logged_as_a_retry(missing, process, monkeypatch):
    monkeypatch.setattr(OutcomeWriter, "write", lambda self, results: Committed({}, {}, {}))
    log, _ = process(missing())
    reason = RETRY + "the commit returned no result for the session"
    assert find_lines(log, reason, "error_type") == [("WARNING", RUN, "cs_1", "Unexpected")]


def test_failed_commit_is_logged_as_a_retry_and_counts_nothing(consumer, missing, process):
    message = missing()
    consumer.dynamodb.plan = on("transact_write_items", throttled())
    log, metrics = process(message)
    assert find_lines(log, RETRY + "DynamoDB", "error_type", "receive_count") == [
        ("WARNING", RUN, "cs_1", "TableUnavailable", 1)
    ]
    assert metrics == {}


def test_unreadable_outcomes_are_logged_for_each_session(consumer, unpaid, process):
    consumer.dynamodb.plan = on("batch_get_item", throttled())
    log, _ = process(unpaid("cs_1"), unpaid("cs_2"), receives=3)
    assert find_lines(log, RETRY, "error_type", "receive_count") == [
        ("WARNING", RUN, session, "TableUnavailable", 3) for session in ("cs_1", "cs_2")
    ]


def test_lack_of_time_is_logged(missing, process):
    log, _ = process(missing(), seconds=0)
    reason = RETRY + "no time left in this invocation"
    assert find_lines(log, reason, "error_type") == [("WARNING", RUN, "cs_1", "OutOfTime")]


def test_bug_in_a_group_is_located_and_delays_only_that_group(consumer, missing, process):
    def bug():
        raise ZeroDivisionError("a secret")

    consumer.connect = bug
    log, _ = process(
        missing("cs_1"), missing("cs_2"), a_message(session_id="cs_3", run_id="another", mode="setup")
    )
    [(*ids, frames)] = find_lines(log, "Unexpected ZeroDivisionError", "frames")
    assert ids == ["ERROR", RUN, "-"]
    assert frames[-1].endswith(" bug")
    assert find_lines(log, RETRY + "ZeroDivisionError in the batch", "error_type") == [
        ("WARNING", RUN, session, "Unexpected") for session in ("cs_1", "cs_2")
    ]
    assert "a secret" not in str(log)
    assert consumer.outcome("cs_3", "another")["outcome"] == "skipped"


def test_bug_after_a_part_was_written_leaves_its_sessions_reported(consumer, missing, process):
    connect = consumer.connect

    def fail_once_an_order_is_written():
        if consumer.orders():
            raise ZeroDivisionError
        return connect()

    consumer.connect = fail_once_an_order_is_written
    consumer.stripe.list_together = lambda _wanted, _pool: iter([{"cs_1": {}}])
    log, metrics = process(missing("cs_1"), missing("cs_2"))
    assert find_lines(log, "Created order snapshot") == [("INFO", RUN, "cs_1")]
    assert metrics["OrdersCreated"] == [1]
    assert find_lines(log, RETRY) == [("WARNING", RUN, "cs_2")]
    assert consumer.returned == [consumer.records[1].message_id]


def test_bug_in_a_session_is_located_by_its_session(consumer, missing, process):
    log, _ = process(missing(answer=ZeroDivisionError("a secret")))
    [(*ids, frames)] = find_lines(log, "Unexpected ZeroDivisionError", "frames")
    assert ids == ["ERROR", RUN, "cs_1"]
    assert " _fetch" in frames[-1]
    assert find_lines(log, RETRY + "ZeroDivisionError while the order was built")
    assert "a secret" not in str(log)


def test_announced_error_and_the_order_after_it_are_counted_once(missing, process):
    messages = [missing("cs_1"), missing("cs_2", StripeUnavailable("no"))]
    log, metrics = process(*messages, receives=10)
    assert (metrics["SessionErrors"], metrics["OrdersCreated"]) == ([2], [1])
    assert find_lines(log, "Session failed: no", "error_type", "receive_count") == [
        ("ERROR", RUN, "cs_2", "StripeUnavailable", 10)
    ]


def test_redriven_session_that_fails_again_is_not_counted_again(consumer, missing, process):
    consumer.put(outcome_key(RUN, "cs_1"), outcome="error", errorType="SessionNotFound", messageId="old")
    _, metrics = process(missing(answer=SessionNotFound("no")))
    assert "SessionErrors" not in metrics


@pytest.mark.parametrize("receives", [1, 10])
def test_rejected_key_is_counted_on_retry_and_on_failure(missing, process, receives):
    _, metrics = process(missing(answer=KeyRejected("no")), receives=receives)
    assert metrics["KeyRejected"] == [1]


def test_drift_is_logged_by_field_and_counted_once_per_session(consumer, process):
    consumer.put_webhook_order("cs_1", amount=1, currency="usd")
    log, metrics = process(a_message(user_id=USER))
    assert find_lines(log, "Order drifts", "message") == [
        ("WARNING", RUN, "cs_1", f"Order drifts from Stripe: {field}") for field in ("amount", "currency")
    ]
    assert (metrics["OrdersDrifted"], metrics["SessionsSkipped"]) == ([1], [1])


def test_keys_of_a_duplicate_are_stored_but_not_logged(consumer, process):
    """The keys hold the raw user id."""
    for user in ("jane:doe", "janedoe"):
        consumer.put((f"USER#{user}", f"ORDER#{NOW}#cs_1"), stripeSessionId="cs_1")
    log, _ = process(a_message(user_id="jane:doe"))
    assert find_lines(log, "Order drifts", "message")[0][-1] == "Order drifts from Stripe: duplicate"
    assert "jane" not in str(log)
    assert "USER#jane:doe" in consumer.outcome("cs_1")["drift"][0]


def test_order_without_amount_recovers_no_money(missing, process):
    _, metrics = process(missing(answer=a_fetched_session("cs_1", amount_total=None)))
    assert metrics["OrdersCreated"] == [1]
    assert "MoneyRecovered" not in metrics


# Messages


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(throttled(), "SQS: "), (entries_rejected(), "SQS rejected it")],
    ids=lambda value: getattr(value, "name", None),
)
def test_unreadable_message_without_visibility_is_logged_twice(consumer, process, fault, reason):
    record = consumer.receive("no JSON")
    consumer.sqs.plan = on("change_message_visibility_batch", fault)
    log, _ = process(record)
    assert find_lines(log, "Message cannot be read: the body is not JSON", "message_id") == [
        ("ERROR", "-", "-", record.message_id)
    ]
    default = f"A message returns after the queue's default visibility timeout: {reason}"
    assert find_lines(log, default, "receipt") == [("WARNING", "-", "-", record.receipt_handle[:20])]
    assert consumer.returned == [record.message_id]
    assert consumer.seconds_until_visible(record) == 360


# Warnings of a run


def test_unreadable_charges_are_a_warning_once_per_run(consumer, missing, process):
    consumer.put_run(enqueued=5)
    sessions = ("cs_1", "cs_2", "cs_3")
    answers = [a_fetched_session(session, charges_known=False) for session in sessions]
    records = [
        consumer.receive(missing(session, answer), receives=receives)
        for session, answer, receives in zip(sessions, answers, (1, 1, 2), strict=True)
    ]
    log, metrics = process(*records)
    warning = "no_charges: the Stripe key may not read charges or disputes"
    [(*ids, text)] = find_lines(log, warning, "message")
    assert ids == ["WARNING", RUN, "-"]
    assert consumer.run()["warnings"] == [text]
    assert (metrics["RunWarnings"], metrics["OrdersCreated"]) == ([1], [3])


def test_unstored_warning_is_logged_and_fails_no_session(consumer, missing, process):
    consumer.put_run(enqueued=5)
    message = missing(answer=UNKNOWN_CHARGES)
    after_the_commit = range(2, 2 + TRANSACTION_ATTEMPTS)
    consumer.dynamodb.plan = on("transact_write_items", throttled(), nth=after_the_commit)
    log, metrics = process(message)
    assert find_lines(log, "A warning could not be stored: DynamoDB: ") == [("WARNING", RUN, "-")]
    assert "RunWarnings" not in metrics
    assert (metrics["OrdersCreated"], consumer.returned) == ([1], [])


# The end of a run


def test_unstored_proof_is_logged_and_fails_no_session(consumer, process):
    def plan(call):
        is_proof = call.method == "transact_write_items" and "provenBy" in str(call.arguments)
        return throttled() if is_proof else None

    consumer.dynamodb.plan = plan
    consumer.put_webhook_order("cs_1")
    log, _ = process(a_message(session_id="cs_1", user_id=USER))
    assert consumer.returned == []
    assert find_lines(log, "The proof session could not be stored: DynamoDB: ") == [("WARNING", RUN, "-")]


def test_last_batch_completes_its_run_and_records_the_watermark(consumer, unpaid, process):
    consumer.put_run(enqueued=1, syncStartedAt="2024-11-27T01:59:00Z", coversThrough=NOW - 600)
    log, metrics = process(unpaid())
    line = "Sync completed: processed=1, created=0, skipped=1, errors=0"
    assert find_lines(log, line, "seconds") == [("INFO", RUN, "-", 60)]
    assert (metrics["RunsCompleted"], metrics["RunSeconds"]) == ([1], [60])
    assert metrics["WatermarkAgeSeconds"] == [600]
    assert "OpenRunSeconds" not in metrics


@pytest.mark.parametrize("seconds", [59, 60])
def test_run_whose_report_was_lost_is_reported_by_a_later_batch(consumer, unpaid, process, seconds):
    ended = to_iso(NOW - seconds)
    consumer.put_run(1, status="done", processed=1, skipped=1, unreported=True, syncCompletedAt=ended)
    log, _ = process(unpaid("cs_late"))
    assert bool(find_lines(log, "Sync completed: ")) is (seconds == 60)


@pytest.mark.parametrize(
    ("record", "is_open"),
    [
        ({"status": "running", "listed": True, "enqueued": 2}, True),
        ({"status": "running", "listed": False, "enqueued": 1}, True),
        ({"status": "failed", "listed": False, "enqueued": 2}, False),
        ({"status": "done", "listed": True, "enqueued": 1}, False),
    ],
)
def test_age_is_recorded_only_for_an_open_run(consumer, unpaid, process, record, is_open):
    consumer.put(run_key(RUN), processed=0, syncStartedAt="2024-11-27T01:00:00Z", **record)
    _, metrics = process(unpaid())
    assert metrics.get("OpenRunSeconds") == ([3600] if is_open else None)
    assert "RunsCompleted" not in metrics


def test_failed_completion_check_is_logged_and_fails_no_session(consumer, unpaid, process):
    message = unpaid()
    consumer.dynamodb.plan = on("get_item", throttled(), nth=range(1, 1 + READ_ATTEMPTS))
    log, metrics = process(message)
    assert find_lines(log, "Could not check whether the run is done: DynamoDB: ") == [("WARNING", RUN, "-")]
    assert (metrics["SessionsSkipped"], consumer.returned) == ([1], [])
