"""Ends that a command is asked for from outside, as Ctrl-C asks for one."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

# A plain `kill`, and a terminal or a connection that is closed.
ASKED_TO_END = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ending_like_ctrl_c() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise KeyboardInterrupt, so that a command puts back what it has taken.

    Once: a terminal that closes sends several, and the second must not end the putting back. What was ignored
    stays ignored, as nohup wants it.
    """
    is_ending = False

    def end(*_: object) -> None:
        nonlocal is_ending
        if not is_ending:
            is_ending = True
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in ASKED_TO_END}
    heard = {number: handler for number, handler in before.items() if handler == signal.SIG_DFL}
    for number in heard:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
