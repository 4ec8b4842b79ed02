"""The roles' permissions: only the needed actions, each on the one resource that it is needed for."""

import json
from fnmatch import fnmatchcase

import pytest

from recon.domain.order_keys import partition_key
from recon.dynamodb.keys import STATE_KEY, guard_key, marker_key, outcome_key, pending_key, run_key
from testkit.roles import (
    CALLED_BY_AWS,
    TABLE_KEY,
    WRITES,
    granted_actions,
    list_actions,
    list_statements,
    load_template,
    write_patterns,
)
from tests.infra.resolved import DEFAULT, TEMPLATE, ResolvedTemplate

RESOURCES = load_template()["Resources"]
ROLES = [name for name, body in RESOURCES.items() if body["Type"] == "AWS::IAM::Role"]
HOLDERS = {"Producer": "ProducerRole", "Consumer": "ConsumerRole"}
# Actions without a resource: https://docs.aws.amazon.com/service-authorization/latest/reference/
WITHOUT_RESOURCE = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}


def arn(rest):
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:{rest}"}


def get_arn(name):
    return {"Fn::GetAtt": [name, "Arn"]}


HERE = "${AWS::Region}:${AWS::AccountId}"
TABLE = arn(f"dynamodb:{HERE}:table/${{CommerceTable}}")
LEDGER = arn(f"dynamodb:{HERE}:table/${{LedgerTable}}")
SHOP_READS = {"dynamodb:BatchGetItem", "dynamodb:Query"}
READS = SHOP_READS | {"dynamodb:GetItem"}
PARAMETER = arn(f"ssm:{HERE}:parameter${{StripeSecretParameter}}")
# A schedule group: the Scheduler accepts neither a schedule nor a prefix of its name.
GROUP = arn(f"scheduler:{HERE}:schedule-group/default")
PRODUCER = arn(f"lambda:{HERE}:function:${{AWS::StackName}}-producer")


@pytest.mark.parametrize("role", ROLES)
def test_role_allows_named_actions_on_named_resources(role):
    assert [action for action in granted_actions(role) if "*" in action] == []
    for statement in list_statements(role):
        assert statement["Effect"] == "Allow"
        assert not {"NotAction", "NotResource", "NotPrincipal"} & statement.keys()
        if "*" in json.dumps(statement["Resource"]):
            assert set(list_actions(statement)) <= WITHOUT_RESOURCE


def test_role_has_only_inline_policies():
    for role in ROLES:
        assert RESOURCES[role]["Properties"].keys() == {
            "AssumeRolePolicyDocument",
            "PermissionsBoundary",
            "Policies",
            "Tags",
        }
    assert [kind for body in RESOURCES.values() if "Policy" in (kind := body["Type"]) and "IAM" in kind] == []


@pytest.mark.parametrize(("function", "role"), HOLDERS.items())
def test_function_does_not_share_its_role(function, role):
    assert RESOURCES[function]["Properties"]["Role"] == get_arn(role)
    assert [name for name, body in RESOURCES.items() if role in json.dumps(body)] == [function]


@pytest.mark.parametrize(
    ("role", "service", "condition"),
    [
        ("ProducerRole", "lambda.amazonaws.com", None),
        ("ConsumerRole", "lambda.amazonaws.com", None),
        (
            "ScheduleRole",
            "scheduler.amazonaws.com",
            {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}, "aws:SourceArn": GROUP}},
        ),
    ],
)
def test_role_trusts_one_service(role, service, condition):
    # https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
    [trust] = RESOURCES[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Principal"], trust["Action"]) == ({"Service": service}, "sts:AssumeRole")
    assert trust.get("Condition") == condition


def test_schedule_may_start_the_producer_and_keep_failed_starts():
    allowed = {name: one["Resource"] for one in list_statements("ScheduleRole") for name in list_actions(one)}
    key = {"Ref": "QueueKeyArn"}
    assert allowed == {
        "lambda:InvokeFunction": get_arn("Producer"),
        "sqs:SendMessage": get_arn("ScheduleDeadLetterQueue"),
        "kms:GenerateDataKey": key,
        "kms:Decrypt": key,
    }


@pytest.mark.parametrize(
    ("role", "resources"),
    [
        (
            "ProducerRole",
            {
                "sqs": [get_arn("Queue"), get_arn("ScheduleDeadLetterQueue")],
                "lambda": PRODUCER,
                "logs": get_arn("ProducerLogs"),
            },
        ),
        ("ConsumerRole", {"sqs": get_arn("Queue"), "logs": get_arn("ConsumerLogs")}),
    ],
)
def test_action_is_granted_only_on_the_resource_that_needs_it(role, resources):
    resources |= {"dynamodb": TABLE, "ssm": PARAMETER}
    for statement in list_statements(role):
        [service] = {action.partition(":")[0] for action in list_actions(statement)}
        if not set(list_actions(statement)) <= WITHOUT_RESOURCE and service != "kms":
            assert statement["Resource"] == resources[service]


@pytest.mark.parametrize("role", CALLED_BY_AWS)
def test_actions_that_aws_itself_performs_are_granted(role):
    """No recorded call shows them, and the emulator does not require them."""
    assert CALLED_BY_AWS[role] <= granted_actions(role)


# --- the table ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "keys"),
    [
        ("ProducerRole", {"SYSTEM"}),
        ("ConsumerRole", {"USER#*", "SYSTEM", "SYNC_RUN#*", "EVENT#*", "SESSION#*"}),
    ],
)
def test_writes_are_limited_to_the_partitions_of_the_sync(role, keys):
    """ForAllValues alone also holds for a request without the key, but each of these actions has one."""
    assert write_patterns(role) == keys
    for statement in list_statements(role):
        if WRITES & set(list_actions(statement)):
            assert set(list_actions(statement)) <= WRITES
            assert statement["Condition"].keys() == {"ForAllValues:StringLike"}


def grants_on_tables(role):
    """Return the actions and the writable partitions of a role with an own ledger, by table."""
    grants = {"shop": (set(), set()), "ledger": (set(), set())}
    for statement in list_statements(role, ledger=True):
        if "dynamodb:" in list_actions(statement)[0]:
            actions, keys = grants["ledger" if statement["Resource"] == LEDGER else "shop"]
            assert statement["Resource"] in (LEDGER, TABLE)
            actions.update(list_actions(statement))
            condition = statement.get("Condition", {}).get("ForAllValues:StringLike", {})
            keys.update(condition.get("dynamodb:LeadingKeys", []))
    return grants


def test_producer_with_own_ledger_only_reads_the_shops_table():
    assert grants_on_tables("ProducerRole") == {
        "shop": (SHOP_READS, set()),
        "ledger": (READS | {"dynamodb:UpdateItem"}, {"SYSTEM"}),
    }


def test_consumer_with_own_ledger_only_puts_orders_and_markers_in_the_shops_table():
    assert grants_on_tables("ConsumerRole") == {
        "shop": (SHOP_READS | {"dynamodb:PutItem"}, {"USER#*", "EVENT#*"}),
        "ledger": (READS | WRITES, {"SYSTEM", "SYNC_RUN#*", "SESSION#*"}),
    }


@pytest.mark.parametrize(("setting", "arn"), [("create", "arn:Ledger"), ("books", ":table/books")])
def test_roles_and_functions_name_the_same_ledger(setting, arn):
    resolved = ResolvedTemplate(LedgerTable=setting)
    name = "stripe-nightly-sync-ledger" if setting == "create" else setting
    common = resolved.value(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    assert (common["COMMERCE_TABLE"], common["SYNC_LEDGER_TABLE"]) == ("shop", name)
    assert resolved.value(TEMPLATE["Outputs"]["LedgerTable"]["Value"]) == name
    assert resolved.holds("CreatesLedger") is (setting == "create")
    for role in HOLDERS.values():
        statements = resolved.properties(role)["Policies"][0]["PolicyDocument"]["Statement"]
        assert {one["Resource"] for one in statements if one["Sid"] in ("ReadTheLedger", "KeepTheRecords")}
        for one in statements:
            if one["Sid"] in ("ReadTheLedger", "KeepTheRecords", "KeepTheRunRecord"):
                assert one["Resource"].endswith(arn)


def test_without_an_own_ledger_the_output_names_the_shops_table():
    assert DEFAULT.value(TEMPLATE["Outputs"]["LedgerTable"]["Value"]) == "shop"
    common = DEFAULT.value(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    assert "SYNC_LEDGER_TABLE" not in common
    assert [grant["Sid"] for role in HOLDERS.values() for grant in list_statements(role)].count(
        "ReadTheLedger"
    ) == 0


def test_created_ledger_outlives_the_stack_and_can_be_restored():
    ledger = RESOURCES["Ledger"]
    assert (ledger["Condition"], ledger["DeletionPolicy"], ledger["UpdateReplacePolicy"]) == (
        "CreatesLedger",
        "Retain",
        "Retain",
    )
    properties = DEFAULT.properties("Ledger")
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "expiresAt", "Enabled": True}
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    keys = [(key["AttributeName"], key["KeyType"]) for key in properties["KeySchema"]]
    assert keys == [("PK", "HASH"), ("SK", "RANGE")]


def test_granted_partitions_are_those_that_the_ledger_writes():
    patterns = write_patterns("ConsumerRole")
    user, run, pending = partition_key("user"), run_key("r")[0], pending_key("s")[0]
    written = [
        user,
        STATE_KEY[0],
        run,
        pending,
        outcome_key("r", "s")[0],
        marker_key("e")[0],
        guard_key("s")[0],
    ]
    assert all(any(fnmatchcase(key, pattern) for pattern in patterns) for key in written)
    assert {pattern for key in written for pattern in patterns if fnmatchcase(key, pattern)} == patterns


# --- keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", HOLDERS.values())
def test_parameter_is_read_by_its_name(role):
    [read] = [one for one in list_statements(role) if "ssm:GetParameter" in list_actions(one)]
    assert (list_actions(read), read["Resource"]) == (["ssm:GetParameter"], PARAMETER)


def via(service):
    return {"Fn::Sub": f"{service}.${{AWS::Region}}.${{AWS::URLSuffix}}"}


@pytest.mark.parametrize("role", ROLES)
def test_kms_key_is_used_only_through_its_service(role):
    services = {
        "StripeSecretKmsKeyArn": via("ssm"),
        "QueueKeyArn": via("sqs"),
        "TableKeyArn": via("dynamodb"),
    }
    for statement in list_statements(role):
        if any(action.startswith("kms:") for action in list_actions(statement)):
            service = statement["Condition"]["StringEquals"]["kms:ViaService"]
            assert service == services[statement["Resource"]["Ref"]]


@pytest.mark.parametrize("role", HOLDERS.values())
def test_custom_kms_key_decrypts_only_the_stripe_key(role):
    # https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html
    own = RESOURCES[role]["Properties"]["Policies"][0]
    optionals = [one for one in own["PolicyDocument"]["Statement"] if "Fn::If" in one]
    [optional] = [one for one in optionals if one["Fn::If"][0] != "HasLedger"]
    condition, decrypt, otherwise = optional["Fn::If"]
    assert (condition, otherwise) == ("HasStripeSecretKmsKey", {"Ref": "AWS::NoValue"})
    empty = {"Fn::Equals": [{"Ref": "StripeSecretKmsKeyArn"}, ""]}
    assert load_template()["Conditions"][condition] == {"Fn::Not": [empty]}
    assert (list_actions(decrypt), decrypt["Resource"]) == (["kms:Decrypt"], {"Ref": "StripeSecretKmsKeyArn"})
    assert decrypt["Condition"] == {
        "StringEquals": {"kms:ViaService": via("ssm"), "kms:EncryptionContext:PARAMETER_ARN": PARAMETER}
    }


@pytest.mark.parametrize("role", HOLDERS.values())
def test_key_of_the_table_is_granted_on_request_for_dynamodb_only(role):
    policies = [one["Fn::If"] for one in RESOURCES[role]["Properties"]["Policies"] if "Fn::If" in one]
    [(condition, policy, otherwise)] = [one for one in policies if one[1]["PolicyName"] == "table-key"]
    assert otherwise == {"Ref": "AWS::NoValue"}
    empty = {"Fn::Equals": [{"Ref": "TableKeyArn"}, ""]}
    assert load_template()["Conditions"][condition] == {"Fn::Not": [empty]}
    use, grant = policy["PolicyDocument"]["Statement"]
    assert {*list_actions(use), *list_actions(grant)} == TABLE_KEY
    assert use["Condition"] == {"StringEquals": {"kms:ViaService": via("dynamodb")}}
    assert list_actions(grant) == ["kms:CreateGrant"]
    assert grant["Condition"] == use["Condition"] | {"Bool": {"kms:GrantIsForAWSResource": "true"}}


@pytest.mark.parametrize("role", HOLDERS.values())
def test_role_only_reads_the_table_and_the_indexes_of_another_shop(role):
    resolved = ResolvedTemplate(LedgerTable="books", Shape='[find]\nkey = { orderId = "{id}" }')
    statements = resolved.properties(role)["Policies"][0]["PolicyDocument"]["Statement"]
    allowed = {}
    for one in statements:
        for name in one["Resource"] if isinstance(one["Resource"], list) else [one["Resource"]]:
            if ":table/shop" in name:
                allowed.setdefault(name.partition(":table/")[2], set()).update(list_actions(one))
    assert allowed == {"shop": SHOP_READS, "shop/index/*": SHOP_READS}
