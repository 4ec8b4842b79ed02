"""The commands of README and docs/by-hand.md, run for real with the AWS CLI on the deployed stack."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from sandbox.stack import STRIPE_KEY, wait_until
from testkit.emulator.clients import CREDENTIALS
from testkit.fake_stripe import FakeStripe, SessionSpec
from tests.e2e.aws_cli import with_aws

ROOT = Path(__file__).parents[2]
TEXTS = (ROOT / "README.md").read_text() + (ROOT / "docs" / "by-hand.md").read_text()
pytestmark = pytest.mark.e2e
STACK = "stripe-nightly-sync"
NOW = 1_732_672_800  # 2024-11-27T02:00:00Z
SCHEDULED = {"trigger": "scheduled", "scheduledTime": "2024-11-27T02:00:00Z"}


def commands(kind):
    """The code blocks that are marked as tested."""
    blocks = re.findall(rf"<!-- tested: {kind} -->\s*```bash\n(.*?)```", TEXTS, flags=re.DOTALL)
    return [re.sub(r"^ {3}", "", block, flags=re.MULTILINE) for block in blocks]


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    folder = with_aws(tmp_path_factory.mktemp("bin"))
    if folder is None:
        pytest.skip("no AWS CLI, and none from the package registry")
    return folder


@pytest.fixture(scope="module")
def shop(emulator, deploy_module_stack):
    with FakeStripe(STRIPE_KEY) as stripe:
        for n in range(3):
            stripe.store.add(SessionSpec(f"cs_test_readme{n:02}", NOW - 3600 - n, metadata={"userId": "u1"}))
        stripe.faults.missing(session="cs_test_readme02")
        stack = deploy_module_stack(StripeApiBase=stripe.url)
        run_id = stack.invoke_producer(SCHEDULED)["body"]["runId"]
        wait_until(lambda: dead_letters(stack) == 1, "the dead session to be in the DLQ")
        yield stack, run_id


def dead_letters(stack):
    name = "ApproximateNumberOfMessages"
    answer = stack.client("sqs").get_queue_attributes(QueueUrl=stack.dlq_url, AttributeNames=[name])
    return int(answer["Attributes"][name])


def run(command, aws, shop, cwd):
    stack, run_id = shop
    environment = {
        "PATH": f"{aws}:{os.environ['PATH']}",
        "HOME": os.environ["HOME"],
        "AWS_ENDPOINT_URL": stack.endpoint,
        "AWS_CA_BUNDLE": str(stack.client.trusted),
        **CREDENTIALS,
        "AWS_PAGER": "",
        "TABLE": stack.table,
        "DLQ_URL": stack.dlq_url,
        "RUN_ID": run_id,
    }
    command = command.replace(f"{STACK}-producer", stack.producer)
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", command],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def test_the_commands_of_the_morning_show_state_runs_orders_outcomes_and_dead_letters(aws, shop, tmp_path):
    state, runs, orders, outcomes, dead = (
        json.loads(run(command, aws, shop, tmp_path)) for command in commands("verify")
    )
    assert state["Item"]["lastSyncCreated"] == {"N": "2"}
    assert [item["runId"]["S"] for item in runs["Items"]] == [shop[1]]
    assert runs["Items"][0]["errors"] == {"N": "1"}
    assert {item["orderNumber"]["S"] for item in orders["Items"]} == {"BC-README00", "BC-README01"}
    assert sorted(item["outcome"]["S"] for item in outcomes["Items"]) == ["created", "created", "error"]
    assert dead["Attributes"]["ApproximateNumberOfMessages"] == "1"


def test_the_preview_and_the_longer_lookback_work_as_printed(aws, shop, tmp_path):
    preview, longer = commands("invoke")
    assert '"dryRun": true' in run(preview, aws, shop, tmp_path)
    body = json.loads((tmp_path / "preview.json").read_text())["body"]
    assert (body["dryRun"], body["enqueued"]) == (True, 0)
    run(longer, aws, shop, tmp_path)
    body = json.loads((tmp_path / "run.json").read_text())["body"]
    assert (body["trigger"], body["lookbackHours"]) == ("manual", 168)
