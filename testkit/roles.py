"""The permissions that infra/template.yaml grants to each role, as data."""

import re
from functools import cache
from typing import Any

from infra.build import ROOT
from testkit.template import parse_template

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
    return parse_template(PATH.read_text())


def list_statements(role: str, *, ledger: bool = False) -> list[Any]:
    """Return the policy statements of a role, including the optional ones.

    With `ledger` they are those of a stack whose ledger is a separate table.
    """
    policies = resolve_conditions(load_template()["Resources"][role]["Properties"]["Policies"], ledger=ledger)
    return [one for policy in policies for one in policy["PolicyDocument"]["Statement"]]


def resolve_conditions(value: Any, *, ledger: bool) -> Any:
    """Return the value for true conditions, except for those of the ledger: they depend on `ledger`."""
    match value:
        case {"Fn::If": [condition, yes, no]}:
            holds = {"HasLedger": ledger, "CreatesLedger": False}.get(condition, True)
            return resolve_conditions(yes if holds else no, ledger=ledger)
        case dict():
            return {name: resolve_conditions(part, ledger=ledger) for name, part in value.items()}
        case list():
            parts = [resolve_conditions(part, ledger=ledger) for part in value]
            return [part for part in parts if part != {"Ref": "AWS::NoValue"}]
    return value


def list_actions(statement: Any) -> list[str]:
    action = statement["Action"]
    return [action] if isinstance(action, str) else action


def granted_actions(role: str) -> set[str]:
    return {action for statement in list_statements(role) for action in list_actions(statement)}


def write_patterns(role: str, *, ledger: bool = False) -> set[str]:
    """Return the patterns of the partition keys that a role may write."""
    return {
        pattern
        for statement in list_statements(role, ledger=ledger)
        if WRITES & set(list_actions(statement))
        for pattern in statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
    }


def template_without(role: str, action: str) -> str:
    """Return the template's text with one action of a role, wherever it has it, replaced by no action."""
    text = PATH.read_text()
    [block] = re.findall(rf"^  {role}:\n(?:(?:    .*)?\n)+", text, re.MULTILINE)
    changed, count = re.subn(rf"{action}\b", f"{action}Removed", block)
    assert count
    return text.replace(block, changed)
