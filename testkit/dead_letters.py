"""A world with dead sessions, and the operator's tools and commands on it."""

from collections.abc import Generator
from contextlib import AbstractContextManager
from io import StringIO
from typing import Any

import boto3
from rich.console import Console

from ops.cli.command import CommandContext
from ops.cli.options import CommonOptions
from ops.cli.screen import CommandResult, Screen
from ops.dlq.dead_letters import DeadLetter, DeadLetterListing, list_dead_letters
from ops.dlq.leases import MessageLeases, lease_messages
from ops.dlq.message_filter import MessageFilter
from ops.dlq.move_tasks import MoveTasks
from ops.dlq.purge import Purge, PurgeReport
from ops.dlq.queue import DeadLetterQueue
from ops.dlq.redrive import Redrive, RedriveProgress
from ops.stack.stack import Stack, StackOutputs
from recon.domain.message import SessionMessage, dumps
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from testkit.builders import NOW, a_message
from testkit.doubles.queues import Message
from testkit.fake_stripe import SessionSpec
from testkit.world import FUNCTION_TIMEOUT, World

EVERYTHING = MessageFilter()


class DeadLetterTools:
    """The library of `ops.dlq` on a world and its clock.

    `tasks=False` means that SQS has no message move tasks, as in emulators.
    """

    def __init__(self, world: World, *, tasks: bool = True) -> None:
        self.world = world
        world.memory_sqs.move_tasks = tasks
        self.deadline = world.clock.deadline(10**9)
        dynamodb: Any = world.dynamodb
        sqs: Any = world.sqs
        self.table = Table(dynamodb, world.table, ledger=world.ledger)
        self.queue = DeadLetterQueue(sqs, world.dlq, world.queue)
        self.tasks = MoveTasks(sqs, world.dlq, world.queue)

    def list(self, **options: Any) -> DeadLetterListing:
        return list_dead_letters(self.queue, self.table, self.world.clock(), self.deadline, **options)

    @property
    def letters(self) -> tuple[DeadLetter, ...]:
        return self.list().letters

    @property
    def message(self) -> SessionMessage:
        """Return the oldest readable message."""
        listing = self.list()
        return listing.messages[listing.letters[0].message_id]

    def lease(self, **options: Any) -> AbstractContextManager[MessageLeases]:
        return lease_messages(self.queue, clock=self.world.clock, **options)

    def redrive(self, per_second: float | None = None) -> Redrive:
        clock = self.world.clock
        return Redrive(
            self.queue, self.tasks, self.table, self.deadline, clock, clock, clock.sleep, per_second
        )

    def start_move(self, selection: MessageFilter = EVERYTHING, **options: Any) -> Generator[RedriveProgress]:
        return self.redrive(**options).run(selection)

    def move(self, selection: MessageFilter = EVERYTHING, **options: Any) -> RedriveProgress:
        """Run a redrive to its end and return the final progress."""
        *_, end = self.start_move(selection, **options)
        return end

    def purge(
        self, *sessions: str, message_ids: tuple[str, ...] = (), by: str = "jane", because: str = "test"
    ) -> PurgeReport:
        def now() -> int:
            return int(self.world.clock())

        runs = Runs(self.table, self.deadline)
        purge = Purge(self.queue, self.table, runs, self.world.settings, self.deadline, now)
        return purge.run(sessions, message_ids, by, because)


class WorldStack(Stack):
    """The stack of a world; `mapping` is the state of its event source mapping. It runs nightly at 02:00."""

    def __init__(self, world: World) -> None:
        super().__init__("shop", boto3.Session(region_name="eu-west-1"), None, world.clock.deadline(10**9))
        self.mapping = "Enabled"
        unused: dict[str, Any] = dict.fromkeys(StackOutputs.__annotations__, "unused")
        unused["missed_starts_url"] = None
        tables = {"table": world.table, "ledger": world.ledger}
        outputs = {"queue_url": world.queue, "dlq_url": world.dlq} | tables
        self.__dict__["outputs"] = StackOutputs(**unused | outputs)
        self.__dict__["settings"] = self.__dict__["producer_settings"] = world.settings
        self.__dict__["_description"] = {}
        self._clients: dict[str, Any] = {
            "sqs": world.sqs,
            "dynamodb": world.dynamodb,
            "ssm": world.ssm,
            "lambda": self,
            "sts": self,
            "scheduler": self,
        }

    def client(self, service: str, *, once: bool = False) -> Any:  # noqa: ARG002 - as in Stack
        return self._clients[service]

    def get_event_source_mapping(self, UUID: str) -> dict[str, str]:  # noqa: N803 - boto3's name
        assert self.outputs.mapping_id == UUID
        return {"State": self.mapping}

    def get_schedule(self, Name: str) -> dict[str, str]:  # noqa: N803 - boto3's name
        assert self.outputs.schedule == Name
        return {"ScheduleExpression": "cron(0 2 * * ? *)", "State": "ENABLED"}

    def get_function_configuration(self, FunctionName: str) -> dict[str, int]:  # noqa: N803 - boto3's name
        assert self.outputs.consumer == FunctionName
        return {"Timeout": FUNCTION_TIMEOUT}

    def get_caller_identity(self) -> dict[str, str]:
        return {"Arn": "arn:aws:sts::1:assumed-role/Operator/jane"}


class WorldContext(CommandContext):
    """The context of commands on a world; `log` is what commands wrote to standard error."""

    world: World
    out: StringIO
    err: StringIO

    def __init__(self, world: World) -> None:
        out, err = StringIO(), StringIO()
        screen = Screen(Console(file=out, width=200), Console(file=err, width=200), show_pii=False)
        super().__init__(CommonOptions(), screen)
        self.__dict__ |= {"stack": WorldStack(world), "world": world, "out": out, "err": err}

    def now(self) -> int:
        return int(self.world.clock())

    def show(self, result: CommandResult) -> str:
        """Return everything shown so far, ending with this result."""
        result.show(self.screen)
        return self.out.getvalue()

    @property
    def log(self) -> str:
        return self.err.getvalue()


def sell_sessions(world: World, number: int, first: int = 0) -> list[str]:
    """Sell sessions with one user each and return their ids."""
    specs = [
        SessionSpec(f"cs_test_{n:08}", NOW - 3600, metadata={"userId": f"user-{n}"})
        for n in range(first, first + number)
    ]
    return [world.sells(spec).id for spec in specs]


def fail_sessions(world: World, number: int) -> list[str]:
    """Run a night in which Stripe does not know the sessions; it knows them again afterwards."""
    ids = sell_sessions(world, number)
    for session_id in ids:
        world.stripe.faults.missing(session=session_id)
    world.night()
    world.stripe.faults.clear()
    return ids


def fail_before_consumer(world: World, number: int) -> list[str]:
    """Run a producer whose messages all die before a consumer receives them."""
    ids = sell_sessions(world, number)
    world.body()
    for body in world.memory_sqs.bodies(world.queue):
        put_dead(world, body)
    world.memory_sqs.purge_queue(QueueUrl=world.queue)
    return ids


def put_dead(world: World, body: str | SessionMessage) -> str:
    """Put a message into the dead-letter queue and return its id."""
    text = dumps(body) if isinstance(body, SessionMessage) else body
    message_id: str = world.memory_sqs.send_message(QueueUrl=world.dlq, MessageBody=text)["MessageId"]
    return message_id


def put_many_dead(world: World, number: int) -> None:
    """Put messages of the sessions cs_0, cs_1, ... into the dead-letter queue."""
    for n in range(number):
        put_dead(world, a_message(session_id=f"cs_{n}"))


def list_visible(world: World) -> list[Message]:
    """Return the dead messages that a reader could receive now."""
    now = world.clock()
    return [message for message in world.memory_sqs.messages(world.dlq) if message.visible_at <= now]


def reject(world: World, *operations: str) -> None:
    """Make SQS reject every entry of these batch operations, or none."""
    world.memory_sqs.rejects = lambda operation, _entry: operation in operations


def take(world: World, number: int) -> None:
    """Receive dead messages as another command that holds them for a long time."""
    world.memory_sqs.receive_message(QueueUrl=world.dlq, MaxNumberOfMessages=number, VisibilityTimeout=900)
