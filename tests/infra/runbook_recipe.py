"""The runbook's recipe for an event that did not become a run."""

import json
import re
import shlex

import jmespath

from infra.build import ROOT

RUNBOOK = ROOT / "docs" / "runbook.md"
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html
SCHEDULER_ATTRIBUTES = ("ERROR_CODE", "ERROR_MESSAGE", "RETRY_ATTEMPTS", "SCHEDULED_TIME", "SCHEDULE_ARN")


def read_query():
    """Return the JMESPath expression that the recipe applies to the received messages."""
    [command] = re.findall(
        r"^aws sqs receive-message .*?> start\.json$", RUNBOOK.read_text(), re.DOTALL | re.MULTILINE
    )
    words = shlex.split(command.replace("\\\n", " "))
    assert words[words.index("--message-attribute-names") + 1] in SCHEDULER_ATTRIBUTES
    return words[words.index("--query") + 1]


def recover_event(message):
    """Return the event that the recipe writes into start.json."""
    return json.loads(jmespath.search(read_query(), {"Messages": [message]}))


def envelop(event, scheduled_time):
    """Return an event as the Scheduler puts it into its dead-letter queue: its request, with attributes."""
    request = {"FunctionName": "producer", "InvocationType": "Event", "Payload": json.dumps(event)}
    values = dict.fromkeys(SCHEDULER_ATTRIBUTES, "x") | {"SCHEDULED_TIME": scheduled_time}
    attributes = {name: {"StringValue": one, "DataType": "String"} for name, one in values.items()}
    return {"Body": json.dumps(request), "MessageAttributes": attributes}
