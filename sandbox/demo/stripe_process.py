"""Runs the fake Stripe and ends it when its parent process ends.

The parent holds the other end of standard input, which closes when the parent ends for any reason. With
`--detached` it runs until it is stopped.
"""

import os
import signal
import sys
import threading

from testkit.fake_stripe_server import main


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
