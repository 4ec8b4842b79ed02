"""A first deployment that fails: its reasons, and that it leaves nothing to delete by hand."""

import pytest

from tests.infra.deploy.recorded import DEPLOYED, EMPTY, NO_STACK, STACK, change_set, event, refusal, stacks

VALIDATION = "The following validation(s) failed: [AWS::EarlyValidation::ResourceExistenceCheck]."
REFUSED = {"cloudformation__describe_change_set": change_set(status="FAILED", reason=VALIDATION)}
EVENTS = [
    {"EventType": "STACK_EVENT", "OperationStatus": "FAILED"},
    {
        "EventType": "VALIDATION_ERROR",
        "LogicalResourceId": "Queue",
        "ValidationPath": "/Resources/Queue/Properties/QueueName",
        "ValidationStatusReason": "Resource of type 'AWS::SQS::Queue' already exists",
    },
    {
        "EventType": "HOOK_INVOCATION_ERROR",
        "LogicalResourceId": "Role",
        "HookStatusReason": "needs a boundary",
    },
]


@pytest.mark.parametrize("state", [DEPLOYED, EMPTY])
def test_refused_change_set_is_explained_by_its_events_and_deleted(make_deployment, state):
    events = {"cloudformation__describe_events": {"OperationEvents": EVENTS}}
    deployment = make_deployment(**state, **REFUSED, **events)
    assert deployment.error() == f"CloudFormation rejects it: {VALIDATION}"
    place = "Queue (/Resources/Queue/Properties/QueueName)"
    assert f"  {place}: Resource of type 'AWS::SQS::Queue' already exists\n" in deployment.text
    assert "  Role: needs a boundary\n" in deployment.text
    assert deployment.formation.index("describe_events") < deployment.formation.index("delete_change_set")
    assert ("delete_stack" in deployment.writes) is (state is EMPTY)


def test_refusal_is_shown_even_if_its_events_cannot_be_read(make_deployment):
    denied = {"cloudformation__describe_events": refusal("AccessDenied", "no")}
    deployment = make_deployment(**DEPLOYED, **REFUSED, **denied)
    assert VALIDATION in deployment.error()
    assert "the reasons cannot be read: AWS: DescribeEvents: AccessDenied: no" in deployment.text
    assert deployment.writes[-1] == "delete_change_set"


def make_failing(make_deployment, status, reason):
    events = [event("Queue", "CREATE_FAILED", reason), event(STACK, "CREATE_IN_PROGRESS")]
    states = [NO_STACK, stacks("CREATE_IN_PROGRESS"), stacks(status), stacks("DELETE_IN_PROGRESS"), NO_STACK]
    return make_deployment(
        cloudformation__describe_stacks=states,
        cloudformation__describe_stack_events={"StackEvents": events},
    )


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"])
def test_failed_creation_is_deleted_and_reported(make_deployment, status):
    deployment = make_failing(make_deployment, status, "no permission")
    message = deployment.error()
    assert message.startswith(f"the deployment failed, sync is {status}: the stack is deleted again")
    assert ("names what is left" in message) is (status != "ROLLBACK_COMPLETE")
    assert "no permission" in deployment.text
    assert deployment.writes[-1] == "delete_stack"
    assert deployment.operator_calls == []


@pytest.mark.parametrize(
    "reason",
    [
        "AWS.SimpleQueueService.QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
    ],
)
def test_queue_name_that_sqs_still_keeps_is_a_reason_to_wait(make_deployment, reason):
    deployment = make_failing(make_deployment, "ROLLBACK_COMPLETE", reason)
    assert deployment.error().endswith("wait a minute, then deploy again")


def test_stack_that_a_stopped_deployment_left_behind_is_deleted_first(make_deployment):
    states = [stacks("ROLLBACK_COMPLETE"), NO_STACK, stacks("CREATE_COMPLETE")]
    deployment = make_deployment(cloudformation__describe_stacks=states)
    assert deployment.deploy() == 0
    assert "Deleting sync, whose first deployment failed" in deployment.text
    assert deployment.writes.index("delete_stack") < deployment.writes.index("create_change_set")


def test_dry_run_deletes_no_failed_stack(make_deployment):
    deployment = make_deployment(cloudformation__describe_stacks=[stacks("ROLLBACK_COMPLETE")])
    assert "the next deployment deletes it before it starts" in deployment.error("dry_run")
    assert deployment.writes == []


def test_failed_stack_in_another_account_than_the_file_is_left_alone(make_deployment):
    deployment = make_deployment(
        sts__get_caller_identity={"Account": "999999999999"},
        cloudformation__describe_stacks=[stacks("ROLLBACK_COMPLETE")],
    )
    assert "belongs to account" in deployment.error()
    assert deployment.writes == []


def test_failed_update_deletes_nothing(make_deployment):
    states = [stacks("UPDATE_COMPLETE"), stacks("UPDATE_ROLLBACK_COMPLETE")]
    deployment = make_deployment(cloudformation__describe_stacks=states)
    assert "everything is as it was" in deployment.error()
    assert "delete_stack" not in deployment.writes
