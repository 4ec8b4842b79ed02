"""The exit codes of every command."""

FINE, NEEDS_ATTENTION, COULD_NOT_RUN = 0, 1, 2
INTERRUPTED = 130  # as shells say it of Ctrl-C
BROKEN_PIPE = 141  # and of a reader that has gone
