"""The parts of the demo that need no servers."""

import dataclasses
import os
import signal
import subprocess
from io import StringIO
from types import SimpleNamespace

import pytest
from boto3.dynamodb.types import TypeSerializer
from rich.console import Console

from ops.runs.follow import RunProgress
from recon.domain.run import RunStatus
from recon.dynamodb.keys import run_key
from recon.dynamodb.records import parse_run
from sandbox.demo import services
from sandbox.demo.__main__ import EndedError, main, signals_as_errors, stop_command
from sandbox.demo.account_story import stripe_key
from sandbox.demo.findings import RecoveredOrder, find_problems, recovered_orders
from sandbox.demo.look_around import commands
from sandbox.demo.options import HOME, Options, parse_options
from sandbox.demo.scenes import (
    SHOWN_ORDERS,
    DemoError,
    describe_amount,
    describe_items,
    recovered_money,
    short,
    show_details,
    some_of_each_currency,
    verdict,
)
from sandbox.demo.screen import DemoScreen
from sandbox.demo.state import SandboxState, read_state
from testkit.builders import NOW, RUN, TABLE, FakeTime
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.emulator.process import command_line
from testkit.invariants import Violation


@pytest.fixture
def output():
    return StringIO()


@pytest.fixture
def clock():
    return FakeTime()


@pytest.fixture
def screen(output, clock):
    return DemoScreen(Console(file=output, width=100), clock)


def a_run(**changes):
    return dataclasses.replace(parse_run({"SK": run_key(RUN)[1]}), **changes)


def an_order(**changes):
    order = RecoveredOrder("cs_1", "BC-1", "2024-11-27T01:00:00Z", 1500, "usd", (("Mug", 1),))
    return dataclasses.replace(order, **changes)


# The verdict


def test_result_without_problems_is_exit_code_0(screen, output):
    assert verdict(screen, [], "All is well.") == 0
    assert output.getvalue() == "    All is well.\n"


def test_problems_are_listed_with_exit_code_1(screen, output):
    problems = [Violation("cs_1", "the order is missing"), Violation("cs_2", "2 orders instead of 1")]
    assert verdict(screen, problems, "All is well.") == 1
    assert "2 problems:" in output.getvalue()
    assert "- cs_1: the order is missing" in output.getvalue()
    assert "- cs_2: 2 orders instead of 1" in output.getvalue()
    assert "All is well" not in output.getvalue()


# The user's own key


@pytest.mark.parametrize("key", ["sk_test_51abc", "rk_test_51abc", " sk_test_51abc\n"])
def test_test_key_is_accepted(key):
    assert stripe_key({"STRIPE_SECRET": key}) == key.strip()


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "needs your test key"),
        ("  ", "needs your test key"),
        ("sk_live_51abc", "live key"),
        ("rk_live_51abc", "live key"),
        ("pk_test_51abc", "no test key"),
        ("whsec_51abc", "no test key"),
        ("SK_TEST_51abc", "no test key"),
        ("sk_test_51\nabc", "no test key"),
    ],
)
def test_other_key_is_refused_and_not_shown(key, says):
    with pytest.raises(DemoError, match=says) as refused:
        stripe_key({"STRIPE_SECRET": key})
    assert "51abc" not in str(refused.value)


def test_live_key_is_refused_before_the_start(monkeypatch, capsys):
    monkeypatch.setenv("STRIPE_SECRET", "sk_live_51abc")
    monkeypatch.setattr("sandbox.demo.__main__.running", lambda *_, **__: pytest.fail("started"))
    assert main(["--real-stripe"]) == 1
    said = capsys.readouterr().out
    assert "live key" in said
    assert "51abc" not in said


def test_missing_key_is_refused(monkeypatch, capsys):
    monkeypatch.delenv("STRIPE_SECRET", raising=False)
    assert main(["--real-stripe"]) == 1
    assert "STRIPE_SECRET" in capsys.readouterr().out


# The command line


def test_defaults_are_a_fake_shop_that_ends_with_the_demo():
    assert parse_options([]) == Options()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--sessions", "99"],
        ["--sessions", "many"],
        ["--sessions", "-200"],
        ["--lookback-hours", "721"],
        ["--lookback-hours", "0"],
        ["--keep", "--stop"],
        ["--morning", "--stop"],
        ["--unknown"],
    ],
)
def test_wrong_argument_is_refused(wrong, capsys):
    with pytest.raises(SystemExit) as refused:
        parse_options(wrong)
    assert refused.value.code == 2
    assert wrong[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--stop", "--real-stripe"],
            "--real-stripe is for a demo that starts; with --stop give only --home",
        ),
        (["--stop", "--sessions", "200"], "--sessions is for a demo that starts"),
        (["--stop", "--seed", "1"], "--seed is for a demo that starts"),
        (["--stop", "--lookback-hours", "720"], "--lookback-hours is for a demo that starts"),
        (
            ["--real-stripe", "--sessions", "200"],
            "--sessions is for the made-up shop; with --real-stripe leave",
        ),
        (["--real-stripe", "--seed", "1"], "--seed is for the made-up shop"),
        (["--real-stripe", "--morning"], "--morning is for the made-up shop; with --real-stripe give --keep"),
        (
            ["--lookback-hours", "24"],
            "--lookback-hours looks back into your own account; give --real-stripe too",
        ),
        (["--home", "kept"], "--home is where things are left up; give --keep, --morning or --stop too"),
        (["--seed", "1", "--seed", "2"], "--seed is given twice; give it once"),
        (
            ["--layout", "mine"],
            "invalid choice: 'mine' (choose from 'order-id-in-metadata', 'session-id-as-key', 'index-on",
        ),
        (["--layout", "session-id-as-key", "--morning"], "--morning is for the sync's own layout"),
        (["--stop", "--layout", "session-id-as-key"], "--layout is for a demo that starts"),
        (["--real-stripe", "--layout", "session-id-as-key"], "--layout is for the made-up shop"),
        (["--ke"], "--ke is unknown"),
        (["--keep", "extra"], "extra is unknown; `python -m sandbox.demo --help` lists what is accepted"),
    ],
)
def test_option_without_effect_is_refused(words, sentence, capsys):
    with pytest.raises(SystemExit) as refused:
        parse_options(words)
    assert refused.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--sessions", "200", "--seed", "7"],
        ["--keep", "--sessions", "200", "--home", "kept"],
        ["--morning", "--seed", "7", "--home", "kept"],
        ["--stop", "--home", "kept"],
        ["--real-stripe", "--keep", "--lookback-hours", "24", "--home", "kept"],
    ],
)
def test_compatible_options_are_accepted(words):
    parse_options(words)


def test_morning_keeps_the_sandbox():
    assert parse_options(["--morning"]) == Options(morning=True, keep=True)


def test_stop_command_names_another_folder(tmp_path):
    assert stop_command(Options()) == "make demo ARGS=--stop"
    assert stop_command(Options(home=tmp_path)) == f'make demo ARGS="--stop --home {tmp_path}"'
    assert parse_options(["--stop"]).home == HOME


def test_folder_is_relative_to_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert parse_options(["--keep", "--home", "kept"]).home == tmp_path / "kept"


def test_stop_without_a_sandbox_succeeds(tmp_path, capsys):
    assert main(["--stop", "--home", str(tmp_path)]) == 0
    assert "Nothing is up." in capsys.readouterr().out


# Signals and processes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_becomes_an_error_with_its_exit_code(number):
    before = signal.getsignal(number)
    with pytest.raises(EndedError) as ended, signals_as_errors():
        os.kill(os.getpid(), number)
    assert ended.value.exit_code == 128 + number
    assert signal.getsignal(number) == before


def test_second_interrupt_does_not_end_the_cleanup():
    cleared = []

    def work():
        with signals_as_errors():
            try:
                os.kill(os.getpid(), signal.SIGINT)
            finally:
                os.kill(os.getpid(), signal.SIGINT)
                cleared.append("up")

    with pytest.raises(EndedError):
        work()
    assert cleared == ["up"]


def test_reused_process_id_is_left_alone(tmp_path):
    other = subprocess.Popen(["sleep", "60"])
    try:
        SandboxState("http://127.0.0.1:1", None, {"emulator": other.pid, "fakeStripe": other.pid}).write(
            tmp_path
        )
        assert not services.is_up(tmp_path)
        assert not services.stop(tmp_path)
        assert other.poll() is None
        assert read_state(tmp_path) is None
    finally:
        other.kill()
        other.wait()


def test_command_line_of_a_process_is_read():
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        # An answer: for a moment after its start a process has no command line yet.
        print("up", file=other.stdin, flush=True)
        assert other.stdout.readline() == "up\n"
        assert command_line(other.pid) == "cat"
    assert command_line(other.pid) == ""


def test_functions_use_a_proxy_for_stripe_only(monkeypatch):
    for name in services.NETWORK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert services.network_variables() == {}
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert services.network_variables() == {
        "HTTPS_PROXY": "http://proxy.example:3128",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def test_proxy_of_the_shell_keeps_its_exceptions(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    monkeypatch.setenv("no_proxy", "")
    services.keep_proxies_away()
    assert os.environ["NO_PROXY"] == "intranet.example,127.0.0.1,localhost"
    assert os.environ["no_proxy"] == "127.0.0.1,localhost"


# SandboxState


@pytest.fixture
def state():
    names = {
        "table": "shop",
        "queueUrl": "http://127.0.0.1:1/0/main",
        "deadLetterQueueUrl": "http://127.0.0.1:1/0/dead",
        "producer": "sync-producer",
        "consumer": "sync-consumer",
    }
    return SandboxState("http://127.0.0.1:1", "http://127.0.0.1:2", {"emulator": 1}, names, RUN)


def test_state_is_read_back(tmp_path, state):
    state.write(tmp_path)
    assert read_state(tmp_path) == state


@pytest.mark.parametrize("text", ["", "{", "[]", '{"unknown": 1}'])
def test_unreadable_state_is_none(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    assert read_state(tmp_path) is None


def test_printed_commands_are_a_shell_script(state):
    checked = subprocess.run(
        ["bash", "-n"], input=commands(state), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_printed_command_uses_the_emulator(state):
    lines = [line for line in commands(state).splitlines() if line.startswith("aws ")]
    assert len(lines) > 5
    assert all(line.startswith("aws --endpoint-url http://127.0.0.1:1 ") for line in lines)


def test_printed_commands_bypass_a_proxy(state, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert "NO_PROXY" not in commands(state)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    assert "export NO_PROXY=" in commands(state)


# What is shown


def test_step_shows_its_duration(screen, output, clock):
    with screen.step("Wait [a bit]"):
        clock.sleep(1.25)
    assert output.getvalue() == "\n 1  Wait [a bit]\n    1.2 s\n"


def test_shown_text_is_not_markup(screen, output):
    screen.say("[bold]one[/bold]")
    screen.table(["order", "items"], [["BC-1", "[red]Mug"]])
    assert "[bold]one[/bold]" in output.getvalue()
    assert "[red]Mug" in output.getvalue()


def test_commands_are_not_wrapped(screen, output):
    screen.plain("x" * 300)
    assert output.getvalue() == "x" * 300 + "\n"


def test_progress_is_plain_lines_without_a_terminal(screen, output, clock):
    run = a_run(enqueued=3)
    done = dataclasses.replace(run, status=RunStatus.DONE, processed=3, created=1, skipped=1, errors=1)

    def seen():
        for progress in (RunProgress(run, 3, 0, 0), RunProgress(run, 0, 3, 0), RunProgress(done, 0, 0, 1)):
            yield progress
            clock.sleep(0.4)

    assert screen.watch(seen()).is_settled
    # The second comes within a second of the first and is left out; the last is always shown.
    assert output.getvalue().splitlines() == [
        "     0.0 s  enqueued 3, done 0: created 0, skipped 0, errors 0, in flight 0, dead 0",
        "     0.8 s  enqueued 3, done 3: created 1, skipped 1, errors 1, in flight 0, dead 1",
    ]


def test_progress_is_a_bar_in_a_terminal(clock):
    output = StringIO()
    screen = DemoScreen(Console(file=output, width=100, force_terminal=True), clock)
    run = a_run(status=RunStatus.DONE, enqueued=3, processed=3, created=3)
    assert screen.watch(iter([RunProgress(run, 0, 0, 0)])).created == 3
    assert "3/3 created 3" in output.getvalue()


def test_order_shows_its_first_items_and_the_rest_as_a_number():
    items = (("Mug", 1), ("Poster", 3), ("Pen", 1), ("Pencil", 2))
    assert describe_items(an_order(items=items)) == "Mug, 3 x Poster and 2 more"
    assert describe_items(an_order(items=items[:1])) == "Mug"


def test_order_without_amount_is_free():
    assert describe_amount(an_order(amount=None, currency=None)) == "free"
    assert describe_amount(an_order(amount=1980, currency="jpy")) == "1,980 JPY"


def test_recovered_money_is_summed_by_currency():
    orders = [
        an_order(),
        an_order(),
        an_order(amount=7, currency="jpy"),
        an_order(amount=None, currency=None),
    ]
    assert recovered_money(orders) == "7 JPY · 30.00 USD"
    assert recovered_money([an_order(amount=None, currency=None)]) == "all of them free"


def test_every_currency_has_an_example_order():
    orders = [an_order(currency="eur")] * 50 + [an_order(currency="usd")] * 50
    shown = some_of_each_currency(orders)
    assert [order.currency for order in shown] == ["eur"] * (SHOWN_ORDERS // 2) + ["usd"] * (
        SHOWN_ORDERS // 2
    )


def test_long_id_shows_its_end():
    assert short("cs_test_" + "a" * 50 + "ENDS1234").endswith("ENDS1234")
    assert short("cs_test_1") == "cs_test_1"


# What the table holds


@pytest.fixture
def dynamodb(clock):
    memory = MemoryDynamoDB(clock)
    memory.add_table(TABLE)
    return memory


def writes(dynamodb, **fields):
    item = {name: TypeSerializer().serialize(value) for name, value in fields.items()}
    dynamodb.put_item(TableName=TABLE, Item=item)


def writes_order(dynamodb, session, user="user-1", **fields):
    order = {
        "orderId": session,
        "stripeSessionId": session,
        "orderNumber": f"BC-{session}",
        "createdAt": "2024-11-27T01:00:00Z",
        "amount": 1500,
        "currency": "usd",
        "items": [{"name": "Mug", "quantity": 2}],
        "customerEmail": "a@example.com",
        "source": "nightly_sync",
        "syncRunId": RUN,
    }
    writes(dynamodb, PK=f"USER#{user}", SK=f"ORDER#{NOW}#{session}", **(order | fields))


def writes_outcome(dynamodb, session, outcome, **fields):
    writes(dynamodb, PK=f"SYNC_RUN#{RUN}", SK=f"SESSION#{session}", outcome=outcome, **fields)


def test_orders_of_the_run_are_found_by_currency_and_size(dynamodb):
    writes_order(dynamodb, "small")
    writes_order(dynamodb, "large", amount=9000)
    writes_order(dynamodb, "euro", currency="eur")
    writes_order(dynamodb, "free", amount=0, currency="zzz", items=[])
    writes_order(dynamodb, "other_run", syncRunId="20200101T000000Z")
    writes_order(dynamodb, "webhook", source="webhook")
    found = recovered_orders(dynamodb, TABLE, RUN)
    assert [order.session_id for order in found] == ["euro", "large", "small", "free"]
    assert found[1].amount == 9000
    assert found[1].items == (("Mug", 2),)


def test_order_says_what_was_bought_besides_its_items(dynamodb):
    writes_order(
        dynamodb,
        "detailed",
        items=[{"name": "Shirt", "quantity": 1, "variant": "Size L"}, {"name": "Cap", "quantity": 1}],
        amountTax=912,
        shippingMethod={"rateId": "shr_1", "name": "Express", "amount": 500},
        stripeDiscounts=[{"promotionCodeId": "promo_1", "code": "AUTUMN20"}, {"couponId": "co_1"}],
        customFields=[{"key": "engraving", "label": "Engraving", "value": "For Jane"}],
        presentment={"amount": 4000, "currency": "cad"},
    )
    [order] = recovered_orders(dynamodb, TABLE, RUN)
    assert order.details == (
        "Size L",
        "shipping: Express",
        "code AUTUMN20",
        "answers of the customer: 1",
        "tax 9.12 USD",
        "the customer saw 40.00 CAD",
    )
    writes_order(dynamodb, "plain")
    assert [one.details for one in recovered_orders(dynamodb, TABLE, RUN) if one.session_id == "plain"] == [
        ()
    ]


def test_details_are_shown_if_there_are_any(screen, output):
    stage = SimpleNamespace(screen=screen)
    show_details(stage, [an_order()])
    assert output.getvalue() == ""
    show_details(stage, [an_order(), an_order(number="BC-2", details=("Size L", "tax 9.12 USD"))])
    assert "BC-2   Size L · tax 9.12 USD" in output.getvalue()
    assert "BC-1" not in output.getvalue()


def test_account_with_matching_outcomes_and_orders_is_right(dynamodb):
    writes_order(dynamodb, "one")
    writes_outcome(dynamodb, "one", "created")
    writes_outcome(dynamodb, "two", "skipped", reason="unpaid")
    assert find_problems(dynamodb, TABLE, RUN, 2) == []


@pytest.mark.parametrize(
    ("outcome", "orders", "says"),
    [
        ({"outcome": "created"}, 0, "0 orders instead of 1"),
        ({"outcome": "created"}, 2, "2 orders instead of 1"),
        ({"outcome": "skipped", "reason": "exists"}, 1, "skipped as existing, and the table was empty"),
        ({"outcome": "skipped", "reason": "unpaid"}, 1, "1 orders instead of none"),
        ({"outcome": "error", "errorType": "SessionNotFound"}, 0, "no order: SessionNotFound"),
    ],
)
def test_session_with_a_wrong_outcome_is_a_problem(dynamodb, outcome, orders, says):
    for user in range(orders):
        writes_order(dynamodb, "one", user=f"user-{user}")
    writes_outcome(dynamodb, "one", **outcome)
    assert find_problems(dynamodb, TABLE, RUN, 1) == [Violation("one", says)]


def test_missing_outcome_is_a_problem(dynamodb):
    writes_order(dynamodb, "one")
    assert [str(problem) for problem in find_problems(dynamodb, TABLE, RUN, 1)] == [
        "one: an order that no outcome speaks of",
        "the run: 1 sessions were enqueued, 0 have an outcome",
    ]
