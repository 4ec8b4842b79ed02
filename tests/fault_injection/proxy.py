"""microburst in front of DynamoDB, SQS and Lambda, as one process that ends with its standard input.

It prints one JSON line with the three addresses. Two faults go beyond microburst's rules, at its own seams:
a conflict names one of the transaction's actions, and a partial failure of an SQS batch forwards the rest.
Lambda itself is a folder: each invocation is a file in it.
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
from tests.fault_injection.lifeline import end_with_parent
from tests.fault_injection.profiles import PARTIAL_MARK

HOST = "127.0.0.1"
# A transaction may have 4 MB, and its JSON more.
LARGEST_BODY = 16 << 20
_MESSAGE = "Transaction cancelled, please refer cancellation reasons for specific reasons"


class Conflicts(RuleEngine):
    def decide(self, info: Any) -> Any:
        decision = super().decide(info)
        if decision and decision.error and decision.error.code == "TransactionCanceledException":
            count = len(json.loads(info.body)["TransactItems"])
            decision.error = replace(decision.error, **conflict(count, random.randrange(count)))
        return decision


def conflict(actions: int, met: int) -> dict[str, Any]:
    """DynamoDB's words for a transaction of so many actions, one of which met another transaction.
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"""
    codes = ["None"] * actions
    codes[met] = "TransactionConflict"
    says = {"None": {}, "TransactionConflict": {"Message": "Transaction is ongoing for the item"}}
    reasons = [{"Code": code, **says[code]} for code in codes]
    return {"message": f"{_MESSAGE} [{', '.join(codes)}]", "fields": {"CancellationReasons": reasons}}


class Partly(Upstream):
    async def relay(self, request: Any, body: Any, mutator: Any = None, data: Any = None) -> Any:
        if mutator is None or PARTIAL_MARK not in mutator.set_headers:
            return await super().relay(request, body, mutator, data)
        asked = json.loads(body)
        failing = some_of(asked["Entries"])
        kept = [entry for entry in asked["Entries"] if entry not in failing]
        answer = await self._asked(request, asked | {"Entries": kept}) if kept else {"Successful": []}
        answer["Failed"] = answer.get("Failed", []) + [_failure(entry["Id"]) for entry in failing]
        return web.json_response(answer, content_type="application/x-amz-json-1.0")

    async def _asked(self, request: Any, content: dict[str, Any]) -> Any:
        headers = self._outbound_headers(request)
        async with self.session.post(self.base_url, data=json.dumps(content), headers=headers) as answer:
            return json.loads(await answer.read())


def some_of(entries: list[Any]) -> list[Any]:
    """One at least."""
    return random.sample(entries, random.randint(1, len(entries)))


def _failure(entry_id: str) -> dict[str, Any]:
    return {"Id": entry_id, "SenderFault": False, "Code": "InternalError", "Message": "try again"}


def faulty(upstream: str) -> web.Application:
    microburst = Microburst(upstream)
    microburst.engine = Conflicts()
    microburst.upstream = Partly(upstream, stats=microburst.stats)
    app = make_app(microburst)
    app._client_max_size = LARGEST_BODY
    return app


def asynchronous_lambda(folder: Path) -> web.Application:
    """Accepts an invocation and keeps it for whoever plays Lambda."""

    async def accept(request: web.Request) -> web.Response:
        kept = folder / uuid.uuid4().hex
        kept.write_bytes(await request.read())
        # In one step: nobody ever reads half an event.
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
        "lambda": await _serve(asynchronous_lambda(options.invocations)),
    }
    print(json.dumps({name: await _serve(faulty(url)) for name, url in upstreams.items()}), flush=True)
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
