"""Messages that the commands of the dead-letter queue share."""

from collections.abc import Sequence

from ops.cli.screen import NOTICE, TROUBLE, Screen
from ops.dlq.message_filter import MessageFilter
from ops.errors import CommandError
from ops.format.text import quantity


def show_missing(screen: Screen, missing: Sequence[str], hidden: int) -> None:
    """Print the named sessions and messages that are not in the queue, and the messages in flight."""
    for name in missing:
        screen.text(f"Not in the dead-letter queue: {name}", TROUBLE)
    show_hidden(screen, hidden)


def show_unmatched(screen: Screen, error_types: Sequence[str]) -> None:
    """Print the named error types that match no message."""
    for error_type in error_types:
        screen.text(f"No matching message of a session failed with {error_type}.", NOTICE)


def show_hidden(screen: Screen, hidden: int) -> None:
    """Print the number of messages in flight. SQS may still count ones that were released a moment ago."""
    if hidden:
        screen.text(
            f"In flight, held by another command or by one that just ended: {quantity(hidden, 'message')}. "
            "Try again in a minute.",
            NOTICE,
        )


def require_any(choice: MessageFilter, missing: Sequence[str], hidden: int, consequence: str) -> None:
    """Raise CommandError if sessions or messages are named and none of them is in the queue."""
    if choice.names and not choice.names - set(missing):
        raise missing_error(missing, hidden, consequence)


def missing_error(missing: Sequence[str], hidden: int, consequence: str) -> CommandError:
    """Return the error for names that are not in the queue. `consequence`: what was not done."""
    subject = f"{missing[0]} is not" if len(missing) == 1 else f"none of {', '.join(missing)} is"
    held = f", or another command holds it ({hidden} in flight)" if hidden else ""
    return CommandError(f"{subject} in the dead-letter queue{held}; {consequence}")
