"""The command line of `python -m infra.deploy`: verbs, options, files, exit codes."""

import sys
from dataclasses import replace

import pytest

from infra.deploy import __main__ as command
from infra.deploy.errors import DeployError
from infra.deploy.settings_file import write_settings
from tests.infra.deploy.recorded import REGION, SETTINGS, RecordedAws, refusal

DEFAULT_FILE = "deploy.stripe-nightly-sync.json"
DEFAULT_SETTINGS = replace(SETTINGS, stack="stripe-nightly-sync")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the working folder, in which AWS rejects every call."""
    monkeypatch.chdir(tmp_path)
    rejected = RecordedAws(sts__get_caller_identity=refusal("AccessDenied"))
    monkeypatch.setattr(command, "connect_to", lambda region: rejected.connect)
    return tmp_path


@pytest.fixture
def actions(folder, monkeypatch):
    """Return the actions that the command line has started, each with its second argument."""
    started = []
    monkeypatch.setattr(command, "connect_to", lambda region: RecordedAws().connect)
    for name in ("deploy", "destroy", "show_deployment", "show_destruction"):
        monkeypatch.setattr(command, name, lambda *given, name=name: started.append((name, given[1])) or 0)
    write_settings(folder / "deploy.sync.json", SETTINGS, private=True)
    return started


@pytest.mark.parametrize(
    ("words", "stored", "message"),
    [
        (["destroy"], None, "destroy: AWS: GetCallerIdentity: AccessDenied"),
        (["destroy", "--yes"], DEFAULT_SETTINGS, "destroy: --yes never prompts, so --stack has to name"),
        (["deploy", "--stack", "1"], None, "deploy: '1' is no stack name"),
        (["deploy", "--stack", "", "--yes"], None, "deploy: '' is no stack name"),
        (["destroy", "--stack", "", "--yes"], None, "destroy: '' is no stack name"),
        (["deploy", "--parameters-file", "."], None, "deploy: . cannot be read"),
    ],
)
def test_rejection_is_one_line_and_exit_code_2(folder, capsys, words, stored, message):
    if stored:
        write_settings(folder / DEFAULT_FILE, stored, private=True)
    assert command.main(words) == 2
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize("verb", ["deploy", "destroy"])
@pytest.mark.parametrize(
    ("file", "named", "words"),
    [
        ("deploy.shop-two.json", "shop-two", ["--stack", "shop-two", "--yes"]),
        (DEFAULT_FILE, "stripe-nightly-sync", []),
        ("other.json", "shop-two", ["--stack", "shop-two", "--parameters-file", "other.json", "--yes"]),
    ],
)
def test_file_of_another_stack_is_rejected(folder, capsys, verb, file, named, words):
    write_settings(folder / file, SETTINGS, private=True)
    assert command.main([verb, *words]) == 2
    assert capsys.readouterr().err == f"{verb}: {file} belongs to sync, not to {named}\n"


@pytest.mark.parametrize("verb", ["deploy", "destroy"])
def test_file_alone_names_the_stack(folder, capsys, verb):
    write_settings(folder / "other.json", SETTINGS, private=True)
    command.main([verb, "--parameters-file", "other.json"])
    assert capsys.readouterr().out.startswith("Stack sync in eu-west-1\n")


def test_missing_operator_command_is_named(folder, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    with pytest.raises(DeployError, match="nightly-sync is not installed"):
        command.run_operator(["doctor"])


@pytest.mark.parametrize(
    ("words", "action"),
    [
        ("deploy", "deploy"),
        ("deploy --yes --preview", "deploy"),
        ("deploy --yes --allow-queue-loss", "deploy"),
        ("deploy --dry-run", "show_deployment"),
        ("deploy --dry-run --all --set MaxSessions=1", "show_deployment"),
        ("deploy --dry-run --yes", "show_deployment"),
        ("destroy", "destroy"),
        ("destroy --yes", "destroy"),
        ("destroy --dry-run", "show_destruction"),
        ("destroy --yes --dry-run", "show_destruction"),
        (f"destroy --dry-run --region {REGION} --parameters-file deploy.sync.json", "show_destruction"),
    ],
)
def test_options_select_the_action(actions, words, action):
    assert command.main([*words.split(), "--stack", "sync"]) == 0
    [(name, chosen)] = actions
    assert name == action
    assert getattr(chosen, "preview", False) is ("--preview" in words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "destroy --set MaxSessions=1",
            "--set is for deploy; destroy reads the parameters of the stack itself",
        ),
        ("destroy --set=MaxSessions=1", "--set is for deploy"),
        ("destroy --store-private", "--store-private is for deploy; destroy writes no file"),
        ("destroy --all", "--all is for deploy; destroy asks for no parameter"),
        ("destroy --allow-queue-loss", "--allow-queue-loss is for deploy; destroy keeps the queues"),
        ("destroy --preview", "--preview is for deploy; --dry-run shows"),
        ("deploy --dry-run --preview", "--preview needs a deployment, and --dry-run makes none"),
        ("deploy --dry-run --yes --allow-queue-loss", "--allow-queue-loss allows nothing with --dry-run"),
        ("deploy --allow-queue-loss", "--allow-queue-loss is for --yes"),
        ("deploy --all --yes", "--all asks for every parameter, and --yes never prompts"),
        ("deploy --set A=1 --set B=1 --set A=2", "--set A is given more than once"),
        ("deploy --stack a --stack b", "--stack is given twice"),
        ("deploy --region=", "--region is empty"),
        ("destroy --dry", "--dry is unknown; `python -m infra.deploy destroy --help`"),
        ("destroy --stack sync --now", "--now is unknown"),
        ("deploy sync", "sync is unknown; `python -m infra.deploy deploy --help`"),
        ("", "required: {deploy,destroy}"),
    ],
)
def test_option_without_effect_is_rejected(actions, capsys, words, sentence):
    with pytest.raises(SystemExit) as refused:
        command.main(words.split())
    assert refused.value.code == 2
    assert sentence in capsys.readouterr().err
    assert actions == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("deploy --dry-run", "Nothing was changed."),
        ("deploy", "CloudFormation continues what it has started"),
    ],
)
def test_interrupted_command_names_the_state(actions, capsys, monkeypatch, words, sentence):
    def interrupt(*_):
        raise KeyboardInterrupt

    for name in ("deploy", "show_deployment"):
        monkeypatch.setattr(command, name, interrupt)
    assert command.main([*words.split(), "--stack", "sync"]) == 2
    assert sentence in capsys.readouterr().err
