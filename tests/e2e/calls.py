"""The calls that the functions really made in the end-to-end suite, and what their roles grant for them.

Every emulator of the suite has its functions note their calls (`recorder/`). When the whole suite has run, on
however many processes, all notes are compared with the template both ways; a difference fails the session.
"""

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from testkit.roles import CALLED_BY_AWS, granted_actions, write_patterns

HERE = Path(__file__).parent
FOLDER = "RECORDED_CALLS"
ROLES = {"producer": "ProducerRole", "consumer": "ConsumerRole"}
# Of the API's calls those whose permission has another name:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html
ACTIONS = {
    ("sqs", "SendMessageBatch"): "sqs:SendMessage",
    ("sqs", "ChangeMessageVisibilityBatch"): "sqs:ChangeMessageVisibility",
    ("lambda", "Invoke"): "lambda:InvokeFunction",
}
# A transaction needs what its actions would need by themselves:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
TRANSACTION = ("dynamodb", "TransactWriteItems")
IN_A_TRANSACTION = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}


@dataclass(frozen=True)
class Used:
    """What a role was used for: IAM actions, and the partition keys that were written."""

    actions: frozenset[str]
    keys: frozenset[str]


def recording():
    """The variables with which an emulator's functions note their calls, in a session that collects."""
    folder = os.environ.get(FOLDER)
    return {FOLDER: folder, "PYTHONPATH": str(HERE / "recorder")} if folder else {}


def read(folder):
    """What each role was used for."""
    calls = [json.loads(line) for path in folder.iterdir() for line in path.read_text().splitlines()]
    return {role: used([call for call in calls if role_of(call) == role]) for role in ROLES.values()}


def role_of(call):
    return ROLES[call["function"].rpartition("-")[2]]


def used(calls):
    keys = {key for call in calls for _, key in call["writes"]}
    return Used(frozenset(action for call in calls for action in actions_of(call)), frozenset(keys))


def actions_of(call):
    """The permissions that a call needs."""
    name = (call["service"], call["operation"])
    if name == TRANSACTION:
        return {IN_A_TRANSACTION[kind] for kind, _ in call["writes"]}
    return {ACTIONS.get(name, ":".join(name))}


def differences(role, use):
    """What is called and not granted, and what is granted and never used; a sentence each."""
    allowed, patterns = granted_actions(role) - CALLED_BY_AWS[role], write_patterns(role)
    said = [f"{role} calls {action}, which is not granted" for action in use.actions - allowed]
    said += [f"{role} is granted {action}, which nothing calls" for action in allowed - use.actions]
    said += [
        f"{role} writes {key}, which no pattern of its policy covers"
        for key in use.keys
        if not any(fnmatchcase(key, pattern) for pattern in patterns)
    ]
    said += [
        f"{role} may write {pattern}, which nothing does"
        for pattern in patterns
        if not any(fnmatchcase(key, pattern) for key in use.keys)
    ]
    return sorted(said)


class Comparison:
    """The pytest plugin of the process that has the last word: after the whole suite, and only then."""

    def __init__(self, folder):
        self._folder = folder
        self._modules = set()
        self._said = None

    def pytest_runtest_logreport(self, report):
        path = Path(report.nodeid.partition("::")[0])
        if report.when == "call" and report.passed and path.parent.name == HERE.name:
            self._modules.add(path.name)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session):
        chosen = session.config.option.keyword or session.config.option.markexpr
        whole = self._modules >= {path.name for path in HERE.glob("test_*.py")}
        if whole and not chosen and session.exitstatus == pytest.ExitCode.OK:
            found = read(self._folder)
            self._said = [line for role in found for line in differences(role, found[role])]
            if self._said:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        shutil.rmtree(self._folder)

    def pytest_terminal_summary(self, terminalreporter):
        if self._said is not None:
            terminalreporter.section("least privilege")
            for line in self._said or ["all calls of the functions are granted, and nothing else"]:
                terminalreporter.write_line(line)


def collect(config):
    """Once a session, before its processes start; they inherit the folder's name."""
    if not hasattr(config, "workerinput"):
        folder = Path(tempfile.mkdtemp(prefix="nightly-sync-calls-"))
        os.environ[FOLDER] = str(folder)
        config.pluginmanager.register(Comparison(folder))
