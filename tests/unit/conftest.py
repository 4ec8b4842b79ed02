"""A shop at night, in memory."""

from pathlib import Path

import pytest

from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from testkit.builders import NOW, TABLE, FakeTime
from testkit.cases import CasePlayer, load_case
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import Faulty, never
from testkit.fake_stripe import FakeStripe
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY, World, plain, wire


@pytest.fixture
def stripe():
    with FakeStripe(KEY, limits=RateLimits(per_second=None, per_endpoint=None)) as stripe:
        yield stripe


@pytest.fixture
def make_world(stripe):
    made = []

    def make(dynamodb=None, *, is_confirmed=True, **env):
        made.append(World(stripe, dynamodb, is_confirmed=is_confirmed, **env))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world):
    return make_world()


# Cases

CASES = Path(__file__).parents[3] / "shared" / "cases"


@pytest.fixture
def player(world):
    return CasePlayer(world)


@pytest.fixture
def play_steps():
    """Play the case file with a number, or skip the test if the cases are not beside this repository."""

    def play(player, number):
        if not CASES.exists():
            pytest.skip(f"the case files are not at {CASES}")
        player.play(load_case(CASES, number)["steps"])
        return player

    return play


@pytest.fixture
def play_case(player, play_steps):
    """Play the case file with a number in a world with the default settings."""
    return lambda number: play_steps(player, number)


# A table in memory


@pytest.fixture
def memory():
    made = MemoryDynamoDB(lambda: NOW)
    made.add_table(TABLE)
    return Faulty(made, never)


@pytest.fixture
def time():
    return FakeTime()


@pytest.fixture
def table(memory):
    return Table(memory, TABLE)


@pytest.fixture
def runs(table, time):
    return Runs(table, time.deadline(60))


@pytest.fixture
def item(memory):
    def read(key):
        answer = memory.get_item(TableName=TABLE, Key=wire({"PK": key[0], "SK": key[1]}), ConsistentRead=True)
        return plain(answer["Item"]) if "Item" in answer else None

    return read


@pytest.fixture
def put(memory):
    def write(key, **fields):
        memory.put_item(TableName=TABLE, Item=wire({"PK": key[0], "SK": key[1]} | fields))

    return write
