"""The functions' zips and the template that names them, in the bucket.

Each object is named after the hash of its content: the same input is the same object, uploaded once, and a
template says exactly which code it deploys.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.build import FUNCTIONS, ROOT, Options, build, write_zip
from infra.deploy.aws import Aws
from infra.deploy.errors import CannotDeploy
from infra.deploy.screen import Screen
from infra.deploy.template import Template

# What the template's Architecture says -> what the build calls it.
PLATFORMS: Mapping[str, Options] = {"arm64": Options("aarch64"), "x86_64": Options("x86_64")}

type Build = Callable[[Options], Mapping[str, Path]]


def zips(options: Options) -> dict[str, Path]:
    """A zip of each function in build/."""
    out = ROOT / "build"
    return {name: write_zip(folder, out / f"{name}.zip") for name, folder in build(out, options).items()}


def platform(template: Template, parameters: Mapping[str, str]) -> Options:
    return PLATFORMS[parameters.get("Architecture") or str(template.parameters["Architecture"].default)]


def sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class Packages:
    """What one stack has in the bucket."""

    def __init__(self, aws: Aws, screen: Screen, bucket: str, stack: str) -> None:
        self._aws = aws
        self._screen = screen
        self._bucket = bucket
        self._stack = stack

    def put_functions(self, archives: Mapping[str, Path]) -> dict[str, str]:
        """The address of each function's zip."""
        return {name: f"s3://{self._bucket}/{self._put_zip(name, path)}" for name, path in archives.items()}

    def _put_zip(self, name: str, path: Path) -> str:
        digest = sha256(path)
        key = f"{self._stack}/{name}-{digest}.zip"
        is_new = self._put(path, key)
        self._screen.line(f"  {name}.zip sha256 {digest}{'' if is_new else ' (is there)'}")
        return key

    def put_template(self, template: str) -> str:
        """The URL that CloudFormation reads it from: it is larger than the 51,200 bytes of a request."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "template.yaml"
            path.write_text(template)
            key = f"{self._stack}/template-{sha256(path)}.yaml"
            self._put(path, key)
        return f"{s3_address(self._aws.region, os.environ)}/{self._bucket}/{key}"

    def _put(self, path: Path, key: str) -> bool:
        """Whether it had to be uploaded."""
        known = self._aws.find(
            "s3api", "list-objects-v2", "--bucket", self._bucket, "--prefix", key, missing="NoSuchBucket"
        )
        if known and known.get("Contents"):
            return False
        self._aws.put("s3", "cp", "--only-show-errors", str(path), f"s3://{self._bucket}/{key}")
        return True


def packaged(template: str, functions: Mapping[str, str]) -> str:
    """The template with each function's zip in the place of its folder, and nothing else changed."""
    for name in FUNCTIONS:
        folder = f"../build/{name}"
        if template.count(folder) != 1:
            raise CannotDeploy(f"the template should name {folder} once")
        template = template.replace(folder, functions[name])
    return template


def s3_address(region: str, environ: Mapping[str, str]) -> str:
    """Where CloudFormation finds the bucket, path-style as `aws cloudformation deploy` has it."""
    chosen = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return chosen or f"https://s3.{region}.{suffix}"
