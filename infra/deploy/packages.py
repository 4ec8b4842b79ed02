"""The functions' zips, and the template that names them, in the bucket.

Each object is named after the hash of its content: the same input is one object that is uploaded once, and a
template names exactly the code that it deploys.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.build import FUNCTIONS, ROOT, BuildOptions, build, write_zip
from infra.deploy.aws import AwsServices
from infra.deploy.errors import DeployError
from infra.deploy.template import Template
from infra.deploy.terminal import DeployTerminal

# The values of the template's parameter Architecture.
PLATFORMS: Mapping[str, BuildOptions] = {"arm64": BuildOptions("aarch64"), "x86_64": BuildOptions("x86_64")}

type BuildZips = Callable[[BuildOptions], Mapping[str, Path]]


def build_zips(options: BuildOptions) -> dict[str, Path]:
    """Build the functions and return the zip of each in build/."""
    out = ROOT / "build"
    return {name: write_zip(folder, out / f"{name}.zip") for name, folder in build(out, options).items()}


def choose_platform(template: Template, parameters: Mapping[str, str]) -> BuildOptions:
    return PLATFORMS[parameters.get("Architecture") or str(template.parameters["Architecture"].default)]


def sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class PackageBucket:
    """The objects of one stack in the bucket."""

    def __init__(self, aws: AwsServices, terminal: DeployTerminal, bucket: str, stack: str) -> None:
        self._aws = aws
        self._terminal = terminal
        self._bucket = bucket
        self._stack = stack

    def upload_functions(self, archives: Mapping[str, Path]) -> dict[str, str]:
        """Upload the zips that the bucket does not hold yet, and return the address of each."""
        return {name: self._address(self._upload_zip(name, path)) for name, path in archives.items()}

    def _upload_zip(self, name: str, path: Path) -> str:
        key = self._zip_key(name, path)
        is_new = not self._exists(key)
        if is_new:
            self._upload(path, key)
        self._show(name, path, "" if is_new else " (exists)")
        return key

    def name_functions(self, archives: Mapping[str, Path]) -> dict[str, str]:
        """Return the address that each function's zip would have, and upload none."""
        return {name: self._address(self._name_zip(name, path)) for name, path in archives.items()}

    def _name_zip(self, name: str, path: Path) -> str:
        key = self._zip_key(name, path)
        self._show(name, path, " (exists)" if self._exists(key) else " (would be uploaded)")
        return key

    def _zip_key(self, name: str, path: Path) -> str:
        return f"{self._stack}/{name}-{sha256(path)}.zip"

    def _address(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    def _show(self, name: str, path: Path, state: str) -> None:
        self._terminal.line(f"  {name}.zip sha256 {sha256(path)}{state}")

    def upload_template(self, template: str) -> str:
        """Upload the template and return its URL: it exceeds the 51,200 bytes of a request."""
        with _write_temporary(template) as path:
            key = self._template_key(path)
            if not self._exists(key):
                self._upload(path, key)
        return self._url(key)

    @contextmanager
    def lend_template(self, template: str) -> Iterator[str]:
        """Give the template's URL inside the block, and restore the bucket after it."""
        with _write_temporary(template) as path:
            key = self._template_key(path)
            if self._exists(key):
                yield self._url(key)
                return
            # A unique name, since a concurrent deployment may upload the same template under the usual one.
            key = f"{self._stack}/dry-run-{uuid.uuid4().hex}.yaml"
            self._upload(path, key)
        try:
            yield self._url(key)
        finally:
            self._aws.call("s3", "delete_object", Bucket=self._bucket, Key=key)

    def _template_key(self, path: Path) -> str:
        return f"{self._stack}/template-{sha256(path)}.yaml"

    def _url(self, key: str) -> str:
        # Path-style, so that a bucket's name may contain a dot.
        return f"{self._aws.client('s3').meta.endpoint_url}/{self._bucket}/{key}"

    def _exists(self, key: str) -> bool:
        known = self._aws.find(
            "s3", "list_objects_v2", missing="NoSuchBucket", Bucket=self._bucket, Prefix=key
        )
        return bool(known and known.get("Contents"))

    def _upload(self, path: Path, key: str) -> None:
        self._aws.call("s3", "put_object", Bucket=self._bucket, Key=key, Body=path.read_bytes())


@contextmanager
def _write_temporary(template: str) -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "template.yaml"
        path.write_text(template)
        yield path


def package_template(template: str, functions: Mapping[str, str]) -> str:
    """Return the template with the address of each function's zip instead of its folder.

    Raise DeployError if the template does not name each folder exactly once.
    """
    for name in FUNCTIONS:
        folder = f"../build/{name}"
        if template.count(folder) != 1:
            raise DeployError(f"the template should name {folder} once")
        template = template.replace(folder, functions[name])
    return template
