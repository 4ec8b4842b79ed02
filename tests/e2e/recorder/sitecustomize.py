"""Record each call that a function makes through the AWS SDK, by the SDK's names.

Python imports this module in the processes of the functions, since their environment has this folder on its
path; their own code is unchanged. Each process has a file with one line per distinct call.
"""

import json
import os
from pathlib import Path

from botocore import handlers

FOLDER = Path(os.environ.get("RECORDED_CALLS", ""))
FUNCTION = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
recorded = set()


def written_keys(params):
    """Return (kind of write, partition key) of each action of a transaction."""
    actions = [action for item in params.get("TransactItems", []) for action in item.items()]
    return sorted({(kind, body.get("Item", body.get("Key"))["PK"]["S"]) for kind, body in actions})


def record(params, model, **_):
    call = {
        "function": FUNCTION,
        "service": model.service_model.service_name,
        "operation": model.name,
        "writes": written_keys(params),
    }
    line = json.dumps(call)
    if line not in recorded:
        recorded.add(line)
        with (FOLDER / f"{FUNCTION}-{os.getpid()}.jsonl").open("a") as file:
            file.write(f"{line}\n")


if FUNCTION:
    handlers.BUILTIN_HANDLERS.append(("before-parameter-build", record))
