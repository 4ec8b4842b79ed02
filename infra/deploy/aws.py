"""The AWS CLI, versions 1 and 2: words in, JSON out, errors in one line."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.deploy.errors import CannotDeploy

# How both versions print a service's refusal.
_REFUSAL = re.compile(r"An error occurred \(([^)]+)\) when calling the (\w+) operation[^:]*: (.*)", re.DOTALL)
_NO_CREDENTIALS = ("Unable to locate credentials", "could not be found", "NoCredentials")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_EXPIRED_LOGIN = ("Token has expired", "SSO session associated with this profile has expired")


@dataclass(frozen=True)
class Done:
    """One finished call of the program."""

    code: int
    out: str
    err: str


type Run = Callable[[Sequence[str]], Done]


class AwsError(CannotDeploy):
    """AWS refused a call. `code` is its name for why."""

    def __init__(self, code: str, operation: str, message: str) -> None:
        super().__init__(f"AWS: {operation}: {code}: {' '.join(message.split())[:300]}")
        self.code = code


class Aws:
    """`aws("sqs", "get-queue-url", "--queue-name", "a")` is the answer, read from JSON."""

    def __init__(self, run: Run, region: str) -> None:
        self._run = run
        self.region = region

    def __call__(self, *words: str) -> Any:  # noqa: ANN401 - whatever the service answers
        """None for a call that answers nothing. Raises AwsError, and CannotDeploy where none was asked."""
        done = self._run([*words, "--region", self.region, "--output", "json"])
        if done.code:
            raise refused(done)
        return json.loads(done.out) if done.out.strip() else None

    def find(self, *words: str, missing: str) -> Any:  # noqa: ANN401
        """The answer, or None where AWS refuses with `missing` in what it says: there is no such thing."""
        try:
            return self(*words)
        except AwsError as error:
            if missing in str(error):
                return None
            raise

    def put(self, *words: str) -> None:
        """A call whose answer is for people, such as those of `aws s3`."""
        done = self._run([*words, "--region", self.region])
        if done.code:
            raise refused(done)


def refused(done: Done) -> CannotDeploy:
    """What the program complained about, in one line."""
    said = " ".join((done.err or done.out).split())
    if refusal := _REFUSAL.search(done.err):
        code, operation, message = refusal.groups()
        if code in _EXPIRED:
            return CannotDeploy("the AWS credentials have expired: log in again (aws sso login, or new keys)")
        return AwsError(code, operation, message)
    if any(words in said for words in _EXPIRED_LOGIN):
        return CannotDeploy("the AWS login has expired: aws sso login")
    if any(words in said for words in _NO_CREDENTIALS):
        return CannotDeploy(f"no AWS credentials: set AWS_PROFILE, or run aws configure ({said[:120]})")
    return CannotDeploy(f"aws: {said[:300]}")


def program(environ: Mapping[str, str]) -> Run:
    """The `aws` on the PATH. Raises CannotDeploy where there is none."""
    found = shutil.which("aws", path=environ.get("PATH"))
    if found is None:
        raise CannotDeploy(
            "the AWS CLI is needed: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
        )
    environment = dict(environ) | {"AWS_PAGER": ""}

    def run(words: Sequence[str]) -> Done:
        done = subprocess.run([found, *words], env=environment, check=False, capture_output=True, text=True)  # noqa: S603 - our own words
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def region_of(run: Run, said: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """As the CLI itself looks for it. Raises CannotDeploy where nothing says it."""
    region = said or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    region = region or run(["configure", "get", "region"]).out.strip()
    if not region:
        raise CannotDeploy("no AWS region: give --region, or set AWS_REGION or the profile's region")
    return region
