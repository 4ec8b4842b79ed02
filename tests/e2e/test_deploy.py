"""`make deploy` and `make destroy` on the emulated AWS."""

import platform
import re
import uuid

import pytest

from infra.build import FUNCTIONS
from infra.deploy import __main__ as command
from infra.deploy import stack
from infra.deploy.settings import DeploySettings
from infra.deploy.settings_file import default_path, write_settings
from sandbox.stack import STRIPE_KEY, TEMPLATE, bucket, bundle, create_table, put_stripe_key, stack_exists
from sandbox.template import remove_unsupported
from testkit.emulator.clients import ACCOUNT, CREDENTIALS, REGION
from testkit.fake_stripe import FakeStripe, SessionSpec

pytestmark = pytest.mark.e2e
ARCHITECTURES = {"aarch64": "arm64", "x86_64": "x86_64"}


@pytest.fixture
def clients(emulator, tmp_path, monkeypatch):
    """Return clients of the emulated AWS, which the environment selects too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stack, "_POLL_SECONDS", 0.5)
    monkeypatch.setattr(command, "build_zips", lambda options: {name: bundle(name) for name in FUNCTIONS})
    environment = {"AWS_ENDPOINT_URL": emulator.url, **CREDENTIALS}
    if emulator.certificate:
        environment["AWS_CA_BUNDLE"] = str(emulator.certificate.authority)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return emulator.client


@pytest.fixture
def stored(clients, tmp_path):
    """Return the stored settings of a stack whose table, key and bucket exist."""
    name = f"deployed-{uuid.uuid4().hex[:8]}"
    create_table(clients, f"{name}-shop")
    put_stripe_key(clients, f"/{name}/stripe-key", STRIPE_KEY)
    with FakeStripe(STRIPE_KEY) as stripe:
        stripe.store.add(SessionSpec("cs_test_deploy01", 1_732_672_800, metadata={"userId": "u1"}))
        parameters = {
            "CommerceTable": f"{name}-shop",
            "StripeSecretParameter": f"/{name}/stripe-key",
            "StripeApiBase": stripe.url,
            "ScheduleState": "DISABLED",
            "Architecture": ARCHITECTURES[platform.machine()],
        }
        stored = DeploySettings(name, ACCOUNT, REGION, bucket(clients), parameters)
        write_settings(default_path(name, tmp_path), stored, private=False)
        yield stored


def test_stack_is_compared_deployed_previewed_and_deleted(clients, stored, tmp_path, capfd):
    template = tmp_path / "template.yaml"
    template.write_text(remove_unsupported(TEMPLATE.read_text()))
    formation = clients("cloudformation")

    def run(verb, *options, codes=(0,)):
        code = command.main([verb, "--stack", stored.stack, "--yes", *options], template)
        printed = capfd.readouterr()
        assert code in codes, printed.err
        return printed.out

    assert re.search(r"Add +Queue +AWS::SQS::Queue", run("deploy", "--dry-run"))
    assert not stack_exists(clients, stored.stack)
    objects = clients("s3").list_objects_v2(Bucket=stored.bucket, Prefix=f"{stored.stack}/")
    assert "Contents" not in objects

    # The doctor has findings about an emulated stack, so the exit code may be 1.
    deployed = run("deploy", "--preview", codes=(0, 1))
    assert len(re.findall(r"^  (?:producer|consumer)\.zip sha256 [0-9a-f]{64}", deployed, re.MULTILINE)) == 2
    assert f"{stored.stack}: " in deployed
    assert "Nothing was written." in deployed
    # The only session of the shop is too old to be compared.
    assert "0 paid sessions compared" in deployed
    policy = formation.get_stack_policy(StackName=stored.stack)["StackPolicyBody"]
    assert "ScheduleDeadLetterQueue" in policy

    # Another machine, which has no file, reads the settings from the stack.
    default_path(stored.stack, tmp_path).unlink()
    assert "No changes" in run("deploy", codes=(0, 1))
    default_path(stored.stack, tmp_path).unlink()

    before = formation.describe_stacks(StackName=stored.stack)["Stacks"]
    deleted, _, kept = run("destroy", "--dry-run").partition("Would stay")
    assert re.search(r"Producer +AWS::Lambda::Function", deleted)
    assert re.search(r"Queue +AWS::SQS::Queue", kept)
    assert f"table {stored.parameters['CommerceTable']}" in kept
    assert f"bucket {stored.bucket}" in kept
    assert formation.describe_stacks(StackName=stored.stack)["Stacks"] == before

    run("destroy")
    assert not stack_exists(clients, stored.stack)
    table = clients("dynamodb").describe_table(TableName=stored.parameters["CommerceTable"])
    assert table["Table"]["TableStatus"] == "ACTIVE"
