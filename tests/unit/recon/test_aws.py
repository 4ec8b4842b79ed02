"""What AWS answers is told without its own text, and a denial says which permission is missing."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from recon.aws.errors import describe_error, is_denied
from recon.aws.queue import SessionQueue, Visibility
from recon.dynamodb.table import Table, to_domain_error
from recon.errors import NotAllowed, QueueUnavailable, TableUnavailable
from recon.retry import Deadline, attempts
from testkit.builders import FakeTime, a_message

ROLE = "arn:aws:sts::123456789012:assumed-role/shop-ConsumerRole/shop-consumer"


def refused(operation, action, code="AccessDeniedException"):
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html"""
    text = (
        f"User: {ROLE} is not authorized to perform: {action} on resource: arn:aws:x:y "
        f"because no identity-based policy allows the {action} action"
    )
    return ClientError({"Error": {"Code": code, "Message": text}}, operation)


@pytest.mark.parametrize(
    ("operation", "action", "code"),
    [
        ("TransactWriteItems", "dynamodb:UpdateItem", "AccessDeniedException"),
        ("SendMessageBatch", "sqs:sendmessage", "AccessDenied"),  # SQS writes it so
        ("GetParameter", "ssm:GetParameter", "AccessDeniedException"),
        ("GetParameter", "kms:Decrypt", "AccessDeniedException"),
        ("Invoke", "lambda:InvokeFunction", "AccessDeniedException"),
    ],
)
def test_a_denial_names_the_permission_and_nobody(operation, action, code):
    error = refused(operation, action, code)
    assert describe_error(error) == f"{operation}: {code}: no permission for {action}"
    assert is_denied(error)


def test_a_denial_without_a_permission_in_its_text_is_told_by_its_code():
    error = ClientError({"Error": {"Code": "AccessDenied", "Message": f"not for {ROLE}"}}, "SendMessage")
    assert describe_error(error) == "SendMessage: AccessDenied"


def test_no_other_error_quotes_its_text():
    text = "not authorized to perform: a:secret"
    error = ClientError({"Error": {"Code": "ValidationException", "Message": text}}, "Query")
    assert (describe_error(error), is_denied(error)) == ("Query: ValidationException", False)


def test_an_answer_that_never_came_is_told_by_its_kind():
    error = EndpointConnectionError(endpoint_url="https://sqs.test")
    assert (describe_error(error), is_denied(error)) == ("EndpointConnectionError", False)


# --- what follows from a denial -----------------------------------------------------------------------------


class Refusing:
    """Clients of a role that may do nothing; counts how often it is asked."""

    def __init__(self, action, code="AccessDeniedException"):
        self.asked = 0
        self._error = refused("Anything", action, code)

    def __getattr__(self, operation):
        def call(**request):
            self.asked += 1
            raise self._error

        return call


@pytest.fixture
def deadline():
    clock = FakeTime(0)
    return Deadline(60, clock, clock.sleep)


def test_a_table_that_is_not_allowed_is_asked_once_and_no_session_is_lost(deadline):
    client = Refusing("dynamodb:PutItem")
    table = Table(client, "shop")
    with pytest.raises(NotAllowed, match=r"^DynamoDB: Anything: .*no permission for dynamodb:PutItem$"):
        table.transact([table.delete(("SYSTEM", "x"))], deadline)
    assert client.asked == 1
    with pytest.raises(NotAllowed):
        table.get_many([("SYSTEM", "x")], deadline)
    assert client.asked == 2


def test_a_queue_that_is_not_allowed_is_asked_once(deadline):
    client = Refusing("sqs:sendmessage", "AccessDenied")
    queue = SessionQueue(client, "https://queue")
    with pytest.raises(NotAllowed, match=r"^SQS: Anything: AccessDenied: no permission for sqs:sendmessage$"):
        queue._send_batch([a_message()], deadline)
    assert client.asked == 1


def test_a_visibility_that_is_not_allowed_says_why_and_loses_nothing():
    queue = SessionQueue(Refusing("sqs:changemessagevisibility", "AccessDenied"), "https://queue")
    missed = queue.set_visibility([Visibility("receipt", 5)])
    assert missed == {"receipt": "SQS: Anything: AccessDenied: no permission for sqs:changemessagevisibility"}


def test_what_is_not_a_denial_is_still_tried_again(deadline):
    calls = []

    def fails():
        calls.append(1)
        raise to_domain_error(ClientError({"Error": {"Code": "ThrottlingException"}}, "Query"))

    with pytest.raises(TableUnavailable):
        attempts(3, deadline, first=0.1, longest=1.0)(fails)
    assert len(calls) == 3
    assert not issubclass(NotAllowed, TableUnavailable | QueueUnavailable)


def test_a_denial_without_any_text_is_told_by_its_code():
    bare = ClientError({"Error": {"Code": "AccessDeniedException"}}, "Query")
    assert describe_error(bare) == "Query: AccessDeniedException"
