"""`nightly-sync doctor`, `pause`, `resume` and `logs` on a deployed stack: things are broken for real, said,
and mended with the very commands that are shown."""

import os
import subprocess
import time

import pytest

from recon.timestamps import DAY
from sandbox.stack import STRIPE_KEY, create_table, wait_until
from testkit.emulator.clients import CREDENTIALS
from testkit.fake_stripe import Endpoint, SessionSpec
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
    """Runs a command that was shown, as it was shown."""
    folder = install_aws(tmp_path_factory.mktemp("bin"))
    path = os.pathsep.join([str(folder), str(COMMAND.parent), os.environ["PATH"]])
    environ = cli.environ | dict(CREDENTIALS) | {"PATH": path, "STRIPE_KEY": STRIPE_KEY, "AWS_PAGER": ""}

    def run_shown(command):
        done = subprocess.run(
            ["bash", "-euc", command],
            env=environ,
            cwd=folder,  # where no tool of the project decides which Python is meant
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


def set_queue(url):
    def set_attributes(shop, **attributes):
        shop.stack.client("sqs").set_queue_attributes(
            QueueUrl=getattr(shop.stack, url), Attributes=attributes
        )

    return set_attributes


def hide_too_short(shop):
    set_queue("queue_url")(shop, VisibilityTimeout="30")


def give_up_never(shop):
    set_queue("queue_url")(shop, RedrivePolicy="")


def drop_dead_letters_early(shop):
    set_queue("dlq_url")(shop, MessageRetentionPeriod=str(4 * DAY))


def wrong_key(shop):
    shop.stack.set_stripe_key("sk_test_wrong0000")


def stop_consumer(shop):
    shop.stack.pause_consumer()


def one_consumer_too_many(shop):
    scaling = {"MaximumConcurrency": 3}
    shop.stack.client("lambda").update_event_source_mapping(UUID=shop.stack.mapping_id, ScalingConfig=scaling)


def other_table(shop):
    shop.stack.update_environment(shop.stack.consumer, {"COMMERCE_TABLE": "other-table"})


def wrong_setting(shop):
    shop.stack.update_environment(shop.stack.producer, {"SYNC_LOOKBACK_HOURS": "many"})


def throttle(shop):
    client = shop.stack.client("lambda")
    client.put_function_concurrency(FunctionName=shop.stack.producer, ReservedConcurrentExecutions=0)


def silence(shop):
    client = shop.stack.client("cloudwatch")
    client.disable_alarm_actions(AlarmNames=[f"{shop.stack.name}-dead-letters"])


def empty_input(shop):
    client = shop.stack.client("scheduler")
    schedule = client.get_schedule(Name=shop.stack.schedule)
    client.update_schedule(
        Name=shop.stack.schedule,
        State=schedule["State"],
        ScheduleExpression=schedule["ScheduleExpression"],
        FlexibleTimeWindow=schedule["FlexibleTimeWindow"],
        Target={**schedule["Target"], "Input": "{}"},
    )


BREAKAGES = {
    hide_too_short: "queue: visibility",
    give_up_never: "queue: redrive",
    drop_dead_letters_early: "dead letters: retention",
    wrong_key: "key: accepted",
    stop_consumer: "mapping",
    one_consumer_too_many: "mapping: concurrency",
    other_table: "consumer: settings",
    wrong_setting: "producer: settings",
    throttle: "producer: concurrency",
    silence: "alarm: dead-letters",
    empty_input: "schedule: input",
}


def test_a_sandbox_as_it_is_deployed_needs_nothing(cli):
    told = cli("doctor")
    assert told.code == 0, told.out + told.err
    assert {name for name, one in findings(cli).items() if one["verdict"] != "ok"} == {
        "key",  # a secret one
        "table: expiry",
        "table: backups",
        "schedule",  # off, as in every sandbox
    }
    assert KEY.findall(told.out) == []
    assert told.lines[-1].endswith(" ok, 4 advice, 0 fix, 0 unknown")


def test_outside_a_sandbox_a_schedule_that_is_off_is_to_be_fixed(shop, cli):
    environ = clean_environ() | dict(CREDENTIALS) | {"AWS_ENDPOINT_URL": shop.stack.endpoint}
    environ |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
    environ |= {"AWS_CA_BUNDLE": str(shop.stack.client.trusted)}
    told = run("doctor", "--json", "--stack", shop.stack.name, environ=environ)
    wrong = {one["name"]: one["command"] for one in told.json["findings"] if one["verdict"] == "fix"}
    deploy = f'make deploy ARGS="--stack {shop.stack.name} --set ScheduleState=ENABLED"'
    assert wrong == {"schedule": deploy}
    assert told.code == 1
    resume = ("resume", "--schedule-only", "--stack", shop.stack.name)
    assert run(*resume, environ=environ).code == 0
    assert run("doctor", "--stack", shop.stack.name, environ=environ).code == 0
    cli("pause", "--schedule-only")


def test_what_is_broken_is_said_and_the_commands_that_are_shown_mend_it(cli, shell, shop):
    for break_it in BREAKAGES:
        break_it(shop)
    told = cli("doctor", "--json")
    broken = {one["name"]: one for one in told.json["findings"] if one["verdict"] == "fix"}
    assert (told.code, set(broken)) == (1, set(BREAKAGES.values()))
    shown = [line.strip() for line in cli("doctor").lines]
    for finding in broken.values():
        assert finding["command"] in shown  # whole, on a line of its own, to be copied
        shell(finding["command"])
    wait_until(lambda: verdicts(cli) == {"ok", "advice"}, "the stack to be well again", 60)


def test_a_key_that_is_not_there_is_put_there_by_the_command_that_is_shown(cli, shell, shop):
    shop.stack.client("ssm").delete_parameter(Name=shop.stack.secret_parameter)
    missing = findings(cli)["parameter"]
    assert (missing["verdict"], STRIPE_KEY in missing["command"]) == ("fix", False)
    shell(missing["command"])
    assert verdicts(cli) == {"ok", "advice"}


def test_a_missing_permission_at_stripe_is_said_with_what_follows_from_it(cli, shop):
    shop.stripe.faults.forbidden(endpoint=Endpoint.EVENTS)
    try:
        told = cli("doctor")
        finding = findings(cli)["key: events"]
    finally:
        shop.stripe.faults.clear()
    assert told.code == 1
    assert finding["verdict"] == "fix"
    assert "can double an order" in finding["what"]
    assert finding["command"] == "https://dashboard.stripe.com/test/apikeys"


def test_a_table_that_is_gone_or_has_other_keys_is_said_and_all_else_is_still_looked_at(cli, shop):
    client, table = shop.stack.client("dynamodb"), shop.stack.table
    count = len(findings(cli))
    client.delete_table(TableName=table)
    gone = findings(cli)
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    other = findings(cli)
    client.delete_table(TableName=table)
    create_table(shop.stack.client, table)
    assert (gone["table"]["verdict"], other["table: keys"]["verdict"]) == ("fix", "fix")
    assert "id (S)" in other["table: keys"]["what"]
    assert len(other) == count
    assert gone["mapping"]["verdict"] == "ok"


def test_a_stack_that_is_not_there_could_not_be_looked_at(cli):
    told = cli("doctor", "--stack", "nowhere")
    assert told.code == 2
    assert "there is no stack nowhere" in told.err


def test_pause_keeps_what_waits_and_resume_works_it_off(cli, shop):
    before = shop.stack.client("scheduler").get_schedule(Name=shop.stack.schedule)
    assert cli("resume").code == 0
    paused = cli("pause")
    assert paused.code == 0, paused.out + paused.err
    run_id = shop.body({"lookbackHours": 24})["runId"]
    told = cli.data("pause")
    assert [change["after"] for change in told["changes"]] == ["DISABLED", "Disabled"]
    assert [change["before"] for change in told["changes"]] == ["DISABLED", "Disabled"]
    assert (told["waiting"]["messages"], told["waiting"]["retentionSeconds"]) == (3, 10 * DAY)
    assert told["waiting"]["keepsUntil"] > iso(time.time() + 9 * DAY)
    assert shop.run(run_id)["processed"] == 0
    resumed = cli("resume")
    assert resumed.code == 0
    assert "The next run is due at" in resumed.out
    shop.settled(run_id)
    cli("pause", "--schedule-only")
    after = shop.stack.client("scheduler").get_schedule(Name=shop.stack.schedule)
    changing = ("ResponseMetadata", "LastModificationDate", "CreationDate")
    assert {name: value for name, value in after.items() if name not in changing} == {
        name: value for name, value in before.items() if name not in changing
    }


def test_a_pause_that_got_no_further_than_the_schedule_is_completed_by_the_next(cli):
    cli("resume")
    cli("pause", "--schedule-only")
    assert [change["before"] for change in cli.data("pause")["changes"]] == ["DISABLED", "Enabled"]
    assert [change["after"] for change in cli.data("resume", "--queue-only")["changes"]] == ["Enabled"]


def test_pause_of_neither_is_refused(cli):
    told = cli("pause", "--schedule-only", "--queue-only")
    assert (told.code, told.out) == (2, "")


def test_logs_of_a_run_are_its_own_lines_of_both_functions_in_order(cli, shop):
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


def test_logs_can_be_narrowed_to_a_level_and_to_a_session(cli, shop):
    run_id = cli.data("runs", "--limit", "1")["runs"][0]["runId"]
    every = cli.data("logs", run_id)["lines"]
    session = next(line["sessionId"] for line in every if line["sessionId"])
    narrowed = cli.data("logs", run_id, "--session", session)["lines"]
    assert {line["sessionId"] for line in narrowed} == {session}
    assert cli.data("logs", run_id, "--level", "error")["lines"] == [
        line for line in every if line["level"] == "ERROR"
    ]


def test_logs_of_a_run_that_is_not_there_could_not_be_shown(cli):
    told = cli("logs", "20200101T000000Z")
    assert told.code == 2
    assert "there is no run 20200101T000000Z" in told.err
