"""The fixture of all tests of `infra.deploy`."""

from functools import partial

import pytest

from tests.infra.deploy.recorded import RecordedDeployment


@pytest.fixture
def make_deployment(tmp_path):
    return partial(RecordedDeployment, tmp_path)
