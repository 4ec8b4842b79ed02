"""A fresh interpreter as Lambda starts one: the function's folder first on its path, the runtime's last.

The libraries alone come from the runtime, as a function without its own would have them.

    python -I -S -B bench/lambda_process.py FOLDER RUNTIME bare|producer|consumer

It imports nothing from this project except what is in the folder. It prints a line of JSON once the clients
exist, and one for each event, which it reads as a line of JSON. Peak memory is read from /proc (Linux only),
since getrusage includes the parent process.
"""

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

LIFE_SECONDS = {"producer": 900, "consumer": 60}
# As of `recon.retry.stripe_timeout`, which is not on the path before it is measured.
STRIPE_TIMEOUT_SECONDS = 10.0


class EndlessContext:
    """The part of Lambda's context that the handlers use; its time never runs out."""

    aws_request_id = "8f3c1d2e-0000-4000-8000-000000000000"

    def __init__(self, function: str) -> None:
        self.function_name = function

    def get_remaining_time_in_millis(self) -> int:
        return LIFE_SECONDS[self.function_name] * 1000


def create_bare_clients() -> None:
    """Import the same libraries and create the producer's clients, in the shortest way."""
    import boto3  # noqa: PLC0415 - what is measured
    import stripe  # noqa: PLC0415

    boto3.client("dynamodb")
    boto3.client("sqs")
    stripe.StripeClient(os.environ["STRIPE_SECRET"])


def load_producer() -> "Callable[[Any, Any], Any]":
    from producer import lambda_function as function  # noqa: PLC0415 - what is measured

    function.clients()
    function.telemetry()
    function.stripe_connection(STRIPE_TIMEOUT_SECONDS)
    return function.lambda_handler


def load_consumer() -> "Callable[[Any, Any], Any]":
    """Load the consumer without Stripe, which a batch of known orders does not need."""
    from consumer import lambda_function as function  # noqa: PLC0415 - what is measured

    function.clients()
    function.telemetry()
    return function.lambda_handler


def peak_mb(pid: int | str = "self") -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib costs an import
        [line] = [line for line in status if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


class ResourceTimer:
    """Measures wall-clock and CPU seconds of this process since its creation."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def report(self, to: TextIO, answer: object = None) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        modules = sorted({name.partition(".")[0] for name in sys.modules})
        report = {"wall": wall, "cpu": cpu, "peak_mb": peak_mb(), "modules": modules, "answer": answer}
        to.write(json.dumps(report) + "\n")
        to.flush()


def main(folder: str, runtime: str, what: str) -> None:
    report = os.fdopen(os.dup(1), "w")
    # Discard the function's own log lines.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.chdir(folder)
    sys.path.insert(0, folder)
    sys.path.insert(0 if what == "bare" else len(sys.path), runtime)
    made = {"bare": create_bare_clients, "producer": load_producer, "consumer": load_consumer}[what]
    watch = ResourceTimer()
    handler = made()
    watch.report(report)
    for line in sys.stdin:
        event = json.loads(line)
        watch = ResourceTimer()
        answer = handler(event, EndlessContext(what)) if handler else None
        watch.report(report, answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
