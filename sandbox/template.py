"""The template for the emulated AWS: the real one without the resources that the emulator does not support.

Resources are removed from the text, so that nothing else can change.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

# A part of a resource's text, and why the emulator cannot create the resource.
NOT_EMULATED: Mapping[str, str] = MappingProxyType(
    {
        "Type: AWS::Logs::QueryDefinition": "the emulator refuses the type as unknown",
        "Type: AWS::CloudWatch::CompositeAlarm": "the emulator's CloudFormation refuses the type as unknown",
        "\n      Metrics:": "the emulator refuses alarms on an expression of several metrics",
    }
)
_RESOURCES = re.compile(r"^Resources:\n(.*?)(?=^\S)", re.MULTILINE | re.DOTALL)
_RESOURCE = re.compile(r"^  (\w+):.*\n(?:(?:    .*| *)\n)*", re.MULTILINE)


def remove_unsupported(template: str) -> str:
    """Return the template without the resources that the emulator cannot create."""

    def keep(resource: re.Match[str]) -> str:
        return "" if any(marker in resource[0] for marker in NOT_EMULATED) else resource[0]

    return _RESOURCES.sub(lambda section: _RESOURCE.sub(keep, section[0]), template)
