"""A fresh interpreter as Lambda starts one: the function's folder first on its path, the runtime's last.

    python -I -S -B bench/lambda_process.py FOLDER RUNTIME bare|producer|consumer

It knows nothing of this project but what is in the folder. When everything is imported and the clients are
made it prints a JSON line, and then one for each event that it is given as a line. Peak memory is from /proc,
so on Linux only: what getrusage tells includes the process that started this one.
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


class Context:
    """As much of Lambda's context as the handlers ask for. Its time never runs out."""

    aws_request_id = "8f3c1d2e-0000-4000-8000-000000000000"

    def __init__(self, function: str) -> None:
        self.function_name = function

    def get_remaining_time_in_millis(self) -> int:
        return LIFE_SECONDS[self.function_name] * 1000


def bare() -> None:
    """The same libraries, and the same clients as the producer's, the shortest way."""
    import boto3  # noqa: PLC0415 - what is measured
    import stripe  # noqa: PLC0415

    boto3.client("dynamodb")
    boto3.client("sqs")
    stripe.StripeClient(os.environ["STRIPE_SECRET"])


def producer() -> "Callable[[Any, Any], Any]":
    from producer import lambda_function as function  # noqa: PLC0415 - what is measured

    function.clients()
    function.telemetry()
    function.stripe_connection(STRIPE_TIMEOUT_SECONDS)
    return function.lambda_handler


def consumer() -> "Callable[[Any, Any], Any]":
    """Without Stripe: a batch of known orders asks it nothing."""
    from consumer import lambda_function as function  # noqa: PLC0415 - what is measured

    function.clients()
    function.telemetry()
    return function.lambda_handler


def peak_mb(pid: int | str = "self") -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib costs an import
        [line] = [line for line in status if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


class Watch:
    """Seconds since it was made: by the clock, and of this process on any core."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def tells(self, to: TextIO, answer: object = None) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        modules = sorted({name.partition(".")[0] for name in sys.modules})
        told = {"wall": wall, "cpu": cpu, "peak_mb": peak_mb(), "modules": modules, "answer": answer}
        to.write(json.dumps(told) + "\n")
        to.flush()


def main(folder: str, runtime: str, what: str) -> None:
    told = os.fdopen(os.dup(1), "w")
    # The function's own log lines go where nobody reads them.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.chdir(folder)
    sys.path.insert(0, folder)
    sys.path.append(runtime)
    made = {"bare": bare, "producer": producer, "consumer": consumer}[what]
    watch = Watch()
    handler = made()
    watch.tells(told)
    for line in sys.stdin:
        event = json.loads(line)
        watch = Watch()
        answer = handler(event, Context(what)) if handler else None
        watch.tells(told, answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
