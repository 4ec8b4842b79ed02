"""What SQS refuses about a request before it looks at a queue."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from testkit.doubles.errors import ServiceRefusal
from testkit.shapes import JsonObject

MAX_BATCH = 10
MAX_BYTES = 1024 * 1024
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

type BatchEntry = Mapping[str, Any]


def no_queue() -> ServiceRefusal:
    return ServiceRefusal("QueueDoesNotExist", "The specified queue does not exist.")


def bad_value(value: object, parameter: str, reason: str) -> ServiceRefusal:
    return ServiceRefusal(
        "InvalidParameterValue", f"Value {value} for parameter {parameter} is invalid. Reason: {reason}"
    )


def check_range(parameter: str, value: int, most: int, *, least: int = 0) -> None:
    if not least <= value <= most:
        raise bad_value(value, parameter, f"Must be between {least} and {most}, if provided.")


def check_body(body: str) -> None:
    if not body:
        raise ServiceRefusal("MissingParameter", "The request must contain the parameter MessageBody.")
    if len(body.encode(errors="surrogatepass")) > MAX_BYTES:
        raise ServiceRefusal(
            "InvalidParameterValue",
            f"One or more parameters are invalid. Reason: Message must be shorter than {MAX_BYTES} bytes.",
        )
    if _FORBIDDEN.search(body):
        raise ServiceRefusal("InvalidMessageContents", "Invalid characters found.")


def check_batch(entries: Sequence[BatchEntry]) -> None:
    ids = [entry["Id"] for entry in entries]
    if not ids:
        raise ServiceRefusal("EmptyBatchRequest", "There should be at least one entry in the request.")
    if len(ids) > MAX_BATCH:
        raise ServiceRefusal(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {MAX_BATCH}. You have sent {len(ids)}.",
        )
    if not all(_ENTRY_ID.fullmatch(one) for one in ids):
        raise ServiceRefusal(
            "InvalidBatchEntryId",
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
            "It can be at most 80 letters long.",
        )
    if repeated := next((one for one in ids if ids.count(one) > 1), None):
        raise ServiceRefusal("BatchEntryIdsNotDistinct", f"Id {repeated} repeated.")


def check_handle(handle: str) -> None:
    if not re.fullmatch(r"[0-9a-f-]{36}#\d+", handle):
        raise ServiceRefusal("ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is invalid.')


def failed_entry(entry: BatchEntry, code: str, message: str, *, sender: bool) -> JsonObject:
    return {"Id": entry["Id"], "SenderFault": sender, "Code": code, "Message": message}
