"""Which dead messages a command is about. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from ops.dlq.dead_letters import DeadLetter


@dataclass(frozen=True)
class MessageFilter:
    """Everything, unless something is named. Sessions and message ids name messages, error types sift them,
    and `most` takes the oldest of those.

    A message that names no session is chosen by its own id or with everything, and never by a kind of error:
    whatever is wrong with it, no outcome will ever tell what became of it.
    """

    sessions: frozenset[str] = frozenset()
    message_ids: frozenset[str] = frozenset()
    error_types: frozenset[str] = frozenset()
    most: int | None = None

    @property
    def is_everything(self) -> bool:
        return not (self.names or self.error_types) and self.most is None

    @property
    def names(self) -> frozenset[str]:
        """The sessions and message ids that are named."""
        return self.sessions | self.message_ids

    def of(self, letters: Iterable[DeadLetter]) -> list[DeadLetter]:
        """In the order given, which is oldest first."""
        chosen = [letter for letter in letters if self._names(letter) and self._sifts(letter)]
        return chosen[: self.most]

    def missing(self, letters: Iterable[DeadLetter]) -> list[str]:
        """The sessions and message ids that are named and not there."""
        there = {name for letter in letters for name in (letter.session_id, letter.message_id)}
        return sorted(self.names - there)

    def unmatched(self, letters: Iterable[DeadLetter]) -> list[str]:
        """Return the error types that no letter has, of those that the names leave."""
        return sorted(self.error_types - {letter.error_type for letter in letters if self._names(letter)})

    def _names(self, letter: DeadLetter) -> bool:
        if self.names:
            return letter.session_id in self.sessions or letter.message_id in self.message_ids
        return self.is_everything or not letter.is_nameless

    def _sifts(self, letter: DeadLetter) -> bool:
        return not self.error_types or letter.error_type in self.error_types
