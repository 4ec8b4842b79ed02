"""`make deploy ARGS=--dry-run`: it shows the changes and reverts whatever it needed for that."""

import re

from tests.infra.deploy.recorded import (
    DEPLOYED,
    EMPTY,
    NO_BUCKET,
    RAW,
    SETTINGS,
    change_set,
    modification,
    refusal,
    removal,
)

UPDATE = ["put_object", "create_change_set", "delete_change_set", "delete_object"]
CREATION = ["put_object", "create_change_set", "delete_change_set", "delete_stack", "delete_object"]


def test_dry_run_of_an_update_shows_and_reverts_the_changes(make_deployment):
    changes = change_set(modification("Producer", "AWS::Lambda::Function", "False"))
    deployment = make_deployment([], **DEPLOYED, cloudformation__describe_change_set=changes)
    assert deployment.dry_run(changes=["MaxSessions=100", "AlarmEmail=ops@example.com"]) == 0
    assert deployment.parameters["MaxSessions"] == "100"
    assert deployment.writes == UPDATE
    assert deployment.stored_settings == SETTINGS
    assert "Producer  AWS::Lambda::Function  no" in deployment.text
    assert f"Would be stored in {deployment.file}: AlarmEmail, MaxSessions" in deployment.text
    assert "ops@example.com" not in deployment.text
    assert deployment.text.endswith("Dry run: nothing was changed.\n")
    assert (deployment.asked, deployment.operator_calls) == ([], [])


def test_dry_run_uploads_only_the_template_and_removes_it(make_deployment):
    deployment = make_deployment(**DEPLOYED)
    deployment.dry_run()
    [uploaded], [deleted] = deployment.calls("s3", "put_object"), deployment.calls("s3", "delete_object")
    assert (uploaded["Bucket"], uploaded["Key"]) == (deleted["Bucket"], deleted["Key"])
    assert uploaded["Key"].startswith("sync/dry-run-")
    assert deployment.text.count("(would be uploaded)") == 2


def test_dry_run_reuses_and_keeps_a_template_in_the_bucket(make_deployment):
    deployment = make_deployment(**DEPLOYED, s3__list_objects_v2={"Contents": [{}]})
    deployment.dry_run()
    assert deployment.writes == ["create_change_set", "delete_change_set"]
    assert deployment.text.count("(exists)") == 2


def test_dry_run_of_a_first_deployment_leaves_no_empty_stack(make_deployment):
    deployment = make_deployment(**EMPTY)
    assert deployment.dry_run() == 0
    assert deployment.writes == CREATION
    assert "Add     Queue     AWS::SQS::Queue" in deployment.text


def test_dry_run_without_changes_says_so(make_deployment):
    deployment = make_deployment(**DEPLOYED, cloudformation__describe_change_set=change_set())
    assert deployment.dry_run() == 0
    assert "No changes" in deployment.text
    assert f"{deployment.file} would stay as it is." in deployment.text
    assert deployment.writes == UPDATE


def test_failed_dry_run_reverts_everything(make_deployment):
    failing = [refusal("ThrottlingException")]
    deployment = make_deployment(**EMPTY, cloudformation__describe_change_set=failing)
    assert "ThrottlingException" in deployment.error("dry_run")
    assert deployment.writes == CREATION


def test_dry_run_warns_of_the_loss_of_a_queue(make_deployment):
    losing = change_set(removal("DeadLetterQueue"))
    deployment = make_deployment([], **DEPLOYED, cloudformation__describe_change_set=losing)
    assert deployment.dry_run() == 0
    assert "needs --allow-queue-loss with --yes" in deployment.text
    assert deployment.writes == UPDATE


def test_dry_run_without_a_bucket_lists_the_template_resources(make_deployment):
    deployment = make_deployment(**NO_BUCKET)
    assert deployment.dry_run() == 0
    assert "aws s3 mb s3://packages --region eu-west-1" in deployment.text
    for name, one in RAW["Resources"].items():
        assert re.search(rf"^  {name} +{one['Type']}( |$)", deployment.text, re.MULTILINE)
    assert re.search(r"AlarmSubscription +AWS::SNS::Subscription +only with HasAlarmEmail", deployment.text)
    assert deployment.writes == []
