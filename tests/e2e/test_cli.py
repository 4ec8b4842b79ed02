"""The operator's command, run as operators run it: on a deployed stack, in the morning after a bad night."""

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


class BadNight:
    """Twelve orders recovered, two sessions dead, one order that says something else than Stripe.

    That order's customer is known by an e-mail address."""

    def __init__(self, shop):
        self.shop = shop
        self.now = int(time.time())
        self.missing = [self._session(f"lost{n:02}") for n in range(RECOVERED)]
        self.dead = [self._session(f"dead{n}") for n in range(DEAD)]
        self.drifted = self._session("drifted", metadata={"userId": MAIL})
        self.known = self._session("known")
        shop.sells(*self.missing, *self.dead, self.drifted, self.known)
        self.webhook_writes(self.known)
        self.webhook_writes(self.drifted, amount=self.drifted.amount_total + 1)
        for spec in self.dead:
            shop.stripe.faults.missing(session=spec.id, endpoint=Endpoint.RETRIEVE)
        self.run_id = shop.body({"trigger": "scheduled", "scheduledTime": iso(self.now)})["runId"]
        shop.settled(self.run_id)
        wait_until(lambda: shop.queues() == (0, DEAD), "the dead letters are there", 30)

    def _session(self, name, **changes):
        age = 7200
        return SessionSpec(
            **{"id": f"cs_test_{name}", "created": self.now - age, "metadata": {"userId": f"user-{name}"}}
            | changes
        )

    def webhook_writes(self, spec, **changes):
        self.shop.webhook_writes(spec, spec.metadata["userId"], spec.created + 30, **changes)

    def mended(self):
        """Stripe knows the sessions again, and somebody has put the order right."""
        self.shop.stripe.faults.clear()
        self.webhook_writes(self.drifted)


@pytest.fixture(scope="module")
def night(shop):
    return BadNight(shop)


def commands_of(data):
    return [finding["command"] for finding in data["findings"]]


def test_the_morning_after_a_bad_night_from_status_to_redrive_to_a_clean_status(shop, cli, night):
    # What happened?
    status = cli("status", "--json")
    assert status.code == 1
    assert status.json["dead"] == DEAD
    last = status.json["lastRun"]
    assert (last["created"], last["errors"], last["drifted"]) == (RECOVERED, DEAD, 1)
    assert commands_of(status.json) == [
        "nightly-sync dlq list --check",
        f"nightly-sync show {night.run_id} --outcome error",
        f"nightly-sync show {night.run_id} --drift",
    ]
    # Which are dead, and would they succeed now?
    listed = cli("dlq", "list", "--check")
    assert listed.code == 1
    for spec in night.dead:
        assert "SessionNotFound" in listed.lines[listed.lines.index(spec.id) + 2]
    assert all(one["prospect"]["would"] == "fail" for one in cli.data("dlq", "list", "--check")["letters"])
    # Which order differs?
    drift = cli("show", night.run_id, "--drift")
    assert drift.code == 0
    assert night.drifted.id in drift.out
    assert f"Stripe {night.drifted.amount_total}" in drift.out
    # The causes are mended.
    night.mended()
    assert all(one["prospect"]["would"] == "create" for one in cli.data("dlq", "list", "--check")["letters"])
    redriven = cli("dlq", "redrive", "--json")
    assert redriven.code == 0
    assert redriven.json["moved"] == DEAD
    assert sorted(one["sessionId"] for one in redriven.json["fates"]) == sorted(s.id for s in night.dead)
    assert {one["fate"] for one in redriven.json["fates"]} == {"created"}
    # Whoever looks at the night again sees that only the drift is left; a new run does not find it any more.
    assert commands_of(cli.data("status")) == [f"nightly-sync show {night.run_id} --drift"]
    one_hour = cli("run", "--lookback-hours", "1")
    assert one_hour.code == 0, one_hour
    assert commands_of(cli.data("status")) == [f"nightly-sync show {night.run_id} --drift"]
    again = cli("run", "--lookback-hours", "48")
    assert again.code == 0, again
    assert "exists" in again.out
    clean = cli("status")
    assert clean.code == 0
    assert clean.lines[-1] == "All is well."
    # And everything is there once.
    paid = [*night.missing, *night.dead, night.drifted, night.known]
    assert sorted(order["orderId"] for order in shop.orders(*(s.id for s in paid))) == sorted(
        s.id for s in paid
    )


def test_the_runs_are_listed_newest_first(cli, night):
    listed = cli.data("runs")["runs"]
    assert [one["runId"] for one in listed] == sorted((one["runId"] for one in listed), reverse=True)
    assert night.run_id in {one["runId"] for one in listed}
    assert len(cli.data("runs", "--limit", "1")["runs"]) == 1


def test_show_tells_of_each_session_and_takes_a_choice(cli, night):
    whole = cli.data("show", night.run_id)["sessions"]
    assert len(whole) == RECOVERED + DEAD + 2
    created = cli.data("show", night.run_id, "--outcome", "created")["sessions"]
    assert {one["sessionId"] for one in created} >= {spec.id for spec in night.missing}
    assert all(one["orderNumber"].startswith("BC-") and one["attempts"] >= 1 for one in created)
    spec = night.missing[0]
    assert [one["amount"] for one in created if one["sessionId"] == spec.id] == [
        {"currency": spec.currency, "amount": spec.amount_total}
    ]
    assert all(one["url"].startswith("https://dashboard.stripe.com/test/") for one in created)
    exists = cli.data("show", night.run_id, "--reason", "exists")["sessions"]
    assert {one["sessionId"] for one in exists} == {night.known.id, night.drifted.id}


def test_a_dry_run_tells_and_writes_nothing(shop, cli):
    before = shop.dump()
    done = cli("run", "--dry-run", "--lookback-hours", "3")
    assert done.code == 0
    assert done.lines[-1] == "Nothing was written."
    assert shop.dump() == before


def test_a_run_that_nobody_waits_for_is_named_and_goes_on(shop, cli):
    begun = cli("run", "--no-wait", "--json")
    assert begun.code == 0
    wait_until(lambda: shop.run(begun.json["runId"]).get("status") == "done", "it is done", 60)


def test_a_key_that_stripe_rejects_is_said_at_once_by_every_command(shop, cli):
    shop.stripe.faults.unauthorized()
    try:
        failed = cli("run", "--lookback-hours", "1")
    finally:
        shop.stripe.faults.clear()
    assert failed.code == 2
    newest = cli.data("runs", "--limit", "1")["runs"][0]
    run_id, cause = newest["runId"], newest["failure"]
    assert (newest["status"], cause["errorType"], cause["attempts"]) == ("failed", "KeyRejected", 1)
    said = f"run {run_id} failed: KeyRejected: {cause['message']}; check the Stripe key"
    assert said in failed.err
    assert "nightly-sync doctor" in failed.err
    status = cli("status")
    assert status.code == 1
    for shown in (status, cli("runs", "--limit", "1")):
        assert said in shown.out
        assert "nightly-sync doctor" in shown.out
    wait_until(lambda: cause["message"] in cli("logs", run_id, "--level", "ERROR").out, "it is logged", 30)


def test_ctrl_c_ends_the_following_and_not_the_run(shop, cli):
    shop.stack.pause_consumer()
    try:
        before = {one["runId"] for one in cli.data("runs")["runs"]}
        started = []

        def is_there():
            started[:] = [
                item["runId"]
                for item in shop.items()
                if item["SK"].startswith("STRIPE_ORDER_SYNC#") and item["runId"] not in before
            ]
            return bool(started)

        stopped = cli.interrupted("run", when=is_there)
    finally:
        shop.stack.resume_consumer()
    assert stopped.code == 130
    assert "the run goes on" in stopped.err
    assert "Traceback" not in stopped.err
    shop.settled(*started)


def test_a_purged_session_is_dismissed_with_who_and_why(shop, cli):
    now = int(time.time())
    dead = SessionSpec(id="cs_test_hopeless", created=now - 7200, metadata={"userId": "user-hopeless"})
    shop.sells(dead)
    shop.stripe.faults.missing(session=dead.id, endpoint=Endpoint.RETRIEVE)
    cli("run")
    wait_until(lambda: shop.queues() == (0, 1), "it is dead", 30)
    run_id = cli.data("status")["lastRun"]["runId"]
    unasked = cli("dlq", "purge", "--session", dead.id)
    assert unasked.code == 2
    assert shop.queues() == (0, 1)
    purged = cli("dlq", "purge", "--session", dead.id, "--because", "refunded by hand", "--yes")
    assert purged.code == 0, purged
    assert shop.queues() == (0, 0)
    outcome = shop.outcome(run_id, dead)
    assert (outcome["outcome"], outcome["reason"]) == ("skipped", "dismissed")
    assert outcome["dismissedBecause"] == "refunded by hand"
    assert outcome["dismissedBy"]
    assert shop.run(run_id)["errors"] == 0
    assert cli.data("show", run_id, "--reason", "dismissed")["sessions"][0]["sessionId"] == dead.id
    missing = cli("dlq", "purge", "--session", dead.id, "--because", "again", "--yes")
    assert missing.code == 2
    assert f"{dead.id} is not in the dead-letter queue" in missing.err
    shop.stripe.faults.clear()


def test_a_redrive_that_is_killed_half_way_loses_and_doubles_nothing(shop, cli):
    now = int(time.time())
    specs = [
        SessionSpec(id=f"cs_test_kill{n}", created=now - 7200 - n, metadata={"userId": "user-kill"})
        for n in range(8)
    ]
    shop.sells(*specs)
    for spec in specs:
        shop.stripe.faults.missing(session=spec.id, endpoint=Endpoint.RETRIEVE)
    cli("run")
    wait_until(lambda: shop.queues() == (0, len(specs)), "they are dead", 30)
    shop.stripe.faults.clear()
    with cli.running("dlq", "redrive", "--per-second", "2", *selection(specs)) as moving:
        wait_until(lambda: shop.orders(*(s.id for s in specs)), "some are moved", 60)
        moving.kill()
        moving.wait()
    done = len(shop.orders(*(spec.id for spec in specs)))
    assert 0 < done < len(specs)
    # What the killed one held comes back when its hold is over.
    wait_until(lambda: cli.data("dlq", "list")["letters"], "the rest is visible again", 60)
    wait_until(lambda: redriven_all(cli, shop, specs), "the rest is moved", 60)
    assert sorted(order["orderId"] for order in shop.orders(*(s.id for s in specs))) == sorted(
        s.id for s in specs
    )


def selection(specs):
    return [part for spec in specs for part in ("--session", spec.id)]


def redriven_all(cli, shop, specs):
    cli("dlq", "redrive", "--follow", "10")
    return len(shop.orders(*(spec.id for spec in specs))) == len(specs)


# What cannot run says why, in one line


def one_line(ran):
    assert ran.code == 2, ran
    assert ran.out == ""
    (line,) = ran.err.splitlines()
    assert line.startswith("Error: ")
    return line


def test_a_wrong_stack_is_named(cli):
    line = one_line(cli("status", "--stack", "no-such-stack"))
    assert "no-such-stack" in line
    assert "--stack" in line


def test_no_credentials_is_one_line():
    line = one_line(run("status", "--region", "eu-west-1", environ=clean_environ()))
    assert "credentials" in line


def test_no_region_is_one_line():
    assert "--region" in one_line(run("status", environ=clean_environ()))


def test_a_profile_that_is_not_there_is_named():
    line = one_line(run("status", "--profile", "nobody", "--region", "eu-west-1", environ=clean_environ()))
    assert "nobody" in line


def test_credentials_that_may_not_look_are_told_what_they_lack(shop, cli):
    iam, user = shop.stack.client("iam"), f"{shop.stack.name}-guest"
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    environ = cli.environ | {
        "AWS_ENDPOINT_URL": shop.stack.endpoint,
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "NO_PROXY": "127.0.0.1",
    }
    line = one_line(run("status", "--stack", shop.stack.name, "--region", "us-east-1", environ=environ))
    assert line.endswith("no permission: these AWS credentials may not call cloudformation:DescribeStacks")


def test_a_sandbox_that_is_not_up_says_how_to_start_one(tmp_path):
    line = one_line(run("status", "--sandbox", str(tmp_path), environ=clean_environ()))
    assert "make demo ARGS=--keep" in line


def test_a_wrong_run_is_named_with_those_that_are_there(cli, night):
    line = one_line(cli("show", "20200101T000000Z"))
    assert "20200101T000000Z" in line
    assert "latest" in line


def test_wrong_options_of_a_run_are_refused_before_anything_is_sent(shop, cli):
    before = shop.dump()
    no_hours = cli("run", "--lookback-hours", "0")
    assert no_hours.code == 2
    assert "Invalid value for '--lookback-hours'" in no_hours.err
    assert "--from must be" in one_line(cli("run", "--from", "yesterday", "--to", "2026-11-02T00:00:00Z"))
    assert shop.dump() == before


def test_an_error_as_json_is_an_object(cli):
    ran = cli("show", "nothing", "--json")
    assert ran.code == 2
    assert "nothing" in ran.json["error"]


# Nothing private


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("runs",), ("show", "last"), ("dlq", "list", "--check"), ("run", "--dry-run")],
    ids=" ".join,
)
def test_no_command_shows_an_address_or_a_key(cli, night, arguments):
    for more in ((), ("--json",)):
        ran = cli(*arguments, *more)
        shown = ran.out + ran.err
        assert EMAIL.findall(shown) == []
        assert KEY.findall(shown) == []
        assert MAIL not in shown


# Completion


def test_shells_can_complete_commands_and_options():
    asked = clean_environ() | {
        "_NIGHTLY_SYNC_COMPLETE": "complete_bash",
        "COMP_WORDS": "nightly-sync sta",
        "COMP_CWORD": "1",
    }
    assert run(environ=asked).out.split() == ["status"]
    asked |= {"COMP_WORDS": "nightly-sync show last --ou", "COMP_CWORD": "3"}
    assert "--outcome" in run(environ=asked).out
