"""Notes each call that a function makes through the AWS SDK, in the words of the SDK.

Python imports this in the processes of the functions, whose environment has this folder on its path: the code
of the functions knows nothing of it. One file a process and one line a call, each written once.
"""

import json
import os
from pathlib import Path

from botocore import handlers

FOLDER = Path(os.environ.get("RECORDED_CALLS", ""))
FUNCTION = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
seen = set()


def written_keys(params):
    """(kind of write, partition key) of the actions of a transaction."""
    actions = [action for item in params.get("TransactItems", []) for action in item.items()]
    return sorted({(kind, body.get("Item", body.get("Key"))["PK"]["S"]) for kind, body in actions})


def note(params, model, **_):
    call = {
        "function": FUNCTION,
        "service": model.service_model.service_name,
        "operation": model.name,
        "writes": written_keys(params),
    }
    line = json.dumps(call)
    if line not in seen:
        seen.add(line)
        with (FOLDER / f"{FUNCTION}-{os.getpid()}.jsonl").open("a") as file:
            file.write(f"{line}\n")


if FUNCTION:
    handlers.BUILTIN_HANDLERS.append(("before-parameter-build", note))
