"""Termination signals, handled as Ctrl-C is."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

# `kill` without an option, and a terminal or connection that closes.
TERMINATION_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interrupt_on_termination() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP, so that a command releases what it holds.

    Only the first signal raises: a closing terminal sends several, and the others must not interrupt the
    cleanup. A signal that the process ignores (nohup) stays ignored.
    """
    is_ending = False

    def end(*_: object) -> None:
        nonlocal is_ending
        if not is_ending:
            is_ending = True
            raise KeyboardInterrupt

    handlers = {number: signal.getsignal(number) for number in TERMINATION_SIGNALS}
    replaced = {number: handler for number, handler in handlers.items() if handler == signal.SIG_DFL}
    for number in replaced:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
