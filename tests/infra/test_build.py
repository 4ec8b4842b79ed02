"""The zips that Lambda would get, each unpacked elsewhere and imported in an otherwise empty environment."""

import filecmp
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import botocore
import pytest

from bench.cold_start import open_starter
from bench.functions import BuiltFunctions
from infra import build as builder
from infra.build import FUNCTIONS, ROOT, SHARED, UNZIPPED_LIMIT, ZIPPED_LIMIT, BuildError, BuildOptions
from recon.aws.clients import SERVICES
from tests.proofs import PROVE_ALL

HOST = BuildOptions(platform="host")
NOT_SHIPPED = {
    *("ops", "sandbox", "infra", "testkit", "tests", "bench"),
    *("rich", "boto3", "s3transfer", "awscrt"),
}
# The packages of botocore. Each one costs time at every cold start.
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
    """Return an empty folder in place of Lambda's own packages: the functions need none of them."""
    return tmp_path_factory.mktemp("runtime")


@pytest.fixture(scope="module")
def imports(task_roots, runtime):
    """Return the packages that each function has imported after its first event."""
    folders = (task_roots / "producer", task_roots / "consumer")
    packages = {path.name.partition(".")[0] for folder in folders for path in folder.iterdir()}
    with open_starter(BuiltFunctions({name: task_roots / name for name in FUNCTIONS}, runtime)) as starter:
        answered = {name: starter.start(name).answered.modules for name in FUNCTIONS}
    return {name: packages.intersection(modules) - {name, SHARED} for name, modules in answered.items()}


def run_isolated(program, folder):
    """Return the words that a program prints with nothing on its path but the folder and Python's own."""
    command = [
        sys.executable,
        "-I",
        "-S",
        "-W",
        "error",
        "-c",
        f"import sys; sys.path.insert(0, {str(folder)!r})\n{program}",
    ]
    done = subprocess.run(command, env={}, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_handler_imports_from_its_zip_and_creates_no_client(task_roots, name):
    program = f"""
import botocore.session
botocore.session.Session.create_client = None
from {name}.lambda_function import lambda_handler
print(*{{name.partition('.')[0] for name in sys.modules}})"""
    assert {name, SHARED} <= set(run_isolated(program, task_roots / name))


CREATE_EVERY_CLIENT = """
from recon.aws.clients import SERVICES, client, session, transaction_client
session().set_credentials("id", "secret")
session().set_config_variable("region", "eu-west-1")
for made in [transaction_client(), *(client(service) for service in SERVICES)]:
    print(made.meta.service_model.service_name, len(made.meta.service_model.operation_names))
import botocore
print(botocore.__file__, botocore.__version__)
"""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_zip_holds_the_tested_botocore_and_its_data_for_every_service(task_roots, name):
    *services, path, version = run_isolated(CREATE_EVERY_CLIENT, task_roots / name)
    assert services[::2] == ["dynamodb", *SERVICES]
    assert min(map(int, services[1::2])) > 20
    assert path.startswith(str(task_roots / name))
    assert version == botocore.__version__


@pytest.mark.parametrize("name", FUNCTIONS)
def test_data_of_other_services_are_not_shipped(task_roots, name):
    data = task_roots / name / "botocore" / "data"
    assert {path.name for path in data.iterdir() if path.is_dir()} == set(SERVICES)
    shipped = builder.total_size(builder.list_files(task_roots / name / "botocore"))
    assert shipped < 8 * 1024 * 1024


def test_modules_that_are_not_shipped_are_imported_by_type_checkers_only(task_roots):
    stripe = task_roots / "producer" / "stripe"
    assert not (stripe / "params").exists()
    imports = 0
    for path in builder.list_files(stripe):
        statement = ""  # the last line that begins one of the module's own statements
        for line in path.read_text().splitlines() if path.suffix == ".py" else ():
            statement = line if line[:1].isalpha() else statement
            if re.match(r"\s*(from|import) stripe\.params\b|from stripe import params\b", line):
                imports += 1
                assert statement == "if TYPE_CHECKING:", path
    assert imports > 100


def test_every_service_that_the_functions_call_is_shipped():
    """A client is made by `client("…")` or by the session's `create_client("…")`, in these packages only."""
    sources = [path.read_text() for name in (*FUNCTIONS, SHARED) for path in (ROOT / name).rglob("*.py")]
    called = {
        name for source in sources for name in re.findall(r"\b(?:create_)?client\(\s*\"(\w+)\"", source)
    }
    assert called == set(SERVICES)


@pytest.mark.parametrize(("name", "packages"), [("consumer", NEEDED), ("producer", NEEDED | STRIPE)])
def test_function_imports_only_what_it_needs(imports, name, packages):
    """The consumer's first event holds known orders, for which it does not need Stripe."""
    assert imports[name] == packages


@pytest.mark.parametrize("name", FUNCTIONS)
def test_zip_holds_one_function_within_lambdas_limits(archives, task_roots, name):
    shipped = {path.name for path in (task_roots / name).iterdir()}
    [other] = set(FUNCTIONS) - {name}
    assert {name, SHARED, "stripe", "aws_lambda_powertools", "tenacity", "botocore"} <= shipped
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
builder.CACHE, out = map(Path, sys.argv[1:])
dependencies = builder.install_dependencies(builder.BuildOptions("host"))
builder.write_zip(builder.assemble("producer", out / "producer", dependencies), out / "producer.zip")
"""


def test_build_is_reproducible_in_another_environment(archives, tmp_path):
    """`make prove` also installs the dependencies again."""
    cache = tmp_path / "cache" if PROVE_ALL else builder.CACHE
    environment = {"PYTHONHASHSEED": "2", "TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONPATH": str(ROOT)}
    program = ["bash", "-c", 'umask 077; exec "$@"', "-", sys.executable, "-c", REBUILD, cache, tmp_path]
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


def test_command_builds_and_prints_the_size_of_each_function(task_roots, capsys, monkeypatch):
    def build(out, options):
        assert (out, options) == (Path("here"), BuildOptions("x86_64"))
        return {name: task_roots / name for name in FUNCTIONS}

    monkeypatch.setattr(builder, "build", build)
    builder.main(["--out", "here", "--platform", "x86_64"])
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
