"""What the template says of itself: its parameters with their checks, and what a deletion keeps."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import yaml


@dataclass(frozen=True)
class Parameter:
    """One parameter of the template. All values are text, as CloudFormation takes them."""

    name: str
    description: str
    default: str | None
    is_number: bool = False
    pattern: str | None = None
    allowed: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    longest: int | None = None
    constraint: str = ""

    @classmethod
    def of(cls, name: str, raw: Mapping[str, Any]) -> Self:
        return cls(
            name=name,
            description=raw.get("Description", ""),
            default=str(raw["Default"]) if "Default" in raw else None,
            is_number=raw["Type"] == "Number",
            pattern=raw.get("AllowedPattern"),
            allowed=tuple(map(str, raw.get("AllowedValues", ()))),
            least=raw.get("MinValue"),
            most=raw.get("MaxValue"),
            longest=raw.get("MaxLength"),
            constraint=raw.get("ConstraintDescription", ""),
        )

    def problem(self, value: str) -> str | None:
        """What is wrong with a value, by the template's rules. Only a default of "" allows an empty one."""
        if self.allowed and value not in self.allowed:
            return f"{self.name} must be one of {', '.join(self.allowed)}"
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            return f"{self.name} {self.constraint or f'must match {self.pattern}'}"
        return self._problem_of_number(value) if self.is_number else self._problem_of_length(value)

    def _problem_of_length(self, value: str) -> str | None:
        if not value and self.default != "":
            return f"{self.name} must not be empty"
        if self.longest is not None and len(value) > self.longest:
            return f"{self.name} must be {self.longest} characters or fewer"
        return None

    def _problem_of_number(self, value: str) -> str | None:
        # CloudFormation takes a fraction, and the functions refuse it when they start.
        if not re.fullmatch("[0-9]+", value):
            return f"{self.name} must be a whole number"
        number = float(value)
        if self.least is not None and number < self.least:
            return f"{self.name} must be {self.least} or more"
        if self.most is not None and number > self.most:
            return f"{self.name} must be {self.most} or less"
        return None


@dataclass(frozen=True)
class Resource:
    """`condition` is the name of the condition under which the template makes it, empty if it always does."""

    kind: str
    condition: str = ""


@dataclass(frozen=True)
class Template:
    """`retained`: logical id -> type of what stays when the stack is deleted."""

    text: str
    parameters: Mapping[str, Parameter]
    retained: Mapping[str, str]
    resources: Mapping[str, Resource]

    @classmethod
    def of(cls, text: str) -> Self:
        raw = parsed(text)
        resources = raw["Resources"]
        return cls(
            text,
            {name: Parameter.of(name, one) for name, one in raw["Parameters"].items()},
            retained_of(raw),
            {name: Resource(one["Type"], one.get("Condition", "")) for name, one in resources.items()},
        )


def parsed(text: str) -> dict[str, Any]:
    """Return the template as it is written. The values of CloudFormation's own tags are left out."""
    raw: dict[str, Any] = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader, see below
    return raw


def retained_of(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return the type of each resource that stays when the stack is deleted, by its logical id."""
    return {
        name: one["Type"]
        for name, one in raw["Resources"].items()
        if str(one.get("DeletionPolicy", "")).startswith("Retain")
    }


class _Loader(yaml.SafeLoader):
    """Reads past CloudFormation's own tags, such as !Ref, whose values nobody needs here."""


_Loader.add_multi_constructor("!", lambda _loader, tag, _node: f"!{tag}")
