"""Least privilege: the recorded calls of the functions, compared with their roles' permissions.

Every emulator of the end-to-end suite has its functions record their calls (`recorder/`). After the whole
suite has run, on any number of processes, the records are compared with the template in both directions; a
difference fails the session.
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
# API calls whose permission has another name:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html
ACTIONS = {
    ("sqs", "SendMessageBatch"): "sqs:SendMessage",
    ("sqs", "ChangeMessageVisibilityBatch"): "sqs:ChangeMessageVisibility",
    ("lambda", "Invoke"): "lambda:InvokeFunction",
}
# A transaction needs the permissions of its actions:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
TRANSACTION = ("dynamodb", "TransactWriteItems")
TRANSACTION_ACTIONS = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}


@dataclass(frozen=True)
class RoleUsage:
    """The IAM actions that a role was used for, and the partition keys that were written."""

    actions: frozenset[str]
    keys: frozenset[str]


def recorder_environment():
    """Return the variables that make an emulator's functions record their calls, if the session collects."""
    folder = os.environ.get(FOLDER)
    return {FOLDER: folder, "PYTHONPATH": str(HERE / "recorder")} if folder else {}


def read_usage(folder):
    """Return the usage of each role that the files in the folder record."""
    calls = [json.loads(line) for path in folder.iterdir() for line in path.read_text().splitlines()]
    return {
        role: summarize([call for call in calls if call["function"].endswith(f"-{function}")])
        for function, role in ROLES.items()
    }


def summarize(calls):
    keys = {key for call in calls for _, key in call["writes"]}
    actions = {action for call in calls for action in needed_actions(call)}
    return RoleUsage(frozenset(actions), frozenset(keys))


def needed_actions(call):
    name = (call["service"], call["operation"])
    if name == TRANSACTION:
        return {TRANSACTION_ACTIONS[kind] for kind, _ in call["writes"]}
    return {ACTIONS.get(name, ":".join(name))}


def find_differences(role, usage):
    """Return a sentence for each call without a grant, and for each grant that nothing uses."""
    allowed, patterns = granted_actions(role) - CALLED_BY_AWS[role], write_patterns(role)
    sentences = [f"{role} calls {action}, which is not granted" for action in usage.actions - allowed]
    sentences += [f"{role} is granted {action}, which nothing calls" for action in allowed - usage.actions]
    sentences += [
        f"{role} writes {key}, which no pattern of its policy covers"
        for key in usage.keys
        if not any(fnmatchcase(key, pattern) for pattern in patterns)
    ]
    sentences += [
        f"{role} may write {pattern}, which nothing does"
        for pattern in patterns
        if not any(fnmatchcase(key, pattern) for key in usage.keys)
    ]
    return sorted(sentences)


class UsageComparison:
    """The pytest plugin that compares at the end of the main process, if the whole suite has run."""

    def __init__(self, folder):
        self._folder = folder
        self._modules = set()
        self._differences = None

    def pytest_runtest_logreport(self, report):
        path = Path(report.nodeid.partition("::")[0])
        if report.when == "call" and report.passed and path.parent.name == HERE.name:
            self._modules.add(path.name)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session):
        is_filtered = session.config.option.keyword or session.config.option.markexpr
        is_whole = self._modules >= {path.name for path in HERE.glob("test_*.py")}
        if is_whole and not is_filtered and session.exitstatus == pytest.ExitCode.OK:
            usage = read_usage(self._folder)
            self._differences = [line for role in usage for line in find_differences(role, usage[role])]
            if self._differences:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        shutil.rmtree(self._folder)

    def pytest_terminal_summary(self, terminalreporter):
        if self._differences is not None:
            terminalreporter.section("least privilege")
            agreement = "every call of the functions is granted, and every grant is used"
            for line in self._differences or [agreement]:
                terminalreporter.write_line(line)


def collect(config):
    """Create the folder of the records once per session, before its processes start and inherit its name."""
    if not hasattr(config, "workerinput"):
        folder = Path(tempfile.mkdtemp(prefix="nightly-sync-calls-"))
        os.environ[FOLDER] = str(folder)
        config.pluginmanager.register(UsageComparison(folder))
