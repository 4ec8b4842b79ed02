"""Runs the emulator in its own environment, and ends it with all its workers when whoever started it is gone.

The parent holds the other end of standard input; its end, also a violent one, closes it. With `--detached`
there is nobody to outlive. Imports nothing of the project, which the emulator's environment does not have.

It also corrects where the emulator's authorization differs from AWS's; see docs/decisions.md.
"""

import importlib
import json
import os
import signal
import sys
import threading
from typing import Any


def end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    # The whole group: the workers that run the functions, too. There is nothing to save.
    os.killpg(0, signal.SIGKILL)


def stay_on_one_port(app: Any) -> None:  # noqa: ANN401 - a module
    """With TLS it would listen on 443 as well, wherever it may; that port is not ours to take."""
    app._port_is_bindable = lambda _host, _port: False  # noqa: SLF001 - it has no setting for it


def authorize_as_aws(actions: Any) -> None:  # noqa: ANN401 - a module
    """On AWS a batch call to SQS needs the permission of the single one, and DynamoDB tells IAM the partition
    keys of a request (`dynamodb:LeadingKeys`)."""
    its_action, its_context = actions.extract_iam_action, actions.dynamodb_service_context

    def action(service: str, *request: Any) -> str | None:  # noqa: ANN401 - handed on as it is
        named: str | None = its_action(service, *request)
        return named.removesuffix("Batch") if named and service == "sqs" else named

    def context(body: bytes) -> dict[str, Any]:
        keys = leading_keys(json.loads(body or b"{}"))
        found: dict[str, Any] = its_context(body)
        return found | ({"dynamodb:LeadingKeys": keys} if keys else {})

    actions.extract_iam_action, actions.dynamodb_service_context = action, context


def leading_keys(request: dict[str, Any]) -> list[str]:
    """Of a write, in a transaction or by itself; the sandbox's tables all have the partition key PK."""
    transaction = [one for item in request.get("TransactItems", []) for one in item.values()]
    targets = [write.get("Item") or write.get("Key") or {} for write in (request, *transaction)]
    return [target["PK"]["S"] for target in targets if "PK" in target]


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--detached"]):
        sys.exit(f"guard: {' '.join(sys.argv[1:])}: only --detached is accepted")
    if "--detached" not in sys.argv:
        threading.Thread(target=end_with_parent, daemon=True).start()
    sys.argv = ["ministack"]
    emulator: Any = importlib.import_module("ministack.app")
    stay_on_one_port(emulator)
    authorize_as_aws(importlib.import_module("ministack.core.iam_actions"))
    emulator.main()
