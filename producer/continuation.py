"""The producer's asynchronous invocation of itself."""

import json
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from producer.request import Continuation
from recon.aws.errors import describe_error
from recon.errors import HopFailed

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


def continue_async(client: "LambdaClient", function: str, continuation: Continuation) -> None:
    """Invoke the producer asynchronously to continue a run.

    Raise HopFailed if Lambda does not accept the call. Lambda then retries the current invocation, which
    continues where the run is.
    """
    payload = json.dumps(continuation.to_event())
    try:
        client.invoke(FunctionName=function, InvocationType="Event", Payload=payload)
    except (ClientError, BotoCoreError) as exc:
        raise HopFailed(f"Lambda: {describe_error(exc)}") from exc
