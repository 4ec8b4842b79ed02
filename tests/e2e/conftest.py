"""The emulated AWS, one for each test process, and the real template deployed on it as often as needed."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from sandbox.stack import STRIPE_KEY, TEMPLATE, deployed
from testkit.emulator import Emulator
from testkit.fake_stripe import FakeStripe, RateLimits
from tests.e2e.calls import recording
from tests.e2e.shop import Shop

LAST_LOG_LINES = 60
FAILED = pytest.StashKey()
# A shop in a hurry: no pacing to speak of, short waits, a message given up at its third receive. Two
# consumers, because each one more costs a second of cold start.
QUICK = {
    "StripeMaxRps": 500,
    "BackoffBaseSeconds": 1,
    "MaxReceiveCount": 3,
    "ConsumerTimeout": 20,
    "ConsumerConcurrency": 2,
}


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    # Its log stays in pytest's folder when all is over.
    home = tmp_path_factory.mktemp("aws")
    with fast_folder() as unpacked:
        environment = {"TMPDIR": unpacked} | recording()
        with Emulator(home, environment, enforcing=True) as running:
            yield running


@pytest.fixture
def deploy_stack(emulator, request):
    """Deploys the template with the parameters given: `deploy_stack(ConsumerTimeout=2)`, or another template.

    The stacks end with the test. When it failed, what their functions logged is shown.
    """
    yield from stack_factory(emulator, request)


@pytest.fixture(scope="module")
def deploy_module_stack(emulator, request):
    """`deploy_stack` for a fixture that a whole module shares."""
    yield from stack_factory(emulator, request)


@pytest.fixture(scope="session")
def workers(emulator):
    """The processes that run a function at this moment: `workers(stack.consumer)`."""

    def running(function):
        marker = f"ministack-lambda-{function}-"
        children = psutil.Process(emulator.pid).children()
        return [child for child in children if any(marker in part for part in command_line(child))]

    return running


@pytest.fixture(scope="module")
def open_shop(deploy_module_stack):
    """A stack with a fake Stripe of its own: `open_shop(ConsumerTimeout=2)`. Both end with the module."""
    yield from shop_factory(deploy_module_stack)


@pytest.fixture
def open_brief_shop(deploy_stack):
    """`open_shop` for a shop that ends with the test."""
    yield from shop_factory(deploy_stack)


def command_line(process):
    """Empty for a process that has ended in the meantime."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def fast_folder():
    """Where functions are unpacked: a cold start writes 4,000 files, in memory in a third of the time."""
    memory = Path("/dev/shm")  # noqa: S108 - not a file of a known name
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 4 * 2**30
    return TemporaryDirectory(
        prefix="nightly-sync-", dir=memory if roomy else None, ignore_cleanup_errors=True
    )


def stack_factory(emulator, request):
    with ExitStack() as stacks:

        def make(template=TEMPLATE, **parameters):
            stack = stacks.enter_context(deployed(emulator.client, parameters, template))
            stacks.callback(show_logs_of_failure, request.node, stack)
            return stack

        yield make


def shop_factory(deploy):
    with ExitStack() as opened:

        def make(**parameters):
            stripe = opened.enter_context(FakeStripe(STRIPE_KEY, limits=RateLimits(None, None)))
            return Shop(deploy(StripeApiBase=stripe.url, **(QUICK | parameters)), stripe)

        yield make


def show_logs_of_failure(node, stack):
    if not node.stash.get(FAILED, False):
        return
    for function in (stack.producer, stack.consumer):
        print(f"--- {function}", *stack.logs(function)[-LAST_LOG_LINES:], sep="\n")  # noqa: T201 - by pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        for node in (item, item.getparent(pytest.Module)):
            node.stash[FAILED] = True
    return report
