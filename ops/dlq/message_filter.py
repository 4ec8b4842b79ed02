"""The selection of dead messages that a command is about, as pure code."""

from collections.abc import Iterable
from dataclasses import dataclass

from ops.dlq.dead_letters import DeadLetter


@dataclass(frozen=True)
class MessageFilter:
    """A selection of dead messages; without any criterion it selects all of them.

    `sessions` and `message_ids` name messages, `error_types` narrows the selection, and `limit` takes the
    oldest of the rest. A message that names no session is selected only by its own id or together with
    everything, never by an error type: no outcome will ever show what became of it.
    """

    sessions: frozenset[str] = frozenset()
    message_ids: frozenset[str] = frozenset()
    error_types: frozenset[str] = frozenset()
    limit: int | None = None

    @property
    def is_everything(self) -> bool:
        """Return whether no criterion is given."""
        return not (self.names or self.error_types) and self.limit is None

    @property
    def names(self) -> frozenset[str]:
        """Return the session ids and message ids that are named."""
        return self.sessions | self.message_ids

    def select(self, letters: Iterable[DeadLetter]) -> list[DeadLetter]:
        """Return the selected letters in the order given, which is oldest first."""
        selected = [
            letter for letter in letters if self._matches_name(letter) and self._matches_error(letter)
        ]
        return selected[: self.limit]

    def find_missing(self, letters: Iterable[DeadLetter]) -> list[str]:
        """Return the named session ids and message ids that no letter has."""
        present = {name for letter in letters for name in (letter.session_id, letter.message_id)}
        return sorted(self.names - present)

    def find_unmatched(self, letters: Iterable[DeadLetter]) -> list[str]:
        """Return the error types that none of the letters selected by name has."""
        named = [letter for letter in letters if self._matches_name(letter)]
        return sorted(self.error_types - {letter.error_type for letter in named})

    def _matches_name(self, letter: DeadLetter) -> bool:
        if self.names:
            return letter.session_id in self.sessions or letter.message_id in self.message_ids
        return self.is_everything or not letter.is_nameless

    def _matches_error(self, letter: DeadLetter) -> bool:
        return not self.error_types or letter.error_type in self.error_types
