"""A world whose sessions have died, and the operator's tools and commands on it."""

from io import StringIO

import boto3
from rich.console import Console

from ops.cli.command import CommandContext
from ops.cli.options import CommonOptions
from ops.cli.screen import Screen
from ops.dlq.dead_letters import list_dead_letters
from ops.dlq.message_filter import MessageFilter
from ops.dlq.move_tasks import MoveTasks
from ops.dlq.purge import Purge
from ops.dlq.queue import DeadLetterQueue
from ops.dlq.redrive import Redrive
from ops.stack.stack import Stack, StackOutputs
from recon.domain.message import SessionMessage, dumps
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from testkit.builders import NOW
from testkit.fake_stripe import SessionSpec
from testkit.world import World

EVERYTHING = MessageFilter()


class Operator:
    """Everything on a clock of the world; `by_hand`: SQS knows no move tasks, as emulators do."""

    def __init__(self, world: World, *, by_hand: bool = False) -> None:
        self.world = world
        world.memory_sqs.move_tasks = not by_hand
        self.deadline = world.clock.deadline(10**9)
        self.table = Table(world.dynamodb, world.table)
        self.box = DeadLetterQueue(world.sqs, world.dlq, world.queue)
        self.tasks = MoveTasks(world.sqs, world.dlq, world.queue)

    def list(self, **options):
        return list_dead_letters(self.box, self.table, self.world.clock(), self.deadline, **options)

    @property
    def letters(self):
        return self.list().letters

    def redrive(self, per_second=None):
        clock = self.world.clock
        return Redrive(
            self.box, self.tasks, self.table, self.deadline, clock, clock, clock.sleep, per_second=per_second
        )

    def moves(self, choice=EVERYTHING, **options):
        """The end of a redrive."""
        *_, end = self.redrive(**options)(choice)
        return end

    def purge(self, *sessions, message_ids=(), by="jane", because="test"):
        runs = Runs(self.table, self.deadline)
        now = lambda: int(self.world.clock())  # noqa: E731
        purge = Purge(self.box, self.table, runs, self.world.settings, self.deadline, now)
        return purge(sessions, message_ids, by, because)


class WorldPlace(Stack):
    """The stack of a world; `mapping` is the state of its event source mapping."""

    def __init__(self, world):
        super().__init__("shop", boto3.Session(region_name="eu-west-1"), None, world.clock.deadline(10**9))
        self.mapping = "Enabled"
        self.outputs = names_of(world)
        self.settings = world.settings
        self._clients = {"sqs": world.sqs, "dynamodb": world.dynamodb, "ssm": world.ssm}
        self._clients |= dict.fromkeys(("lambda", "sts"), self)

    def client(self, service, *, once=False):
        return self._clients[service]

    def get_event_source_mapping(self, UUID):  # noqa: N803 - boto3's names
        assert self.outputs.mapping_id == UUID
        return {"State": self.mapping}

    def get_caller_identity(self):
        return {"Arn": "arn:aws:sts::1:assumed-role/Operator/jane"}


def names_of(world):
    stack = dict.fromkeys(StackOutputs.__annotations__, "unused")
    return StackOutputs(**stack | {"queue_url": world.queue, "dlq_url": world.dlq, "table": world.table})


class Desk(CommandContext):
    """Who gives commands; `shown` is what they have shown, `told` what they have told beside it."""

    def __init__(self, world):
        out, err = StringIO(), StringIO()
        screen = Screen(Console(file=out, width=200), Console(file=err, width=200), show_pii=False)
        super().__init__(CommonOptions(), screen)
        self.__dict__ |= {"stack": WorldPlace(world), "world": world, "_out": out, "_err": err}

    def now(self):
        return int(self.world.clock())

    def shows(self, answer):
        answer.show(self.screen)
        return self._out.getvalue()

    @property
    def told(self):
        return self._err.getvalue()


def sells(world, number, first=0):
    """Sessions with a user each; their ids."""
    specs = [
        SessionSpec(f"cs_test_{n:08}", NOW - 3600, metadata={"userId": f"user-{n}"})
        for n in range(first, first + number)
    ]
    return [world.sells(spec).id for spec in specs]


def dies(world, number):
    """A night in which all sessions fail, since Stripe does not know them; it does again afterwards."""
    ids = sells(world, number)
    for session_id in ids:
        world.stripe.faults.missing(session=session_id)
    world.night()
    world.stripe.faults.clear()
    return ids


def produced(world, number):
    """A run whose messages all lie dead before a consumer saw them; their sessions."""
    ids = sells(world, number)
    world.body()
    for body in world.memory_sqs.bodies(world.queue):
        lies(world, body)
    world.memory_sqs.purge_queue(QueueUrl=world.queue)
    return ids


def lies(world, body):
    """Puts a message into the dead-letter queue; its id."""
    body = dumps(body) if isinstance(body, SessionMessage) else body
    return world.memory_sqs.send_message(QueueUrl=world.dlq, MessageBody=body)["MessageId"]


def visible(world, url):
    now = world.clock()
    return [message for message in world.memory_sqs.messages(url) if message.visible_at <= now]
