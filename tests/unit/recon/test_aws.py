"""AWS errors are described without AWS's own text, and denied calls are not retried."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from recon.aws.errors import describe_error, is_denied
from recon.aws.queue import SessionQueue, Visibility
from recon.dynamodb.table import Table
from recon.errors import NotAllowed
from testkit.builders import FakeTime, a_message

ROLE = "arn:aws:sts::123456789012:assumed-role/shop-ConsumerRole/shop-consumer"


def an_error(operation, code, text):
    return ClientError({"Error": {"Code": code} | ({"Message": text} if text else {})}, operation)


def a_denial(operation, action, code="AccessDeniedException"):
    """Build an error as in https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html."""
    text = (
        f"User: {ROLE} is not authorized to perform: {action} on resource: arn:aws:x:y "
        f"because no identity-based policy allows the {action} action"
    )
    return an_error(operation, code, text)


@pytest.mark.parametrize(
    ("operation", "action", "code"),
    [
        ("TransactWriteItems", "dynamodb:UpdateItem", "AccessDeniedException"),
        ("SendMessageBatch", "sqs:sendmessage", "AccessDenied"),  # SQS uses another code
        ("GetParameter", "kms:Decrypt", "AccessDeniedException"),
    ],
)
def test_denial_is_described_by_its_missing_permission(operation, action, code):
    error = a_denial(operation, action, code)
    assert describe_error(error) == f"{operation}: {code}: no permission for {action}"
    assert is_denied(error)


@pytest.mark.parametrize(
    ("error", "description", "is_denial"),
    [
        (an_error("SendMessage", "AccessDenied", f"not for {ROLE}"), "SendMessage: AccessDenied", True),
        (an_error("Query", "AccessDenied", None), "Query: AccessDenied", True),
        (
            an_error("Query", "ValidationException", "not authorized to perform: a:secret"),
            "Query: ValidationException",
            False,
        ),
        (EndpointConnectionError(endpoint_url="https://sqs.test"), "EndpointConnectionError", False),
    ],
)
def test_other_errors_are_described_by_their_code_alone(error, description, is_denial):
    assert (describe_error(error), is_denied(error)) == (description, is_denial)


class DenyingClient:
    """A client of a role without permissions, which counts its calls."""

    def __init__(self, action, code):
        self.calls = 0
        self._error = a_denial("Anything", action, code)

    def __getattr__(self, operation):
        def call(**request):
            self.calls += 1
            raise self._error

        return call


def transact(client, deadline):
    table = Table(client, "shop")
    table.transact([table.delete(("SYSTEM", "x"))], deadline)


def get_many(client, deadline):
    Table(client, "shop").get_many([("SYSTEM", "x")], deadline)


def send(client, deadline):
    SessionQueue(client, "https://queue")._send_batch([a_message()], deadline)


@pytest.mark.parametrize(
    ("call", "service", "action", "code"),
    [
        (transact, "DynamoDB", "dynamodb:PutItem", "AccessDeniedException"),
        (get_many, "DynamoDB", "dynamodb:BatchGetItem", "AccessDeniedException"),
        (send, "SQS", "sqs:sendmessage", "AccessDenied"),
    ],
)
def test_denied_call_is_made_once_and_names_its_permission(call, service, action, code):
    client = DenyingClient(action, code)
    with pytest.raises(NotAllowed, match=f"^{service}: Anything: {code}: no permission for {action}$"):
        call(client, FakeTime().deadline(60))
    assert client.calls == 1


def test_denied_visibility_is_returned_with_its_reason():
    queue = SessionQueue(DenyingClient("sqs:changemessagevisibility", "AccessDenied"), "https://queue")
    reason = "SQS: Anything: AccessDenied: no permission for sqs:changemessagevisibility"
    assert queue.set_visibility([Visibility("receipt", 5)]) == {"receipt": reason}
