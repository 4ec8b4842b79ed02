"""The packages in the bucket, and the steps after a deployment."""

import hashlib

import pytest

from infra.deploy.aws import AwsServices, connect_to
from infra.deploy.packages import package_template
from tests.infra.deploy.recorded import DEPLOYED, REGION, TEXT


def test_zip_is_uploaded_once_under_the_hash_of_its_content(make_deployment):
    first = make_deployment()
    first.deploy()
    digest = hashlib.sha256(b"the same bytes").hexdigest()
    uploads = first.calls("s3", "put_object")
    assert [(one["Bucket"], one["Key"], one["Body"]) for one in uploads[:2]] == [
        ("packages", f"sync/{name}-{digest}.zip", b"the same bytes") for name in ("producer", "consumer")
    ]
    again = make_deployment(**DEPLOYED, s3__list_objects_v2={"Contents": [{}]})
    again.deploy()
    assert again.calls("s3", "put_object") == []


def test_packaged_template_differs_only_in_the_code_addresses():
    made = package_template(TEXT, {"producer": "s3://b/p.zip", "consumer": "s3://b/c.zip"})
    expected = TEXT.replace("../build/producer", "s3://b/p.zip").replace("../build/consumer", "s3://b/c.zip")
    assert made == expected
    assert "build/" not in made


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [
        (REGION, "https://s3.eu-west-1.amazonaws.com"),
        ("us-east-1", "https://s3.amazonaws.com"),
        ("cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_template_url_has_the_endpoint_of_its_region(monkeypatch, region, endpoint):
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    assert AwsServices(connect_to(region)).client("s3").meta.endpoint_url == endpoint


def test_template_url_names_the_uploaded_object(make_deployment):
    deployment = make_deployment()
    deployment.deploy()
    *_, template = deployment.calls("s3", "put_object")
    [created] = deployment.calls("cloudformation", "create_change_set")
    assert created["TemplateURL"] == f"https://s3.{REGION}.amazonaws.com/packages/{template['Key']}"


@pytest.mark.parametrize(
    ("health", "text"),
    [(1, "the doctor's findings are above"), (2, "the reason the doctor failed is above")],
)
def test_doctor_problem_is_exit_code_1_of_a_successful_deployment(make_deployment, health, text):
    deployment = make_deployment(health=health)
    assert deployment.deploy() == 1
    assert deployment.text.splitlines()[-1].startswith(f"The stack is deployed; {text}")


@pytest.mark.parametrize(
    ("answers", "options", "is_previewed"),
    [
        (["y", "y"], {}, True),
        (["y", "n"], {}, False),
        (["y", EOFError()], {}, False),
        (["y", KeyboardInterrupt()], {}, False),
        (None, {}, False),
        (None, {"preview": True}, True),
    ],
)
def test_preview_runs_if_accepted_or_requested(make_deployment, answers, options, is_previewed):
    deployment = make_deployment(answers)
    assert deployment.deploy(**options) == 0
    assert deployment.operator_calls == [["doctor"]] + [["run", "--dry-run"]] * is_previewed
