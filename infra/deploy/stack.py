"""One CloudFormation stack: change sets, waiting, and what it says when it fails."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from infra.build import ROOT
from infra.deploy.aws import Aws
from infra.deploy.changes import Change, changes_of
from infra.deploy.errors import CannotDeploy, RolledBack
from infra.deploy.screen import RED, Screen
from infra.deploy.template import parsed, retained_of

PROTECTION = ROOT / "infra" / "stack-policy.json"
_ALLOWS_ALL = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "Update:*", "Resource": "*"}]}
# Before its first change set is executed there is a stack of this name with nothing in it.
_EMPTY = "REVIEW_IN_PROGRESS"
_NOT_MADE = (None, _EMPTY)
_FIT = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
_ROLLED_BACK = ("ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
_NOTHING = ("didn't contain changes", "No updates are to be performed")
_POLL_SECONDS = 5.0
_BEGINNINGS = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
# Later ones in a row of failures only say that an earlier one stopped them.
_CONSEQUENCES = ("cancelled", "canceled")

type Sleep = Callable[[float], None]
type Described = Mapping[str, Any]


class Stack:
    """`sleep` is called between two looks at a stack that is busy."""

    def __init__(self, aws: Aws, screen: Screen, name: str, sleep: Sleep) -> None:
        self._aws = aws
        self._screen = screen
        self.name = name
        self._sleep = sleep

    def described(self) -> Described | None:
        """None where there is no such stack."""
        answer = self._formation("describe-stacks", missing="does not exist")
        return answer["Stacks"][0] if answer else None

    def _formation(self, operation: str, *words: str, missing: str | None = None) -> Any:  # noqa: ANN401
        call = ("cloudformation", operation, "--stack-name", self.name, *words)
        return self._aws.find(*call, missing=missing) if missing else self._aws(*call)

    def is_new(self) -> bool:
        """Raises CannotDeploy, with what to do, for a stack in no state to be deployed."""
        found = self.described()
        status = found["StackStatus"] if found else None
        if status in _NOT_MADE:
            return True
        if status in _FIT:
            return False
        raise CannotDeploy(f"{self.name} is {status}: {self._way_out(status)}")

    def _way_out(self, status: str | None) -> str:
        call = f"--region {self._aws.region} --stack-name {self.name}, then deploy again"
        match status:
            case "ROLLBACK_COMPLETE":
                return f"its first deployment failed and left nothing; aws cloudformation delete-stack {call}"
            case "UPDATE_ROLLBACK_FAILED":
                return f"its roll-back is stuck; aws cloudformation continue-update-rollback {call}"
        return "somebody is at work on it, or it needs a look in the CloudFormation console"

    def propose(self, template_url: str, parameters: Mapping[str, str], *, is_new: bool) -> "Proposal | None":
        """A change set; None where nothing would change."""
        name = f"deploy-{datetime.now(UTC):%Y%m%d%H%M%S}"
        pairs = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        self._formation(
            "create-change-set",
            *("--change-set-name", name, "--change-set-type", "CREATE" if is_new else "UPDATE"),
            *("--template-url", template_url, "--parameters", json.dumps(pairs)),
            *("--capabilities", "CAPABILITY_IAM"),
        )
        proposal = Proposal(self, name, is_new=is_new)
        with ExitStack() as unless_changes:
            unless_changes.callback(proposal.drop)
            described = self._settled(name)
            nothing = any(words in described.get("StatusReason", "") for words in _NOTHING)
            if described["Status"] == "FAILED" and not nothing:
                raise CannotDeploy(f"CloudFormation refuses it: {described.get('StatusReason')}")
            proposal.changes = changes_of(described)
            if nothing or not proposal.changes:
                return None
            unless_changes.pop_all()
        return proposal

    def _settled(self, change_set: str) -> Described:
        while True:
            described: Described = self._formation("describe-change-set", "--change-set-name", change_set)
            if described["Status"] in {"CREATE_COMPLETE", "FAILED"}:
                return described
            self._sleep(_POLL_SECONDS)

    def drop(self, change_set: str, *, whole: bool) -> None:
        """Delete the change set. `whole`: also the empty stack that a first change set makes, unless another
        change set is there or was executed: that stack is somebody else's."""
        self._formation("delete-change-set", "--change-set-name", change_set)
        if whole and self._is_empty(change_set):
            self.delete()

    def _is_empty(self, dropped: str) -> bool:
        """Return whether nothing was ever deployed here and no change set but `dropped` waits."""
        found = self.described()
        if found is None or found["StackStatus"] != _EMPTY:
            return False
        answer = self._formation("list-change-sets") or {}
        return not [one for one in answer.get("Summaries", ()) if one["ChangeSetName"] != dropped]

    def execute(self, change_set: str) -> dict[str, str]:
        """The outputs. Raises RolledBack, with the reasons on the screen."""
        self._formation("execute-change-set", "--change-set-name", change_set)
        described = self.wait()
        if described is None or described["StackStatus"] not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            self._explain()
            status = described["StackStatus"] if described else "gone"
            what = "everything is as it was" if status in _ROLLED_BACK else self._way_out(status)
            raise RolledBack(f"the deployment failed, {self.name} is {status}: {what}")
        return outputs_of(described)

    def wait(self) -> Described | None:
        """The stack once it is busy no more; None when it is gone."""
        while (found := self.described()) and found["StackStatus"].endswith("_IN_PROGRESS"):
            self._sleep(_POLL_SECONDS)
        return found

    def _explain(self) -> None:
        events = self._formation("describe-stack-events", "--max-items", "500")["StackEvents"]
        for text in failures(events):
            self._screen.line(f"  {text}", RED)

    def resources(self) -> dict[str, str]:
        """Return the type of each resource that the stack has, by its logical id."""
        listed = self._formation("list-stack-resources")["StackResourceSummaries"]
        return {
            one["LogicalResourceId"]: one["ResourceType"]
            for one in listed
            if one["ResourceStatus"] != "DELETE_COMPLETE"
        }

    def retained(self) -> set[str]:
        """Return the logical ids that a deletion keeps, as the deployed template says."""
        body = self._formation("get-template", "--template-stage", "Processed")["TemplateBody"]
        return set(retained_of(parsed(body) if isinstance(body, str) else body))

    def protect(self) -> None:
        """No update may replace or delete a queue: its messages are paid sessions."""
        self._formation("set-stack-policy", "--stack-policy-body", f"file://{PROTECTION}")

    def expose(self) -> None:
        """Until `protect`, for somebody who has agreed to it."""
        self._formation("set-stack-policy", "--stack-policy-body", json.dumps(_ALLOWS_ALL))

    def delete(self) -> None:
        """Returns when it is gone. Raises CannotDeploy with the reasons when it is not."""
        self._formation("delete-stack")
        if (left := self.wait()) and left["StackStatus"] != "DELETE_COMPLETE":
            self._explain()
            raise CannotDeploy(f"{self.name} is {left['StackStatus']}: not all of it could be deleted")


class Proposal:
    """A change set that waits for somebody to agree to it."""

    def __init__(self, stack: Stack, name: str, *, is_new: bool) -> None:
        self._stack = stack
        self._name = name
        self._is_new = is_new
        self.changes: Sequence[Change] = ()

    @property
    def loses_messages(self) -> bool:
        return any(change.loses_messages for change in self.changes)

    def drop(self) -> None:
        self._stack.drop(self._name, whole=self._is_new)

    def accept(self) -> dict[str, str]:
        """The stack's outputs. The queues are protected again, however it ends."""
        if not self.loses_messages:
            outputs = self._stack.execute(self._name)
            self._stack.protect()
            return outputs
        self._stack.expose()
        try:
            return self._stack.execute(self._name)
        finally:
            self._stack.protect()


def outputs_of(described: Described) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", ())}


def failures(events: Sequence[Described]) -> list[str]:
    """Why the last operation failed, the cause first: CloudFormation tells the newest first."""
    told: list[str] = []
    for event in takewhile(lambda event: not _begins(event), events):
        reason = event.get("ResourceStatusReason", "")
        follows = any(word in reason for word in _CONSEQUENCES)
        if event["ResourceStatus"].endswith("_FAILED") and not follows:
            told.insert(0, f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}")
    return told


def _begins(event: Described) -> bool:
    """The stack's own first event of an operation; no clock of ours takes part."""
    return event.get("PhysicalResourceId") == event["StackId"] and event["ResourceStatus"] in _BEGINNINGS
