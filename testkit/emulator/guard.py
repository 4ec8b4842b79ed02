"""Runs the emulator in its own environment, and ends it with all its workers when its parent process ends.

The parent holds the other end of standard input, which closes when the parent ends for any reason. With
`--detached` it runs until it is stopped. It imports nothing of the project, which the emulator's environment
does not have.

It also corrects the emulator's authorization where it differs from AWS; see docs/decisions.md. And it unpacks
the code of a function once for all of its processes.
"""

import hashlib
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import types
import zipfile
from pathlib import Path
from typing import Any

LEADING_KEYS = "dynamodb:LeadingKeys"


def end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    # The whole group, with the workers that run the functions. Nothing has to be saved.
    os.killpg(0, signal.SIGKILL)


def stay_on_one_port(app: Any) -> None:
    """Keep the emulator from listening on port 443 as well, which it does with TLS."""
    app._port_is_bindable = lambda _host, _port: False


class SharedZip(zipfile.ZipFile):
    """A package that is unpacked once: further folders are links to the first, as Lambda's are read-only."""

    unpacking = threading.Lock()

    def extractall(self, path: Any = None, members: Any = None, pwd: Any = None) -> None:
        """Replace the empty folder `path` by a link to the unpacked files."""
        digest = hashlib.sha256(Path(str(self.filename)).read_bytes()).hexdigest()
        unpacked = Path(tempfile.gettempdir(), f"unpacked-{os.getpid()}-{digest}")
        with self.unpacking:
            if not unpacked.exists():
                super().extractall(unpacked, members, pwd)
        Path(path).rmdir()
        Path(path).symlink_to(unpacked)


def unpack_once(runtime: Any) -> None:
    """Let the emulator's Lambda use `SharedZip`: unpacking takes more processor time than a cold start."""
    runtime.zipfile = types.SimpleNamespace(**vars(zipfile) | {"ZipFile": SharedZip})


def authorize_as_aws(actions: Any, evaluator: Any) -> None:
    """Authorize SQS batches by the permission of the single call, and give IAM `dynamodb:LeadingKeys`.

    A transaction over several tables is authorized for each table, with the keys that it writes there.
    """
    its_action, its_context = actions.extract_iam_action, actions.dynamodb_service_context
    its_enforce = evaluator.enforce

    def action(service: str, *request: Any) -> str | None:
        named: str | None = its_action(service, *request)
        return named.removesuffix("Batch") if named and service == "sqs" else named

    def context(body: bytes) -> dict[str, Any]:
        found: dict[str, Any] = its_context(body)
        return found | {LEADING_KEYS: leading_keys(json.loads(body or b"{}"))}

    def enforce(*request: Any, resource_arn: str = "*", service_context: Any = None, **more: Any) -> Any:
        context = dict(service_context or {})
        keys = context.pop(LEADING_KEYS, {}).get(resource_arn.rpartition("/")[2])
        context |= {LEADING_KEYS: keys} if keys else {}
        return its_enforce(*request, resource_arn=resource_arn, service_context=context, **more)

    actions.extract_iam_action, actions.dynamodb_service_context = action, context
    evaluator.enforce = enforce


def leading_keys(request: dict[str, Any]) -> dict[str, list[str]]:
    """Return the partition keys of a write or of a transaction by table, for tables with the key PK."""
    transaction = [one for item in request.get("TransactItems", []) for one in item.values()]
    keys: dict[str, list[str]] = {}
    for write in (request, *transaction):
        target = write.get("Item") or write.get("Key") or {}
        if "PK" in target:
            keys.setdefault(write["TableName"], []).append(target["PK"]["S"])
    return keys


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--detached"]):
        sys.exit(f"guard: {' '.join(sys.argv[1:])}: only --detached is accepted")
    if "--detached" not in sys.argv:
        threading.Thread(target=end_with_parent, daemon=True).start()
    sys.argv = ["ministack"]
    emulator: Any = importlib.import_module("ministack.app")
    stay_on_one_port(emulator)
    unpack_once(importlib.import_module("ministack.core.lambda_runtime"))
    modules = ("ministack.core.iam_actions", "ministack.core.iam_evaluator")
    authorize_as_aws(*map(importlib.import_module, modules))
    emulator.main()
