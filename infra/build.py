"""Build one folder per Lambda function: its package, `recon`, and the locked runtime dependencies.

    python -m infra.build [--out build] [--platform aarch64|x86_64|host]

`infra/template.yaml` names the folders as `CodeUri`. Builds are reproducible: the same lock file and sources
give the same bytes on any machine at any time. The functions bring the botocore that they were tested with,
cut to the services they call, and use nothing of the runtime's.
"""

import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from infra.arguments import ArgumentParser
from recon.aws.clients import SERVICES

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "build"
FUNCTIONS = ("producer", "consumer")
SHARED = "recon"
PYTHON = (3, 12)

# Lambda's limit for a function's files together with its layers, and for a zip in a direct upload.
UNZIPPED_LIMIT = 250 * 1024 * 1024
ZIPPED_LIMIT = 50 * 1024 * 1024

Platform = Literal["aarch64", "x86_64", "host"]

# Where Lambda unpacks a function. The bytecode gets this path instead of the build folder's, so that a build
# does not depend on where it was made.
TASK_ROOT = "/var/task"
# The earliest time that a zip can hold. Files with one constant time make the zips of one input identical.
EPOCH = (1980, 1, 1, 0, 0, 0)
EPOCH_SECONDS = 315_532_800

# An installer's own records, some with paths of the build machine. METADATA stays (packages read their own
# version from it), and so do entry points and licences.
INSTALLER_FILES = ("RECORD", "INSTALLER", "REQUESTED", "WHEEL", "direct_url.json", "uv_cache.json")


class BuildError(Exception):
    """The build cannot continue; the message says what is missing."""


@dataclass(frozen=True)
class BuildOptions:
    """The machine that the functions run on."""

    platform: Platform = "aarch64"


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(prog="python -m infra.build", description="Build one folder per Lambda function.")
    add = parser.add_argument
    add("--out", type=Path, default=ROOT / "build", help="folder to build into (default: build)")
    add(
        "--platform",
        choices=get_args(Platform),
        default="aarch64",
        help="machine that the functions run on (default: aarch64)",
    )
    chosen = parser.parse_args(arguments)
    try:
        folders = build(chosen.out, BuildOptions(chosen.platform))
    except BuildError as error:
        sys.exit(f"build: {error}")
    for folder in folders.values():
        print(describe_size(folder))


def build(out: Path, options: BuildOptions = BuildOptions()) -> dict[str, Path]:
    """Build every function and return its folder by its name. Replace an earlier build in `out`."""
    dependencies = install_dependencies(options)
    return {name: assemble(name, out / name, dependencies) for name in FUNCTIONS}


def assemble(name: str, folder: Path, dependencies: Path) -> Path:
    """Fill `folder` with the dependencies, the function's own package and the shared one, and return it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(dependencies, folder)
    for package in (name, SHARED):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        compile_bytecode(folder, package)
    reset_times(folder)
    return folder


# --- dependencies -------------------------------------------------------------------------------------------


def install_dependencies(options: BuildOptions) -> Path:
    """Return the folder with the locked runtime dependencies, installed once per lock file and cached."""
    require_python()
    folder = CACHE / cache_key(options)
    if not folder.exists():
        # Two processes may build at once: each fills its own draft, and the first to finish renames it.
        draft = CACHE / f"{folder.name}.{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        run_install(draft, options)
        prune(draft)
        compile_bytecode(draft)
        move_into_place(draft, folder)
    return folder


def cache_key(options: BuildOptions) -> str:
    """Return a hash of the lock file, the options, the services, the interpreter and this script."""
    files = [path.read_bytes() for path in (ROOT / "uv.lock", Path(__file__))]
    return hashlib.sha256(b"\0".join([*files, f"{options} {SERVICES} {sys.version}".encode()])).hexdigest()[
        :16
    ]


def move_into_place(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(draft)


def run_install(folder: Path, options: BuildOptions) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    requirements = folder.parent / f"{folder.name}.txt"
    # --prune also drops the dependencies that only boto3 has; the functions import botocore alone.
    runtime = ("--frozen", "--no-dev", "--no-emit-project", "--no-header", "--prune", "boto3")
    run_uv("export", *runtime, "--output-file", requirements)
    onto = () if options.platform == "host" else ("--python-platform", f"{options.platform}-manylinux2014")
    version = ("--python-version", ".".join(map(str, PYTHON)))
    locked = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--requirements", requirements)
    run_uv("pip", "install", "--target", folder, "--link-mode", "copy", *version, *onto, *locked)
    requirements.unlink()


def run_uv(*arguments: str | Path) -> None:
    # Quiet, since the lock file already lists what is installed. Errors are still printed.
    command = [find_uv(), "--quiet", *map(str, arguments)]
    # uv would otherwise warn about the active environment of another project.
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)  # noqa: S603 - our own arguments
    if done.returncode:
        called = " ".join(itertools.takewhile(lambda word: not word.startswith("-"), command[2:]))
        raise BuildError(f"`uv {called}` failed:\n{done.stderr.strip()}")


def find_uv() -> str:
    """Return the uv named by the variable UV, or the one on PATH, or the one that `make` put into .tools."""
    local = ROOT / ".tools" / "bin" / "uv"
    found = os.environ.get("UV") or shutil.which("uv") or (str(local) if local.exists() else None)
    if not found:
        raise BuildError("uv is needed and not found: set UV, put it on PATH, or run `make build`")
    return found


def require_python() -> None:
    if sys.version_info[:2] != PYTHON:
        wanted, actual = (".".join(map(str, version[:2])) for version in (PYTHON, sys.version_info))
        raise BuildError(f"run with Python {wanted}, whose bytecode the functions read; this is {actual}")


# --- removal of unneeded files ------------------------------------------------------------------------------


def prune(folder: Path) -> None:
    """Remove files that no import can reach: scripts, types, packages' own tests, installer's records."""
    for unneeded in list(find_unneeded(folder)):
        if unneeded.is_dir():
            shutil.rmtree(unneeded)
        else:
            unneeded.unlink(missing_ok=True)


def find_unneeded(folder: Path) -> Iterator[Path]:
    yield folder / "bin"
    yield folder / ".lock"
    yield from (info / name for info in folder.glob("*.dist-info") for name in INSTALLER_FILES)
    yield from (path for pattern in ("*.pyi", "py.typed", "__pycache__") for path in folder.rglob(pattern))
    yield from (path for path in folder.glob("*/tests") if path.is_dir())
    # The types of Stripe's parameters, for type checkers only, are a third of all files.
    yield folder / "stripe" / "params"
    # The data of botocore's 400 services are nine tenths of it.
    data = folder / "botocore" / "data"
    yield from (path for path in data.glob("*/") if path.name not in SERVICES)
    yield from data.rglob("examples-1.json")


# --- bytecode, times, zips ----------------------------------------------------------------------------------


def compile_bytecode(folder: Path, package: str = "") -> None:
    """Write bytecode that stays valid whatever time the zip gives its source: Lambda cannot write its own.

    Uses a fresh interpreter and one thread: a pyc's bytes depend on what the interpreter compiled before.
    """
    compiler = (sys.executable, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash")
    command = [*compiler, "-s", str(folder), "-p", TASK_ROOT, str(folder / package)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own arguments
    if done.returncode:
        raise BuildError(f"a file does not compile:\n{done.stdout.strip()}")


def reset_times(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (EPOCH_SECONDS, EPOCH_SECONDS))


def write_zip(folder: Path, archive: Path) -> Path:
    """Zip a built folder into `archive` and return it. The same files give the same bytes."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in list_files(folder):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            opened.writestr(entry, path.read_bytes())
    return archive


def list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# --- sizes --------------------------------------------------------------------------------------------------


def describe_size(folder: Path) -> str:
    files = list_files(folder)
    own = [path for path in files if path.relative_to(folder).parts[0] in (folder.name, SHARED)]
    return (
        f"{folder.name:<10}{megabytes(total_size(files)):>9} in {len(files)} files,"
        f" {megabytes(total_size(own))} of them own code; Lambda's limit is {megabytes(UNZIPPED_LIMIT)}"
    )


def total_size(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def megabytes(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MB"


if __name__ == "__main__":
    main()
