"""The template as data: parameters with their rules, resources, and which of them a deletion keeps."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import yaml

from recon.domain.session_filter import parse_filter
from recon.domain.user_ids import parse_sources
from recon.errors import ConfigError

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML was built without libyaml, which only makes it slower.
    from yaml import SafeLoader  # type: ignore[assignment]

# The functions' own check, which names what is wrong.
_CHECKS: Mapping[str, Callable[[str], object]] = {
    "SessionFilter": parse_filter,
    "UserIdSources": parse_sources,
}


@dataclass(frozen=True)
class TemplateParameter:
    """One parameter of the template. All values are text, as CloudFormation takes them."""

    name: str
    description: str
    default: str | None
    is_number: bool = False
    pattern: str | None = None
    allowed: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None
    constraint: str = ""

    @classmethod
    def parse(cls, name: str, raw: Mapping[str, Any]) -> Self:
        return cls(
            name=name,
            description=raw.get("Description", ""),
            default=str(raw["Default"]) if "Default" in raw else None,
            is_number=raw["Type"] == "Number",
            pattern=raw.get("AllowedPattern"),
            allowed=tuple(map(str, raw.get("AllowedValues", ()))),
            minimum=raw.get("MinValue"),
            maximum=raw.get("MaxValue"),
            max_length=raw.get("MaxLength"),
            constraint=raw.get("ConstraintDescription", ""),
        )

    def find_problem(self, value: str) -> str | None:
        """Return what is wrong with `value`, or None. Only a default of "" allows an empty value."""
        try:
            _CHECKS.get(self.name, str)(value)
        except ConfigError as error:
            return f"{self.name}: {error}"
        if self.allowed and value not in self.allowed:
            return f"{self.name} must be one of {', '.join(self.allowed)}"
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            return f"{self.name} {self.constraint or f'must match {self.pattern}'}"
        return self._check_number(value) if self.is_number else self._check_length(value)

    def _check_length(self, value: str) -> str | None:
        if not value and self.default != "":
            return f"{self.name} must not be empty"
        if self.max_length is not None and len(value) > self.max_length:
            return f"{self.name} must be {self.max_length} characters or fewer"
        return None

    def _check_number(self, value: str) -> str | None:
        # CloudFormation accepts a fraction, but the functions reject it when they start.
        if not re.fullmatch("[0-9]+", value):
            return f"{self.name} must be a whole number"
        number = float(value)
        if self.minimum is not None and number < self.minimum:
            return f"{self.name} must be {self.minimum} or more"
        if self.maximum is not None and number > self.maximum:
            return f"{self.name} must be {self.maximum} or less"
        return None


@dataclass(frozen=True)
class TemplateResource:
    """One resource: its type, and the name of the condition under which it is created, if it has one."""

    kind: str
    condition: str = ""


@dataclass(frozen=True)
class Template:
    """The template's text and its parsed parts, each by its logical id."""

    text: str
    parameters: Mapping[str, TemplateParameter]
    retained: set[str]
    resources: Mapping[str, TemplateResource]

    @classmethod
    def parse(cls, text: str) -> Self:
        raw = parse_yaml(text)
        resources = raw["Resources"]
        return cls(
            text,
            {name: TemplateParameter.parse(name, body) for name, body in raw["Parameters"].items()},
            find_retained(raw),
            {
                name: TemplateResource(body["Type"], body.get("Condition", ""))
                for name, body in resources.items()
            },
        )


def parse_yaml(text: str) -> dict[str, Any]:
    """Return the template as data, without the values of CloudFormation's own tags."""
    raw: dict[str, Any] = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader, see below
    return raw


def find_retained(raw: Mapping[str, Any]) -> set[str]:
    """Return the logical ids of the resources that are kept when the stack is deleted."""
    return {
        name
        for name, body in raw["Resources"].items()
        if str(body.get("DeletionPolicy", "")).startswith("Retain")
    }


def find_bucket(raw: Mapping[str, Any]) -> str:
    """Return the bucket that a packaged template names for its functions' code, or ""."""
    for body in raw["Resources"].values():
        properties = body.get("Properties", {})
        if address := re.match("s3://([^/]+)/", str(properties.get("CodeUri", ""))):
            return address[1]
        code = properties.get("Code")
        if isinstance(code, Mapping) and "S3Bucket" in code:
            return str(code["S3Bucket"])
    return ""


class _Loader(SafeLoader):
    """A loader that skips the values of CloudFormation's own tags, such as !Ref."""


_Loader.add_multi_constructor("!", lambda _loader, tag, _node: f"!{tag}")
