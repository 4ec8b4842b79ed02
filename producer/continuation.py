"""Going on: the producer invokes itself, asynchronously, to continue a run."""

import json
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from producer.request import Continuation
from recon.aws.errors import describe_error
from recon.errors import HopFailed

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


def continue_async(client: "LambdaClient", function: str, hop: Continuation) -> None:
    """Raises HopFailed; this invocation is tried again then, and goes on from the cursor."""
    try:
        client.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(hop.event()))
    except (ClientError, BotoCoreError) as exc:
        raise HopFailed(f"Lambda: {describe_error(exc)}") from exc
