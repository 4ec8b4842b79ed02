"""The error types that a dead message can have."""

from difflib import get_close_matches

from ops.errors import CommandError
from recon.errors import HopFailed, Permanent, Retryable, SyncError, TooManyHops


def _names(kind: type[SyncError]) -> set[str]:
    return {name for sub in kind.__subclasses__() for name in {sub.__name__} | _names(sub)}


# The excluded two end a run of the producer; no session has them.
ERROR_TYPES = sorted((_names(Retryable) | _names(Permanent)) - {HopFailed.__name__, TooManyHops.__name__})


def require_known(error_type: str) -> None:
    """Raise CommandError if this is not an error type, and name the closest ones or else all."""
    if error_type in ERROR_TYPES:
        return
    by_lower_case = {name.lower(): name for name in ERROR_TYPES}
    near = [by_lower_case[name] for name in get_close_matches(error_type.lower(), by_lower_case)]
    right = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(ERROR_TYPES)}"
    raise CommandError(f"--error-type {error_type} is unknown; {right}")
