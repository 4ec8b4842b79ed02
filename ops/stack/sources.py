"""The shop's table and the Stripe key's parameter that the operator names, and why they cannot be read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError
from botocore.exceptions import ConnectionError as NoConnection

from ops.errors import CommandError
from ops.stack.access_denied import find_denied_action
from ops.stack.stack import Stack
from recon.config import Settings
from recon.errors import KeyUnavailable, NotAllowed

# The keys of a table in this system's layout, and their types.
OWN_KEYS = {"PK": "S", "SK": "S"}
_ABSENT = frozenset({"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"})
_NO_NAME = "ValidationException"
_UNREADABLE = ("CREATING", "DELETING")


def describe_table(stack: Stack, settings: Settings) -> Mapping[str, Any]:
    """Return the description of the shop's table. Raise CommandError if nothing can be read from it yet."""
    table: Mapping[str, Any] = stack.client("dynamodb").describe_table(TableName=settings.table)["Table"]
    if (status := table.get("TableStatus")) in _UNREADABLE:
        raise CommandError(f"the table {settings.table} in {stack.region} is {status}; it must be ACTIVE")
    return table


def find_keys(description: Mapping[str, Any]) -> dict[str, str]:
    """Return the types of the table's keys by name, the partition key first."""
    types = {each["AttributeName"]: each["AttributeType"] for each in description["AttributeDefinitions"]}
    schema = sorted(description["KeySchema"], key=lambda each: each["KeyType"])
    return {each["AttributeName"]: types[each["AttributeName"]] for each in schema}


@contextmanager
def explain_refusals(stack: Stack, settings: Settings) -> Iterator[None]:
    """Turn a refusal of the table or of the parameter into a CommandError.

    Its line names what was refused, the region, and what would be right.
    """
    try:
        yield
    except (ClientError, NoConnection, NotAllowed, KeyUnavailable) as error:
        cause = error.__cause__ if isinstance(error, NotAllowed | KeyUnavailable) else error
        if line := _describe(cause, stack, settings, is_key=isinstance(error, KeyUnavailable)):
            raise CommandError(line) from error
        raise


def _describe(error: BaseException | None, stack: Stack, settings: Settings, *, is_key: bool) -> str | None:
    """Return the line about an error of AWS, or None for one that is not about table and parameter."""
    if is_key:
        what, parameter = f"SSM parameter {settings.stripe_secret_parameter}", "StripeSecretParameter"
    else:
        what, parameter = f"table {settings.table}", "CommerceTable"
    if isinstance(error, NoConnection):
        return f"no connection to AWS in {stack.region} for the {what}: check the network and --region"
    if not isinstance(error, ClientError):
        return None
    code = error.response["Error"]["Code"]
    if action := find_denied_action(error):
        return (
            f"no permission for the {what} in {stack.region}: these AWS credentials may not call {action} on "
            "it; allow that, or select other credentials with --profile"
        )
    if code in _ABSENT:
        file = "" if is_key or settings.shape is None else " (or with find.table in the shape)"
        return (
            f"there is no {what} in {stack.region} in the account of these AWS credentials: name another one "
            f"with --set {parameter}=NAME{file}, or select its region and account with --region and --profile"
        )
    if code == _NO_NAME:
        example = "/shop/stripe-key" if is_key else "shop-orders"
        advice = f"--set {parameter}=NAME takes a name such as {example}"
        return f"the {what} cannot be one in {stack.region}: {advice}"
    return None
