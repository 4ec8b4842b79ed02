"""The entry point of `nightly-sync` and `python -m ops.cli`."""

import sys

from ops.cli.exits import INTERRUPTED


def main() -> None:
    """Run the command line and exit quietly on Ctrl-C."""
    try:
        # Imported here because the import is slow enough to be interrupted.
        from ops.cli.app import app  # noqa: PLC0415 - see above

        app()()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
