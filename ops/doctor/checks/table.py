"""The shop's table and the ledger: what the sync requires and what is recommended."""

from collections.abc import Iterator

from ops.doctor.facts import AwsReply, StackFacts, TableFacts
from ops.doctor.fetched import Fetched, Unavailable, unreadable
from ops.doctor.finding import CheckFinding, advice, fix, ok
from recon.domain.shape import Shape

KEYS = {"HASH": ("PK", "S"), "RANGE": ("SK", "S")}
EXPIRY = "expiresAt"


def check(facts: StackFacts) -> Iterator[CheckFinding]:
    shop = TableFacts(facts.names.table, facts.table, facts.time_to_live, facts.backups)
    if facts.settings and facts.settings.shape:
        yield from check_foreign_table(shop, facts.settings.shape, facts)
    else:
        yield from check_table("table", shop, facts, "CommerceTable=YOUR-TABLE")
    if facts.table_key is not None:
        yield check_encryption(facts.table_key, facts)
    if facts.ledger_table:
        yield from check_table("ledger table", facts.ledger_table, facts, "LedgerTable=YOUR-TABLE")


def check_table(label: str, table: TableFacts, facts: StackFacts, setting: str) -> Iterator[CheckFinding]:
    """Check one table. `setting` is the parameter that names another one."""
    description = table.table
    if isinstance(description, Unavailable):
        if description.is_missing:
            what = f"there is no table {table.name}: deploy with the name of an existing one"
            yield fix(label, what, facts.shell.deploy(setting))
            return
        yield unreadable(label, description)
    else:
        yield check_status(label, description)
        yield check_keys(label, description, facts.shell.deploy(setting))
    yield check_time_to_live(label, table, facts)
    yield check_backups(label, table, facts)


def check_foreign_table(table: TableFacts, shape: Shape, facts: StackFacts) -> Iterator[CheckFinding]:
    """Check the table of a shop with its own layout, which the sync only reads: its keys or its index."""
    description = table.table
    if isinstance(description, Unavailable):
        yield unreadable("table", description)
        return
    yield check_status("table", description)
    holders = {None: description} | {
        one["IndexName"]: one
        for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
        for one in description.get(kind, ())
    }
    holder = holders.get(shape.index, {})
    keys = [one["AttributeName"] for one in holder.get("KeySchema", ())]
    if set(shape.key) == set(keys) or (shape.index and list(shape.key) == keys[:1]):
        yield ok("table: keys", "as in shape.toml")
        return
    where = f"index {shape.index}" if shape.index else "the table"
    found = " and ".join(keys) or "absent"
    what = f"shape.toml has {' and '.join(shape.key)}, but the keys of {where} are {found}"
    yield fix("table: keys", what, facts.shell.deploy("Shape=shape.toml"))


def check_status(label: str, table: AwsReply) -> CheckFinding:
    status = table["TableStatus"]
    billing = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    if status not in ("ACTIVE", "UPDATING"):
        return fix(label, f"{table['TableName']} is {status}: nothing can be read or written")
    return ok(label, f"{table['TableName']} is {status}, {billing}")


def check_keys(label: str, table: AwsReply, command: str) -> CheckFinding:
    types = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    found = {
        one["KeyType"]: (one["AttributeName"], types.get(one["AttributeName"])) for one in table["KeySchema"]
    }
    if found == KEYS:
        return ok(f"{label}: keys", "PK and SK, both strings")
    keys = ", ".join(f"{name} ({kind})" for name, kind in found.values())
    return fix(
        f"{label}: keys",
        f"{keys}, but should be PK (S), SK (S): keys cannot be changed, so this is another table",
        command,
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


def check_time_to_live(label: str, table: TableFacts, facts: StackFacts) -> CheckFinding:
    """Check that records expire; only their number depends on it, so it is at most advice."""
    name, setting = f"{label}: expiry", table.time_to_live
    if isinstance(setting, Unavailable):
        return unreadable(name, setting)
    attribute = setting.get("AttributeName")
    on = setting.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    if on and attribute == EXPIRY:
        return ok(name, f"by {EXPIRY}")
    kept = _describe_expiring(table, facts)
    if on:
        return advice(name, f"by {attribute}, which the shop uses; the sync writes {EXPIRY}: {kept}")
    turn_on = f"--time-to-live-specification Enabled=true,AttributeName={EXPIRY}"
    return advice(
        name,
        f"off: {kept}. Check first whether the shop's own items have {EXPIRY}",
        facts.shell.aws(f"dynamodb update-time-to-live --table-name {table.name} {turn_on}"),
    )


def _describe_expiring(table: TableFacts, facts: StackFacts) -> str:
    """Return what should expire in a table."""
    days = facts.settings.order_ttl_days if facts.settings else 0
    is_shop, has_own_ledger = table.name == facts.names.table, facts.ledger_table is not None
    if is_shop and days:
        return f"orders should expire after {days} days"
    return "EVENT# records should expire" if is_shop and has_own_ledger else "records of runs should expire"


def check_backups(label: str, table: TableFacts, facts: StackFacts) -> CheckFinding:
    name, setting = f"{label}: backups", table.backups
    if isinstance(setting, Unavailable):
        return unreadable(name, setting)
    point_in_time = setting.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
    if point_in_time == "ENABLED":
        return ok(name, "point-in-time recovery is on")
    turn_on = "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
    lost = "the shop's orders" if table.name == facts.names.table else "dismissals and written orders' guards"
    return advice(
        name,
        f"no point-in-time recovery, so {lost} could not be restored",
        facts.shell.aws(f"dynamodb update-continuous-backups --table-name {table.name} {turn_on}"),
    )
