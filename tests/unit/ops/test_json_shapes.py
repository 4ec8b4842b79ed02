"""Money, times, runs, dead letters and findings look the same in the `--json` output of every command."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from jsonschema import Draft202012Validator

from ops.cli.commands import dlq_redrive
from ops.cli.commands import logs as logs_module
from ops.cli.commands.attention import ack, allow, dismiss
from ops.cli.commands.dlq_list import list_
from ops.cli.commands.dlq_purge import purge
from ops.cli.commands.explain import explain
from ops.cli.commands.layout import layout
from ops.cli.commands.ledger import move
from ops.cli.commands.logs import logs
from ops.cli.commands.missing import missing
from ops.cli.commands.pause import SwitchResult
from ops.cli.commands.report import report
from ops.cli.commands.run import StartedRun, summarize
from ops.cli.commands.run_preview import preview_to_json
from ops.cli.commands.runs import runs
from ops.cli.commands.show import show
from ops.cli.commands.status import status
from ops.doctor.diagnosis import Diagnosis, run_checks
from ops.format.json_encoding import to_json
from ops.layout.model import Code
from ops.runs.follow import ProgressReader
from ops.runs.logs import LogLine
from ops.stack.pause_resume import QueueBacklog, StateChange
from ops.stack.stack import DEFAULT_STACK
from recon.domain.message import dumps
from recon.dynamodb.keys import pending_key
from recon.timestamps import DAY, HOUR, to_iso
from testkit.builders import NOW, a_message
from testkit.commands import list_commands
from testkit.dead_letters import fail_sessions, put_dead
from testkit.fake_stripe import LineSpec, SessionSpec
from testkit.world import wire
from tests.unit.ops.healthy_stack import HEALTHY
from tests.unit.ops.json_schemas import AMOUNT, DEAD_LETTER, FINDING, MONEY, RUN, SHAPES, SUMS, TIME

REFERENCE = (Path(__file__).parents[3] / "docs" / "reference.md").read_text()
SECTION = REFERENCE.partition("\n## JSON of the command\n")[2].partition("\n## ")[0]
FREE, SAVED, HELD = "cs_test_free0001", "cs_test_saved001", "cs_test_held0001"
# Anything that begins as a time does.
TIME_LIKE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ][\d:.+Z-]*)?")
EPOCHS = range(1_000_000_000, 5_000_000_000)


@pytest.fixture
def night(world, context, monkeypatch):
    """Run a night with an order, a free one, a session without a sale, a hold, and dead letters."""
    context.stack.name = DEFAULT_STACK
    sold = {"created": NOW - HOUR, "metadata": {"userId": "user-1"}}
    free = {"payment_status": "no_payment_required", "currency": None}
    world.sells(SessionSpec("cs_test_sold0001", **sold))
    world.sells(SessionSpec(FREE, lines=(LineSpec("Sample", unit_amount=0),), **free, **sold))
    world.sells(SessionSpec(SAVED, mode="setup", lines=(), **free, **sold))
    world.sells(SessionSpec(HELD, intent_status="requires_capture", **sold))
    fail_sessions(world, 3)
    put_dead(world, "not JSON")
    world.clock.now += 6 * HOUR
    sleeping = SimpleNamespace(time=world.clock, monotonic=world.clock, sleep=world.clock.sleep)
    monkeypatch.setattr(dlq_redrive, "time", sleeping)
    line = LogLine(datetime.fromtimestamp(NOW, UTC), "INFO", "producer", None, "x", {"seconds": 1})
    monkeypatch.setattr(logs_module, "read_lines", lambda *_: [line])
    context.stack.configuration = lambda function: {"FunctionName": function, "Timeout": 0}
    context.stack.__dict__["producer_settings"] = world.settings
    context.stack._clients["logs"] = None
    return world.run()["runId"]


def build_summary(world, context):
    """Return what `run` prints at the end of a run."""
    stack = context.stack
    reader = ProgressReader(stack.runs, world.sqs, world.queue, world.dlq)
    return summarize(stack, reader.read(world.run()["runId"]), context.now())


def build_switch(_world, _context):
    at = datetime.fromtimestamp(NOW, UTC)
    change = StateChange("schedule", "nightly", "ENABLED", "DISABLED", "DISABLED")
    return SwitchResult("shop", (change,), QueueBacklog(1, 0, DAY, 60, at), at, at, "ENABLED")


def build_missing(world, context):
    message = dumps(a_message(session_id="cs_test_missed01", created=NOW - HOUR))
    partition, sort = pending_key("cs_test_missed01")
    item = wire({"PK": partition, "SK": sort, "message": message, "missingSince": NOW - HOUR})
    world.memory.put_item(TableName=world.table, Item=item)
    return missing(context).data


def move_to_books(world, context):
    keys = {"PK": "HASH", "SK": "RANGE"}
    described = {
        "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in keys],
    }
    world.memory.add_table("books")
    world.memory.describe_table = lambda **_: {"Table": described}
    return move(context, to="books").data


def build_doctor(_world, _context):
    broken = replace(HEALTHY, time_to_live={"TimeToLiveStatus": "DISABLED"}, skew_seconds=None)
    return Diagnosis(DEFAULT_STACK, (*run_checks(HEALTHY), *run_checks(broken)))


def write_report(context, tmp_path):
    return report(context, out=str(tmp_path / "page.html")).data


def build_preview(world, _context):
    return preview_to_json(world.body({"dryRun": True, "requestedAt": to_iso(world.clock())}))


def check_layout(world, context):
    changes = {"CommerceTable": world.table, "StripeSecretParameter": "/shop/stripe"}
    changes |= {"StripeApiBase": world.stripe.url}
    return layout(context, [f"{name}={value}" for name, value in changes.items()]).data


# What each command prints with `--json`, and where the shapes are in it.
OUTPUTS = {
    "run": (build_summary, {"run": RUN, "recovered": SUMS}),
    "run --dry-run": (build_preview, {"run": RUN}),
    "run --no-wait": (lambda _world, _context: StartedRun(to_iso(NOW), None), {"requestedAt": TIME}),
    "status": (
        lambda _world, context: status(context).data,
        {
            "lastRun": RUN,
            "endedNight": RUN,
            "findings[]": FINDING,
            "attention[].money": SUMS,
            "checkedAt": TIME,
        },
    ),
    "runs": (lambda _world, context: runs(context).data, {"runs[]": RUN}),
    "show RUN": (
        lambda _world, context: show(context, "last").data,
        {"run": RUN, "sessions[].amount": AMOUNT},
    ),
    "explain SESSION": (
        lambda _world, context: explain(context, "cs_test_00000000").data,
        {"facts.deadLetters[]": DEAD_LETTER, "facts.stripe.amount": AMOUNT, "facts.nextRun.due": TIME},
    ),
    "layout": (check_layout, {"findings[]": FINDING, "places[].created": TIME}),
    "ack SESSION": (lambda _world, context: ack(context, HELD).data, {}),
    "dismiss SESSION": (
        lambda _world, context: [dismiss(context, HELD, "test").data for _ in range(2)][1],
        {"earlier.at": TIME},
    ),
    "allow SESSION": (
        lambda _world, context: (dismiss(context, HELD, "test"), allow(context, "test", HELD).data)[1],
        {"sessions[].dismissal.at": TIME},
    ),
    "doctor": (build_doctor, {"findings[]": FINDING}),
    "logs RUN": (lambda _world, context: logs(context, "last").data, {"lines[].at": TIME}),
    "pause": (build_switch, {"waiting.keepsUntil": TIME, "nextDue": TIME}),
    "resume": (build_switch, {"waiting.keepsUntil": TIME, "nextDue": TIME}),
    "missing": (build_missing, {"sessions[].amount": AMOUNT, "sessions[].created": TIME, "money": SUMS}),
    "ledger move": (move_to_books, {}),
    "dlq list": (lambda _world, context: list_(context).data, {"letters[]": DEAD_LETTER}),
    "dlq list --check": (
        lambda _world, context: list_(context, with_check=True).data,
        {"letters[]": DEAD_LETTER, "letters[].prospect.amount": AMOUNT},
    ),
    "dlq redrive": (
        lambda _world, context: dlq_redrive.redrive(context, timeout=0.0).data,
        {"fates[].amount": AMOUNT},
    ),
    "dlq redrive --dry-run": (
        lambda _world, context: dlq_redrive.redrive(context, dry_run=True).data,
        {"chosen[]": DEAD_LETTER},
    ),
    "dlq purge": (
        lambda _world, context: purge(context, session=["cs_test_00000000"], because="x", yes=True).data,
        {"purged[].listedAgainUntil": TIME},
    ),
}


def find_all(value, path):
    """Return the values at a path such as `runs[].startedAt`. There is at least one."""
    found = [value]
    for name in path.split("."):
        found = [one[name.removesuffix("[]")] for one in found]
        if name.endswith("[]"):
            found = [inner for one in found for inner in one]
        found = [one for one in found if one is not None] or found[:1]
    assert found, path
    return found


def walk(value, key=""):
    """Yield every value with its key; an amount of money is one value."""
    yield key, value
    if isinstance(value, dict) and value.keys() != {"currency", "amount"}:
        for name, inner in value.items():
            yield from walk(inner, name)
    if isinstance(value, list):
        for inner in value:
            yield from walk(inner, key)


def require_common_forms(output):
    for key, value in walk(output):
        if isinstance(value, dict) and "currency" in value:
            Draft202012Validator(MONEY).validate(value)
        elif key == "amount":
            Draft202012Validator(AMOUNT).validate(value)
        elif isinstance(value, str) and TIME_LIKE.fullmatch(value):
            Draft202012Validator(TIME).validate(value)
        else:
            assert type(value) is not int or value not in EPOCHS, f"{key} is a time in seconds"
            assert key != "currency"


def test_output_of_every_command_is_checked():
    checked = {re.sub(r" (--|[A-Z]).*", "", name) for name in OUTPUTS} | {"report"}
    assert list_commands().keys() - checked == set(), "OUTPUTS above lacks a command"


@pytest.mark.usefixtures("night")
@pytest.mark.parametrize("command", OUTPUTS)
def test_output_has_the_common_shapes(world, context, command):
    build, places = OUTPUTS[command]
    output = json.loads(json.dumps(to_json(build(world, context))))
    require_common_forms(output)
    for path, schema in places.items():
        for value in find_all(output, path):
            Draft202012Validator(schema).validate(value)


@pytest.mark.usefixtures("night")
def test_report_has_the_common_shapes(world, context, tmp_path):
    output = json.loads(json.dumps(to_json(write_report(context, tmp_path))))["report"]
    require_common_forms(output)
    for path, schema in {"runs[]": RUN, "recovered[].amount": AMOUNT, "days[].money": SUMS}.items():
        for value in find_all(output, path):
            Draft202012Validator(schema).validate(value)


def test_free_unknown_and_absent_amounts_are_three_things_everywhere(world, context, night):
    letter = put_dead(
        world, a_message(session_id=FREE, amount_total=None, payment_status="no_payment_required")
    )
    shown = {one["sessionId"]: one["amount"] for one in to_json(show(context, night).data)["sessions"]}
    dead = {one["messageId"]: one["amount"] for one in to_json(list_(context).data)["letters"]}
    explained = {name: to_json(explain(context, name).data)["facts"]["stripe"] for name in (FREE, SAVED)}
    free, absent = {"currency": None, "amount": 0}, {"currency": None, "amount": None}
    assert (shown[FREE], explained[FREE]["amount"], dead[letter]["amount"]) == (free, free, 0)
    assert (shown[SAVED], explained[SAVED]["amount"]) == (absent, absent)
    assert None in dead.values()
    table = context.show(show(context, night))
    assert re.search(rf"{FREE} +created +BC-\w+ +free ", table)
    assert re.search(rf"{SAVED} +skipped +none ", table)
    assert "amount unknown" in context.show(list_(context))
    assert re.search(r"amount +free", context.show(explain(context, FREE)))
    assert re.search(r"amount +none", context.show(explain(context, SAVED)))


@pytest.mark.parametrize("shape", SHAPES)
def test_keys_of_a_shape_are_in_the_reference(shape):
    row = next(line for line in SECTION.splitlines() if line.startswith(f"| {shape} |"))
    assert set(SHAPES[shape]["properties"]) - set(re.findall(r"`(\w+)`", row)) == set()


def find_status_codes():
    sources = "".join(path.read_text() for path in Path("ops/runs").glob("*.py"))
    return set(re.findall(r'StatusFinding\(\s*"(\w+)"', sources))


def test_every_code_of_a_finding_is_in_the_reference():
    documented = {
        command: set(re.findall(r"`([a-z0-9_]+)`", line.partition("|")[2].partition("|")[2]))
        for line in SECTION.splitlines()
        for command in re.findall(r"^\| `(status|doctor|layout)` \|", line)
    }
    checked = {one.code for one in run_checks(HEALTHY) if not one.name.startswith("alarm: ")}
    # A healthy stack does not show all of the doctor's codes; those of its faults are in doctor_faults.
    assert documented.pop("doctor") >= checked
    assert documented == {"status": find_status_codes(), "layout": set(Code)}
