"""`nightly-sync`, also as `python -m ops.cli`."""

import os
import sys

from ops.cli.exits import BROKEN_PIPE, INTERRUPTED


def main() -> None:
    """Ends quietly when somebody presses Ctrl-C, or reads no further (`nightly-sync logs last | head`)."""
    try:
        # Here, since it takes long enough to be interrupted.
        from ops.cli.app import app  # noqa: PLC0415 - see above

        app()()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # not even the interpreter's last flush gets through
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)


if __name__ == "__main__":
    main()
