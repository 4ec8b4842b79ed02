"""Runs the fake Stripe and ends it when whoever started it is gone.

The parent holds the other end of standard input; its end, also a violent one, closes it. With `--detached`
there is nobody to outlive.
"""

import os
import signal
import sys
import threading

from testkit.fake_stripe.__main__ import main


def end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--detached" in arguments:
        arguments.remove("--detached")
    else:
        threading.Thread(target=end_with_parent, daemon=True).start()
    sys.exit(main(arguments))
