"""Everything that a storm happens in: DynamoDB Local, SQS, the proxy before both, and the fake Stripe.

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
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sandbox.stack import STRIPE_KEY
from testkit.emulator import Emulator
from testkit.emulator.clients import CREDENTIALS
from testkit.engines.dynamodb_local import DynamoDBLocal, Unavailable
from testkit.engines.engine import created_table
from tests.fault_injection.lifeline import Child
from tests.fault_injection.profiles import Fired, Rule, kind_of, rules

QUEUE_LIMIT_ABOVE = 2  # receives that no consumer saw, as in the template
_COUNTED = re.compile(r'service="(\w+)",operation="(\w+)",action="([^"]+)"\} (\d+)')


@dataclass(frozen=True)
class Scale:
    """Times are in seconds; `timeout` is a consumer's, and the hard one. In the calm nobody is to die of a
    busy machine."""

    consumers: int
    timeout: int
    calm_timeout: int = 60
    producer_timeout: int = 90
    max_receives: int = 6


@dataclass
class Place:
    home: Path
    scale: Scale
    table: str
    queue: str
    dlq: str
    dynamodb: Any
    sqs: Any
    sqs_url: str
    proxy: Child
    account: Child
    engines: dict[str, int]

    @property
    def invocations(self) -> Path:
        return self.home / "invocations"

    @property
    def duplicates(self) -> Path:
        return self.home / "duplicates"

    def env(self) -> dict[str, str]:
        """What a function sees, and nothing of this shell."""
        here = ("PATH", "HOME", "LANG")
        return {
            **{name: os.environ[name] for name in here if name in os.environ},
            **CREDENTIALS,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            **{f"AWS_ENDPOINT_URL_{name.upper()}": url for name, url in self.proxy.told.items()},
            "AWS_LAMBDA_FUNCTION_NAME": "producer",
            "COMMERCE_TABLE": self.table,
            "SYNC_QUEUE_URL": self.queue,
            "STRIPE_SECRET": STRIPE_KEY,
            "STRIPE_API_BASE": self.account.told["url"],
            "STRIPE_MAX_RPS": str(50 * self.scale.consumers),
            "SYNC_CONSUMER_CONCURRENCY": str(max(2, self.scale.consumers)),
            "SYNC_MAX_RECEIVE_COUNT": str(self.scale.max_receives),
            "SYNC_BACKOFF_BASE_SECONDS": "1",
        }

    def breaks(self, rate: float, only: str | None = None) -> None:
        """From now on this share of all calls goes wrong, those to AWS in one way only if so wished."""
        for service, url in self.proxy.told.items():
            _asked(url, "POST", "/_microburst/rules", rules(service, rate, only))
        self.account.asks({"rate": rate})

    def fired(self) -> list[Fired]:
        """What was injected so far, by the injectors' own counts."""
        counted = [
            Fired(service, operation, kind_of(action), int(times))
            for url in self.proxy.told.values()
            for service, operation, action, times in _COUNTED.findall(
                _asked(url, "GET", "/_microburst/metrics")
            )
        ]
        return counted + [Fired("stripe", *drawn) for drawn in self.account.asks({"count": 1})["faults"]]

    def requests(self) -> dict[str, int]:
        seen = {
            service: json.loads(_asked(url, "GET", "/_microburst/stats"))["requests"]["total"]
            for service, url in self.proxy.told.items()
        }
        return {**seen, "stripe": self.account.asks({"count": 1})["requests"]}

    def waiting(self, url: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def redrives(self) -> int:
        """Every dead letter back into the queue, as a new message. Answers how many."""
        moved = 0
        while letters := self.sqs.receive_message(QueueUrl=self.dlq, MaxNumberOfMessages=10).get("Messages"):
            for letter in letters:
                self.sqs.send_message(QueueUrl=self.queue, MessageBody=letter["Body"])
                self.sqs.delete_message(QueueUrl=self.dlq, ReceiptHandle=letter["ReceiptHandle"])
            moved += len(letters)
        return moved


def _asked(url: str, method: str, path: str, body: list[Rule] | None = None) -> str:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        said = answer.read().decode()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise RuntimeError(f"the proxy refuses {method} {path}: {said}")
    return said


@contextmanager
def opened(home: Path, scale: Scale) -> Iterator[Place]:
    """All of it up inside the block, and gone after it."""
    with ExitStack() as cleanup:
        env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        env |= {"SANDBOX_STRIPE_KEY": STRIPE_KEY, "PYTHONDONTWRITEBYTECODE": "1"}
        account = Child(home / "account.log", "tests.fault_injection.account", env=env)
        cleanup.callback(account.stop)
        emulator = cleanup.enter_context(Emulator(home / "aws"))
        dynamodb = _dynamodb(emulator, cleanup)
        for name in ("invocations", "duplicates"):
            (home / name).mkdir()
        behind = ["--dynamodb", dynamodb.url, "--sqs", emulator.url]
        behind += ["--invocations", str(home / "invocations")]
        proxy = Child(home / "proxy.log", "tests.fault_injection.proxy", *behind, env=env)
        cleanup.callback(proxy.stop)
        for child in (proxy, account):
            child.begins()
        queue, dlq = _queues(emulator.client("sqs"), scale)
        yield Place(
            home=home,
            scale=scale,
            table=created_table(dynamodb.client),
            queue=queue,
            dlq=dlq,
            dynamodb=dynamodb.client,
            sqs=emulator.client("sqs"),
            sqs_url=emulator.url,
            proxy=proxy,
            account=account,
            engines={
                "DynamoDB": dynamodb.pid,
                "SQS": emulator.pid,
                "proxy": proxy.pid,
                "Stripe": account.pid,
            },
        )


class _DynamoDB(NamedTuple):
    url: str
    pid: int
    client: Any


def _dynamodb(emulator: Emulator, cleanup: ExitStack) -> _DynamoDB:
    try:
        local = cleanup.enter_context(DynamoDBLocal())
    except Unavailable:
        return _DynamoDB(emulator.url, emulator.pid, emulator.client("dynamodb"))
    return _DynamoDB(local.url, local.pid, local.client(retries={"total_max_attempts": 3}))


def _queues(sqs: Any, scale: Scale) -> tuple[str, str]:
    dlq = sqs.create_queue(QueueName="dead", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dlq, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = {"deadLetterTargetArn": arn, "maxReceiveCount": scale.max_receives + QUEUE_LIMIT_ABOVE}
    # Twice the timeout and not six times: nothing here throttles Lambda's poller, and kills are waited for.
    attributes = {"VisibilityTimeout": str(2 * scale.timeout), "RedrivePolicy": json.dumps(redrive)}
    return sqs.create_queue(QueueName="sync", Attributes=attributes)["QueueUrl"], dlq
