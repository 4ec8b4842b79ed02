"""The commands of a fix, ready to be copied: with the place that the doctor itself was told."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Any

from ops.place import DEFAULT_STACK, Wanted


@dataclass(frozen=True)
class Shell:
    """`endpoint` is where the AWS CLI has to look for an emulated AWS."""

    stack: str
    wanted: Wanted
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

    def delete_stack(self) -> str:
        return self.aws(f"cloudformation delete-stack --stack-name {self.stack}")

    def deploy(self, override: str = "") -> str:
        """With one parameter changed; the others keep their values."""
        changed = f" --parameter-overrides {override}" if override else ""
        return self.aws(
            f"cloudformation deploy --template-file build/packaged.yaml --stack-name {self.stack} "
            f"--capabilities CAPABILITY_IAM{changed}"
        )


def as_argument(value: Mapping[str, Any]) -> str:
    """JSON, quoted for a shell."""
    return quote(json.dumps(value, default=str))


def _options(said: Mapping[str, str | None]) -> list[str]:
    return [f"{name} {quote(value)}" for name, value in said.items() if value]
