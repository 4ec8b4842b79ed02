"""What each role may do: what its holder does, on what it does it to, and nothing else."""

import json
from fnmatch import fnmatchcase

import pytest

from recon.domain.order import partition_key
from recon.dynamodb.records import STATE_KEY, marker_key, outcome_key, pending_key, run_key
from testkit.roles import (
    CALLED_BY_AWS,
    WRITES,
    granted_actions,
    list_actions,
    list_statements,
    load_template,
    write_patterns,
)

RESOURCES = load_template()["Resources"]
ROLES = [name for name, body in RESOURCES.items() if body["Type"] == "AWS::IAM::Role"]
HOLDERS = {"Producer": "ProducerRole", "Consumer": "ConsumerRole"}
# Actions for which AWS knows no resource: https://docs.aws.amazon.com/service-authorization/latest/reference/
WITHOUT_RESOURCE = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}


def arn(rest):
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:{rest}"}


HERE = "${AWS::Region}:${AWS::AccountId}"
QUEUE = {"Fn::GetAtt": ["Queue", "Arn"]}
# What the producer enqueues, and where Lambda keeps an event of it that failed.
QUEUES = [QUEUE, {"Fn::GetAtt": ["ScheduleDeadLetterQueue", "Arn"]}]
TABLE = arn(f"dynamodb:{HERE}:table/${{CommerceTable}}")
PARAMETER = arn(f"ssm:{HERE}:parameter${{StripeSecretParameter}}")
ITSELF = arn(f"lambda:{HERE}:function:${{AWS::StackName}}-producer")


def test_no_action_has_a_wildcard():
    assert [action for role in ROLES for action in granted_actions(role) if "*" in action] == []


def test_no_resource_has_a_wildcard_where_aws_knows_a_resource():
    loose = [
        set(list_actions(statement))
        for role in ROLES
        for statement in list_statements(role)
        if "*" in json.dumps(statement["Resource"])
    ]
    assert all(named <= WITHOUT_RESOURCE for named in loose)


@pytest.mark.parametrize("role", ROLES)
def test_roles_allow_by_name_and_name_no_exception(role):
    for statement in list_statements(role):
        assert statement["Effect"] == "Allow"
        assert not {"NotAction", "NotResource", "NotPrincipal"} & statement.keys()


def test_no_policy_is_given_to_a_role_from_elsewhere():
    for role in ROLES:
        assert RESOURCES[role]["Properties"].keys() == {"AssumeRolePolicyDocument", "Policies", "Tags"}
    assert [kind for body in RESOURCES.values() if "Policy" in (kind := body["Type"]) and "IAM" in kind] == []


@pytest.mark.parametrize(("function", "role"), HOLDERS.items())
def test_each_function_has_a_role_that_nobody_else_has(function, role):
    assert RESOURCES[function]["Properties"]["Role"] == {"Fn::GetAtt": [role, "Arn"]}
    assert [name for name, body in RESOURCES.items() if role in json.dumps(body)] == [function]


@pytest.mark.parametrize(
    ("role", "service"),
    [
        ("ProducerRole", "lambda.amazonaws.com"),
        ("ConsumerRole", "lambda.amazonaws.com"),
        ("ScheduleRole", "scheduler.amazonaws.com"),
    ],
)
def test_a_role_is_for_one_service(role, service):
    [trust] = RESOURCES[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Principal"], trust["Action"]) == ({"Service": service}, "sts:AssumeRole")


def test_the_schedules_role_serves_no_other_account():
    """https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html"""
    [trust] = RESOURCES["ScheduleRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_the_schedule_may_start_the_producer_and_keep_a_start_that_failed():
    allowed = {name: one["Resource"] for one in list_statements("ScheduleRole") for name in list_actions(one)}
    key = {"Ref": "QueueKeyArn"}
    assert allowed == {
        "lambda:InvokeFunction": {"Fn::GetAtt": ["Producer", "Arn"]},
        "sqs:SendMessage": {"Fn::GetAtt": ["ScheduleDeadLetterQueue", "Arn"]},
        "kms:GenerateDataKey": key,
        "kms:Decrypt": key,
    }


@pytest.mark.parametrize(
    ("role", "resources"),
    [
        (
            "ProducerRole",
            {"sqs": QUEUES, "dynamodb": TABLE, "ssm": PARAMETER, "lambda": ITSELF, "logs": "ProducerLogs"},
        ),
        ("ConsumerRole", {"sqs": QUEUE, "dynamodb": TABLE, "ssm": PARAMETER, "logs": "ConsumerLogs"}),
    ],
)
def test_each_action_is_granted_on_the_one_thing_it_is_needed_for(role, resources):
    resources["logs"] = {"Fn::GetAtt": [resources["logs"], "Arn"]}
    for statement in list_statements(role):
        [service] = {action.partition(":")[0] for action in list_actions(statement)}
        if not set(list_actions(statement)) <= WITHOUT_RESOURCE and service != "kms":
            assert statement["Resource"] == resources[service]


@pytest.mark.parametrize("role", CALLED_BY_AWS)
def test_what_aws_itself_does_in_a_roles_name_is_granted(role):
    """The emulator does not ask for it, and no call of our own shows it."""
    assert CALLED_BY_AWS[role] <= granted_actions(role)


# --- the table ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "keys"),
    [("ProducerRole", {"SYSTEM"}), ("ConsumerRole", {"USER#*", "SYSTEM", "SYNC_RUN#*", "EVENT#*"})],
)
def test_writes_are_limited_to_the_partitions_of_the_sync(role, keys):
    assert write_patterns(role) == keys


@pytest.mark.parametrize("role", HOLDERS.values())
def test_a_write_is_limited_to_partitions_and_so_is_nothing_but_writes(role):
    """ForAllValues alone holds for a request without the key; but each of these actions has one."""
    for statement in list_statements(role):
        if WRITES & set(list_actions(statement)):
            assert set(list_actions(statement)) <= WRITES
            assert statement["Condition"].keys() == {"ForAllValues:StringLike"}


def test_the_partitions_are_those_that_the_ledger_writes():
    written = [
        (partition_key("user"), ""),
        STATE_KEY,
        run_key("r"),
        pending_key("s"),
        outcome_key("r", "s"),
        marker_key("e"),
    ]
    matching = {
        pattern for pk, _ in written for pattern in write_patterns("ConsumerRole") if fnmatchcase(pk, pattern)
    }
    assert all(any(fnmatchcase(pk, one) for one in write_patterns("ConsumerRole")) for pk, _ in written)
    assert matching == write_patterns("ConsumerRole")


# --- the key ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", HOLDERS.values())
def test_the_parameter_is_read_by_its_name(role):
    [read] = [one for one in list_statements(role) if "ssm:GetParameter" in list_actions(one)]
    assert list_actions(read) == ["ssm:GetParameter"]
    assert read["Resource"] == PARAMETER


def decrypting(role):
    [found] = [one for one in list_statements(role) if one["Resource"] == {"Ref": "StripeSecretKmsKeyArn"}]
    return found


def via(service):
    return {"Fn::Sub": f"{service}.${{AWS::Region}}.${{AWS::URLSuffix}}"}


@pytest.mark.parametrize("role", ROLES)
def test_a_key_is_used_by_the_service_it_is_for_and_never_directly(role):
    services = {"StripeSecretKmsKeyArn": via("ssm"), "QueueKeyArn": via("sqs")}
    for statement in list_statements(role):
        if any(action.startswith("kms:") for action in list_actions(statement)):
            given = statement["Condition"]["StringEquals"]["kms:ViaService"]
            assert given == services[statement["Resource"]["Ref"]]


@pytest.mark.parametrize("role", HOLDERS.values())
def test_decryption_of_the_stripe_key_is_granted_for_this_parameter_only(role):
    """https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html"""
    decrypt = decrypting(role)
    assert list_actions(decrypt) == ["kms:Decrypt"]
    assert decrypt["Condition"] == {
        "StringEquals": {
            "kms:ViaService": via("ssm"),
            "kms:EncryptionContext:PARAMETER_ARN": PARAMETER,
        }
    }


@pytest.mark.parametrize("role", HOLDERS.values())
def test_decryption_is_granted_only_with_a_key_of_ones_own(role):
    own = RESOURCES[role]["Properties"]["Policies"][0]
    [optional] = [one for one in own["PolicyDocument"]["Statement"] if "Fn::If" in one]
    condition, decrypt, otherwise = optional["Fn::If"]
    assert decrypt == decrypting(role)
    assert (condition, otherwise) == ("HasStripeSecretKmsKey", {"Ref": "AWS::NoValue"})
    empty = {"Fn::Equals": [{"Ref": "StripeSecretKmsKeyArn"}, ""]}
    assert load_template()["Conditions"][condition] == {"Fn::Not": [empty]}
