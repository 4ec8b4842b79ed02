"""The changes of a change set: how they are shown, and which of them lose messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.deploy.terminal import BOLD, RED, YELLOW, DeployTerminal

QUEUE = "AWS::SQS::Queue"
_HEAD = ("action", "resource", "type", "replaced")


@dataclass(frozen=True)
class ResourceChange:
    """One change of a change set. `replacement` is True, False or Conditional as text, or empty.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ResourceChange.html
    """

    action: str
    resource: str
    kind: str
    replacement: str

    @property
    def may_delete(self) -> bool:
        """Return whether the current resource is deleted, certainly or possibly."""
        return self.action == "Remove" or self.replacement in {"True", "Conditional"}

    @property
    def loses_messages(self) -> bool:
        """Return whether a queue is deleted. A conditional replacement does not count: references have it."""
        return self.kind == QUEUE and (self.action == "Remove" or self.replacement == "True")


def parse_changes(described: Mapping[str, Any]) -> list[ResourceChange]:
    """Return the changes in a response of DescribeChangeSet."""
    changes = (entry["ResourceChange"] for entry in described.get("Changes", ()) if "ResourceChange" in entry)
    return [
        ResourceChange(
            action=change["Action"],
            resource=change["LogicalResourceId"],
            kind=change["ResourceType"],
            replacement="" if change["Action"] != "Modify" else change.get("Replacement", "False"),
        )
        for change in changes
    ]


def show_changes(terminal: DeployTerminal, changes: Sequence[ResourceChange]) -> None:
    """Print the changes as a table, the most dangerous first."""
    rows = [(_cells(change), _style(change)) for change in sorted(changes, key=_sort_key)]
    terminal.table([(_HEAD, BOLD), *rows])


def _cells(change: ResourceChange) -> tuple[str, str, str, str]:
    words = {"True": "yes", "Conditional": "perhaps", "False": "no", "": ""}
    return (change.action, change.resource, change.kind, words.get(change.replacement, change.replacement))


def _style(change: ResourceChange) -> str:
    if change.loses_messages:
        return RED
    return YELLOW if change.may_delete else ""


def _sort_key(change: ResourceChange) -> tuple[bool, bool, str, str]:
    return (not change.loses_messages, not change.may_delete, change.action, change.resource)
