"""What infra/template.yaml grants to each role, as data."""

import re
from functools import cache

from infra.build import ROOT

PATH = ROOT / "infra" / "template.yaml"
# What services of AWS do in the name of a function's role; all else its code calls. Logs and traces are
# Lambda's, keys are used by SSM and SQS, the queue is read by Lambda's poller.
LAMBDA = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
}
CALLED_BY_AWS = {
    "ProducerRole": LAMBDA | {"kms:Decrypt", "kms:GenerateDataKey"},
    "ConsumerRole": LAMBDA
    | {"kms:Decrypt", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
}
WRITES = {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}


@cache
def template():
    """With the long forms of all tags."""
    from cfnlint.decode import decode_str  # noqa: PLC0415 - takes seconds, which not every session has to wait

    return decode_str(PATH.read_text())[0]


def statements(role):
    """Those of a role, the optional ones included."""
    policies = map(wanted, template()["Resources"][role]["Properties"]["Policies"])
    return [wanted(statement) for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def wanted(optional):
    """What is there when its condition holds."""
    return optional["Fn::If"][1] if "Fn::If" in optional else optional


def actions(statement):
    action = statement["Action"]
    return [action] if isinstance(action, str) else action


def granted(role):
    return {action for statement in statements(role) for action in actions(statement)}


def write_patterns(role):
    """The partition keys that a role may write."""
    [keys] = {
        tuple(statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"])
        for statement in statements(role)
        if WRITES & set(actions(statement))
    }
    return set(keys)


def without(role, action):
    """The template's text with another name in the place of one action of a role."""
    text = PATH.read_text()
    [block] = re.findall(rf"^  {role}:\n(?:(?:    .*)?\n)+", text, re.MULTILINE)
    changed, count = re.subn(rf"{action}\b", f"{action}Removed", block)
    assert count == 1
    return text.replace(block, changed)
