"""The producer's response."""

from typing import Any

from producer.dry_run import Prediction
from recon.domain.run import RunStatus
from recon.dynamodb.records import Run, sample_fields
from recon.timestamps import to_iso

type Body = dict[str, Any]

# Enough to recognise a night. The run's outcomes hold all of them.
SHOWN_ORDERS = 20


def build_preview(predicted: Prediction, *, has_shape: bool) -> Body:
    """Return the body of the response to a dry run.

    It has the number of orders that exist, and for a shop with its own layout always that of the missing.
    """
    body = build_response(predicted.run, predicted.numbers) | {"dryRun": True, "found": predicted.found}
    return body | ({"missing": predicted.run.missing} if has_shape else {})


def build_response(run: Run, created_orders: list[str]) -> Body:
    """Return the body of a response with status 200, with the first 20 order numbers.

    A run with missing orders also returns their number, and a held run what it would have created of its
    sample.
    """
    body = {
        "status": _status(run),
        "trigger": run.trigger,
        "runId": run.run_id,
        "syncStartedAt": run.started_at,
        "syncCompletedAt": run.completed_at,
        "lookbackHours": run.lookback_hours,
        "lookbackWindow": {"from": to_iso(run.lookback_start), "to": to_iso(run.lookback_end)},
        "enqueued": run.enqueued,
        "processed": run.processed,
        "created": run.created,
        "skipped": run.skipped,
        "errors": run.errors,
        "filtered": run.filtered,
        "createdOrders": created_orders[:SHOWN_ORDERS],
        "dryRun": False,
        "truncated": run.truncated,
        "warnings": list(run.warnings),
    }
    body |= {"missing": run.missing} if run.missing else {}
    return body | (sample_fields(run.sample) if run.sample else {})


def _status(run: Run) -> str:
    if run.status == RunStatus.HELD:
        return RunStatus.HELD
    if run.status != RunStatus.DONE:
        return RunStatus.RUNNING
    return "completed_with_errors" if run.errors else "success"


def build_refusal(message: str) -> dict[str, Any]:
    """Return the whole response to an invalid manual event."""
    return {
        "statusCode": 400,
        "body": {"status": "error", "error": "InvalidRequest", "message": message},
    }
