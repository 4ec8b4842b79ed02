"""`nightly-sync`, also as `python -m ops.cli`."""

import sys

from ops.cli.exits import INTERRUPTED


def main() -> None:
    """Ends quietly when somebody presses Ctrl-C."""
    try:
        # Here, since it takes long enough to be interrupted.
        from ops.cli.app import app  # noqa: PLC0415 - see above

        app()()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
