"""Settings for all tests."""

import gc

from hypothesis import HealthCheck, settings

from tests.e2e.calls import collect

# Shared runners are slow now and then; a slow draw is not a wrong answer.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


# Each worker keeps thousands of tests: a search for garbage among them takes long and finds nothing.
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_configure(config):
    collect(config)
