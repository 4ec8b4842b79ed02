"""The clients are those that boto3 would make, made without it."""

import os

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.validate import ParamValidationDecorator

from recon.aws.clients import SERVICES, USER_AGENT, client, session
from recon.retry import AWS_ATTEMPTS, aws_config


@pytest.fixture(autouse=True)
def somewhere(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "here")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "here")
    session.cache_clear()
    yield
    session.cache_clear()


@pytest.mark.parametrize("service", SERVICES)
def test_a_client_is_what_boto3_makes_with_our_retries_and_timeouts(service):
    ours = client(service)
    theirs = boto3.Session().client(service, config=Config(**aws_config()))
    for what in ("region_name", "endpoint_url", "service_model.api_version", "config.read_timeout"):
        assert attribute(ours.meta, what) == attribute(theirs.meta, what)
    assert ours.meta.service_model.operation_names == theirs.meta.service_model.operation_names
    assert ours.meta.config.retries["total_max_attempts"] == AWS_ATTEMPTS


@pytest.mark.parametrize("service", SERVICES)
def test_a_request_takes_no_time_for_what_nobody_reads(service):
    ours = client(service)
    assert ours.meta.config.user_agent == USER_AGENT
    assert not isinstance(ours._serializer, ParamValidationDecorator)


def attribute(of, path):
    for name in path.split("."):
        of = getattr(of, name)
    return of


def test_an_endpoint_of_the_environment_is_taken(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:1")
    assert client("sqs").meta.endpoint_url == "http://127.0.0.1:1"


def test_making_clients_does_not_look_through_the_data_of_all_services(monkeypatch):
    looked, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: looked.append(path) or listdir(path))
    for service in SERVICES:
        client(service)
    assert len(looked) < 10 * len(SERVICES)


def test_a_service_that_is_not_used_here_is_refused():
    with pytest.raises((UnknownServiceError, DataNotFoundError)):
        client("s3")


def test_clients_share_what_they_are_made_from():
    assert session() is session()
