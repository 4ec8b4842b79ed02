"""The engines of a storm: DynamoDB Local, SQS, the proxy before both, and the fake Stripe.

Where DynamoDB Local cannot run, the emulator's DynamoDB takes its place.
"""

import http.client
import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox.stack import STRIPE_KEY
from testkit.emulator import Emulator
from testkit.emulator.clients import CREDENTIALS
from testkit.engines.dynamodb_local import DynamoDBLocal, EngineUnavailable
from testkit.engines.engine import create_table
from tests.fault_injection.child_process import ChildProcess
from tests.fault_injection.fault_rules import FaultRule, InjectedFaults, build_rules, parse_kind

EXTRA_RECEIVES = 2  # receives that no consumer sees, as in the template
_COUNTED = re.compile(r'service="(\w+)",operation="(\w+)",action="([^"]+)"\} (\d+)')


@dataclass(frozen=True)
class StormScale:
    """Sizes and times in seconds. `timeout` kills a consumer; in the calm it must outlast a busy machine."""

    consumers: int
    timeout: int
    calm_timeout: int = 60
    producer_timeout: int = 90
    max_receives: int = 6


@dataclass
class StormEnvironment:
    """The running engines. `proxy` and `stripe` are processes, `engines` has all process ids by name."""

    home: Path
    scale: StormScale
    table: str
    queue: str
    dlq: str
    dynamodb: Any
    sqs: Any
    sqs_url: str
    proxy: ChildProcess
    stripe: ChildProcess
    engines: dict[str, int]

    @property
    def invocations(self) -> Path:
        return self.home / "invocations"

    @property
    def duplicates(self) -> Path:
        return self.home / "duplicates"

    def env(self) -> dict[str, str]:
        """Return the environment variables of a function, with few of this shell's."""
        return {
            **_shell_env("PATH", "HOME", "LANG"),
            **CREDENTIALS,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            **{f"AWS_ENDPOINT_URL_{name.upper()}": url for name, url in self.proxy.greeting.items()},
            "AWS_LAMBDA_FUNCTION_NAME": "producer",
            "COMMERCE_TABLE": self.table,
            "SYNC_QUEUE_URL": self.queue,
            "STRIPE_SECRET": STRIPE_KEY,
            "STRIPE_API_BASE": self.stripe.greeting["url"],
            "STRIPE_MAX_RPS": str(50 * self.scale.consumers),
            "SYNC_CONSUMER_CONCURRENCY": str(max(2, self.scale.consumers)),
            "SYNC_MAX_RECEIVE_COUNT": str(self.scale.max_receives),
            "SYNC_BACKOFF_BASE_SECONDS": "1",
        }

    def set_fault_rate(self, rate: float, only: str | None = None) -> None:
        """Let this share of all calls fail from now on; `only` limits calls to AWS to one kind of fault."""
        for service, url in self.proxy.greeting.items():
            _call_proxy(url, "POST", "/_microburst/rules", build_rules(service, rate, only))
        self.stripe.request({"rate": rate})

    def count_faults(self) -> list[InjectedFaults]:
        """Return what was injected so far, as the injectors count it."""
        counted = [
            InjectedFaults(service, operation, parse_kind(action), int(times))
            for url in self.proxy.greeting.values()
            for service, operation, action, times in _COUNTED.findall(
                _call_proxy(url, "GET", "/_microburst/metrics")
            )
        ]
        drawn = self.stripe.request({"count": 1})["faults"]
        return counted + [InjectedFaults("stripe", *one) for one in drawn]

    def count_requests(self) -> dict[str, int]:
        seen = {
            service: json.loads(_call_proxy(url, "GET", "/_microburst/stats"))["requests"]["total"]
            for service, url in self.proxy.greeting.items()
        }
        return {**seen, "stripe": self.stripe.request({"count": 1})["requests"]}

    def count_queued(self) -> int:
        """Return the approximate number of messages in the queue."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def redrive(self) -> int:
        """Send every dead letter to the queue as a new message, and return their number."""
        moved = 0
        while letters := self.sqs.receive_message(QueueUrl=self.dlq, MaxNumberOfMessages=10).get("Messages"):
            for letter in letters:
                self.sqs.send_message(QueueUrl=self.queue, MessageBody=letter["Body"])
                self.sqs.delete_message(QueueUrl=self.dlq, ReceiptHandle=letter["ReceiptHandle"])
            moved += len(letters)
        return moved


def _call_proxy(url: str, method: str, path: str, body: list[FaultRule] | None = None) -> str:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        answer = response.read().decode()
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise RuntimeError(f"the proxy refuses {method} {path}: {answer}")
    return answer


def _shell_env(*names: str) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


@contextmanager
def open_environment(home: Path, scale: StormScale) -> Iterator[StormEnvironment]:
    """Start all engines, and stop them at the end of the block."""
    with ExitStack() as cleanup:
        env = _shell_env("PATH", "HOME")
        env["SANDBOX_STRIPE_KEY"] = STRIPE_KEY

        def start(name: str, *arguments: str) -> ChildProcess:
            child = ChildProcess(home / f"{name}.log", f"tests.fault_injection.{name}", *arguments, env=env)
            cleanup.callback(child.stop)
            return child

        stripe = start("stripe_process")
        emulator = cleanup.enter_context(Emulator(home / "aws"))
        dynamodb, client = _start_dynamodb(emulator, cleanup)
        for name in ("invocations", "duplicates"):
            (home / name).mkdir()
        invocations = str(home / "invocations")
        upstreams = ("--dynamodb", dynamodb.url, "--sqs", emulator.url, "--invocations", invocations)
        proxy = start("proxy", *upstreams)
        for child in (proxy, stripe):
            child.wait_until_up()
        sqs = emulator.client("sqs")
        queue, dlq = _create_queues(sqs, scale)
        processes = {"DynamoDB": dynamodb, "SQS": emulator, "proxy": proxy, "Stripe": stripe}
        yield StormEnvironment(
            home=home,
            scale=scale,
            table=create_table(client),
            queue=queue,
            dlq=dlq,
            dynamodb=client,
            sqs=sqs,
            sqs_url=emulator.url,
            proxy=proxy,
            stripe=stripe,
            engines={name: process.pid for name, process in processes.items()},
        )


def _start_dynamodb(emulator: Emulator, cleanup: ExitStack) -> tuple[Emulator | DynamoDBLocal, Any]:
    """Return the engine and a client of it."""
    try:
        local = cleanup.enter_context(DynamoDBLocal())
    except EngineUnavailable:
        return emulator, emulator.client("dynamodb")
    return local, local.client(retries={"total_max_attempts": 3})


def _create_queues(sqs: Any, scale: StormScale) -> tuple[str, str]:
    """Return the URLs of the queue and of its dead-letter queue."""
    dlq = sqs.create_queue(QueueName="dead", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dlq, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = {"deadLetterTargetArn": arn, "maxReceiveCount": scale.max_receives + EXTRA_RECEIVES}
    # Twice the timeout instead of six times: no poller is throttled here, and the storm waits for each kill.
    attributes = {"VisibilityTimeout": str(2 * scale.timeout), "RedrivePolicy": json.dumps(redrive)}
    return sqs.create_queue(QueueName="sync", Attributes=attributes)["QueueUrl"], dlq
