"""The clients equal those of boto3, but are made without it."""

import os
from operator import attrgetter

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.validate import ParamValidationDecorator

from recon.aws.clients import SERVICES, USER_AGENT, client, session
from recon.retry import AWS_ATTEMPTS, aws_config


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "here")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "here")
    session.cache_clear()
    yield
    session.cache_clear()


@pytest.mark.parametrize("service", SERVICES)
def test_client_equals_that_of_boto3_with_this_projects_config(service):
    ours = client(service)
    theirs = boto3.Session().client(service, config=Config(**aws_config()))
    for name in ("region_name", "endpoint_url", "service_model.api_version", "config.read_timeout"):
        assert attrgetter(name)(ours.meta) == attrgetter(name)(theirs.meta)
    assert ours.meta.service_model.operation_names == theirs.meta.service_model.operation_names
    assert ours.meta.config.retries["total_max_attempts"] == AWS_ATTEMPTS
    assert ours.meta.config.user_agent == USER_AGENT
    assert not isinstance(ours._serializer, ParamValidationDecorator)


def test_endpoint_of_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:1")
    assert client("sqs").meta.endpoint_url == "http://127.0.0.1:1"


def test_clients_share_a_session_that_reads_few_folders(monkeypatch):
    folders, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: folders.append(path) or listdir(path))
    for service in SERVICES:
        client(service)
    assert len(folders) < 10 * len(SERVICES)
    assert session() is session()


def test_service_that_is_not_listed_is_refused():
    with pytest.raises((UnknownServiceError, DataNotFoundError)):
        client("s3")
