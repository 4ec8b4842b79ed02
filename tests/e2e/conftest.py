"""The fixtures of the end-to-end tests: one emulated AWS per process, and stacks and shops on it."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from sandbox.stack import STRIPE_KEY, TEMPLATE, deployed
from testkit.emulator import Emulator
from testkit.fake_stripe import FakeStripe, RateLimits
from tests.e2e.aws_cli import install_aws
from tests.e2e.calls import recorder_environment
from tests.e2e.shop import DeployedShop

LAST_LOG_LINES = 60
FAILED = pytest.StashKey()
# Parameters for short tests: practically no request limit, short waits, and failure at the third receive. Two
# consumers, because each further one costs a second of cold start.
FAST = {
    "StripeMaxRps": 500,
    "BackoffBaseSeconds": 1,
    "MaxReceiveCount": 3,
    "ConsumerTimeout": 20,
    "ConsumerConcurrency": 2,
}


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    home = tmp_path_factory.mktemp("aws")  # its log stays there after the session
    with make_fast_folder() as unpacked:
        environment = {"TMPDIR": unpacked} | recorder_environment()
        with Emulator(home, environment, enforcing=True) as running:
            yield running


def make_fast_folder():
    """Return a folder for unpacked functions, in memory if possible: a cold start writes 4,000 files."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder with a random name in it
    has_space = memory.is_dir() and shutil.disk_usage(memory).free > 4 * 2**30
    return TemporaryDirectory(
        prefix="nightly-sync-", dir=memory if has_space else None, ignore_cleanup_errors=True
    )


@pytest.fixture
def deploy_stack(emulator, request):
    """Deploy the template with parameters: `deploy_stack(ConsumerTimeout=2)`, or another `template`.

    The stacks are deleted after the test. If it failed, the logs of their functions are printed.
    """
    yield from make_stacks(emulator, request)


@pytest.fixture(scope="module")
def deploy_module_stack(emulator, request):
    """`deploy_stack` for fixtures of a whole module."""
    yield from make_stacks(emulator, request)


@pytest.fixture
def open_brief_shop(deploy_stack):
    """`open_shop` for a shop that is deleted after the test."""
    yield from make_shops(deploy_stack)


@pytest.fixture(scope="module")
def open_shop(deploy_module_stack):
    """Deploy a stack with its own fake Stripe: `open_shop(ConsumerTimeout=2)`."""
    yield from make_shops(deploy_module_stack)


def make_stacks(emulator, request):
    with ExitStack() as stacks:

        def make(template=TEMPLATE, **parameters):
            stack = stacks.enter_context(deployed(emulator.client, parameters, template))
            stacks.callback(print_logs_of_failure, request.node, stack)
            return stack

        yield make


def make_shops(deploy):
    with ExitStack() as opened:

        def make(**parameters):
            stripe = opened.enter_context(FakeStripe(STRIPE_KEY, limits=RateLimits(None, None)))
            return DeployedShop(deploy(StripeApiBase=stripe.url, **(FAST | parameters)), stripe)

        yield make


@pytest.fixture(scope="session")
def workers(emulator):
    """Return the processes that run a function now: `workers(stack.consumer)`."""

    def find(function):
        marker = f"ministack-lambda-{function}-"
        children = psutil.Process(emulator.pid).children()
        return [child for child in children if any(marker in part for part in command_line(child))]

    return find


def command_line(process):
    """Return the words of the command line, or none if the process has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture(scope="session")
def aws_folder(tmp_path_factory):
    """Return a folder with a working AWS CLI, to be put on the PATH."""
    return install_aws(tmp_path_factory.mktemp("bin"))


def print_logs_of_failure(node, stack):
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
