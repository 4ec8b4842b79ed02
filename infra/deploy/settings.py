"""The settings of a deployed stack: its name, its region, its bucket and its parameters."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from infra.deploy.errors import DeployError
from infra.deploy.template import Template

DEFAULT_STACK = "stripe-nightly-sync"
# A function is named <stack>-producer or <stack>-consumer, and its name has 64 characters at most.
_STACK = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{0,54}")


@dataclass(frozen=True)
class DeploySettings:
    """The settings of one stack. `account` is empty if the file does not name it."""

    stack: str
    account: str
    region: str
    bucket: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def value_of(self, name: str, template: Template) -> str:
        """Return the parameter's value, which is the template's default if the settings do not name it."""
        return self.parameters.get(name) or str(template.parameters[name].default)


def default_bucket(account: str, region: str) -> str:
    return f"stripe-nightly-sync-{account}-{region}"


def check_stack_name(name: str) -> str:
    """Return `name`. Raise DeployError if no stack can have it."""
    if not _STACK.fullmatch(name):
        raise DeployError(
            f"{name!r} is no stack name: letters, digits and hyphens, 55 at most, a letter first"
        )
    return name


def apply_changes(settings: DeploySettings, changes: Sequence[str]) -> DeploySettings:
    """Return the settings with `changes`, each `NAME=VALUE`. Raise DeployError for any other form."""
    pairs = [change.partition("=") for change in changes]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise DeployError(f"--set {wrong[0]}: it takes NAME=VALUE")
    return replace(settings, parameters={**settings.parameters, **{name: value for name, _, value in pairs}})
