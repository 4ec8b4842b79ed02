"""Builds one folder per Lambda function: its package, `recon`, and the locked runtime dependencies.

    python -m infra.build [--out build] [--platform aarch64|x86_64|host] [--with-boto3]

`infra/template.yaml` points at the folders. The same lock file and sources give the same bytes, wherever and
whenever they are built. boto3 is left to the Lambda runtime unless asked for.
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

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "build"
FUNCTIONS = ("producer", "consumer")
SHARED = "recon"
PYTHON = (3, 12)

# Lambda's limit for a function's files together with its layers, and for a zip in a direct upload.
UNZIPPED_LIMIT = 250 * 1024 * 1024
ZIPPED_LIMIT = 50 * 1024 * 1024

Platform = Literal["aarch64", "x86_64", "host"]

# Where Lambda unpacks a function. Written into the bytecode in place of the path it was compiled at, so
# that a build does not depend on the folder it was made in.
TASK_ROOT = "/var/task"
# No zip can hold an earlier time. One constant for every file keeps the zips of one input identical.
EPOCH = (1980, 1, 1, 0, 0, 0)
EPOCH_SECONDS = 315_532_800

# What an installer notes down for itself, some of it with this machine's paths. METADATA stays (packages ask
# for their own version), and so do entry points and licences.
INSTALLER_FILES = ("RECORD", "INSTALLER", "REQUESTED", "WHEEL", "direct_url.json", "uv_cache.json")


class BuildError(Exception):
    """The build cannot go on; the message says what is missing."""


@dataclass(frozen=True)
class Options:
    platform: Platform = "aarch64"
    with_boto3: bool = False


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(
        prog="python -m infra.build", description="Builds one folder per Lambda function."
    )
    add = parser.add_argument
    add("--out", type=Path, default=ROOT / "build", help="folder to build into (default: build)")
    add(
        "--platform",
        choices=get_args(Platform),
        default="aarch64",
        help="what they run on (default: aarch64)",
    )
    add("--with-boto3", action="store_true", help="ship the locked boto3 instead of using the runtime's")
    chosen = parser.parse_args(arguments)
    try:
        folders = build(chosen.out, Options(chosen.platform, chosen.with_boto3))
    except BuildError as error:
        sys.exit(f"build: {error}")
    for folder in folders.values():
        print(size_line(folder))


def build(out: Path, options: Options = Options()) -> dict[str, Path]:
    """Folder of each function, by name. Replaces what an earlier build left in `out`."""
    dependencies = installed_dependencies(options)
    return {name: assemble(name, out / name, dependencies) for name in FUNCTIONS}


def assemble(name: str, folder: Path, dependencies: Path) -> Path:
    """Fills `folder` with the dependencies, the function's own package and what both functions share."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(dependencies, folder)
    for package in (name, SHARED):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        compile_bytecode(folder, package)
    level_times(folder)
    return folder


# --- dependencies -------------------------------------------------------------------------------------------


def installed_dependencies(options: Options) -> Path:
    """Folder with the locked runtime dependencies, installed once per lock file and kept in the cache."""
    require_python()
    folder = CACHE / cache_key(options)
    if not folder.exists():
        # Two processes may build at once: each makes its own, the first to finish gives it its name.
        draft = CACHE / f"{folder.name}.{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        install(draft, options)
        prune(draft)
        compile_bytecode(draft)
        adopt(draft, folder)
    return folder


def cache_key(options: Options) -> str:
    """Changes with the lock file, the options, the interpreter that compiles, and this script."""
    files = [path.read_bytes() for path in (ROOT / "uv.lock", Path(__file__))]
    return hashlib.sha256(b"\0".join([*files, f"{options} {sys.version}".encode()])).hexdigest()[:16]


def adopt(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(draft)


def install(folder: Path, options: Options) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    requirements = folder.parent / f"{folder.name}.txt"
    # --prune also drops what nothing but boto3 needs; urllib3, say, stays for stripe.
    without = () if options.with_boto3 else ("--prune", "boto3")
    runtime = ("--frozen", "--no-dev", "--no-emit-project", "--no-header", *without)
    uv("export", *runtime, "--output-file", requirements)
    onto = () if options.platform == "host" else ("--python-platform", f"{options.platform}-manylinux2014")
    version = ("--python-version", ".".join(map(str, PYTHON)))
    locked = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--requirements", requirements)
    uv("pip", "install", "--target", folder, "--link-mode", "copy", *version, *onto, *locked)
    requirements.unlink()


def uv(*arguments: str | Path) -> None:
    # Quiet: what it installs is in the lock file. Errors still show.
    command = [find_uv(), "--quiet", *map(str, arguments)]
    # Another project's active environment is none of this build's business.
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)  # noqa: S603 - our own arguments
    if done.returncode:
        called = " ".join(itertools.takewhile(lambda word: not word.startswith("-"), command[2:]))
        raise BuildError(f"`uv {called}` failed:\n{done.stderr.strip()}")


def find_uv() -> str:
    """The uv that UV names, else the one on PATH, else the one that `make` put into .tools."""
    local = ROOT / ".tools" / "bin" / "uv"
    found = os.environ.get("UV") or shutil.which("uv") or (str(local) if local.exists() else None)
    if not found:
        raise BuildError("uv is needed and not found: set UV, put it on PATH, or run `make build`")
    return found


def require_python() -> None:
    if sys.version_info[:2] != PYTHON:
        wanted, actual = (".".join(map(str, version[:2])) for version in (PYTHON, sys.version_info))
        raise BuildError(f"run with Python {wanted}, whose bytecode the functions read; this is {actual}")


# --- what a function does not need --------------------------------------------------------------------------


def prune(folder: Path) -> None:
    """Removes what no import can reach: scripts, stubs, packages' own tests, the installer's notes."""
    for unneeded in list(prunable(folder)):
        if unneeded.is_dir():
            shutil.rmtree(unneeded)
        else:
            unneeded.unlink(missing_ok=True)


def prunable(folder: Path) -> Iterator[Path]:
    yield folder / "bin"
    yield folder / ".lock"
    yield from (info / name for info in folder.glob("*.dist-info") for name in INSTALLER_FILES)
    yield from (path for pattern in ("*.pyi", "py.typed", "__pycache__") for path in folder.rglob(pattern))
    yield from (path for path in folder.glob("*/tests") if path.is_dir())


# --- bytecode, times, zips ----------------------------------------------------------------------------------


def compile_bytecode(folder: Path, package: str = "") -> None:
    """Writes bytecode that is valid whatever time the zip gives its source: Lambda cannot write its own.

    A fresh interpreter and one thread: a pyc's bytes depend on what the interpreter compiled before.
    """
    compiler = (sys.executable, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash")
    command = [*compiler, "-s", str(folder), "-p", TASK_ROOT, str(folder / package)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own arguments
    if done.returncode:
        raise BuildError(f"a file does not compile:\n{done.stdout.strip()}")


def level_times(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (EPOCH_SECONDS, EPOCH_SECONDS))


def write_zip(folder: Path, archive: Path) -> Path:
    """Zips a built folder; the same files give the same bytes."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in files_of(folder):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            opened.writestr(entry, path.read_bytes())
    return archive


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# --- sizes --------------------------------------------------------------------------------------------------


def size_line(folder: Path) -> str:
    files = files_of(folder)
    own = [path for path in files if path.relative_to(folder).parts[0] in (folder.name, SHARED)]
    return (
        f"{folder.name:<10}{megabytes(size_of(files)):>9} in {len(files)} files"
        f" ({megabytes(size_of(own))} of it ours; Lambda takes {megabytes(UNZIPPED_LIMIT)})"
    )


def size_of(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def megabytes(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MB"


if __name__ == "__main__":
    main()
