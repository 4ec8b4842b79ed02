"""The shop's table: what the sync needs of it, and what is good to have."""

from collections.abc import Iterator

from ops.doctor.facts import Facts, Reply
from ops.doctor.finding import Finding, advice, fix, ok
from ops.doctor.unread import Unavailable, unseen

KEYS = {"HASH": ("PK", "S"), "RANGE": ("SK", "S")}
EXPIRY = "expiresAt"


def findings(facts: Facts) -> Iterator[Finding]:
    table = facts.table
    if isinstance(table, Unavailable):
        if table.is_missing:
            what = f"there is no table {facts.names.table}: deploy with the name of the shop's"
            yield fix("table", what, facts.shell.deploy("CommerceTable=YOUR-TABLE"))
            return
        yield unseen("table", table)
    else:
        yield of_status(table)
        yield of_keys(table, facts)
    yield of_time_to_live(facts)
    yield of_backups(facts)


def of_status(table: Reply) -> Finding:
    status = table["TableStatus"]
    billing = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    if status not in ("ACTIVE", "UPDATING"):
        return fix("table", f"{table['TableName']} is {status}: nothing can be read or written")
    return ok("table", f"{table['TableName']} is {status}, {billing}")


def of_keys(table: Reply, facts: Facts) -> Finding:
    types = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    found = {
        one["KeyType"]: (one["AttributeName"], types.get(one["AttributeName"])) for one in table["KeySchema"]
    }
    if found == KEYS:
        return ok("table: keys", "PK and SK, both strings")
    told = ", ".join(f"{name} ({kind})" for name, kind in found.values())
    return fix(
        "table: keys",
        f"{told}, and should be PK (S), SK (S): they cannot be changed, so it is another table",
        facts.shell.deploy("CommerceTable=YOUR-TABLE"),
    )


def of_time_to_live(facts: Facts) -> Finding:
    """Never more than advice: nothing of the sync depends on it but how long its records stay."""
    name, told = "table: expiry", facts.time_to_live
    if isinstance(told, Unavailable):
        return unseen(name, told)
    attribute = told.get("AttributeName")
    on = told.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    if on and attribute == EXPIRY:
        return ok(name, f"by {EXPIRY}")
    days = facts.settings.order_ttl_days if facts.settings else 0
    stays = (
        f"orders should expire after {days} days and never do" if days else "records of runs stay for ever"
    )
    if on:
        return advice(name, f"by {attribute}, which the shop needs; the sync writes {EXPIRY}: {stays}")
    turn_on = f"--time-to-live-specification Enabled=true,AttributeName={EXPIRY}"
    return advice(
        name,
        f"off: {stays}. Look first whether the shop's own items have {EXPIRY}",
        facts.shell.aws(f"dynamodb update-time-to-live --table-name {facts.names.table} {turn_on}"),
    )


def of_backups(facts: Facts) -> Finding:
    name, told = "table: backups", facts.backups
    if isinstance(told, Unavailable):
        return unseen(name, told)
    point_in_time = told.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
    if point_in_time == "ENABLED":
        return ok(name, "it can be restored to any second of the last days")
    turn_on = "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
    return advice(
        name,
        "no point-in-time recovery: the shop's orders could not be brought back",
        facts.shell.aws(f"dynamodb update-continuous-backups --table-name {facts.names.table} {turn_on}"),
    )
