"""The dead letters of EventBridge Scheduler."""

import json
from collections.abc import Mapping
from typing import Any

# https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html
ATTRIBUTES = ("ERROR_CODE", "ERROR_MESSAGE", "RETRY_ATTEMPTS", "SCHEDULED_TIME", "SCHEDULE_ARN")


def envelop(event: Mapping[str, object], scheduled_time: str) -> dict[str, Any]:
    """Return an event as the Scheduler puts it into its dead-letter queue: its request, with attributes."""
    request = {"FunctionName": "producer", "InvocationType": "Event", "Payload": json.dumps(event)}
    values = dict.fromkeys(ATTRIBUTES, "x") | {"SCHEDULED_TIME": scheduled_time}
    attributes = {name: {"StringValue": one, "DataType": "String"} for name, one in values.items()}
    return {"Body": json.dumps(request), "MessageAttributes": attributes}
