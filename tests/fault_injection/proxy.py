"""microburst in front of DynamoDB, SQS and Lambda, as a process that ends when its standard input is closed.

It prints one JSON line with the three URLs. Two faults go beyond microburst's rules and are added here: a
conflict names one of the transaction's actions, and a partial failure of an SQS batch forwards the rest.
Lambda is a folder: each invocation is a file in it.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import sys
import threading
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web
from microburst.app import make_app
from microburst.core.pipeline import Microburst
from microburst.forward import Upstream
from microburst.rules import RuleEngine

from infra.arguments import ArgumentParser
from tests.fault_injection.child_process import end_with_parent
from tests.fault_injection.fault_rules import PARTIAL_MARK

HOST = "127.0.0.1"
# A transaction may have 4 MB, and its JSON is larger.
LARGEST_BODY = 16 << 20
_MESSAGE = "Transaction cancelled, please refer cancellation reasons for specific reasons"


class ConflictEngine(RuleEngine):
    """Rules whose cancelled transactions have the reasons of a conflict."""

    def decide(self, info: Any) -> Any:
        decision = super().decide(info)
        if decision and decision.error and decision.error.code == "TransactionCanceledException":
            count = len(json.loads(info.body)["TransactItems"])
            decision.error = replace(decision.error, **build_conflict(count, random.randrange(count)))
        return decision


def build_conflict(actions: int, position: int) -> dict[str, Any]:
    """Return DynamoDB's answer to a transaction whose action at that position met another transaction.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    """
    reasons: list[dict[str, str]] = [{"Code": "None"} for _ in range(actions)]
    reasons[position] = {"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}
    codes = ", ".join(reason["Code"] for reason in reasons)
    return {"message": f"{_MESSAGE} [{codes}]", "fields": {"CancellationReasons": reasons}}


class PartialUpstream(Upstream):
    """An upstream that fails some entries of a marked batch and forwards the others."""

    async def relay(self, request: Any, body: Any, mutator: Any = None, data: Any = None) -> Any:
        if mutator is None or PARTIAL_MARK not in mutator.set_headers:
            return await super().relay(request, body, mutator, data)
        content = json.loads(body)
        failing = choose_failing(content["Entries"])
        kept = [entry for entry in content["Entries"] if entry not in failing]
        answer = await self._forward(request, content | {"Entries": kept}) if kept else {"Successful": []}
        error = {"SenderFault": False, "Code": "InternalError", "Message": "try again"}
        answer["Failed"] = answer.get("Failed", []) + [{"Id": entry["Id"]} | error for entry in failing]
        return web.json_response(answer, content_type="application/x-amz-json-1.0")

    async def _forward(self, request: Any, content: dict[str, Any]) -> Any:
        headers = self._outbound_headers(request)
        async with self.session.post(self.base_url, data=json.dumps(content), headers=headers) as answer:
            return json.loads(await answer.read())


def choose_failing(entries: list[Any]) -> list[Any]:
    """Return at least one of the entries."""
    return random.sample(entries, random.randint(1, len(entries)))


def build_proxy(upstream: str) -> web.Application:
    microburst = Microburst(upstream)
    microburst.engine = ConflictEngine()
    microburst.upstream = PartialUpstream(upstream, stats=microburst.stats)
    app = make_app(microburst)
    app._client_max_size = LARGEST_BODY
    return app


def build_lambda(folder: Path) -> web.Application:
    """Return an application that accepts asynchronous invocations and keeps them as files."""

    async def accept(request: web.Request) -> web.Response:
        kept = folder / uuid.uuid4().hex
        kept.write_bytes(await request.read())
        # In one step, so that a reader never sees half an event.
        kept.rename(kept.with_suffix(".json"))
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/{rest:.*}", accept)
    return app


async def _serve(app: web.Application) -> str:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    return f"http://{HOST}:{runner.addresses[0][1]}"


async def _main(options: argparse.Namespace) -> None:
    upstreams = {
        "dynamodb": options.dynamodb,
        "sqs": options.sqs,
        "lambda": await _serve(build_lambda(options.invocations)),
    }
    print(json.dumps({name: await _serve(build_proxy(url)) for name, url in upstreams.items()}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m tests.fault_injection.proxy", description=__doc__)
    parser.add_argument("--dynamodb", required=True)
    parser.add_argument("--sqs", required=True)
    parser.add_argument("--invocations", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    # A connection that a fault has cut is no error of the server.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    threading.Thread(target=end_with_parent, args=(os.getpid(),), daemon=True).start()
    asyncio.run(_main(options))
