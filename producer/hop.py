"""Going on: the producer invokes itself, asynchronously, to continue a run."""

import json
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from producer.request import Hop
from recon.aws import told
from recon.errors import HopFailed

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


def invoke_again(client: "LambdaClient", function: str, hop: Hop) -> None:
    """Raises HopFailed; this invocation is tried again then, and goes on from the cursor."""
    try:
        client.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(hop.event()))
    except (ClientError, BotoCoreError) as exc:
        raise HopFailed(f"Lambda: {told(exc)}") from exc
