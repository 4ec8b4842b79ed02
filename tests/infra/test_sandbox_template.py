"""The copy of the template that the sandbox deploys: the same, less what the emulator does not know."""

import pytest
from cfnlint.decode import decode_str

from sandbox.template import NOT_EMULATED, remove_unsupported
from tests.infra.resolved import PATH, RESOURCES, TEMPLATE

TEXT = PATH.read_text()
COPY = decode_str(remove_unsupported(TEXT))[0]
UNKNOWN_TYPES = {"AWS::Logs::QueryDefinition", "AWS::CloudWatch::CompositeAlarm"}


def is_unknown(resource):
    return resource["Type"] in UNKNOWN_TYPES or "Metrics" in resource["Properties"]


def test_only_what_the_emulator_does_not_know_is_left_out():
    unknown = {name for name, body in RESOURCES.items() if is_unknown(body)}
    assert len(unknown) == 16
    assert RESOURCES.keys() - COPY["Resources"].keys() == unknown


def test_the_rest_is_as_it_was():
    kept = {name: body for name, body in RESOURCES.items() if not is_unknown(body)}
    assert TEMPLATE | {"Resources": kept} == COPY


@pytest.mark.parametrize("marker", NOT_EMULATED)
def test_no_reason_is_there_for_nothing(marker):
    assert marker in TEXT
