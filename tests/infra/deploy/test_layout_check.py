"""`nightly-sync layout` before the first deployment."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from infra.deploy.layout import PARAMETERS as CHECKED
from infra.deploy.layout import check_layout
from ops.layout.settings import PARAMETERS as ACCEPTED
from tests.infra.deploy.recorded import DEPLOYED, PARAMETERS, SETTINGS

MISFIT, COULD_NOT_RUN = 1, 2


def test_first_deployment_checks_the_layout_with_its_own_settings(make_deployment):
    deployment = make_deployment()
    assert deployment.deploy(changes=["OrderSortKey=any", "SessionFilter="]) == 0
    [call] = deployment.layout_calls
    parameters = deployment.stored_settings.parameters
    assert call[:3] == ["layout", "--region", deployment.stored_settings.region]
    assert f"CommerceTable={parameters['CommerceTable']}" in call
    assert f"StripeSecretParameter={parameters['StripeSecretParameter']}" in call
    assert "OrderSortKey=any" in call
    assert not any(word.startswith("SessionFilter") for word in call)


def test_file_of_another_layout_is_checked_as_it_is_deployed():
    calls = []
    text = '[find]\nkey = { orderId = "{id}" }'
    wanted = replace(SETTINGS, parameters=PARAMETERS | {"Shape": text})
    terminal = SimpleNamespace(line=lambda *_: None)
    check_layout(terminal, lambda words: calls.append(words) or 0, wanted)
    assert f"Shape={text}" in calls[0]


def test_later_deployment_does_not_check_the_layout(make_deployment):
    deployment = make_deployment(**DEPLOYED)
    assert deployment.deploy() == 0
    assert deployment.layout_calls == []


def test_layout_understands_every_parameter_of_the_check():
    assert set(CHECKED) <= set(ACCEPTED)


@pytest.mark.parametrize("answer", ["y", "n"])
def test_table_that_does_not_fit_needs_a_yes(answer, make_deployment):
    deployment = make_deployment([answer, "y", "n"], fit=MISFIT)
    if answer == "y":
        assert deployment.deploy() == 0
        return
    assert deployment.error() == "nothing was deployed"
    assert "create_change_set" not in deployment.writes


@pytest.mark.parametrize("state", ["ENABLED", "DISABLED"])
def test_misfit_without_a_terminal_is_deployed_with_the_schedule_off_only(state, make_deployment):
    deployment = make_deployment(fit=MISFIT)
    changes = [f"ScheduleState={state}"]
    if state == "DISABLED":
        assert deployment.deploy(changes=changes) == 0
        return
    assert "the table does not fit and the schedule would start a run" in deployment.error(changes=changes)
    assert "create_change_set" not in deployment.writes


def test_check_that_cannot_run_prevents_no_deployment(make_deployment):
    deployment = make_deployment(fit=COULD_NOT_RUN)
    assert deployment.deploy() == 0
    assert "The layout could not be checked" in deployment.text
