"""What all commands on the dead-letter queue say in the same words."""

from collections.abc import Sequence

from ops.cli.screen import NOTICE, TROUBLE, Screen
from ops.dlq.message_filter import MessageFilter
from ops.errors import CommandError
from ops.format.text import quantity


def show_missing(screen: Screen, missing: Sequence[str], hidden: int) -> None:
    for name in missing:
        screen.text(f"Not in the dead-letter queue: {name}", TROUBLE)
    show_hidden(screen, hidden)


def show_unmatched(screen: Screen, error_types: Sequence[str]) -> None:
    for error_type in error_types:
        screen.text(f"No matching message of a session failed with {error_type}.", NOTICE)


def show_hidden(screen: Screen, hidden: int) -> None:
    """SQS counts late: it may still count what a look has given back a moment ago."""
    if hidden:
        screen.text(
            "In flight at this moment (another command's, or a look just before): "
            f"{quantity(hidden, 'message')}. Look again in a minute.",
            NOTICE,
        )


def require_any(choice: MessageFilter, missing: Sequence[str], hidden: int, so: str) -> None:
    """Raises CannotRun where things are named and none of them is there. `so`: what that means here."""
    if choice.names and not choice.names - set(missing):
        raise not_there(missing, hidden, so)


def not_there(missing: Sequence[str], hidden: int, so: str) -> CommandError:
    who = f"{missing[0]} is not" if len(missing) == 1 else f"none of {', '.join(missing)} is"
    perhaps = f", or another command holds it at this moment ({hidden} in flight)" if hidden else ""
    return CommandError(f"{who} in the dead-letter queue{perhaps}; {so}")
