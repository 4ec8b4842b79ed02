"""The shop's table: what the sync requires and what is recommended."""

from collections.abc import Iterator

from ops.doctor.facts import AwsReply, StackFacts
from ops.doctor.fetched import Fetched, Unavailable, unreadable
from ops.doctor.finding import CheckFinding, advice, fix, ok

KEYS = {"HASH": ("PK", "S"), "RANGE": ("SK", "S")}
EXPIRY = "expiresAt"


def check(facts: StackFacts) -> Iterator[CheckFinding]:
    table = facts.table
    if isinstance(table, Unavailable):
        if table.is_missing:
            what = f"there is no table {facts.names.table}: deploy with the name of the shop's table"
            yield fix("table", what, facts.shell.deploy("CommerceTable=YOUR-TABLE"))
            return
        yield unreadable("table", table)
    else:
        yield check_status(table)
        yield check_keys(table, facts)
    if facts.table_key is not None:
        yield check_encryption(facts.table_key, facts)
    yield check_time_to_live(facts)
    yield check_backups(facts)


def check_status(table: AwsReply) -> CheckFinding:
    status = table["TableStatus"]
    billing = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    if status not in ("ACTIVE", "UPDATING"):
        return fix("table", f"{table['TableName']} is {status}: nothing can be read or written")
    return ok("table", f"{table['TableName']} is {status}, {billing}")


def check_keys(table: AwsReply, facts: StackFacts) -> CheckFinding:
    types = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    found = {
        one["KeyType"]: (one["AttributeName"], types.get(one["AttributeName"])) for one in table["KeySchema"]
    }
    if found == KEYS:
        return ok("table: keys", "PK and SK, both strings")
    keys = ", ".join(f"{name} ({kind})" for name, kind in found.values())
    return fix(
        "table: keys",
        f"{keys}, but should be PK (S), SK (S): keys cannot be changed, so this is another table",
        facts.shell.deploy("CommerceTable=YOUR-TABLE"),
    )


def check_encryption(key: Fetched[AwsReply], facts: StackFacts) -> CheckFinding:
    """Check that the functions may use the table's key: without that each of their calls is denied."""
    name, stack = "table: encryption", facts.stack
    if isinstance(key, Unavailable):
        return unreadable(name, key)
    if isinstance(stack, Unavailable):
        return unreadable(name, stack)
    if key["KeyManager"] != "CUSTOMER":
        return ok(name, "by a key of AWS")
    given = {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", ())}
    if given.get("TableKeyArn") == key["Arn"]:
        return ok(name, "by your key, which TableKeyArn names")
    what = f"by {key['Arn']}, which the functions may not use: each of their calls is denied"
    return fix(name, what, facts.shell.deploy(f"TableKeyArn={key['Arn']}"))


def check_time_to_live(facts: StackFacts) -> CheckFinding:
    """Check that records expire; only their number depends on it, so it is at most advice."""
    name, setting = "table: expiry", facts.time_to_live
    if isinstance(setting, Unavailable):
        return unreadable(name, setting)
    attribute = setting.get("AttributeName")
    on = setting.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    if on and attribute == EXPIRY:
        return ok(name, f"by {EXPIRY}")
    days = facts.settings.order_ttl_days if facts.settings else 0
    kept = f"orders should expire after {days} days" if days else "records of runs should expire"
    if on:
        return advice(name, f"by {attribute}, which the shop uses; the sync writes {EXPIRY}: {kept}")
    turn_on = f"--time-to-live-specification Enabled=true,AttributeName={EXPIRY}"
    return advice(
        name,
        f"off: {kept}. Check first whether the shop's own items have {EXPIRY}",
        facts.shell.aws(f"dynamodb update-time-to-live --table-name {facts.names.table} {turn_on}"),
    )


def check_backups(facts: StackFacts) -> CheckFinding:
    name, setting = "table: backups", facts.backups
    if isinstance(setting, Unavailable):
        return unreadable(name, setting)
    point_in_time = setting.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
    if point_in_time == "ENABLED":
        return ok(name, "point-in-time recovery is on")
    turn_on = "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
    return advice(
        name,
        "no point-in-time recovery, so the shop's orders could not be restored",
        facts.shell.aws(f"dynamodb update-continuous-backups --table-name {facts.names.table} {turn_on}"),
    )
