"""The template as the emulated AWS can deploy it: the real one without what the emulator does not know.

Resources are cut out as text, so that nothing else of the file can change on the way.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

# What a resource's text holds -> why the emulator cannot make it.
NOT_EMULATED: Mapping[str, str] = MappingProxyType(
    {
        "Type: AWS::Logs::QueryDefinition": "the emulator refuses the type as unknown",
        "Type: AWS::CloudWatch::CompositeAlarm": "the emulator's CloudFormation refuses the type as unknown",
        "\n      Metrics:": "the emulator refuses alarms on an expression of several metrics",
    }
)
_RESOURCES = re.compile(r"^Resources:\n(.*?)(?=^\S)", re.MULTILINE | re.DOTALL)
_RESOURCE = re.compile(r"^  (\w+):.*\n(?:(?:    .*| *)\n)*", re.MULTILINE)


def emulated(template: str) -> str:
    """`template` without the resources that the emulator cannot make."""

    def kept(resource: re.Match[str]) -> str:
        return "" if any(marker in resource[0] for marker in NOT_EMULATED) else resource[0]

    return _RESOURCES.sub(lambda section: _RESOURCE.sub(kept, section[0]), template)
