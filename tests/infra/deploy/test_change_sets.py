"""A change set: how it is shown, agreed to, executed and deleted; the protection of the queues."""

import pytest

from infra.deploy.changes import ResourceChange, parse_changes
from infra.deploy.errors import DeployError
from infra.deploy.stack import list_failures
from tests.infra.deploy.recorded import (
    DEPLOYED,
    EMPTY,
    NO_STACK,
    POLICY,
    ROLLED_BACK,
    STACK,
    addition,
    change_set,
    event,
    modification,
    removal,
    stacks,
)

LOSS = {"cloudformation__describe_change_set": change_set(removal("DeadLetterQueue")), **DEPLOYED}


def test_change_set_is_shown_with_the_most_dangerous_change_first(make_deployment):
    changes = (
        addition("Alarm", "AWS::CloudWatch::Alarm"),
        modification("Producer", "AWS::Lambda::Function", "False"),
        modification("Schedule", "AWS::Scheduler::Schedule", "Conditional"),
        modification("Queue", "AWS::SQS::Queue", "True"),
    )
    deployment = make_deployment(["n"], **DEPLOYED, cloudformation__describe_change_set=change_set(*changes))
    deployment.error()
    assert [line.split() for line in deployment.text.splitlines() if "AWS::" in line] == [
        ["Modify", "Queue", "AWS::SQS::Queue", "yes"],
        ["Modify", "Schedule", "AWS::Scheduler::Schedule", "perhaps"],
        ["Add", "Alarm", "AWS::CloudWatch::Alarm"],
        ["Modify", "Producer", "AWS::Lambda::Function", "no"],
    ]


def test_only_a_queue_that_is_certainly_deleted_loses_messages():
    changes = parse_changes(
        change_set(
            removal("A"),
            modification("B", "AWS::SQS::Queue", "True"),
            modification("C", "AWS::SQS::Queue", "Conditional"),
            removal("D", "AWS::CloudWatch::Alarm"),
            addition("E"),
        )
    )
    assert [change.loses_messages for change in changes] == [True, True, False, False, False]
    assert changes[0] == ResourceChange("Remove", "A", "AWS::SQS::Queue", "")


def test_accepted_change_set_is_executed_and_the_queues_are_protected(make_deployment):
    deployment = make_deployment(["y", "n"])
    assert deployment.deploy() == 0
    assert deployment.formation == [
        *("describe_stacks", "create_change_set", "describe_change_set", "describe_change_set"),
        *("execute_change_set", "describe_stacks", "describe_stacks", "set_stack_policy"),
    ]
    assert deployment.slept == [5.0]


@pytest.mark.parametrize("answer", ["n", EOFError(), KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("state", "last"),
    [(EMPTY, ["delete_stack", "describe_stacks"]), (DEPLOYED, ["describe_change_set", "delete_change_set"])],
)
def test_declined_change_set_is_deleted_with_its_empty_stack(make_deployment, answer, state, last):
    deployment = make_deployment([answer], **state)
    with pytest.raises((DeployError, KeyboardInterrupt)):
        deployment.deploy()
    assert deployment.formation[-2:] == last


@pytest.mark.parametrize(
    "other",
    [
        {"cloudformation__describe_stacks": [NO_STACK, stacks("CREATE_IN_PROGRESS")]},
        {**EMPTY, "cloudformation__list_change_sets": {"Summaries": [{"ChangeSetName": "other"}]}},
    ],
)
def test_declined_change_set_never_deletes_the_stack_of_another_user(make_deployment, other):
    deployment = make_deployment(["n"], **other)
    deployment.error()
    assert "delete_change_set" in deployment.formation
    assert "delete_stack" not in deployment.formation


def test_loss_of_a_queue_without_questions_needs_the_option(make_deployment):
    deployment = make_deployment(**LOSS)
    assert "--allow-queue-loss" in deployment.error()
    assert "execute_change_set" not in deployment.formation


def test_loss_of_a_queue_is_a_separate_question(make_deployment):
    assert "a queue would be lost" in make_deployment(["n"], **LOSS).error()
    deployment = make_deployment(["y", "y", "n"], **LOSS)
    deployment.deploy()
    assert [question.partition(" (")[0] for question in deployment.asked[:2]] == [
        "Remove it and its messages?",
        "Deploy this?",
    ]


@pytest.mark.parametrize("ends", [DEPLOYED, ROLLED_BACK])
def test_queues_are_unprotected_for_one_deployment_only(make_deployment, ends):
    deployment = make_deployment(**LOSS | ends)
    if ends is DEPLOYED:
        deployment.deploy(allow_queue_loss=True)
    else:
        deployment.error(allow_queue_loss=True)
    exposed, protected = deployment.calls("cloudformation", "set_stack_policy")
    assert '"Update:*"' in exposed["StackPolicyBody"]
    assert protected["StackPolicyBody"] == POLICY
    assert deployment.formation.index("set_stack_policy") < deployment.formation.index("execute_change_set")


NO_CHANGES = "The submitted information didn't contain changes. Submit different…"


@pytest.mark.parametrize(
    "nothing",
    [
        change_set(status="FAILED", reason=NO_CHANGES),
        change_set(status="FAILED", reason="No updates are to be performed."),
        change_set(),
    ],
)
def test_empty_change_set_is_deleted_and_the_queues_are_protected(make_deployment, nothing):
    deployment = make_deployment(**DEPLOYED, cloudformation__describe_change_set=nothing)
    assert deployment.deploy() == 0
    assert "No changes" in deployment.text
    assert deployment.formation[-2:] == ["delete_change_set", "set_stack_policy"]
    [protected] = deployment.calls("cloudformation", "set_stack_policy")
    assert protected["StackPolicyBody"] == POLICY
    assert deployment.operator_calls == [["doctor"]]


def test_rejected_change_set_is_deleted_and_its_reason_quoted(make_deployment):
    failed = change_set(status="FAILED", reason="Parameter X must be…")
    deployment = make_deployment(**DEPLOYED, cloudformation__describe_change_set=failed)
    assert "CloudFormation rejects it: Parameter X must be…" in deployment.error()
    assert deployment.formation[-1] == "delete_change_set"


def test_failures_are_the_causes_of_the_last_operation_in_order():
    newest_first = [
        event(STACK, "UPDATE_ROLLBACK_COMPLETE"),
        event("Consumer", "UPDATE_FAILED", "Resource update cancelled"),
        event("Schedule", "UPDATE_FAILED", "second"),
        event("Producer", "UPDATE_FAILED", "first"),
        event(STACK, "UPDATE_IN_PROGRESS"),
        event("Producer", "UPDATE_FAILED", "of last week"),
    ]
    assert list_failures(newest_first) == [
        "Producer (AWS::Lambda::Function): first",
        "Schedule (AWS::Lambda::Function): second",
    ]


def test_rollback_is_reported_with_its_reason_and_without_the_doctor(make_deployment):
    events = [event("Producer", "UPDATE_FAILED", "no such layer"), event(STACK, "UPDATE_IN_PROGRESS")]
    deployment = make_deployment(**ROLLED_BACK, cloudformation__describe_stack_events={"StackEvents": events})
    message = "the deployment failed, sync is UPDATE_ROLLBACK_COMPLETE: everything is as it was"
    assert deployment.error() == message
    assert "no such layer" in deployment.text
    assert deployment.operator_calls == []
