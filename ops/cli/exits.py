"""The exit codes of every command."""

FINE, NEEDS_ATTENTION, COULD_NOT_RUN = 0, 1, 2
# 128 + the signal's number, as shells report SIGINT and SIGPIPE.
INTERRUPTED = 130
BROKEN_PIPE = 141
