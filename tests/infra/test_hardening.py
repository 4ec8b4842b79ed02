"""The template's protection: encryption, retention, reservations, signed code, the stack policy."""

import json

import pytest

from recon.timestamps import DAY
from tests.infra.resolved import DEFAULT, PATH, RESOURCES, TEMPLATE, ResolvedTemplate

QUEUES = [name for name, body in RESOURCES.items() if body["Type"] == "AWS::SQS::Queue"]
LOG_GROUPS = [name for name, body in RESOURCES.items() if body["Type"] == "AWS::Logs::LogGroup"]
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1"
DENY_HTTP = {"Bool": {"aws:SecureTransport": "false"}}


def test_stack_owns_neither_the_shops_table_nor_the_key():
    foreign = ("AWS::DynamoDB::", "AWS::SSM::", "AWS::SecretsManager::")
    assert [name for name, body in RESOURCES.items() if body["Type"].startswith(foreign)] == ["Ledger"]


@pytest.mark.parametrize("queue", QUEUES)
def test_queue_is_encrypted_and_rejects_plain_http(queue):
    by_sqs, by_key = DEFAULT.properties(queue), ResolvedTemplate(QueueKeyArn=KEY).properties(queue)
    assert by_sqs["SqsManagedSseEnabled"] is True
    assert "KmsMasterKeyId" not in by_sqs
    assert by_key["KmsMasterKeyId"] == KEY
    assert "SqsManagedSseEnabled" not in by_key
    policies = [body["Properties"] for body in RESOURCES.values() if body["Type"] == "AWS::SQS::QueuePolicy"]
    [policy] = [body for body in policies if body["Queues"] == [{"Ref": queue}]]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
    assert statement["Resource"] == {"Fn::GetAtt": [queue, "Arn"]}
    assert statement["Condition"] == DENY_HTTP


@pytest.mark.parametrize(
    ("role", "needed"),
    [
        ("ProducerRole", ["kms:GenerateDataKey", "kms:Decrypt"]),
        ("ConsumerRole", "kms:Decrypt"),
        ("ScheduleRole", ["kms:GenerateDataKey", "kms:Decrypt"]),
    ],
)
def test_role_may_use_the_queue_key_only_through_sqs(role, needed):
    through_sqs = {"StringEquals": {"kms:ViaService": "sqs.eu-central-1.amazonaws.com"}}

    def find_grants(resolved):
        policies = [policy["PolicyDocument"]["Statement"] for policy in resolved.properties(role)["Policies"]]
        return [one for policy in policies for one in policy if one.get("Condition") == through_sqs]

    [allowed] = find_grants(ResolvedTemplate(QueueKeyArn=KEY))
    assert (allowed["Action"], allowed["Resource"]) == (needed, KEY)
    assert find_grants(DEFAULT) == []


def test_only_the_main_queue_may_use_the_dead_letter_queue():
    allowed = {name: DEFAULT.properties(name)["RedriveAllowPolicy"] for name in QUEUES}
    source = f"arn:aws:sqs:eu-central-1:123456789012:{DEFAULT.properties('Queue')['QueueName']}"
    assert allowed.pop("DeadLetterQueue") == {"redrivePermission": "byQueue", "sourceQueueArns": [source]}
    assert all(policy == {"redrivePermission": "denyAll"} for policy in allowed.values())


def test_failed_events_of_the_producer_are_kept_for_14_days():
    """Both queue messages have the event as their body, so one procedure restarts either."""
    arn = {"Fn::GetAtt": ["ScheduleDeadLetterQueue", "Arn"]}
    producer = RESOURCES["Producer"]["Properties"]
    assert RESOURCES["Schedule"]["Properties"]["Target"]["DeadLetterConfig"] == {"Arn": arn}
    assert producer["DeadLetterQueue"] == {"Type": "SQS", "TargetArn": arn}
    assert "DestinationConfig" not in producer["EventInvokeConfig"]
    assert RESOURCES["ScheduleDeadLetterQueue"]["Properties"]["MessageRetentionPeriod"] == 14 * DAY


@pytest.mark.parametrize("name", [*QUEUES, *LOG_GROUPS])
def test_queue_or_log_group_outlives_the_stack(name):
    policies = (RESOURCES[name]["DeletionPolicy"], RESOURCES[name]["UpdateReplacePolicy"])
    assert policies == ("RetainExceptOnCreate", "Retain")


def test_stack_policy_lets_no_update_replace_or_delete_a_queue():
    [deny, allow] = json.loads((PATH.parent / "stack-policy.json").read_text())["Statement"]
    assert (deny["Effect"], deny["Action"]) == ("Deny", ["Update:Replace", "Update:Delete"])
    assert deny["Resource"] == [f"LogicalResourceId/{name}" for name in QUEUES]
    assert (allow["Effect"], allow["Action"], allow["Resource"]) == ("Allow", "Update:*", "*")


def test_only_the_consumer_reserves_concurrency_and_only_on_request():
    assert "ReservedConcurrentExecutions" not in DEFAULT.properties("Consumer")
    reserving = ResolvedTemplate(ReserveConcurrency="true")
    maximum = reserving.properties("ConsumerMapping")["ScalingConfig"]["MaximumConcurrency"]
    assert reserving.properties("Consumer")["ReservedConcurrentExecutions"] == maximum
    assert "ReservedConcurrentExecutions" not in reserving.properties("Producer")


@pytest.mark.parametrize("function", ["Producer", "Consumer"])
def test_function_requires_signed_code_only_with_a_configuration(function):
    signing = "arn:aws:lambda:eu-central-1:123456789012:code-signing-config:csc-1"
    assert "CodeSigningConfigArn" not in DEFAULT.properties(function)
    resolved = ResolvedTemplate(CodeSigningConfigArn=signing)
    assert resolved.properties(function)["CodeSigningConfigArn"] == signing


@pytest.mark.parametrize("role", ["ProducerRole", "ConsumerRole"])
def test_tracing_can_be_turned_off(role):
    def names(resolved):
        return [policy["PolicyName"] for policy in resolved.properties(role)["Policies"]]

    assert TEMPLATE["Globals"]["Function"]["Tracing"] == {"Ref": "Tracing"}
    assert names(DEFAULT).count("tracing") == 1
    assert "tracing" not in names(ResolvedTemplate(Tracing="PassThrough"))


def test_functions_have_the_minimum_of_disk():
    assert TEMPLATE["Globals"]["Function"]["EphemeralStorage"] == {"Size": 512}


def test_topic_accepts_only_alarms_of_this_account_over_tls():
    [policy] = DEFAULT.of_type("AWS::SNS::TopicPolicy").values()
    allow, deny = policy["PolicyDocument"]["Statement"]
    assert allow["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allow["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    assert (deny["Effect"], deny["Condition"]) == ("Deny", DENY_HTTP)


def test_every_skipped_check_has_a_reason():
    skipped = [skip for body in RESOURCES.values() for skip in find_skipped(body)]
    assert skipped
    assert all(skip["id"].startswith("CKV_") and len(skip["comment"]) > 60 for skip in skipped)


def find_skipped(body):
    return body.get("Metadata", {}).get("checkov", {}).get("skip", [])


def test_every_role_has_the_permissions_boundary_if_there_is_one():
    boundary = "arn:aws:iam::123456789012:policy/boundary"
    bounded = ResolvedTemplate(PermissionsBoundaryArn=boundary).of_type("AWS::IAM::Role")
    assert {role["PermissionsBoundary"] for role in bounded.values()} == {boundary}
    assert not [role for role in DEFAULT.of_type("AWS::IAM::Role").values() if "PermissionsBoundary" in role]
