"""The permissions that infra/template.yaml grants to each role, as data."""

import re
from functools import cache
from typing import Any

from infra.build import ROOT

PATH = ROOT / "infra" / "template.yaml"
# What AWS services do with a function's role; its code calls everything else. Lambda writes logs and traces,
# SSM, SQS and DynamoDB use keys, and Lambda's poller reads the queue.
LAMBDA = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
}
# What DynamoDB needs of its caller for a table with a customer-managed key.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
TABLE_KEY = {
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
}
CALLED_BY_AWS = {
    "ProducerRole": LAMBDA | TABLE_KEY,
    "ConsumerRole": LAMBDA
    | TABLE_KEY
    | {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
}
# Checked in transactions only, by the key of the item as the writes are.
WRITES = {
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:ConditionCheckItem",
}


@cache
def load_template() -> Any:
    """Return the template with the long forms of all tags."""
    # The import takes seconds, which most test sessions need not spend.
    from cfnlint.decode import decode_str  # type: ignore[import-untyped]  # noqa: PLC0415

    return decode_str(PATH.read_text())[0]


def list_statements(role: str) -> list[Any]:
    """Return the policy statements of a role, including the optional ones."""
    policies = map(resolve_condition, load_template()["Resources"][role]["Properties"]["Policies"])
    statements = (one for policy in policies for one in policy["PolicyDocument"]["Statement"])
    return list(map(resolve_condition, statements))


def resolve_condition(optional: Any) -> Any:
    """Return the value for a true condition."""
    return optional["Fn::If"][1] if "Fn::If" in optional else optional


def list_actions(statement: Any) -> list[str]:
    action = statement["Action"]
    return [action] if isinstance(action, str) else action


def granted_actions(role: str) -> set[str]:
    return {action for statement in list_statements(role) for action in list_actions(statement)}


def write_patterns(role: str) -> set[str]:
    """Return the patterns of the partition keys that a role may write."""
    [keys] = {
        tuple(statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"])
        for statement in list_statements(role)
        if WRITES & set(list_actions(statement))
    }
    return set(keys)


def template_without(role: str, action: str) -> str:
    """Return the template's text with one action of a role replaced by a name that does not exist."""
    text = PATH.read_text()
    [block] = re.findall(rf"^  {role}:\n(?:(?:    .*)?\n)+", text, re.MULTILINE)
    changed, count = re.subn(rf"{action}\b", f"{action}Removed", block)
    assert count == 1
    return text.replace(block, changed)
