"""`make destroy`: its confirmation, the waiting messages, the leftovers, its dry run."""

import json

import pytest

from tests.infra.deploy.recorded import NO_STACK, QUEUE_URL, STACK, event, stacks

FULL = {"Attributes": {"ApproximateNumberOfMessages": "2", "ApproximateNumberOfMessagesNotVisible": "1"}}
EXISTING = stacks("UPDATE_COMPLETE", QueueUrl=QUEUE_URL)


def test_stack_is_deleted_when_its_name_is_typed(make_deployment):
    """Without any file: what stays is read from the stack, so that any machine can delete it."""
    states = [EXISTING, stacks("DELETE_IN_PROGRESS"), NO_STACK]
    deployment = make_deployment(
        ["sync"],
        stored=None,
        cloudformation__describe_stacks=states,
        sqs__list_queues={"QueueUrls": [QUEUE_URL]},
    )
    deployment.destroy()
    assert deployment.writes == ["delete_stack"]
    assert {call[0] for call in deployment.aws.calls} == {"sqs", "cloudformation", "logs"}
    assert "table shop, with every order and every run" in deployment.text
    assert "parameter /shop/stripe-key" in deployment.text
    assert "bucket packages, with the packages" in deployment.text
    assert f"aws sqs delete-queue --region eu-west-1 --queue-url {QUEUE_URL}" in deployment.text


@pytest.mark.parametrize("typed", ["", "y", "Sync"])
def test_any_other_answer_deletes_nothing(make_deployment, typed):
    deployment = make_deployment(
        [typed], cloudformation__describe_stacks=[EXISTING], sqs__get_queue_attributes=FULL
    )
    assert deployment.error("destroy") == "nothing was deleted"
    assert "delete_stack" not in deployment.formation
    assert "3 messages wait: sessions that no run has processed" in deployment.text


def test_failed_deletion_is_explained(make_deployment):
    events = [event("Queue", "DELETE_FAILED", "is protected"), event(STACK, "DELETE_IN_PROGRESS")]
    deployment = make_deployment(
        ["sync"],
        cloudformation__describe_stacks=[EXISTING, stacks("DELETE_FAILED")],
        cloudformation__describe_stack_events={"StackEvents": events},
    )
    assert "DELETE_FAILED" in deployment.error("destroy")
    assert "is protected" in deployment.text


@pytest.mark.parametrize("verb", ["destroy", "destroy_dry_run"])
def test_missing_stack_is_rejected(make_deployment, verb):
    assert "there is no stack sync in eu-west-1" in make_deployment(["sync"]).error(verb)


SUMMARIES = [
    {"LogicalResourceId": name, "ResourceType": kind, "ResourceStatus": status}
    for name, kind, status in (
        ("Producer", "AWS::Lambda::Function", "UPDATE_COMPLETE"),
        ("Queue", "AWS::SQS::Queue", "CREATE_COMPLETE"),
        ("OldAlarm", "AWS::CloudWatch::Alarm", "DELETE_COMPLETE"),
    )
]
BODY = {
    "Resources": {"Queue": {"Type": "AWS::SQS::Queue", "DeletionPolicy": "Retain"}, "Producer": {"Type": "x"}}
}


@pytest.mark.parametrize("body", [BODY, json.dumps(BODY)])
def test_dry_run_shows_what_is_deleted_and_kept_without_questions(make_deployment, body):
    deployment = make_deployment(
        [],
        cloudformation__describe_stacks=[EXISTING],
        cloudformation__list_stack_resources={"StackResourceSummaries": SUMMARIES},
        cloudformation__get_template={"TemplateBody": body},
        sqs__get_queue_attributes=FULL,
    )
    deployment.destroy_dry_run()
    deleted, _, kept = deployment.text.partition("Would stay")
    assert "Producer  AWS::Lambda::Function" in deleted
    assert "Queue  AWS::SQS::Queue" in kept
    assert "OldAlarm" not in deployment.text
    assert "3 messages wait" in kept
    assert "table shop, with every order and every run" in kept
    assert kept.endswith("Dry run: nothing was deleted.\n")
    assert (deployment.asked, deployment.writes) == ([], [])


def test_dry_run_of_an_empty_stack_needs_no_template(make_deployment):
    deployment = make_deployment(
        cloudformation__describe_stacks=[stacks("REVIEW_IN_PROGRESS")],
        cloudformation__list_stack_resources={"StackResourceSummaries": []},
    )
    deployment.destroy_dry_run()
    assert deployment.writes == []
