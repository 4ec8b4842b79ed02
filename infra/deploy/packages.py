"""The functions' zips and the template that names them, in the bucket.

Each object is named after the hash of its content: the same input is the same object, uploaded once, and a
template says exactly which code it deploys.
"""

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
        return {name: self._address(self._put_zip(name, path)) for name, path in archives.items()}

    def _put_zip(self, name: str, path: Path) -> str:
        key = self._key_of_zip(name, path)
        is_new = not self._is_there(key)
        if is_new:
            self._upload(path, key)
        self._show(name, path, "" if is_new else " (is there)")
        return key

    def name_functions(self, archives: Mapping[str, Path]) -> dict[str, str]:
        """Return the address that each function's zip would have, and upload none."""
        return {name: self._address(self._name_zip(name, path)) for name, path in archives.items()}

    def _name_zip(self, name: str, path: Path) -> str:
        key = self._key_of_zip(name, path)
        self._show(name, path, " (is there)" if self._is_there(key) else " (would be uploaded)")
        return key

    def _key_of_zip(self, name: str, path: Path) -> str:
        return f"{self._stack}/{name}-{sha256(path)}.zip"

    def _address(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    def _show(self, name: str, path: Path, state: str) -> None:
        self._screen.line(f"  {name}.zip sha256 {sha256(path)}{state}")

    def put_template(self, template: str) -> str:
        """The URL that CloudFormation reads it from: it is larger than the 51,200 bytes of a request."""
        with _file(template) as path:
            key = self._key_of_template(path)
            if not self._is_there(key):
                self._upload(path, key)
        return self._url(key)

    @contextmanager
    def lend_template(self, template: str) -> Iterator[str]:
        """The same inside the block. After it the bucket holds what it held before."""
        with _file(template) as path:
            key = self._key_of_template(path)
            if self._is_there(key):
                yield self._url(key)
                return
            # A name of its own: a deployment at the same time may put the same template under the usual one.
            key = f"{self._stack}/dry-run-{uuid.uuid4().hex}.yaml"
            self._upload(path, key)
        try:
            yield self._url(key)
        finally:
            self._aws.put("s3", "rm", "--only-show-errors", self._address(key))

    def _key_of_template(self, path: Path) -> str:
        return f"{self._stack}/template-{sha256(path)}.yaml"

    def _url(self, key: str) -> str:
        return f"{s3_address(self._aws.region, os.environ)}/{self._bucket}/{key}"

    def _is_there(self, key: str) -> bool:
        known = self._aws.find(
            "s3api", "list-objects-v2", "--bucket", self._bucket, "--prefix", key, missing="NoSuchBucket"
        )
        return bool(known and known.get("Contents"))

    def _upload(self, path: Path, key: str) -> None:
        self._aws.put("s3", "cp", "--only-show-errors", str(path), self._address(key))


@contextmanager
def _file(template: str) -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "template.yaml"
        path.write_text(template)
        yield path


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
