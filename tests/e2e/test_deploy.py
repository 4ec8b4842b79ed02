"""`make deploy` and `make destroy` with the real AWS CLI, on the emulated AWS."""

import os
import platform
import re
import uuid

import pytest

from infra.deploy import __main__ as command
from infra.deploy import settings
from infra.deploy.settings import Settings
from sandbox.stack import STRIPE_KEY, TEMPLATE, bucket, create_table, put_stripe_key, stack_exists
from sandbox.template import remove_unsupported
from testkit.emulator.clients import ACCOUNT, CREDENTIALS, REGION
from testkit.fake_stripe import FakeStripe, SessionSpec
from tests.e2e.aws_cli import with_aws

pytestmark = pytest.mark.e2e
ARCHITECTURES = {"aarch64": "arm64", "x86_64": "x86_64"}


@pytest.fixture
def shell(emulator, tmp_path, monkeypatch):
    """A terminal in an empty folder, on the way to the emulated AWS."""
    folder = with_aws(tmp_path)
    if folder is None:
        pytest.skip("no AWS CLI, and none from the package registry")
    monkeypatch.chdir(tmp_path)
    variables = {"PATH": f"{folder}:{os.environ['PATH']}", "AWS_ENDPOINT_URL": emulator.url, **CREDENTIALS}
    if emulator.certificate:
        variables["AWS_CA_BUNDLE"] = str(emulator.certificate.authority)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return emulator.client


@pytest.fixture
def stripe():
    with FakeStripe(STRIPE_KEY) as stripe:
        stripe.store.add(SessionSpec("cs_test_deploy01", 1_732_672_800, metadata={"userId": "u1"}))
        yield stripe


@pytest.fixture
def wanted(shell, stripe, tmp_path):
    """The settings of a stack whose shop is there: table, key and bucket."""
    name = f"deployed-{uuid.uuid4().hex[:8]}"
    create_table(shell, f"{name}-shop")
    put_stripe_key(shell, f"/{name}/stripe-key", STRIPE_KEY)
    parameters = {
        "CommerceTable": f"{name}-shop",
        "StripeSecretParameter": f"/{name}/stripe-key",
        "StripeApiBase": stripe.url,
        "ScheduleState": "DISABLED",
        "Architecture": ARCHITECTURES[platform.machine()],
    }
    made = Settings(name, ACCOUNT, REGION, bucket(shell), parameters)
    settings.write(settings.path_of(name, tmp_path), made)
    return made


def test_a_stack_is_deployed_looked_at_previewed_and_deleted_and_its_table_stays(
    shell, wanted, tmp_path, capfd
):
    template = tmp_path / "template.yaml"
    template.write_text(remove_unsupported(TEMPLATE.read_text()))
    code = command.main(["deploy", "--stack", wanted.stack, "--yes", "--preview"], template)
    said = capfd.readouterr()
    # The doctor has something to say of an emulated stack; what it says is its own tests' matter.
    assert code in {0, 1}, said.err
    assert len(re.findall(r"^  (?:producer|consumer)\.zip sha256 [0-9a-f]{64}", said.out, re.MULTILINE)) == 2
    assert re.search(r"Add +Queue +AWS::SQS::Queue", said.out)
    assert f"{wanted.stack}: " in said.out
    assert "Nothing was written." in said.out
    client = shell("cloudformation")
    assert "ScheduleDeadLetterQueue" in client.get_stack_policy(StackName=wanted.stack)["StackPolicyBody"]
    assert command.main(["destroy", "--stack", wanted.stack, "--yes"]) == 0
    assert not stack_exists(shell, wanted.stack)
    table = shell("dynamodb").describe_table(TableName=wanted.parameters["CommerceTable"])
    assert table["Table"]["TableStatus"] == "ACTIVE"


def test_dry_runs_of_both_verbs_change_nothing(shell, wanted, tmp_path, capfd):
    template = tmp_path / "template.yaml"
    template.write_text(remove_unsupported(TEMPLATE.read_text()))
    named = ["--stack", wanted.stack, "--yes"]
    file = settings.path_of(wanted.stack, tmp_path)

    def state():
        objects = shell("s3").list_objects_v2(Bucket=wanted.bucket, Prefix=f"{wanted.stack}/")
        return {one["Key"] for one in objects.get("Contents", ())}, file.read_text()

    def shown(words):
        before = state()
        code = command.main([*words, "--dry-run"], template)
        said = capfd.readouterr()
        assert code == 0, said.err
        assert state() == before
        return said.out

    first = shown(["deploy", *named])
    assert re.search(r"Add +Queue +AWS::SQS::Queue", first)
    assert not stack_exists(shell, wanted.stack)
    assert command.main(["deploy", *named], template) in {0, 1}
    client = shell("cloudformation")

    def described():
        return (
            client.describe_stacks(StackName=wanted.stack)["Stacks"],
            client.list_change_sets(StackName=wanted.stack)["Summaries"],
        )

    deployed = described()
    assert "No changes" in shown(["deploy", *named])
    assert "Producer" in shown(["deploy", *named, "--set", "MaxSessions=77"])
    goes, _, stays = shown(["destroy", *named]).partition("Would stay")
    assert re.search(r"Producer +AWS::Lambda::Function", goes)
    assert re.search(r"Queue +AWS::SQS::Queue", stays)
    assert described() == deployed
    assert command.main(["destroy", *named]) == 0
