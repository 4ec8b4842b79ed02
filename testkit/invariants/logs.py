"""The check that no log line has personal data or keys, whatever went wrong."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

# As printed by the structured logger, and by doubles of it.
_UNEXPECTED: Final = re.compile(r'(ERROR |"message": ?")Unexpected')
_SHOWN: Final = 300


def find_unexpected_errors(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines about an exception that nothing maps: a bug, whatever fault was injected."""
    return (f"a bug: {line[:_SHOWN].strip()}" for line in lines if _UNEXPECTED.search(line))


def find_leaked_secrets(lines: Iterable[str], secrets: Sequence[str]) -> Iterator[str]:
    """Yield the lines that contain a secret."""
    return (
        f"a secret, {secret!r}: {line[:_SHOWN].strip()}"
        for line in lines
        for secret in secrets
        if secret in line
    )
