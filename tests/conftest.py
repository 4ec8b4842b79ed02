"""Settings for all tests."""

import gc

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.e2e.calls import collect

# Shared runners are slow now and then; a slow draw is not a wrong answer.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

INTEGRATION = "tests/integration/"

# Each worker keeps thousands of tests: a search for garbage among them takes long and finds nothing.
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items):
    """Put the quick unit tests last: a long test at the end would run alone."""
    items.sort(key=lambda item: "/unit/" in item.path.as_posix() and "slow" not in item.keywords)


class SharedEngineScheduling(LoadScopeScheduling):
    """Give each module to one worker, and the integration tests to one: a worker starts separate engines."""

    def _split_scope(self, nodeid):
        return INTEGRATION if nodeid.startswith(INTEGRATION) else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return SharedEngineScheduling(config, log) if config.option.dist == "loadscope" else None


def pytest_configure(config):
    collect(config)
