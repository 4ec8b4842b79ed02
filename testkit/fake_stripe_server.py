"""The fake Stripe as a separate process. It prints its URL as one JSON line and serves until SIGTERM."""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from infra.arguments import ArgumentParser
from testkit.fake_stripe.faults import FaultKind, StripeFault
from testkit.fake_stripe.server import FakeStripe
from testkit.shop import Shop, shop_from_json


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    api_key = os.environ.get(options.api_key_env, "")
    if not api_key:
        sys.stderr.write(
            f"fake_stripe_server: {options.api_key_env} is not set; set it to the API key to accept\n"
        )
        return 2
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with FakeStripe(api_key, port=options.port) as stripe:
        if options.shop_file is not None:
            _add_shop(stripe, shop_from_json(options.shop_file.read_text()))
        print(json.dumps({"url": stripe.url}), flush=True)
        stopped.wait()
    return 0


def _add_shop(stripe: FakeStripe, shop: Shop) -> None:
    stripe.store.add_all(shop.sessions)
    for session_id in shop.dead_sessions:
        stripe.faults.add(StripeFault(FaultKind.MISSING, session=session_id))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m testkit.fake_stripe_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0 selects a free one")
    parser.add_argument(
        "--api-key-env", required=True, metavar="NAME", help="the environment variable with the API key"
    )
    parser.add_argument("--shop-file", type=Path, help="a shop as Shop.to_json writes it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
