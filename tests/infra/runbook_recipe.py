"""The runbook's recipe for an event that did not become a run."""

import json
import re
import shlex

import jmespath

from infra.build import ROOT
from testkit.scheduler import ATTRIBUTES

RUNBOOK = ROOT / "docs" / "runbook.md"


def read_query():
    """Return the JMESPath expression that the recipe applies to the received messages."""
    [command] = re.findall(
        r"^aws sqs receive-message .*?> start\.json$", RUNBOOK.read_text(), re.DOTALL | re.MULTILINE
    )
    words = shlex.split(command.replace("\\\n", " "))
    assert words[words.index("--message-attribute-names") + 1] in ATTRIBUTES
    return words[words.index("--query") + 1]


def recover_event(message):
    """Return the event that the recipe writes into start.json."""
    return json.loads(jmespath.search(read_query(), {"Messages": [message]}))
