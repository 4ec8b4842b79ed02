"""Composition root of the demo: reads the command line, starts the servers, ends them whatever happens."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from infra.build import BuildError
from recon.errors import SyncError
from sandbox.demo.account_story import stripe_key, tell_account_story
from sandbox.demo.layout_story import tell_layout_story
from sandbox.demo.options import HOME, Options, parse_options
from sandbox.demo.scenes import DemoError
from sandbox.demo.screen import DemoScreen, terminal_screen
from sandbox.demo.services import DemoServices, ServiceError, is_up, keep_proxies_away, running, stop
from sandbox.demo.shop_story import tell_shop_story
from sandbox.stack import InvocationError, StackError
from testkit.emulator import EmulatorError
from testkit.fake_stripe import FakeStripeAdminError

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNAL_EXIT = 128
FLOW = (
    "A customer pays at Stripe, and a webhook writes the order into DynamoDB. A webhook that is lost loses "
    "its order. So every night a producer lists Stripe's completed sessions and sends one SQS message for "
    "each, and a consumer writes the orders that are missing."
)
FAILURES = (
    DemoError,
    ServiceError,
    EmulatorError,
    StackError,
    InvocationError,
    FakeStripeAdminError,
    BuildError,
    SyncError,
    ClientError,
    BotoCoreError,
    OSError,
    RuntimeError,
)


class EndedError(BaseException):
    """Raised if a signal ends this process. No Exception, so that no handler takes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = SIGNAL_EXIT + number


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    screen = terminal_screen(time.monotonic)
    keep_proxies_away()
    try:
        with signals_as_errors():
            return run(screen, options)
    except EndedError as ended:
        screen.complain("Stopped. Nothing is left running.")
        return ended.exit_code
    except BrokenPipeError:  # the reader has gone; the interpreter's last flush would fail too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGNAL_EXIT + signal.SIGPIPE
    except FAILURES as failure:
        screen.complain(told(failure))
        return 1


def told(failure: Exception) -> str:
    """Our own errors read as they are; of others the kind says more than the text."""
    return str(failure) if isinstance(failure, DemoError) else f"{type(failure).__name__}: {failure}"


def run(screen: DemoScreen, options: Options) -> int:
    if options.stop:
        stopped = stop(options.home)
        screen.plain("Stopped: nothing is up any more." if stopped else "Nothing is up.")
        return 0
    if options.keep and is_up(options.home):
        raise DemoError(f"a sandbox is up already. End it first: {stop_command(options)}")
    if options.real_stripe:
        stripe_key(os.environ)  # before anything is started
    screen.headline("Nightly Stripe order sync: the whole pipeline on this machine")
    screen.say(FLOW)
    with ExitStack() as up:
        services = start(screen, options, up)
        code = tell(screen, services, options)
    screen.headline(f"\n{screen.seconds:.0f} s in all. {ending(services)}")
    return code


def start(screen: DemoScreen, options: Options, up: ExitStack) -> DemoServices:
    """Start the emulated AWS and Stripe, which run until `up` is closed."""
    home = options.home if options.keep else None
    with screen.step("Start an emulated AWS" + ("" if options.real_stripe else " and a fake Stripe")):
        services = up.enter_context(running(home, with_stripe=not options.real_stripe))
        addresses = {"AWS": services.emulator.url, "Stripe": services.stripe_url}
        screen.say(", ".join(f"{name} at {url}" for name, url in addresses.items() if url))
    return services


def tell(screen: DemoScreen, services: DemoServices, options: Options) -> int:
    if services.stripe_url is None:
        return tell_account_story(screen, services, options, os.environ, stop_command(options))
    tell_story = tell_layout_story if options.layout else tell_shop_story
    return tell_story(screen, services, options, services.stripe_url, stop_command(options))


def stop_command(options: Options) -> str:
    if options.home == HOME:
        return "make demo ARGS=--stop"
    return f'make demo ARGS="--stop --home {options.home}"'


def ending(services: DemoServices) -> str:
    if services.keep:
        return "AWS and Stripe are left up." if services.stripe else "AWS is left up."
    return "Nothing is left running."


@contextmanager
def signals_as_errors() -> Iterator[None]:
    """Ctrl-C and the like raise inside the block, so that everything is ended in order."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        for other in ENDING_SIGNALS:
            signal.signal(other, signal.SIG_IGN)  # a second Ctrl-C must not cut the clearing-up short
        raise EndedError(number)

    before = {number: signal.signal(number, end) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
