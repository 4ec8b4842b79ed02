"""The zips that Lambda would get, each task_roots elsewhere and imports in an otherwise empty environment."""

import filecmp
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.cold_start import open_starter
from bench.functions import RUNTIME, BuiltFunctions
from infra import build as builder
from infra.build import FUNCTIONS, ROOT, SHARED, UNZIPPED_LIMIT, ZIPPED_LIMIT, BuildError, BuildOptions

HOST = BuildOptions(platform="host")
NOT_SHIPPED = {
    *("ops", "sandbox", "infra", "testkit", "tests", "bench"),
    *("rich", "boto3", "botocore", "s3transfer", "dateutil"),
}
# Packages of botocore, but not of boto3's resources and transfers. Each one costs time at every cold start.
AWS = {"botocore", "certifi", "dateutil", "jmespath", "six", "urllib3"}
NEEDED = {*AWS, "aws_lambda_powertools", "tenacity", "typing_extensions"}
STRIPE = {"stripe", "requests", "charset_normalizer", "idna"}


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    out = tmp_path_factory.mktemp("build")
    folders = builder.build(out, HOST)
    return {name: builder.write_zip(folder, out / f"{name}.zip") for name, folder in folders.items()}


@pytest.fixture(scope="module")
def task_roots(archives, tmp_path_factory):
    target = tmp_path_factory.mktemp("var-task")
    for name, archive in archives.items():
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(target / name)
    return target


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """Return a folder with the packages that the Lambda runtime has."""
    folder = tmp_path_factory.mktemp("runtime")
    site = Path(find_spec("boto3").origin).parent.parent
    for name in RUNTIME:
        (folder / name).symlink_to(site / name)
    return folder


@pytest.fixture(scope="module")
def imports(task_roots, runtime):
    """Return the packages that each function has imported after its first event."""
    folders = (task_roots / "producer", task_roots / "consumer", runtime)
    packages = {path.name.partition(".")[0] for folder in folders for path in folder.iterdir()}
    with open_starter(BuiltFunctions({name: task_roots / name for name in FUNCTIONS}, runtime)) as starter:
        answered = {name: starter.start(name).answered.modules for name in FUNCTIONS}
    return {name: packages.intersection(modules) - {name, SHARED} for name, modules in answered.items()}


def import_handler(handler, folder, runtime):
    """Return the top-level modules that importing a handler loads without site-packages or variables."""
    program = (
        "import sys, importlib;"
        f"sys.path.insert(0, {str(folder)!r}); sys.path.append({str(runtime)!r});"
        "import botocore.session; botocore.session.Session.create_client = None;"
        f"assert callable(importlib.import_module({handler!r}).lambda_handler);"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", program]
    done = subprocess.run(command, env={}, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_handler_imports_from_its_zip_and_creates_no_client(task_roots, runtime, name):
    assert {name, SHARED} <= import_handler(f"{name}.lambda_function", task_roots / name, runtime)


@pytest.mark.parametrize(("name", "packages"), [("consumer", NEEDED), ("producer", NEEDED | STRIPE)])
def test_function_imports_only_what_it_needs(imports, name, packages):
    """The consumer's first event holds known orders, for which it does not need Stripe."""
    assert imports[name] == packages


@pytest.mark.parametrize("name", FUNCTIONS)
def test_zip_holds_one_function_within_lambdas_limits(archives, task_roots, name):
    shipped = {path.name for path in (task_roots / name).iterdir()}
    [other] = set(FUNCTIONS) - {name}
    assert {name, SHARED, "stripe", "aws_lambda_powertools", "tenacity"} <= shipped
    assert not shipped & {other, *NOT_SHIPPED}
    assert archives[name].stat().st_size < ZIPPED_LIMIT / 2
    assert builder.total_size(builder.list_files(task_roots / name)) < UNZIPPED_LIMIT / 2


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_source_has_bytecode_that_is_valid_at_any_time(task_roots, name):
    sources = [path for path in builder.list_files(task_roots / name) if path.suffix == ".py"]
    assert len(sources) > 1000
    for source in sources:
        bytecode = source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
        flags = bytecode.read_bytes()[4:8]
        assert flags == b"\x01\0\0\0", source  # PEP 552: hash-based and unchecked


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_file_contains_a_path_of_the_build_machine(task_roots, name):
    marks = [str(path).encode() for path in (ROOT, Path(sys.prefix), Path.home()) if path != Path("/")]
    for path in builder.list_files(task_roots / name):
        content = path.read_bytes()
        assert not [mark for mark in marks if mark + b"/" in content], path


REBUILD = """
import sys; from pathlib import Path; from infra import build as builder
builder.CACHE, out = Path(sys.argv[1], "cache"), Path(sys.argv[1])
dependencies = builder.install_dependencies(builder.BuildOptions("host"))
builder.write_zip(builder.assemble("producer", out / "producer", dependencies), out / "producer.zip")
"""


def test_build_is_reproducible_in_another_environment(archives, tmp_path):
    environment = {"PYTHONHASHSEED": "2", "TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONPATH": str(ROOT)}
    program = ["bash", "-c", 'umask 077; exec "$@"', "-", sys.executable, "-c", REBUILD, tmp_path]
    subprocess.run(program, env=os.environ | environment, check=True)
    assert filecmp.cmp(archives["producer"], tmp_path / "producer.zip", shallow=False)


def test_rebuild_reuses_dependencies_replaces_folders_and_fixes_times(archives, tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "run_install", pytest.fail)
    stale = tmp_path / "producer" / "consumer" / "lambda_function.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    folders = builder.build(tmp_path, HOST)
    assert set(folders) == set(FUNCTIONS)
    assert not stale.exists()
    times = {path.stat().st_mtime for path in builder.list_files(folders["producer"])}
    assert times == {builder.EPOCH_SECONDS}


def test_arm_build_has_only_arm_binaries():
    folder = builder.install_dependencies(BuildOptions())
    binaries = [path for path in builder.list_files(folder) if path.suffix == ".so"]
    assert binaries
    assert all("aarch64" in path.name for path in binaries)
    assert all(path.read_bytes()[18:20] == b"\xb7\0" for path in binaries)  # ELF's e_machine: EM_AARCH64


def test_build_contains_boto3_on_request():
    folder = builder.install_dependencies(BuildOptions(platform="host", with_boto3=True))
    assert {"boto3", "botocore", "s3transfer"} <= {path.name for path in folder.iterdir()}


def test_command_builds_and_prints_the_size_of_each_function(task_roots, capsys, monkeypatch):
    def build(out, options):
        assert (out, options) == (Path("here"), BuildOptions("x86_64", with_boto3=True))
        return {name: task_roots / name for name in FUNCTIONS}

    monkeypatch.setattr(builder, "build", build)
    builder.main(["--out", "here", "--platform", "x86_64", "--with-boto3"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(FUNCTIONS)
    assert all("250.0 MB" in line for line in lines)


def test_error_of_uv_is_quoted(tmp_path, monkeypatch):
    failing = make_executable(tmp_path / "bin" / "uv", "#!/bin/sh\necho 'no such lock' >&2\nexit 2\n")
    monkeypatch.setenv("UV", str(failing))
    monkeypatch.setattr(builder, "CACHE", tmp_path / "cache")
    with pytest.raises(BuildError, match="no such lock"):
        builder.build(tmp_path, HOST)
    with pytest.raises(SystemExit, match="build: `uv export` failed"):
        builder.main(["--out", str(tmp_path)])


def test_uv_is_found_by_variable_path_and_tools_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "ROOT", tmp_path)
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(BuildError, match="uv is needed"):
        builder.find_uv()
    tools = make_executable(tmp_path / ".tools" / "bin" / "uv")
    assert builder.find_uv() == str(tools)
    on_path = make_executable(tmp_path / "bin" / "uv")
    assert builder.find_uv() == str(on_path)
    monkeypatch.setenv("UV", "/named/uv")
    assert builder.find_uv() == "/named/uv"


def make_executable(path, text=""):
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_another_python_version_is_rejected(monkeypatch):
    monkeypatch.setattr(builder, "PYTHON", (3, 99))
    with pytest.raises(BuildError, match=r"run with Python 3\.99"):
        builder.install_dependencies(HOST)
