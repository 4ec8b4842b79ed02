"""The commands of a fix, ready to be copied: with the place that the doctor itself was told."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Any

from ops.stack.stack import DEFAULT_STACK, StackSelector


@dataclass(frozen=True)
class Shell:
    """`endpoint` is where the AWS CLI has to look for an emulated AWS."""

    stack: str
    wanted: StackSelector
    endpoint: str | None = None

    def aws(self, command: str) -> str:
        said = {
            "--endpoint-url": self.endpoint,
            "--profile": self.wanted.profile,
            "--region": self.wanted.region,
        }
        return " ".join(["aws", *_options(said), command])

    def sync(self, command: str) -> str:
        stack = None if self.stack == DEFAULT_STACK or self.wanted.sandbox else self.stack
        said = {
            "--stack": stack,
            "--profile": self.wanted.profile,
            "--region": self.wanted.region,
            "--sandbox": str(self.wanted.sandbox) if self.wanted.sandbox else None,
        }
        return " ".join(["nightly-sync", command, *_options(said)])

    def destroy(self) -> str:
        return "make demo ARGS=--stop" if self.wanted.sandbox else self._make("destroy")

    def deploy(self, override: str = "") -> str:
        """With one parameter changed; the others keep their values."""
        return self._make("deploy", override)

    def _make(self, target: str, override: str = "") -> str:
        said = {
            "--stack": None if self.stack == DEFAULT_STACK else self.stack,
            "--region": self.wanted.region,
            "--set": override,
        }
        profile = f"AWS_PROFILE={quote(self.wanted.profile)} " if self.wanted.profile else ""
        options = " ".join(_options(said))
        return f"{profile}make {target}" + (f' ARGS="{options}"' if options else "")


def as_argument(value: Mapping[str, Any]) -> str:
    """JSON, quoted for a shell."""
    return quote(json.dumps(value, default=str))


def _options(said: Mapping[str, str | None]) -> list[str]:
    return [f"{name} {quote(value)}" for name, value in said.items() if value]
