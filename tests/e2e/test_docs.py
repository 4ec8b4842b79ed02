"""The AWS CLI commands of the docs that are marked as tested, run with the AWS CLI on the deployed stack."""

import json
import os
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from testkit.emulator.clients import CREDENTIALS
from testkit.fake_stripe import Endpoint
from testkit.scheduler import envelop

ROOT = Path(__file__).parents[2]
TEXTS = "".join((ROOT / "docs" / page).read_text() for page in ("deploy.md", "aws-cli.md", "runbook.md"))
pytestmark = pytest.mark.e2e


def find_commands(kind):
    """Return the code blocks that are marked as tested."""
    blocks = re.findall(rf"<!-- tested: {kind} -->\s*```bash\n(.*?)```", TEXTS, flags=re.DOTALL)
    return [re.sub(r"^ {3}", "", block, flags=re.MULTILINE) for block in blocks]


@pytest.fixture(scope="module")
def night(open_shop):
    shop = open_shop()
    night = shop.night()
    for n in range(2):
        night.sells(f"readme{n:02}")
    lost = night.sells("lost")
    shop.stripe.faults.missing(session=lost.id, endpoint=Endpoint.RETRIEVE)
    night.produce()
    shop.wait_for_dead_letters(1)
    return night


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder in which the commands run."""
    return tmp_path_factory.mktemp("commands")


@pytest.fixture(scope="module")
def run(night, aws_folder, folder):
    """Run a command and return its output."""
    stack = night.shop.stack
    environment = {
        "PATH": f"{aws_folder}:{os.environ['PATH']}",
        "HOME": os.environ["HOME"],
        "AWS_ENDPOINT_URL": stack.endpoint,
        "AWS_CA_BUNDLE": str(stack.client.trusted),
        **CREDENTIALS,
        "AWS_PAGER": "",
        "TABLE": stack.table,
        "LEDGER": stack.table,
        "DLQ_URL": stack.dlq_url,
        "RUN_ID": night.run_id,
    }

    def run(command):
        command = command.replace("stripe-nightly-sync-producer", stack.producer)
        command = command.replace("--stack-name stripe-nightly-sync ", f"--stack-name {stack.name} ")
        words = ["bash", "-eu", "-o", "pipefail", "-c", command]
        done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="module", autouse=True)
def morning(run):
    """Run the commands that show the state, before any test starts another run."""
    return [json.loads(run(command)) for command in find_commands("verify")]


def test_commands_of_the_morning_show_the_state_of_a_run(night, morning):
    state, runs, orders, outcomes, dead = morning
    assert state["Item"]["lastSyncCreated"] == {"N": "2"}
    assert [item["runId"]["S"] for item in runs["Items"]] == [night.run_id]
    assert runs["Items"][0]["errors"] == {"N": "1"}
    assert {item["orderNumber"]["S"] for item in orders["Items"]} == {"BC-README00", "BC-README01"}
    assert sorted(item["outcome"]["S"] for item in outcomes["Items"]) == ["created", "created", "error"]
    assert dead["Attributes"]["ApproximateNumberOfMessages"] == "1"


def test_printed_invocations_preview_and_look_back_longer(run, folder):
    preview, longer = find_commands("invoke")
    assert '"dryRun": true' in run(preview)
    body = json.loads((folder / "preview.json").read_text())["body"]
    assert (body["dryRun"], body["enqueued"]) == (True, 0)
    run(longer)
    body = json.loads((folder / "run.json").read_text())["body"]
    assert (body["trigger"], body["lookbackHours"]) == ("manual", 168)


def test_recipe_runs_the_night_that_the_scheduler_could_not_start(night, run, folder):
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:00Z")
    event = {"trigger": "scheduled", "scheduledTime": at}
    stack = night.shop.stack
    sqs = stack.client("sqs")
    url = sqs.get_queue_url(QueueName=f"{stack.name}-missed-starts")["QueueUrl"]
    missed = envelop(event, at)
    sqs.send_message(QueueUrl=url, MessageBody=missed["Body"], MessageAttributes=missed["MessageAttributes"])
    [recipe] = find_commands("missed")
    run(recipe)
    assert json.loads((folder / "start.json").read_text()) == event
    body = json.loads((folder / "run.json").read_text())["body"]
    assert (body["trigger"], body["runId"]) == ("scheduled", re.sub("[-:]", "", at))
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
