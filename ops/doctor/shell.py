"""The commands of a fix, ready to be copied: with the options that select the checked stack."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Any

from ops.stack.stack import DEFAULT_STACK, StackSelector


@dataclass(frozen=True)
class Shell:
    """The stack that commands are for. `endpoint` is the URL of an emulated AWS, otherwise None."""

    stack: str
    wanted: StackSelector
    endpoint: str | None = None

    def aws(self, command: str) -> str:
        """Return an AWS CLI command."""
        options = {
            "--endpoint-url": self.endpoint,
            "--profile": self.wanted.profile,
            "--region": self.wanted.region,
        }
        return " ".join(["aws", *_format_options(options), command])

    def sync(self, command: str) -> str:
        """Return a `nightly-sync` command. The screen adds the options that select the stack."""
        return f"nightly-sync {command}"

    def destroy(self) -> str:
        """Return the command that deletes the stack."""
        return "make demo ARGS=--stop" if self.wanted.sandbox else self._make("destroy")

    def deploy(self, override: str = "") -> str:
        """Return a deployment command that changes at most one parameter."""
        return self._make("deploy", override)

    def adopt(self) -> str:
        """Return the deployment command that takes over the ledger of another stack."""
        return self._make("deploy", flag="--adopt")

    def _make(self, target: str, override: str = "", flag: str = "") -> str:
        options = {
            "--stack": None if self.stack == DEFAULT_STACK else self.stack,
            "--region": self.wanted.region,
            "--set": override,
        }
        profile = f"AWS_PROFILE={quote(self.wanted.profile)} " if self.wanted.profile else ""
        arguments = " ".join([*_format_options(options), *([flag] if flag else [])])
        return f"{profile}make {target}" + (f' ARGS="{arguments}"' if arguments else "")


def quote_json(value: Mapping[str, Any]) -> str:
    """Return JSON quoted for a shell."""
    return quote(json.dumps(value, default=str))


def _format_options(options: Mapping[str, str | None]) -> list[str]:
    return [f"{name} {quote(value)}" for name, value in options.items() if value]
