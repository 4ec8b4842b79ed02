"""Settings for all tests."""

from hypothesis import HealthCheck, settings

from tests.e2e.calls import collect

# Shared runners are slow now and then; a slow draw is not a wrong answer.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


def pytest_configure(config):
    collect(config)
