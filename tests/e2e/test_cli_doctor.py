"""`nightly-sync doctor`, `pause`, `resume` and `logs` on a deployed stack.

Real faults are found, and the commands that the doctor shows fix them.
"""

import os
import subprocess
import time

import pytest

from recon.timestamps import DAY
from sandbox.stack import STRIPE_KEY, create_table, wait_until
from testkit.emulator.clients import CREDENTIALS
from testkit.fake_stripe import Endpoint, SessionSpec
from testkit.world import confirm_table
from tests.e2e.aws_cli import install_aws
from tests.e2e.operator_cli import COMMAND, Cli, clean_environ, run
from tests.e2e.shop import KEY, iso

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def shop(open_shop):
    shop = open_shop(AlarmEmail="ops@shop.example")
    now = int(time.time())
    shop.sells(*(SessionSpec(f"cs_test_doctor{n}", now - 3600, metadata={"userId": "u"}) for n in range(3)))
    return shop


@pytest.fixture(scope="module")
def cli(shop, tmp_path_factory):
    return Cli(shop.stack, tmp_path_factory.mktemp("sandbox"))


@pytest.fixture(scope="module")
def shell(cli, tmp_path_factory):
    """Run a command exactly as the doctor showed it."""
    folder = install_aws(tmp_path_factory.mktemp("bin"))
    path = os.pathsep.join([str(folder), str(COMMAND.parent), os.environ["PATH"]])
    environ = cli.environ | dict(CREDENTIALS) | {"PATH": path, "STRIPE_KEY": STRIPE_KEY, "AWS_PAGER": ""}

    def run_shown(command):
        done = subprocess.run(
            ["bash", "-euc", command],
            env=environ,
            cwd=folder,  # outside the project, whose tools select another Python
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"

    return run_shown


def findings(cli):
    return {finding["name"]: finding for finding in cli.data("doctor")["findings"]}


def verdicts(cli):
    return {finding["verdict"] for finding in findings(cli).values()}


def break_stack(shop):
    stack = shop.stack
    sqs, functions = stack.client("sqs"), stack.client("lambda")
    sqs.set_queue_attributes(
        QueueUrl=stack.queue_url, Attributes={"VisibilityTimeout": "30", "RedrivePolicy": ""}
    )
    retention = {"MessageRetentionPeriod": str(4 * DAY)}
    sqs.set_queue_attributes(QueueUrl=stack.dlq_url, Attributes=retention)
    stack.set_stripe_key("sk_test_wrong0000")
    stack.pause_consumer()
    scaling = {"MaximumConcurrency": 3}
    functions.update_event_source_mapping(UUID=stack.mapping_id, ScalingConfig=scaling)
    stack.update_environment(stack.consumer, {"COMMERCE_TABLE": "other-table"})
    stack.update_environment(stack.producer, {"SYNC_LOOKBACK_HOURS": "many"})
    functions.put_function_concurrency(FunctionName=stack.producer, ReservedConcurrentExecutions=0)
    stack.client("cloudwatch").disable_alarm_actions(AlarmNames=[f"{stack.name}-dead-letters"])
    schedule = stack.client("scheduler").get_schedule(Name=stack.schedule)
    kept = ("State", "ScheduleExpression", "FlexibleTimeWindow")
    stack.client("scheduler").update_schedule(
        Name=stack.schedule,
        **{name: schedule[name] for name in kept},
        Target={**schedule["Target"], "Input": "{}"},
    )


BROKEN = {
    "queue: visibility",
    "queue: redrive",
    "dead letters: retention",
    "key: accepted",
    "mapping",
    "mapping: concurrency",
    "consumer: settings",
    "producer: settings",
    "producer: concurrency",
    "alarm: dead-letters",
    "schedule: input",
}


def test_deployed_sandbox_needs_no_fix(cli):
    ran = cli("doctor")
    assert ran.code == 0, ran.out + ran.err
    assert {name for name, one in findings(cli).items() if one["verdict"] != "ok"} == {
        "key",  # a secret one
        "table: expiry",
        "table: backups",
        "schedule",  # off, as in every sandbox
    }
    assert KEY.findall(ran.out) == []
    assert ran.lines[-1].endswith(" ok, 4 advice, 0 fix, 0 unknown")


def test_disabled_schedule_outside_a_sandbox_must_be_fixed(shop, cli):
    environ = clean_environ() | dict(CREDENTIALS) | {"AWS_ENDPOINT_URL": shop.stack.endpoint}
    environ |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
    environ |= {"AWS_CA_BUNDLE": str(shop.stack.client.trusted)}
    ran = run("doctor", "--json", "--stack", shop.stack.name, environ=environ)
    wrong = {one["name"]: one["command"] for one in ran.json["findings"] if one["verdict"] == "fix"}
    deploy = f'make deploy ARGS="--stack {shop.stack.name} --set ScheduleState=ENABLED"'
    assert wrong == {"schedule": deploy}
    assert ran.code == 1
    resume = ("resume", "--schedule-only", "--stack", shop.stack.name)
    assert run(*resume, environ=environ).code == 0
    assert run("doctor", "--stack", shop.stack.name, environ=environ).code == 0
    cli("pause", "--schedule-only")


def test_shown_commands_fix_all_faults(cli, shell, shop):
    break_stack(shop)
    ran = cli("doctor", "--json")
    broken = {one["name"]: one for one in ran.json["findings"] if one["verdict"] == "fix"}
    assert (ran.code, set(broken)) == (1, BROKEN)
    shown = [line.strip() for line in cli("doctor").lines]
    for finding in broken.values():
        assert finding["command"] in shown  # on one unbroken line, to be copied
        shell(finding["command"])
    wait_until(lambda: verdicts(cli) == {"ok", "advice"}, "all faults to be fixed", 60)


def test_shown_command_creates_a_missing_key(cli, shell, shop):
    shop.stack.client("ssm").delete_parameter(Name=shop.stack.secret_parameter)
    missing = findings(cli)["parameter"]
    assert (missing["verdict"], STRIPE_KEY in missing["command"]) == ("fix", False)
    shell(missing["command"])
    assert verdicts(cli) == {"ok", "advice"}


def test_missing_stripe_permission_has_its_consequence(cli, shop):
    shop.stripe.faults.forbidden(endpoint=Endpoint.EVENTS)
    try:
        ran = cli("doctor")
        finding = findings(cli)["key: events"]
    finally:
        shop.stripe.faults.clear()
    assert (ran.code, finding["verdict"]) == (1, "fix")
    assert "can double an order" in finding["what"]
    assert finding["command"] == "https://dashboard.stripe.com/test/apikeys"


def test_missing_or_wrong_table_hides_no_other_finding(cli, shop):
    client, table = shop.stack.client("dynamodb"), shop.stack.table
    count = len(findings(cli))
    client.delete_table(TableName=table)
    missing = findings(cli)
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    other = findings(cli)
    client.delete_table(TableName=table)
    create_table(shop.stack.client, table)
    confirm_table(client, table)
    assert (missing["table"]["verdict"], other["table: keys"]["verdict"]) == ("fix", "fix")
    assert "id (S)" in other["table: keys"]["what"]
    # One finding says that the ledger cannot be read, in place of two about it.
    assert len(other) == count - 1
    assert missing["mapping"]["verdict"] == "ok"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("doctor", "--stack", "nowhere"), "nowhere"),
        (("logs", "20200101T000000Z"), "there is no run 20200101T000000Z"),
    ],
)
def test_command_for_something_missing_is_refused(cli, arguments, error):
    ran = cli(*arguments)
    assert ran.code == 2
    assert error in ran.err


def test_pause_keeps_messages_and_resume_processes_them(cli, shop):
    scheduler = shop.stack.client("scheduler")
    before = scheduler.get_schedule(Name=shop.stack.schedule)
    assert cli("resume").code == 0
    paused = cli("pause")
    assert paused.code == 0, paused.out + paused.err
    started = shop.body({"lookbackHours": 24})
    run_id = started["runId"]
    data = cli.data("pause")
    assert [change["after"] for change in data["changes"]] == ["DISABLED", "Disabled"]
    assert [change["before"] for change in data["changes"]] == ["DISABLED", "Disabled"]
    assert data["waiting"]["messages"] == started["enqueued"] >= 3
    assert data["waiting"]["retentionSeconds"] == 10 * DAY
    assert data["waiting"]["keepsUntil"] > iso(time.time() + 9 * DAY)
    assert shop.run(run_id)["processed"] == 0
    resumed = cli("resume")
    assert resumed.code == 0
    assert "The schedule is left as it was" in resumed.out
    assert "The next run is due at" in cli("resume", "--schedule-only").out
    shop.settled(run_id)
    cli("pause", "--schedule-only")
    after = scheduler.get_schedule(Name=shop.stack.schedule)
    changing = dict.fromkeys(("ResponseMetadata", "LastModificationDate", "CreationDate"))
    assert after | changing == before | changing


def test_pause_completes_a_partial_pause(cli):
    cli("resume")
    cli("pause", "--schedule-only")
    assert [change["before"] for change in cli.data("pause")["changes"]] == ["DISABLED", "Enabled"]
    assert [change["after"] for change in cli.data("resume", "--queue-only")["changes"]] == ["Enabled"]


def test_pause_of_neither_part_is_refused(cli):
    ran = cli("pause", "--schedule-only", "--queue-only")
    assert (ran.code, ran.out) == (2, "")


def test_logs_show_the_lines_of_one_run_in_order(cli, shop):
    shop.stripe.faults.missing(session="cs_test_doctor1", endpoint=Endpoint.RETRIEVE)
    user = {"userId": "logged"}
    shop.sells(SessionSpec("cs_test_doctor9", int(time.time()) - 1800, metadata=user))
    other = shop.body({"lookbackHours": 1})["runId"]
    run_id = shop.body({"lookbackHours": 2})["runId"]
    shop.settled(other, run_id)
    shop.stripe.faults.clear()
    wait_until(lambda: len(cli.data("logs", run_id)["lines"]) >= 3, "the lines are there", 30)
    lines = cli.data("logs", run_id)["lines"]
    assert lines[0]["function"] == "producer"
    assert lines[0]["message"].startswith("Enqueued")
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    assert {line["function"] for line in lines} == {"producer", "consumer"}
    assert sum("Sync completed" in line["message"] for line in lines) == 1
    last = cli.data("runs", "--limit", "1")["runs"][0]["runId"]
    assert cli.data("logs", "last")["lines"] == cli.data("logs", last)["lines"]
    assert KEY.findall(cli("logs", run_id).out) == []


def test_logs_are_filtered_by_level_and_session(cli, shop):
    run_id = cli("run", "--json").json["run"]["runId"]
    every = cli.data("logs", run_id)["lines"]
    session = next(line["sessionId"] for line in every if line["sessionId"])
    narrowed = cli.data("logs", run_id, "--session", session)["lines"]
    assert {line["sessionId"] for line in narrowed} == {session}
    assert cli.data("logs", run_id, "--level", "error")["lines"] == [
        line for line in every if line["level"] == "ERROR"
    ]
