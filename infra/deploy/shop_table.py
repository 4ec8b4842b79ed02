"""The shop's table before a deployment: what the sync cannot work on, and what the shop has to know.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html
"""

from collections.abc import Iterator, Mapping
from typing import Any

from infra.deploy.aws import AwsServices
from infra.deploy.errors import DeployError
from infra.deploy.ledger import CREATE
from infra.deploy.settings import DeploySettings
from infra.deploy.template import Template

KEYS = [("PK", "HASH", "S"), ("SK", "RANGE", "S")]
# The load of a night on the table: the sessions that a consumer processes a second, those that one producer
# lists, and the units of a session. A test holds them to docs/scaling.md.
SESSIONS_OF_A_CONSUMER, SESSIONS_OF_THE_PRODUCER = 85, 900
WRITE_UNITS, READ_UNITS = 2.3, 4.1
LEAST_CONCURRENCY = 2


def find_table(aws: AwsServices, name: str) -> Mapping[str, Any]:
    """Return the table's description. Raise DeployError if there is none."""
    found = aws.find("dynamodb", "describe_table", missing="ResourceNotFoundException", TableName=name)
    if found is None:
        raise DeployError(
            f"there is no table {name} in {aws.region} of this account; the stack has to be deployed in the "
            "table's own account and region, since one transaction writes order, marker and outcome"
        )
    table: Mapping[str, Any] = found["Table"]
    return table


def describe_table(aws: AwsServices, name: str) -> Mapping[str, Any]:
    """Return the table's description. Raise DeployError if the sync cannot work on it."""
    table = find_table(aws, name)
    if (keys := parse_keys(table)) != KEYS:
        described = ", ".join(f"{key} {kind} {form}" for key, kind, form in keys)
        raise DeployError(f"the table {name} must have the string keys PK and SK; its keys are {described}")
    if table.get("MultiRegionConsistency") == "STRONG":
        raise DeployError(
            f"the table {name} is a global table with multi-Region strong consistency (MRSC), which has no "
            "transactions; the sync writes each order in one, so that it is written exactly once"
        )
    return table


def check_ledger_table(aws: AwsServices, settings: DeploySettings) -> None:
    """Raise DeployError if the ledger's own table, where one is named, is the shop's or cannot be used."""
    shop, ledger = settings.parameters["CommerceTable"], settings.parameters.get("LedgerTable", "")
    if ledger == shop:
        raise DeployError(f"LedgerTable must be another table than CommerceTable; leave it empty for {shop}")
    if ledger not in ("", CREATE):
        describe_table(aws, ledger)


def parse_keys(table: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (name, key type, attribute type) of each key attribute."""
    forms = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    return [(key["AttributeName"], key["KeyType"], forms[key["AttributeName"]]) for key in table["KeySchema"]]


def list_notes(table: Mapping[str, Any], settings: DeploySettings, template: Template) -> Iterator[str]:
    """Yield what the shop has to know of a table that is not plain."""
    name = settings.parameters["CommerceTable"]
    # DynamoDB omits the summary for a table that has always been provisioned.
    if table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED") == "PROVISIONED":
        yield describe_capacity(table, settings, template)
    if table.get("StreamSpecification", {}).get("StreamEnabled"):
        view = table["StreamSpecification"].get("StreamViewType", "")
        yield (
            f"The table {name} has a stream ({view}): its consumers will see the sync's own items (PK "
            "SYSTEM, SYNC_RUN#…, SESSION#…, EVENT#…) and each order that it recovers. Let them skip what "
            "is not theirs."
        )
    if replicas := [one["RegionName"] for one in table.get("Replicas", ())]:
        yield (
            f"The table {name} is a global table ({', '.join(sorted(replicas))}). Deploy this stack in one "
            "region only, the one that the webhook writes to: transactions and conditions hold within one."
        )


def describe_capacity(table: Mapping[str, Any], settings: DeploySettings, template: Template) -> str:
    """Return what a night takes of a provisioned table, and which settings leave the shop room."""
    throughput = table.get("ProvisionedThroughput", {})
    concurrency = int(settings.value_of("ConsumerConcurrency", template))
    writes, reads = units_a_second(concurrency)
    least_writes, least_reads = units_a_second(LEAST_CONCURRENCY)
    less = [f"ConsumerConcurrency={LEAST_CONCURRENCY} ({least_writes} write and {least_reads} read units)"]
    if "LedgerTable" in template.parameters:
        less.append(
            "LedgerTable=create (the sync's own records, nearly all writes, go into a separate table)"
        )
    return (
        f"The table {settings.parameters['CommerceTable']} has provisioned capacity: "
        f"{throughput.get('WriteCapacityUnits', 0)} write and {throughput.get('ReadCapacityUnits', 0)} read "
        f"units a second. With ConsumerConcurrency={concurrency} a night takes up to {writes} write and "
        f"{reads} read units a second while it lasts; beyond the capacity DynamoDB throttles the sync and "
        f"the shop alike. To leave the shop room: {', '.join(less)}, or make the table on-demand."
    )


def units_a_second(concurrency: int) -> tuple[int, int]:
    """Return the write and read units a second of a night with so many consumers."""
    sessions = min(concurrency * SESSIONS_OF_A_CONSUMER, SESSIONS_OF_THE_PRODUCER)
    return round(sessions * WRITE_UNITS), round(sessions * READ_UNITS)
