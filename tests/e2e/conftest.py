"""The emulated AWS, one for each test process, and the real template deployed on it as often as needed."""

from contextlib import ExitStack

import pytest
from psutil import Process

from sandbox.emulator import Emulator
from sandbox.stack import deployed

LAST_LOG_LINES = 60
FAILED = pytest.StashKey()


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    # Its log stays in pytest's folder when all is over.
    with Emulator(tmp_path_factory.mktemp("aws")) as running:
        yield running


@pytest.fixture
def deploy_stack(emulator, request):
    """Deploys the template with the parameters given: `deploy_stack(ConsumerTimeout=2)`.

    The stacks end with the test. When it failed, what their functions logged is shown.
    """
    yield from stack_factory(emulator, request)


@pytest.fixture(scope="module")
def deploy_module_stack(emulator, request):
    """`deploy_stack` for a fixture that a whole module shares."""
    yield from stack_factory(emulator, request)


@pytest.fixture
def workers(emulator):
    """The processes that run a function at this moment: `workers(stack.consumer)`."""

    def running(function):
        marker = f"ministack-lambda-{function}-"
        children = Process(emulator.pid).children()
        return [child for child in children if any(marker in part for part in child.cmdline())]

    return running


def stack_factory(emulator, request):
    with ExitStack() as stacks:

        def make(**parameters):
            stack = stacks.enter_context(deployed(emulator.client, parameters))
            stacks.callback(show_logs_of_failure, request.node, stack)
            return stack

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
