"""The customer-managed KMS keys that the functions have to be allowed to use.

Without the permission every call of a function is denied, while the operator's own calls succeed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from infra.deploy.aws import AwsError, AwsServices
from infra.deploy.errors import DeployError
from infra.deploy.settings import DeploySettings
from infra.deploy.terminal import DeployTerminal

_AWS_OWN = "alias/aws/"


@dataclass(frozen=True)
class NeededKey:
    """A key's ARN, the parameter that has to name it, and what it encrypts."""

    parameter: str
    arn: str
    encrypted: str


def find_needed_keys(
    aws: AwsServices, settings: DeploySettings, table: Mapping[str, Any], secret: Mapping[str, Any]
) -> Iterator[NeededKey]:
    """Yield the customer-managed keys of the table and of the Stripe key's parameter.

    Raise DeployError for a key whose ARN cannot be read.
    """
    if (arn := table.get("SSEDescription", {}).get("KMSMasterKeyArn")) and _is_customers(aws, arn):
        yield NeededKey("TableKeyArn", arn, f"the table {settings.parameters['CommerceTable']}")
    if (key := secret.get("KeyId", "")) and not key.startswith(_AWS_OWN):
        name = settings.parameters["StripeSecretParameter"]
        yield NeededKey("StripeSecretKmsKeyArn", _read_arn(aws, key, name), f"the parameter {name}")


def grant_keys(
    terminal: DeployTerminal, settings: DeploySettings, needed: Iterator[NeededKey]
) -> DeploySettings:
    """Return the settings with each needed key, after asking for it. Raise DeployError if one is missing."""
    for key in needed:
        given = settings.parameters.get(key.parameter, "")
        if given == key.arn:
            continue
        what = f"{key.encrypted} is encrypted with the KMS key {key.arn}"
        if given or not terminal.is_interactive:
            now = f"{key.parameter} names {given}" if given else f"{key.parameter} is not set"
            raise DeployError(
                f"{what}, and {now}: the functions would be denied; --set {key.parameter}={key.arn}"
            )
        if not terminal.confirm(f"{what}. Let the functions use it ({key.parameter})?"):
            raise DeployError(
                f"{what}, and without {key.parameter} the functions are denied; nothing was deployed"
            )
        settings = replace(settings, parameters={**settings.parameters, key.parameter: key.arn})
    return settings


def _is_customers(aws: AwsServices, arn: str) -> bool:
    """Return whether a key is customer-managed, or may not be described: a needless grant is harmless."""
    try:
        return bool(_describe(aws, arn)["KeyManager"] == "CUSTOMER")
    except AwsError:
        return True


def _read_arn(aws: AwsServices, key: str, parameter: str) -> str:
    """Return the ARN of a key that is named by alias, id or ARN: KMS does not authorize by alias."""
    if key.startswith("arn:") and ":key/" in key:
        return key
    try:
        arn: str = _describe(aws, key)["Arn"]
    except AwsError as error:
        raise DeployError(
            f"the parameter {parameter} is encrypted with the KMS key {key}, whose ARN cannot be read "
            f"({error}); name it: --set StripeSecretKmsKeyArn=ARN"
        ) from error
    return arn


def _describe(aws: AwsServices, key: str) -> Mapping[str, Any]:
    metadata: Mapping[str, Any] = aws.call("kms", "describe_key", KeyId=key)["KeyMetadata"]
    return metadata
