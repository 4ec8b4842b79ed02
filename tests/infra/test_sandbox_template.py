"""The sandbox's copy of the template: the original without the resources that the emulator cannot create."""

import pytest

from sandbox.template import NOT_EMULATED, remove_unsupported
from testkit.template import parse_template
from tests.infra.resolved import PATH, RESOURCES, TEMPLATE

TEXT = PATH.read_text()
UNKNOWN_TYPES = {"AWS::Logs::QueryDefinition", "AWS::CloudWatch::CompositeAlarm"}


def test_copy_omits_exactly_the_unknown_resources():
    known = {
        name: body
        for name, body in RESOURCES.items()
        if body["Type"] not in UNKNOWN_TYPES and "Metrics" not in body["Properties"]
    }
    assert len(RESOURCES) - len(known) == 16
    assert parse_template(remove_unsupported(TEXT)) == TEMPLATE | {"Resources": known}


@pytest.mark.parametrize("marker", NOT_EMULATED)
def test_every_reason_to_omit_a_resource_applies(marker):
    assert marker in TEXT
