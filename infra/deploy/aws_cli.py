"""Calls of the AWS CLI, version 1 or 2: words in, JSON out, errors in one line."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.deploy.errors import DeployError

# The format in which both versions print a service's error.
_SERVICE_ERROR = re.compile(
    r"An error occurred \(([^)]+)\) when calling the (\w+) operation[^:]*: (.*)", re.DOTALL
)
_NO_CREDENTIALS = ("Unable to locate credentials", "could not be found", "NoCredentials")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_EXPIRED_LOGIN = ("Token has expired", "SSO session associated with this profile has expired")


@dataclass(frozen=True)
class ProgramResult:
    """The exit code and output of one finished call of the program."""

    code: int
    out: str
    err: str


type RunProgram = Callable[[Sequence[str]], ProgramResult]


class AwsError(DeployError):
    """AWS rejected a call; `code` is the service's error code."""

    def __init__(self, code: str, operation: str, message: str) -> None:
        super().__init__(f"AWS: {operation}: {code}: {' '.join(message.split())[:300]}")
        self.code = code


class AwsCli:
    """The AWS CLI in one region: `aws.call("sqs", "get-queue-url", "--queue-name", "a")`."""

    def __init__(self, run: RunProgram, region: str) -> None:
        self._run = run
        self.region = region

    def call(self, *words: str) -> Any:  # noqa: ANN401 - depends on the service
        """Return the parsed JSON response, or None if it is empty.

        Raise AwsError if the service rejects the call, DeployError if the call does not reach it.
        """
        done = self._run_checked(*words, "--region", self.region, "--output", "json")
        return json.loads(done.out) if done.out.strip() else None

    def find(self, *words: str, missing: str) -> Any:  # noqa: ANN401
        """Return the response, or None if AWS rejects the call with an error that contains `missing`."""
        try:
            return self.call(*words)
        except AwsError as error:
            if missing in str(error):
                return None
            raise

    def transfer(self, *words: str) -> None:
        """Run a command without JSON output, such as those of `aws s3`."""
        self._run_checked(*words, "--region", self.region)

    def _run_checked(self, *words: str) -> ProgramResult:
        done = self._run(words)
        if done.code:
            raise to_error(done)
        return done


def to_error(done: ProgramResult) -> DeployError:
    """Return the error that a failed call printed, in one line."""
    text = " ".join((done.err or done.out).split())
    if match := _SERVICE_ERROR.search(done.err):
        code, operation, message = match.groups()
        if code in _EXPIRED:
            return DeployError("the AWS credentials have expired: log in again (aws sso login, or new keys)")
        return AwsError(code, operation, message)
    if any(words in text for words in _EXPIRED_LOGIN):
        return DeployError("the AWS login has expired: aws sso login")
    if any(words in text for words in _NO_CREDENTIALS):
        return DeployError(f"no AWS credentials: set AWS_PROFILE, or run aws configure ({text[:120]})")
    return DeployError(f"aws: {text[:300]}")


def find_program(environ: Mapping[str, str]) -> RunProgram:
    """Return a function that runs the `aws` on PATH. Raise DeployError if there is none."""
    program = shutil.which("aws", path=environ.get("PATH"))
    if program is None:
        raise DeployError(
            "the AWS CLI is needed: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
        )
    environment = dict(environ) | {"AWS_PAGER": ""}

    def run(words: Sequence[str]) -> ProgramResult:
        command = [program, *words]
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)  # noqa: S603 - our own words
        return ProgramResult(done.returncode, done.stdout, done.stderr)

    return run


def find_region(run: RunProgram, named: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the named region, or the one that the CLI itself would use. Raise DeployError if none is set."""
    region = named or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    region = region or run(["configure", "get", "region"]).out.strip()
    if not region:
        raise DeployError("no AWS region: give --region, or set AWS_REGION or the profile's region")
    return region
