"""A change set as people read it, and what in it would lose messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.deploy.screen import BOLD, RED, YELLOW, Screen

QUEUE = "AWS::SQS::Queue"
_HEAD = ("action", "resource", "type", "replaced")


@dataclass(frozen=True)
class Change:
    """`replacement`: True, False or Conditional, empty where nothing is modified."""

    action: str
    resource: str
    kind: str
    replacement: str

    @property
    def ends_the_old(self) -> bool:
        """The resource of today is gone afterwards, for sure or perhaps."""
        return self.action == "Remove" or self.replacement in {"True", "Conditional"}

    @property
    def loses_messages(self) -> bool:
        """Conditional is not enough: it is said of all that refers to something that changes."""
        return self.kind == QUEUE and (self.action == "Remove" or self.replacement == "True")


def changes_of(described: Mapping[str, Any]) -> list[Change]:
    """From `describe-change-set`.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ResourceChange.html"""
    found = (entry["ResourceChange"] for entry in described.get("Changes", ()) if "ResourceChange" in entry)
    return [
        Change(
            action=one["Action"],
            resource=one["LogicalResourceId"],
            kind=one["ResourceType"],
            replacement="" if one["Action"] != "Modify" else one.get("Replacement", "False"),
        )
        for one in found
    ]


def show(screen: Screen, changes: Sequence[Change]) -> None:
    rows = [(_cells(change), _style(change)) for change in sorted(changes, key=_order)]
    screen.table([(_HEAD, BOLD), *rows])


def _cells(change: Change) -> tuple[str, str, str, str]:
    words = {"True": "yes", "Conditional": "perhaps", "False": "no", "": ""}
    return (change.action, change.resource, change.kind, words.get(change.replacement, change.replacement))


def _style(change: Change) -> str:
    if change.loses_messages:
        return RED
    return YELLOW if change.ends_the_old else ""


def _order(change: Change) -> tuple[bool, bool, str, str]:
    """The worst first."""
    return (not change.loses_messages, not change.ends_the_old, change.action, change.resource)
