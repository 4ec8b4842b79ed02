"""One CloudFormation stack: its change sets, waiting for it, and its errors when an operation fails."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from infra.build import ROOT
from infra.deploy.aws import AwsError, AwsServices
from infra.deploy.changes import ResourceChange, parse_changes
from infra.deploy.errors import DeployError, RollbackError
from infra.deploy.template import find_bucket, find_retained, parse_yaml
from infra.deploy.terminal import RED, DeployTerminal

STACK_POLICY = ROOT / "infra" / "stack-policy.json"
_ALLOW_ALL = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "Update:*", "Resource": "*"}]}
# The status of a stack without resources, between the creation of its first change set and its execution.
_EMPTY = "REVIEW_IN_PROGRESS"
_NOT_CREATED = (None, _EMPTY)
# The statuses of a stack whose creation failed. It holds nothing that is worth keeping.
_FAILED_CREATION = ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED")
_UPDATABLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
_ROLLED_BACK = "UPDATE_ROLLBACK_COMPLETE"
# SQS refuses a queue's name for a minute after the queue was deleted.
_NAME_IN_USE = ("QueueDeletedRecently", "60 seconds after deleting")
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_POLL_SECONDS = 5.0
_FIRST_STATUSES = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
# A failure with one of these words is the consequence of an earlier one.
_CONSEQUENCES = ("cancelled", "canceled")

type Sleep = Callable[[float], None]
type AwsResponse = Mapping[str, Any]


class CloudFormationStack:
    """One stack by its name. `sleep` is called between two polls of a stack that is in progress."""

    def __init__(self, aws: AwsServices, terminal: DeployTerminal, name: str, sleep: Sleep) -> None:
        self._aws = aws
        self._terminal = terminal
        self.name = name
        self._sleep = sleep

    def describe(self) -> AwsResponse | None:
        """Return CloudFormation's description, or None if there is no such stack."""
        answer = self._aws.find(
            "cloudformation", "describe_stacks", missing="does not exist", StackName=self.name
        )
        return answer["Stacks"][0] if answer else None

    def _call(self, operation: str, **parameters: object) -> Any:  # noqa: ANN401 - any response
        return self._aws.call("cloudformation", operation, StackName=self.name, **parameters)

    def _list_all(self, operation: str, key: str, **parameters: object) -> list[Any]:
        return self._aws.list_all("cloudformation", operation, key, StackName=self.name, **parameters)

    def is_new(self, found: AwsResponse | None) -> bool:
        """Return whether the described stack is none yet. Raise DeployError if it cannot be deployed now."""
        status = found["StackStatus"] if found else None
        if status in _NOT_CREATED:
            return True
        if status in _UPDATABLE:
            return False
        raise DeployError(f"{self.name} is {status}: {self._suggest_fix(status)}")

    def _suggest_fix(self, status: str | None) -> str:
        call = f"--region {self._aws.region} --stack-name {self.name}, then deploy again"
        match status:
            case "UPDATE_ROLLBACK_FAILED":
                return f"its rollback is stuck; aws cloudformation continue-update-rollback {call}"
            case "DELETE_FAILED":
                return "its deletion failed; `make destroy` tries it again"
            case failed if failed in _FAILED_CREATION:
                return "its first deployment failed; the next deployment deletes it before it starts"
        return "another operation is in progress, or the stack needs a look in the CloudFormation console"

    def remove_failed_creation(self, found: AwsResponse | None) -> AwsResponse | None:
        """Return the stack's description. Delete a stack whose creation failed, and return None.

        CloudFormation cannot update such a stack, and it holds nothing.
        """
        if found is None or found["StackStatus"] not in _FAILED_CREATION:
            return found
        self._terminal.line(f"Deleting {self.name}, whose first deployment failed")
        self.delete()
        return None

    def find_bucket(self) -> str:
        """Return the bucket that the deployed functions come from, or "" if the template does not tell."""
        return find_bucket(self._read_template())

    def propose(
        self, template_url: str, parameters: Mapping[str, str], *, is_new: bool
    ) -> "ChangeSet | None":
        """Create a change set and return it, or None if nothing would change.

        Raise DeployError if CloudFormation rejects it. An empty or rejected change set is deleted.
        """
        name = f"deploy-{datetime.now(UTC):%Y%m%d%H%M%S}"
        pairs = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        self._call(
            "create_change_set",
            ChangeSetName=name,
            ChangeSetType="CREATE" if is_new else "UPDATE",
            TemplateURL=template_url,
            Parameters=pairs,
            Capabilities=["CAPABILITY_IAM"],
        )
        change_set = ChangeSet(self, name, is_new=is_new)
        with ExitStack() as unless_changes:
            unless_changes.callback(change_set.delete)
            described = self._wait_for_change_set(name)
            is_empty = any(words in described.get("StatusReason", "") for words in _NO_CHANGES)
            if described["Status"] == "FAILED" and not is_empty:
                for text in self._list_refusals(name):
                    self._terminal.line(f"  {text}", RED)
                raise DeployError(f"CloudFormation rejects it: {described.get('StatusReason')}")
            change_set.changes = parse_changes(described)
            if is_empty or not change_set.changes:
                return None
            unless_changes.pop_all()
        return change_set

    def _wait_for_change_set(self, name: str) -> AwsResponse:
        while True:
            described: AwsResponse = self._call("describe_change_set", ChangeSetName=name)
            if described["Status"] in {"CREATE_COMPLETE", "FAILED"}:
                return {**described, "Changes": self._list_changes(name)}
            self._sleep(_POLL_SECONDS)

    def _list_refusals(self, change_set: str) -> list[str]:
        """Return why CloudFormation's validation refused a change set, whose own reason only mentions it.

        https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeEvents.html
        """
        failed = {"FailedEvents": True}
        try:
            events = self._list_all(
                "describe_events", "OperationEvents", ChangeSetName=change_set, Filters=failed
            )
        except AwsError as error:
            return [f"the reasons cannot be read: {error}"]
        return [text for event in events if (text := describe_refusal(event))]

    def _list_changes(self, name: str) -> list[Any]:
        return self._list_all("describe_change_set", "Changes", ChangeSetName=name)

    def delete_change_set(self, name: str, *, with_stack: bool) -> None:
        """Delete the change set and, `with_stack`, the empty stack that a first change set creates.

        The stack stays if it has another change set or was deployed: then it belongs to another user.
        """
        self._call("delete_change_set", ChangeSetName=name)
        if with_stack and self._is_empty_without(name):
            self.delete()

    def _is_empty_without(self, change_set: str) -> bool:
        found = self.describe()
        if found is None or found["StackStatus"] != _EMPTY:
            return False
        summaries = self._list_all("list_change_sets", "Summaries")
        return all(summary["ChangeSetName"] == change_set for summary in summaries)

    def execute(self, change_set: str, *, is_new: bool) -> dict[str, str]:
        """Execute the change set and return the outputs. Raise RollbackError after printing the reasons.

        A stack whose creation failed is deleted.
        """
        self._call("execute_change_set", ChangeSetName=change_set)
        described = self.wait()
        if described is None or described["StackStatus"] not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            failures = self._print_failures()
            status = described["StackStatus"] if described else "gone"
            if is_new and status in _FAILED_CREATION:
                self.remove_failed_creation(described)
                state = "the stack is deleted again"
                if status != "ROLLBACK_COMPLETE":
                    state += "; the next deployment names what is left of it"
            else:
                state = "everything is as it was" if status == _ROLLED_BACK else self._suggest_fix(status)
            raise RollbackError(f"the deployment failed, {self.name} is {status}: {state}{_advise(failures)}")
        return parse_outputs(described)

    def wait(self) -> AwsResponse | None:
        """Wait until no operation is in progress and return the description, or None if the stack is gone."""
        while (found := self.describe()) and found["StackStatus"].endswith("_IN_PROGRESS"):
            self._sleep(_POLL_SECONDS)
        return found

    def _print_failures(self) -> list[str]:
        """Print and return why the last operation failed."""
        failures = list_failures(self._list_all("describe_stack_events", "StackEvents"))
        for text in failures:
            self._terminal.line(f"  {text}", RED)
        return failures

    def list_resources(self) -> dict[str, str]:
        """Return the type of each existing resource by its logical id."""
        summaries = self._list_all("list_stack_resources", "StackResourceSummaries")
        return {
            summary["LogicalResourceId"]: summary["ResourceType"]
            for summary in summaries
            if summary["ResourceStatus"] != "DELETE_COMPLETE"
        }

    def list_retained(self) -> set[str]:
        """Return the logical ids that a deletion keeps, according to the deployed template."""
        return find_retained(self._read_template())

    def _read_template(self) -> Mapping[str, Any]:
        body = self._call("get_template", TemplateStage="Processed")["TemplateBody"]
        return parse_yaml(body) if isinstance(body, str) else body

    def protect_queues(self) -> None:
        """Forbid updates to replace or delete a queue: its messages are paid sessions."""
        self._call("set_stack_policy", StackPolicyBody=STACK_POLICY.read_text())

    def unprotect_queues(self) -> None:
        """Allow every update until `protect_queues`, after the user has agreed to the loss of a queue."""
        self._call("set_stack_policy", StackPolicyBody=json.dumps(_ALLOW_ALL))

    def delete(self) -> None:
        """Delete the stack and wait until it is gone. Raise DeployError after printing the reasons."""
        self._call("delete_stack")
        if (left := self.wait()) and left["StackStatus"] != "DELETE_COMPLETE":
            self._print_failures()
            raise DeployError(f"{self.name} is {left['StackStatus']}: not all of it could be deleted")


class ChangeSet:
    """A change set that waits for the user's decision."""

    def __init__(self, stack: CloudFormationStack, name: str, *, is_new: bool) -> None:
        self._stack = stack
        self._name = name
        self.is_new = is_new
        self.changes: Sequence[ResourceChange] = ()

    @property
    def loses_messages(self) -> bool:
        return any(change.loses_messages for change in self.changes)

    def delete(self) -> None:
        self._stack.delete_change_set(self._name, with_stack=self.is_new)

    def execute(self) -> dict[str, str]:
        """Deploy it and return the stack's outputs. The queues are protected afterwards, also on failure."""
        if not self.loses_messages:
            outputs = self._stack.execute(self._name, is_new=self.is_new)
            self._stack.protect_queues()
            return outputs
        self._stack.unprotect_queues()
        try:
            return self._stack.execute(self._name, is_new=self.is_new)
        finally:
            self._stack.protect_queues()


def parse_parameters(described: AwsResponse | None) -> dict[str, str]:
    """Return the parameters of a deployed stack, none if there is no stack or it is empty."""
    if described is None or described["StackStatus"] in _NOT_CREATED:
        return {}
    return {one["ParameterKey"]: one["ParameterValue"] for one in described.get("Parameters", ())}


def parse_outputs(described: AwsResponse) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", ())}


def describe_refusal(event: AwsResponse) -> str:
    """Return what CloudFormation's validation found, or "" if the event is about something else."""
    reason = event.get("ValidationStatusReason") or event.get("HookStatusReason")
    if not reason:
        return ""
    resource = event.get("LogicalResourceId", "")
    place = event.get("ValidationPath", "")
    return f"{resource}{f' ({place})' if place else ''}: {reason}" if resource else str(reason)


def _advise(failures: Sequence[str]) -> str:
    """Return what to do about failures that end on their own."""
    is_name_in_use = any(words in text for text in failures for words in _NAME_IN_USE)
    return (
        ". SQS keeps a deleted queue's name for 60 seconds: wait a minute, then deploy again"
        if is_name_in_use
        else ""
    )


def list_failures(events: Sequence[AwsResponse]) -> list[str]:
    """Return why the last operation failed, the cause first. `events` are in AWS's order, newest first."""
    failures: list[str] = []
    for event in takewhile(lambda event: not _is_first(event), events):
        reason = event.get("ResourceStatusReason", "")
        is_consequence = any(word in reason for word in _CONSEQUENCES)
        if event["ResourceStatus"].endswith("_FAILED") and not is_consequence:
            failures.insert(0, f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}")
    return failures


def _is_first(event: AwsResponse) -> bool:
    """Return whether it is the stack's own first event of an operation. No local clock is involved."""
    return event.get("PhysicalResourceId") == event["StackId"] and event["ResourceStatus"] in _FIRST_STATUSES
