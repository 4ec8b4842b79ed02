"""What Lambda would get: each artefact zipped, unzipped elsewhere and imported with nothing else around."""

import filecmp
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.cold_start import shop
from bench.functions import RUNTIME, Built
from infra import build as builder
from infra.build import FUNCTIONS, ROOT, SHARED, UNZIPPED_LIMIT, ZIPPED_LIMIT, BuildError, BuildOptions

HOST = BuildOptions(platform="host")
NOT_SHIPPED = (
    "ops",
    "sandbox",
    "infra",
    "tests",
    "bench",
    "rich",
    "boto3",
    "botocore",
    "s3transfer",
    "dateutil",
)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    out = tmp_path_factory.mktemp("build")
    folders = builder.build(out, HOST)
    return {name: builder.write_zip(folder, out / f"{name}.zip") for name, folder in folders.items()}


@pytest.fixture(scope="module")
def unzipped(archives, tmp_path_factory):
    target = tmp_path_factory.mktemp("var-task")
    for name, archive in archives.items():
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(target / name)
    return target


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtime")
    site = Path(find_spec("boto3").origin).parent.parent
    for name in RUNTIME:
        (folder / name).symlink_to(site / name)
    return folder


@pytest.fixture(scope="module")
def imported(unzipped, runtime):
    """Of each function: the packages that it has imported when its first event is answered."""
    folders = (unzipped / "producer", unzipped / "consumer", runtime)
    packages = {path.name.partition(".")[0] for folder in folders for path in folder.iterdir()}
    with shop(Built({name: unzipped / name for name in FUNCTIONS}, runtime)) as start:
        answered = {name: start(name).answered.modules for name in FUNCTIONS}
    return {name: packages.intersection(modules) - {name, SHARED} for name, modules in answered.items()}


def imports(handler, folder, runtime):
    """The top-level modules that importing a handler loads, with no site-packages and no variables."""
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
def test_handler_imports_from_its_zip_and_the_runtime_alone_and_makes_no_client(unzipped, runtime, name):
    assert {name, SHARED} <= imports(f"{name}.lambda_function", unzipped / name, runtime)


# Not boto3 itself with its resources and transfers. Whatever is added here is paid for by each cold start.
AWS = {"botocore", "certifi", "dateutil", "jmespath", "six", "urllib3"}
NEEDED = {*AWS, "aws_lambda_powertools", "tenacity", "typing_extensions"}


def test_a_consumer_with_known_orders_imports_no_stripe_and_nothing_that_it_does_not_need(imported):
    assert imported["consumer"] == NEEDED


def test_a_producer_imports_stripe_and_nothing_that_it_does_not_need(imported):
    stripes = {"stripe", "requests", "charset_normalizer", "idna"}
    assert imported["producer"] == {*NEEDED, *stripes}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_zip_holds_one_function_and_nothing_of_the_other_nor_of_our_tools(unzipped, name):
    shipped = {path.name for path in (unzipped / name).iterdir()}
    [other] = set(FUNCTIONS) - {name}
    assert {name, SHARED, "stripe", "aws_lambda_powertools", "tenacity"} <= shipped
    assert not shipped & {other, *NOT_SHIPPED}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_zip_is_smaller_than_lambda_takes(archives, unzipped, name):
    assert archives[name].stat().st_size < ZIPPED_LIMIT / 2
    assert builder.total_size(builder.list_files(unzipped / name)) < UNZIPPED_LIMIT / 2


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_source_has_bytecode_that_is_valid_at_any_time(unzipped, name):
    sources = [path for path in builder.list_files(unzipped / name) if path.suffix == ".py"]
    assert len(sources) > 1000
    for source in sources:
        flags = bytecode(source).read_bytes()[4:8]
        assert flags == b"\x01\0\0\0", source  # hash-based and unchecked, says PEP 552


def bytecode(source):
    return source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_file_names_the_machine_it_was_built_on(unzipped, name):
    marks = [str(path).encode() for path in (ROOT, Path(sys.prefix), Path.home()) if path != Path("/")]
    for path in builder.list_files(unzipped / name):
        content = path.read_bytes()
        assert not [mark for mark in marks if mark + b"/" in content], path


def test_same_input_gives_the_same_bytes_wherever_it_is_built(archives, tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "CACHE", tmp_path / "another" / "cache")
    folders = builder.build(tmp_path / "elsewhere", HOST)
    for name, folder in folders.items():
        again = builder.write_zip(folder, tmp_path / f"{name}.zip")
        assert filecmp.cmp(archives[name], again, shallow=False)


def test_dependencies_are_installed_once(archives, tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "install", pytest.fail)
    assert set(builder.build(tmp_path, HOST)) == set(FUNCTIONS)


def test_folder_holds_nothing_of_an_earlier_build(archives, tmp_path):
    stale = tmp_path / "producer" / "consumer" / "lambda_function.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    builder.build(tmp_path, HOST)
    assert not stale.exists()


def test_arm_build_has_binaries_for_arm_only(tmp_path):
    folder = builder.build(tmp_path, BuildOptions())["consumer"]
    binaries = [path for path in builder.list_files(folder) if path.suffix == ".so"]
    assert binaries
    assert all("aarch64" in path.name for path in binaries)
    assert all(path.read_bytes()[18:20] == b"\xb7\0" for path in binaries)  # ELF's e_machine: EM_AARCH64


def test_boto3_is_there_when_asked_for_and_wins_over_the_runtimes(tmp_path):
    folder = builder.build(tmp_path, BuildOptions(platform="host", with_boto3=True))["consumer"]
    assert {"boto3", "botocore", "s3transfer"} <= {path.name for path in folder.iterdir()}


def test_sizes_are_said_for_each_function(archives, capsys):
    builder.main(["--out", str(archives["producer"].parent), "--platform", "host"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(FUNCTIONS)
    assert all("250.0 MB" in line for line in lines)


def test_a_uv_that_fails_is_quoted(tmp_path, monkeypatch):
    failing = tmp_path / "uv"
    failing.write_text("#!/bin/sh\necho 'no such lock' >&2\nexit 2\n")
    failing.chmod(0o755)
    monkeypatch.setenv("UV", str(failing))
    monkeypatch.setattr(builder, "CACHE", tmp_path / "cache")
    with pytest.raises(BuildError, match="no such lock"):
        builder.build(tmp_path, HOST)
    with pytest.raises(SystemExit, match="build: `uv export` failed"):
        builder.main(["--out", str(tmp_path)])


def test_uv_is_found_by_name_on_the_path_and_in_the_tools_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "ROOT", tmp_path)
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(BuildError, match="uv is needed"):
        builder.find_uv()
    tools = executable(tmp_path / ".tools" / "bin" / "uv")
    assert builder.find_uv() == str(tools)
    on_path = executable(tmp_path / "bin" / "uv")
    assert builder.find_uv() == str(on_path)
    monkeypatch.setenv("UV", "/named/uv")
    assert builder.find_uv() == "/named/uv"


def executable(path):
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    return path


def test_another_python_is_refused(monkeypatch):
    monkeypatch.setattr(builder, "PYTHON", (3, 99))
    with pytest.raises(BuildError, match=r"run with Python 3\.99"):
        builder.install_dependencies(HOST)


def test_times_are_those_of_no_day(archives, tmp_path):
    folder = builder.build(tmp_path, HOST)["producer"]
    assert {path.stat().st_mtime for path in builder.list_files(folder)} == {builder.EPOCH_SECONDS}
