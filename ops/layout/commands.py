"""Pure: the commands of findings, as they can be run: also before a stack is deployed."""

import shlex
from collections.abc import Container, Mapping
from dataclasses import replace

from ops.layout.model import Layout, LayoutFinding
from ops.layout.settings import needs_stack

# A printed file names the table, and a command with it gives the file.
IN_FILE = ("CommerceTable", "Shape")
_LAYOUT, _WITH_FILE, _OF_A_STACK = "nightly-sync layout ", " --shape ", "nightly-sync explain "


def adapt_commands(layout: Layout, changes: Mapping[str, str]) -> Layout:
    """Return the result with commands that give the changes as well.

    If the changes need no stack, there may be none, so commands that read one are left out.
    """
    return replace(layout, findings=tuple(_adapt(finding, changes) for finding in layout.findings))


def _adapt(finding: LayoutFinding, changes: Mapping[str, str]) -> LayoutFinding:
    command = finding.command
    if command is None:
        return finding
    if command.startswith(_OF_A_STACK) and not needs_stack(changes):
        return replace(finding, command=None)
    if not command.startswith(_LAYOUT):
        return finding
    name = (finding.setting or "").partition("=")[0]
    but = IN_FILE if _WITH_FILE in command else (name,)
    return replace(finding, command=command + repeat_changes(changes, but=but))


def repeat_changes(changes: Mapping[str, str], *, but: Container[str]) -> str:
    """Return the changes as options for a command, without those of some names."""
    words = [f"{name}={value}" for name, value in changes.items() if name not in but]
    return "".join(f" --set {shlex.quote(word)}" for word in words)
