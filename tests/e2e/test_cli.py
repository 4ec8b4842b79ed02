"""The operator commands on a deployed stack, on the morning after a night with failures."""

import time

import pytest

from sandbox.stack import wait_until
from testkit.fake_stripe import Endpoint, SessionSpec
from tests.e2e.operator_cli import Cli, clean_environ, run
from tests.e2e.shop import EMAIL, KEY, iso

pytestmark = pytest.mark.e2e

RECOVERED, DEAD = 12, 2
MAIL = "jane.doe@example.com"


@pytest.fixture(scope="module")
def shop(open_shop):
    return open_shop()


@pytest.fixture(scope="module")
def cli(shop, tmp_path_factory):
    return Cli(shop.stack, tmp_path_factory.mktemp("sandbox"))


def session(name, user=None):
    """Return a session that completed two hours ago."""
    created = int(time.time()) - 7200
    return SessionSpec(f"cs_test_{name}", created, metadata={"userId": user or f"user-{name}"})


class FailedNight:
    """A run with twelve recovered orders, two dead sessions and one order that differs from Stripe.

    The customer of that order is known by an e-mail address.
    """

    def __init__(self, shop):
        self.shop = shop
        self.missing = [session(f"lost{n:02}") for n in range(RECOVERED)]
        self.dead = [session(f"dead{n}") for n in range(DEAD)]
        self.drifted, self.known = session("drifted", MAIL), session("known")
        shop.sells(*self.paid)
        self.write_order(self.known)
        self.write_order(self.drifted, amount=self.drifted.amount_total + 1)
        kill_sessions(shop, self.dead)
        event = {"trigger": "scheduled", "scheduledTime": iso(int(time.time()))}
        self.run_id = shop.body(event)["runId"]
        shop.settled(self.run_id)
        wait_until(lambda: shop.queues() == (0, DEAD), "the dead letters are there", 30)

    @property
    def paid(self):
        return [*self.missing, *self.dead, self.drifted, self.known]

    def write_order(self, spec, **changes):
        """Write an order as the webhook does."""
        self.shop.webhook_writes(spec, spec.metadata["userId"], spec.created + 30, **changes)

    def repair(self):
        """Make Stripe know the sessions again and correct the drifted order."""
        self.shop.stripe.faults.clear()
        self.write_order(self.drifted)


def kill_sessions(shop, specs):
    """Make sessions unknown to Stripe, so that they end in the dead-letter queue."""
    for spec in specs:
        shop.stripe.faults.missing(session=spec.id, endpoint=Endpoint.RETRIEVE)


@pytest.fixture(scope="module")
def failed_shop(open_shop):
    """Return a separate shop for the failed night, whose dead letters would disturb the other tests."""
    return open_shop()


@pytest.fixture(scope="module")
def night(failed_shop):
    return FailedNight(failed_shop)


@pytest.fixture(scope="module")
def night_cli(night, tmp_path_factory):
    return Cli(night.shop.stack, tmp_path_factory.mktemp("sandbox"))


def read_order_ids(shop, specs):
    return sorted(order["orderId"] for order in shop.orders(*(spec.id for spec in specs)))


def next_commands(cli):
    return [finding["command"] for finding in cli.data("status")["findings"]]


def predictions(cli):
    return [one["prospect"]["would"] for one in cli.data("dlq", "list", "--check")["letters"]]


def test_commands_lead_from_a_failed_night_to_a_clean_status(night_cli, night):
    status = night_cli("status", "--json")
    assert (status.code, status.json["dead"]) == (1, DEAD)
    last = status.json["lastRun"]
    assert (last["created"], last["errors"], last["drifted"]) == (RECOVERED, DEAD, 1)
    show_drift = f"nightly-sync show {night.run_id} --drift"
    show_errors = f"nightly-sync show {night.run_id} --outcome error"
    assert next_commands(night_cli) == ["nightly-sync dlq list --check", show_errors, show_drift]
    listed = night_cli("dlq", "list", "--check")
    assert listed.code == 1
    for spec in night.dead:
        assert "SessionNotFound" in listed.lines[listed.lines.index(spec.id) + 2]
    assert predictions(night_cli) == ["fail"] * DEAD
    drift = night_cli("show", night.run_id, "--drift")
    assert drift.code == 0
    assert f"Showing 1 of {len(night.paid)}." in drift.out
    assert night.drifted.id in drift.out
    assert f"Stripe {night.drifted.amount_total}" in drift.out
    night.repair()
    assert predictions(night_cli) == ["create"] * DEAD
    redriven = night_cli("dlq", "redrive", "--json")
    assert (redriven.code, redriven.json["moved"]) == (0, DEAD)
    assert sorted(one["sessionId"] for one in redriven.json["fates"]) == sorted(s.id for s in night.dead)
    assert {one["fate"] for one in redriven.json["fates"]} == {"created"}
    # The drift of the night remains until a run has covered the same window.
    for hours, remaining in (("1", [show_drift]), ("50", [])):
        assert next_commands(night_cli) == [show_drift]
        ran = night_cli("run", "--lookback-hours", hours)
        assert ran.code == 0, ran
        assert next_commands(night_cli) == remaining
    assert "exists" in ran.out
    clean = night_cli("status")
    assert (clean.code, clean.lines[0]) == (0, "All is well.")
    assert read_order_ids(night.shop, night.paid) == sorted(spec.id for spec in night.paid)


def test_show_lists_sessions_and_filters_them(night_cli, night):
    assert len(night_cli.data("show", night.run_id, "--all")["sessions"]) == len(night.paid)
    assert night.known.id not in {
        one["sessionId"] for one in night_cli.data("show", night.run_id)["sessions"]
    }
    created = night_cli.data("show", night.run_id, "--outcome", "created")["sessions"]
    amounts = {one["sessionId"]: one["amount"] for one in created}
    for spec in night.missing:
        assert amounts[spec.id] == {"currency": spec.currency, "amount": spec.amount_total}
    assert all(one["orderNumber"].startswith("BC-") and one["attempts"] >= 1 for one in created)
    assert all(one["url"].startswith("https://dashboard.stripe.com/test/") for one in created)
    exists = night_cli.data("show", night.run_id, "--reason", "exists")["sessions"]
    assert {one["sessionId"] for one in exists} == {night.known.id, night.drifted.id}


def test_dry_run_writes_nothing(shop, cli):
    before = shop.dump()
    done = cli("run", "--dry-run", "--lookback-hours", "3")
    assert (done.code, done.lines[-1]) == (0, "Nothing was written.")
    assert shop.dump() == before


def test_run_without_waiting_is_named_and_completes(shop, cli):
    started = cli("run", "--no-wait", "--json")
    assert started.code == 0
    wait_until(lambda: shop.run(started.json["runId"]).get("status") == "done", "it is done", 60)


def test_rejected_key_is_reported_at_once_by_every_command(shop, cli):
    shop.stripe.faults.unauthorized()
    try:
        failed = cli("run", "--lookback-hours", "1")
    finally:
        shop.stripe.faults.clear()
    newest = cli.data("runs", "--limit", "1")["runs"][0]
    run_id, cause = newest["runId"], newest["failure"]
    assert (newest["status"], cause["errorType"], cause["attempts"]) == ("failed", "KeyRejected", 1)
    status, runs = cli("status"), cli("runs", "--limit", "1")
    assert (failed.code, status.code) == (2, 1)
    for output in (failed.err, status.out, runs.out):
        assert f"run {run_id} failed: KeyRejected: {cause['message']}; check the Stripe key" in output
        assert "nightly-sync doctor" in output
    wait_until(lambda: cause["message"] in cli("logs", run_id, "--level", "ERROR").out, "it is logged", 30)


def test_ctrl_c_stops_following_but_not_the_run(shop, cli):
    shop.stack.pause_consumer()
    try:
        before = {one["runId"] for one in cli.data("runs")["runs"]}
        started = []

        def has_started():
            items = [item for item in shop.items() if item["SK"].startswith("STRIPE_ORDER_SYNC#")]
            started[:] = {item["runId"] for item in items} - before
            return bool(started)

        stopped = cli.interrupted("run", when=has_started)
    finally:
        shop.stack.resume_consumer()
    assert stopped.code == 130
    assert "the run continues" in stopped.err
    assert "Traceback" not in stopped.err
    shop.settled(*started)


def test_purged_session_is_dismissed_with_operator_and_reason(shop, cli):
    dead = session("hopeless")
    shop.sells(dead)
    kill_sessions(shop, [dead])
    cli("run")
    wait_until(lambda: shop.queues() == (0, 1), "it is dead", 30)
    run_id = cli.data("status")["lastRun"]["runId"]
    assert cli("dlq", "purge", "--session", dead.id).code == 2
    assert shop.queues() == (0, 1)
    purge = ("dlq", "purge", "--session", dead.id, "--because", "refunded manually", "--yes")
    purged = cli(*purge)
    assert purged.code == 0, purged
    assert shop.queues() == (0, 0)
    outcome = shop.outcome(run_id, dead)
    assert (outcome["outcome"], outcome["reason"]) == ("skipped", "dismissed")
    assert outcome["dismissedBecause"] == "refunded manually"
    assert outcome["dismissedBy"]
    assert shop.run(run_id)["errors"] == 0
    assert cli.data("show", run_id, "--reason", "dismissed")["sessions"][0]["sessionId"] == dead.id
    assert f"{dead.id} is not in the dead-letter queue" in error_line(cli(*purge))
    shop.stripe.faults.clear()


def test_killed_redrive_loses_and_doubles_nothing(shop, cli):
    specs = [session(f"kill{n}", "user-kill") for n in range(8)]
    shop.sells(*specs)
    kill_sessions(shop, specs)
    cli("run")
    wait_until(lambda: shop.queues() == (0, len(specs)), "they are dead", 30)
    shop.stripe.faults.clear()
    selection = [part for spec in specs for part in ("--session", spec.id)]
    with cli.running("dlq", "redrive", "--per-second", "2", *selection) as process:
        wait_until(lambda: read_order_ids(shop, specs), "some are moved", 60)
        process.kill()
        process.wait()
    assert 0 < len(read_order_ids(shop, specs)) < len(specs)

    def redrive_rest():
        cli("dlq", "redrive", "--timeout", "10")
        return len(read_order_ids(shop, specs)) == len(specs)

    wait_until(lambda: cli.data("dlq", "list")["letters"], "the held messages are visible again", 60)
    wait_until(redrive_rest, "the rest is moved", 60)
    assert read_order_ids(shop, specs) == sorted(spec.id for spec in specs)


# Errors


def error_line(result):
    """Return the error of a command that printed one line and could not run."""
    assert (result.code, result.out) == (2, ""), result
    (line,) = result.err.splitlines()
    assert line.startswith("Error: ")
    return line


@pytest.mark.parametrize(
    ("options", "message"), [((), "no AWS credentials"), (("--profile", "nobody"), "(nobody)")]
)
def test_unusable_credentials_are_named(options, message):
    result = run("status", "--region", "eu-west-1", *options, environ=clean_environ())
    assert message in error_line(result)


def test_missing_stack_and_run_are_named(night_cli):
    line = error_line(night_cli("status", "--stack", "no-such-stack"))
    assert "no-such-stack" in line
    assert "--stack" in line
    line = error_line(night_cli("show", "20200101T000000Z"))
    assert "there is no run 20200101T000000Z; the latest are" in line


def test_missing_permission_is_named(shop, cli):
    iam, user = shop.stack.client("iam"), f"{shop.stack.name}-guest"
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    environ = {name: value for name, value in cli.environ.items() if name != "NIGHTLY_SYNC_SANDBOX"} | {
        "AWS_ENDPOINT_URL": shop.stack.endpoint,
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "NO_PROXY": "127.0.0.1",
    }
    line = error_line(run("status", "--stack", shop.stack.name, "--region", "us-east-1", environ=environ))
    assert line.endswith("no permission: these AWS credentials may not call cloudformation:DescribeStacks")


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("runs",), ("show", "last"), ("dlq", "list", "--check"), ("run", "--dry-run")],
    ids=" ".join,
)
def test_output_contains_no_address_and_no_key(night_cli, arguments):
    for options in ((), ("--json",)):
        result = night_cli(*arguments, *options)
        output = result.out + result.err
        assert EMAIL.findall(output) == []
        assert KEY.findall(output) == []
        assert MAIL not in output


def test_shell_completion_offers_commands_and_options():
    asked = {"_NIGHTLY_SYNC_COMPLETE": "complete_bash"} | clean_environ()
    assert run(environ=asked | {"COMP_WORDS": "nightly-sync sta", "COMP_CWORD": "1"}).out.split() == [
        "status"
    ]
    asked |= {"COMP_WORDS": "nightly-sync show last --ou", "COMP_CWORD": "3"}
    assert "--outcome" in run(environ=asked).out
