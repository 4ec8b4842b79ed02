"""Runs the emulator in its own environment, and ends it with all its workers when whoever started it is gone.

The parent holds the other end of standard input; its end, also a violent one, closes it. With `--detached`
there is nobody to outlive. Imports nothing of the project, which the emulator's environment does not have.
"""

import os
import runpy
import signal
import sys
import threading


def end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    # The whole group: the workers that run the functions, too. There is nothing to save.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    if "--detached" not in sys.argv:
        threading.Thread(target=end_with_parent, daemon=True).start()
    sys.argv = ["ministack"]
    runpy.run_module("ministack", run_name="__main__")
