"""`nightly-sync layout`: one small table of each kind, what is said of it, and the setting that helps."""

import json
from decimal import Decimal

import pytest
from botocore.exceptions import EndpointConnectionError

from ops.cli.commands.layout import layout
from ops.cli.commands.run import run
from ops.errors import CommandError
from ops.layout.gather import Sources, gather_evidence
from ops.layout.judge import judge_layout
from ops.layout.model import Code
from ops.layout.settings import apply_changes, parse_changes
from ops.layout.table_sample import ITEMS_OF_A_SEGMENT, MOST_QUERIES, SCAN_SEGMENTS
from recon.stripe.source import StripeSource
from recon.timestamps import HOUR, to_iso
from testkit.builders import NOW
from testkit.cases import CREATED
from testkit.doubles.errors import client_error, client_exceptions
from testkit.doubles.faults import on, service_error
from testkit.fake_stripe import SessionSpec
from testkit.fake_stripe.specs import stable_id
from testkit.world import wire

ULID = "01JDNZQ8YV3V5F2R0B6TT8W4QK"
UUID = "0b7c0c1e-6f0e-4a55-9a43-0d3c1b8f4a10"
LATE_UUID = "fb7c0c1e-6f0e-4a55-9a43-0d3c1b8f4a10"


class ComparedShop:
    """A shop whose webhook keeps its orders in a layout of its own."""

    def __init__(self, world):
        self.world = world
        self.sold = 0

    def sell(self, **fields):
        """Sell one session, by default to a user of its own."""
        self.sold += 1
        session_id = f"cs_test_layout{self.sold:05}"
        user = {"metadata": {"userId": f"user-{self.sold}"}, "email": f"Buyer{self.sold}@Example.com"}
        return self.world.sells(
            SessionSpec(session_id, **({"created": CREATED - self.sold * HOUR} | user | fields))
        )

    def write(self, pk, sk, **fields):
        self.world.memory.put_item(TableName=self.world.table, Item=wire({"PK": pk, "SK": sk} | fields))

    def keep(self, session, user=None, sk=None, **changes):
        """Write the order of a session as its webhook does, with these differences."""
        order = {
            "orderId": session.id,
            "stripeSessionId": session.id,
            "amount": session.amount_total,
            "currency": "usd",
            "createdAt": to_iso(session.created),
        } | changes
        present = {name: value for name, value in order.items() if value is not None}
        self.write(
            f"USER#{user or session.metadata.get('userId')}",
            sk or f"ORDER#{session.created + 60}#{session.id}",
            **present,
        )

    def check(self, **changes):
        """Return what `layout` says, with some settings changed."""
        world = self.world
        settings = apply_changes(
            {
                "COMMERCE_TABLE": world.table,
                "STRIPE_SECRET_PARAMETER": "/shop/stripe",
                "STRIPE_API_BASE": world.stripe.url,
            },
            changes,
        )
        deadline = world.clock.deadline(3600)
        stripe = StripeSource(world.connect(), deadline, lambda: None)
        table = world.clients().table
        gathered = gather_evidence(
            Sources(stripe, table, world.dynamodb, settings, world.pool, deadline), NOW
        )
        return judge_layout(
            gathered.evidence, settings, gathered.read, is_scan_denied=gathered.is_scan_denied
        )


@pytest.fixture
def shop(world):
    return ComparedShop(world)


def codes(result):
    return {finding.code for finding in result.findings}


def find(result, code):
    [finding] = [finding for finding in result.findings if finding.code is code]
    return finding


def test_table_of_the_documented_layout_fits_without_a_scan(shop):
    for _ in range(3):
        shop.keep(shop.sell())
    result = shop.check()
    assert (result.sessions, result.with_order, result.found, result.fits) == (3, 3, 3, True)
    assert (result.findings, result.settings) == ((), ())
    assert (result.read.queries, result.read.scan_requests) == (0, 0)
    assert shop.world.history.count("scan") == 0
    assert {place.key for place in result.places} == {
        "USER#<metadata.userId> / ORDER#<epoch seconds>#<session id>"
    }


@pytest.mark.parametrize("suffix", [ULID, ULID.lower(), UUID, LATE_UUID, "000451", str(CREATED - 90_000)])
def test_sort_key_that_says_no_time_needs_the_setting(suffix, shop):
    session = shop.sell()
    shop.keep(session, sk=f"ORDER#{suffix}")
    result = shop.check()
    finding = find(result, Code.SORT_KEY)
    assert (finding.fits, finding.setting, finding.examples) == (False, "OrderSortKey=any", (session.id,))
    assert (result.fits, result.settings, result.found_with_settings) == (False, ("OrderSortKey=any",), 1)
    fitting = shop.check(OrderSortKey="any")
    assert (fitting.fits, fitting.found, fitting.findings) == (True, 1, ())


@pytest.mark.parametrize("suffix", [f"{CREATED}123", "2024-11-27T01:00:00Z", "20241127T010000Z"])
def test_sort_key_in_milliseconds_or_iso_is_named_and_fits(suffix, shop):
    shop.keep(shop.sell(), sk=f"ORDER#{suffix}#x")
    result = shop.check()
    assert codes(result) == {Code.SORT_KEY_READ}
    assert (result.fits, result.found) == (True, 1)


def test_lower_cased_address_needs_email_case(shop):
    for _ in range(2):
        session = shop.sell(metadata={})
        shop.keep(session, user=session.email.lower())
    result = shop.check()
    assert find(result, Code.EMAIL_CASE).setting == "EmailCase=lower"
    assert (result.settings, result.fits) == (("EmailCase=lower",), False)
    assert shop.check(EmailCase="lower").fits


@pytest.mark.parametrize(
    ("fields", "source"),
    [
        ({"objects": {"session": {"client_reference_id": "ref {n}"}}}, "client_reference_id"),
        ({"customer": "cus_{n}"}, "customer"),
        ({"metadata": {"uid": "uid-{n}"}}, "metadata.uid"),
    ],
)
def test_user_id_of_another_source_needs_that_source(fields, source, shop):
    for number in range(2):
        session = shop.sell(**json.loads(json.dumps(fields).replace("{n}", str(number))))
        user = {"client_reference_id": f"ref{number}", "customer": f"cus_{number}"}
        shop.keep(session, user=user.get(source, f"uid-{number}"))
    result = shop.check()
    setting = f"UserIdSources={source},metadata.userId,metadata.user_id,customer_details.email"
    assert find(result, Code.USER_ID).setting == setting
    assert (result.settings, result.found_with_settings) == ((setting,), 2)
    assert shop.check(UserIdSources=setting.partition("=")[2]).findings == ()


def test_sources_in_another_order_are_named(shop):
    """The webhook takes the address first, and metadata of sessions without an address."""
    for email in ("a@example.com", "b@example.com", None):
        session = shop.sell(email=email)
        shop.keep(session, user=email)
    [setting] = shop.check().settings
    assert setting == "UserIdSources=customer_details.email,metadata.userId,metadata.user_id"


def test_user_id_that_the_session_does_not_have_has_no_setting(shop):
    session = shop.sell()
    shop.keep(session, user="internal-77")
    result = shop.check()
    finding = find(result, Code.USER_ID_UNKNOWN)
    assert (finding.setting, "No setting helps" in finding.what) == (None, True)
    assert result.places[0].key.startswith("USER#<other> / ")


@pytest.mark.parametrize("name", ["stripePaymentIntentId", "paymentIntentId"])
def test_order_with_only_the_payment_intent_is_named_and_fits(name, shop):
    session = shop.sell()
    shop.keep(session, orderId="shop-1", stripeSessionId=None, **{name: stable_id("pi", session.id)})
    result = shop.check()
    assert codes(result) == {Code.PAYMENT_INTENT}
    assert (result.fits, result.found) == (True, 1)


@pytest.mark.parametrize("name", ["checkoutSessionId", "intent"])
def test_id_in_an_attribute_that_is_not_read_has_no_setting(name, shop):
    session = shop.sell()
    value = session.id if name == "checkoutSessionId" else stable_id("pi", session.id)
    shop.keep(session, sk=f"ORDER#{session.created}", orderId="s1", stripeSessionId=None, **{name: value})
    finding = find(shop.check(), Code.MARK)
    assert (finding.fits, finding.setting, "No setting helps" in finding.what) == (False, None, True)


@pytest.mark.parametrize(
    ("amount", "fits"), [(15, False), (Decimal("15.00"), False), (1500, True), (99, True)]
)
def test_amount_in_major_units_is_drift_that_no_setting_ends(amount, fits, shop):
    session = shop.sell()
    shop.keep(session, amount=amount)
    result = shop.check()
    assert (result.fits, Code.MAJOR_UNITS in codes(result)) == (fits, not fits)
    if not fits:
        assert "drift every night. No setting helps" in find(result, Code.MAJOR_UNITS).what


def test_currency_without_decimals_has_one_unit_only(shop):
    session = shop.sell(currency="jpy")
    shop.keep(session, currency="jpy")
    assert shop.check().fits


def test_numeric_times_are_named_and_fit(shop):
    shop.keep(shop.sell(), createdAt=NOW * 1000)
    result = shop.check()
    assert (codes(result), result.fits) == ({Code.NUMERIC_TIMES}, True)


@pytest.mark.parametrize(
    ("pk", "sk", "key"),
    [
        ("CUSTOMER#{user}", "ORDER#x", "CUSTOMER#<metadata.userId> / ORDER#<other>"),
        ("{user}", "PURCHASE#1", "<metadata.userId> / PURCHASE#<other>"),
        ("{session}", "META", "<session id> / META"),
        ("USER#{user}", "PURCHASE#{session}", "USER#<metadata.userId> / PURCHASE#<session id>"),
        ("TENANT#jane#USER#{user}", "ORDER#x", "TENANT#<other>#USER#<metadata.userId> / ORDER#<other>"),
    ],
)
def test_order_under_another_key_is_named_without_values(pk, sk, key, shop):
    for _ in range(3):
        session = shop.sell()
        values = {"user": session.metadata["userId"], "session": session.id}
        shop.write(pk.format(**values), sk.format(**values), stripeSessionId=session.id, amount=1500)
    result = shop.check()
    finding = find(result, Code.PREFIX)
    assert (finding.fits, finding.sessions, finding.setting) == (False, 3, None)
    assert {place.key for place in result.places} == {key}
    assert (result.with_order, result.found) == (3, 0)


def test_order_beyond_the_sample_is_found_by_a_prefix_that_the_sample_shows(shop):
    """A large table: the scan reads other orders, whose key prefix is tried with the session's user id."""
    for number in range(40):
        shop.write(f"CUST#old-{number}", "ORDER#x", stripeSessionId=f"cs_old_{number}")
    session = shop.sell()
    shop.write(f"CUST#{session.metadata['userId']}", "ORDER#x", stripeSessionId=session.id)
    scan = shop.world.memory.scan
    hidden = f"CUST#{session.metadata['userId']}"

    def without_it(**request):
        page = scan(**request)
        return page | {"Items": [item for item in page["Items"] if item["PK"]["S"] != hidden]}

    shop.world.dynamodb.scan = without_it
    assert find(shop.check(), Code.PREFIX).sessions == 1


def test_record_of_a_cart_beside_orders_is_a_note(shop):
    for _ in range(5):
        shop.keep(shop.sell())
    lost = shop.sell()
    shop.write(f"USER#{lost.metadata['userId']}", "CART#1", stripeSessionId=lost.id)
    result = shop.check()
    assert (codes(result), result.fits) == ({Code.PREFIX}, True)


def test_lost_webhook_is_a_note_only_in_a_table_with_orders(shop):
    lost = shop.sell()
    result = shop.check()
    finding = find(result, Code.NO_ORDER)
    assert (finding.fits, finding.examples, result.fits) == (False, (lost.id,), False)
    for _ in range(3):
        shop.keep(shop.sell())
    result = shop.check()
    assert (find(result, Code.NO_ORDER).sessions, result.fits) == (1, True)


NOBODY = {"metadata": {}, "email": None}


def test_paid_session_of_nobody_is_named_and_fits(shop):
    session = shop.sell(**NOBODY)
    assert shop.check().fits
    shop.keep(shop.sell())
    result = shop.check()
    assert (find(result, Code.NO_USER).sessions, result.fits) == (1, True)
    assert {place.session_id: place.codes for place in result.places}[session.id] == (Code.NO_USER,)


def test_sessions_of_nobody_fit_as_a_group_and_do_not_where_nearly_all_are_such(shop):
    for _ in range(3):
        shop.sell(**NOBODY)
    assert not shop.check().fits
    for _ in range(3):
        shop.keep(shop.sell())
    result = shop.check()
    assert (codes(result), result.fits, result.settings) == ({Code.OTHER_SESSIONS}, True, ())


def test_order_of_a_session_that_runs_skip_makes_no_table_unfit(shop):
    for _ in range(3):
        shop.keep(shop.sell())
    shop.keep(shop.sell(**NOBODY), user="a stranger")
    result = shop.check()
    assert (codes(result), result.fits) == ({Code.USER_ID_UNKNOWN}, True)


def test_order_that_the_sync_wrote_is_no_proof_and_doubles_are_named(shop):
    session = shop.sell()
    shop.keep(session, syncRunId="run", source="nightly_sync")
    result = shop.check()
    assert (result.with_order, result.found) == (0, 0)
    shop.keep(session, sk=f"ORDER#{ULID}")
    result = shop.check()
    assert codes(result) == {Code.DOUBLED, Code.SORT_KEY}
    assert (result.with_order, result.found) == (1, 0)


# Groups without an order

OWN = {"success_url": "https://shop.example/thanks?session={CHECKOUT_SESSION_ID}"}


@pytest.mark.parametrize(
    ("own", "other", "condition"),
    [
        ({}, {"payment_link": "plink_1"}, "!payment_link"),
        ({"payment_link": "plink_1"}, {}, "payment_link"),
        (OWN, {"success_url": "https://donate.example/done"}, "success_url^=https://shop.example/"),
        (
            {"success_url": "https://shop.example/buy/done"},
            {"success_url": "https://shop.example/donate/done"},
            "success_url^=https://shop.example/buy/",
        ),
        ({"client_reference_id": "c-1"}, {}, "client_reference_id"),
        ({"metadata": {"shop": "My shop"}}, {"metadata": {"shop": "b"}}, "metadata.shop"),
        ({}, {"metadata": {"donation": "yes"}}, "!metadata.donation"),
        ({"currency": "usd"}, {"currency": "eur"}, "currency=usd"),
    ],
)
def test_group_without_orders_is_named_with_its_filter(own, other, condition, shop):
    for fields in (own, own, own, other, other):
        metadata = {"userId": f"user-{shop.sold + 1}"} | fields.get("metadata", {})
        session = shop.sell(metadata=metadata, objects={"session": fields | {"metadata": metadata}})
        if fields is own:
            shop.keep(session)
    result = shop.check()
    finding = find(result, Code.OTHER_SESSIONS)
    assert finding.sessions == 2
    assert finding.setting.startswith(f"SessionFilter={condition}") or condition == "metadata.shop"
    [setting] = result.settings
    assert shop.check(SessionFilter=setting.partition("=")[2]).findings == ()


def test_value_that_only_one_user_has_is_no_filter(shop):
    for name in ("Jane Doe", "Jane Doe", "Rita", "Rita"):
        session = shop.sell(metadata={"userId": name.partition(" ")[0], "name": name})
        if name != "Rita":
            shop.keep(session)
    assert "Jane" not in str(shop.check())


def test_one_session_without_an_order_is_no_group(shop):
    shop.keep(shop.sell())
    shop.sell(objects={"session": {"payment_link": "plink_1"}})
    assert Code.OTHER_SESSIONS not in codes(shop.check())


def test_group_is_added_to_the_filter_that_is_set(shop):
    for number in range(4):
        fields = {"payment_link": "plink_1"} if number > 1 else {}
        session = shop.sell(objects={"session": fields})
        if not fields:
            shop.keep(session)
    assert shop.check(SessionFilter="mode=payment").settings == ("SessionFilter=mode=payment !payment_link",)


# Bounds, failures and the command


def test_large_table_is_read_within_the_stated_bounds(shop):
    for _ in range(60):
        shop.sell(metadata={f"key{number}": f"value {shop.sold} {number}" for number in range(8)})
    for number in range(3000):
        shop.write(f"OTHER#{number}", "x")
    result = shop.check()
    assert result.sessions == 50
    assert result.read.queries <= MOST_QUERIES
    assert result.read.scan_requests == SCAN_SEGMENTS
    assert 0 < result.read.scanned_items <= SCAN_SEGMENTS * ITEMS_OF_A_SEGMENT
    assert shop.world.history.count("scan") == SCAN_SEGMENTS
    bounded = [call.arguments for call in shop.world.history.calls if call.method == "scan"]
    assert all(call["Limit"] == ITEMS_OF_A_SEGMENT for call in bounded)


def test_nothing_is_written(shop):
    shop.sell()
    before = shop.world.items()
    shop.check()
    assert shop.world.items() == before
    assert {call.method for call in shop.world.history.calls} <= {"query", "scan", "batch_get_item"}


def test_denied_scan_is_a_note(shop):
    shop.keep(shop.sell())
    shop.sell()

    shop.world.dynamodb.plan = on("scan", service_error("AccessDeniedException"))
    result = shop.check()
    assert find(result, Code.NOT_SCANNED).fits
    assert find(result, Code.NO_ORDER).sessions == 1


def test_no_session_is_a_note(shop):
    result = shop.check()
    assert (codes(result), result.fits) == ({Code.NO_SESSIONS}, True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["OrderSortKey"], "give NAME=VALUE"),
        (["AlarmEmail=x"], "--set AlarmEmail: the parameters that matter here are CommerceTable"),
        (["EmailCase=lower", "EmailCase=keep"], "--set EmailCase is given more than once"),
        (["CommerceTable= "], "--set CommerceTable is empty"),
    ],
)
def test_wrong_change_is_refused_by_name(changes, message):
    with pytest.raises(CommandError, match=message):
        parse_changes(changes)


def test_wrong_value_of_a_change_is_refused_by_name():
    with pytest.raises(CommandError, match="SYNC_ORDER_SORT_KEY must be epoch or any"):
        apply_changes({"COMMERCE_TABLE": "t", "STRIPE_SECRET": "sk"}, {"OrderSortKey": "ulid"})


def test_named_parameter_replaces_the_bare_key():
    environ = {"COMMERCE_TABLE": "t", "STRIPE_SECRET": "sk"}
    changed = apply_changes(environ, {"StripeSecretParameter": "/shop/key"})
    assert (changed.stripe_secret, changed.stripe_secret_parameter) == (None, "/shop/key")
    assert apply_changes(environ, {"EmailCase": "lower"}).stripe_secret == "sk"


def run_command(context, *changes):
    world = context.world
    given = (f"CommerceTable={world.table}", "StripeSecretParameter=/shop/stripe", *changes)
    return layout(context, [*given, f"StripeApiBase={world.stripe.url}"])


def test_command_needs_no_stack_and_prints_no_personal_data(context, shop):
    for _ in range(2):
        session = shop.sell(metadata={}, name="Ada Example")
        shop.keep(session, user=session.email.lower(), customerName="Ada Example")
        shop.write(f"{session.email}", "ORDER#ada", stripeSessionId="cs_test_another")
    shop.sell(metadata={}, email="Carl@Example.com")
    result = run_command(context)
    assert result.needs_attention
    text = context.show(result)
    assert "EmailCase=lower" in text
    assert "USER#<customer_details.email> / ORDER#<epoch seconds>#<session id>" in text
    context.screen.json(result.data)
    printed = context.out.getvalue().lower()
    assert [word for word in ("buyer1", "carl", "@", "ada") if word in printed] == []


def test_commands_of_findings_need_no_stack_if_the_changes_need_none(context, shop):
    shop.keep(shop.sell(), sk=f"ORDER#{ULID}")
    shop.sell(**NOBODY)
    commands = [one.command for one in run_command(context, "GraceMinutes=5").data.findings]
    given = f"CommerceTable={shop.world.table} --set StripeSecretParameter=/shop/stripe"
    tail = f"--set {given} --set GraceMinutes=5 --set StripeApiBase={shop.world.stripe.url}"
    assert commands == [f"nightly-sync layout --set OrderSortKey=any {tail}", None]


def test_commands_of_findings_of_a_deployed_stack_explain_a_session(context, shop):
    variables = {"COMMERCE_TABLE": shop.world.table, "STRIPE_SECRET_PARAMETER": "/k"}
    context.stack.__dict__["configuration"] = lambda _: {"Environment": {"Variables": variables}}
    stripe = f"StripeApiBase={shop.world.stripe.url}"
    lost = shop.sell()
    [finding] = layout(context, [stripe]).data.findings
    assert finding.command == f"nightly-sync explain {lost.id}"


DENIED = service_error("AccessDeniedException")


@pytest.mark.parametrize(
    ("change", "plan", "line"),
    [
        ("CommerceTable=nope", None, "there is no table nope in eu-west-1 in the account of these"),
        (None, on("describe_table", DENIED), "no permission for the table TABLE in eu-west-1: these AWS"),
        (None, on("query", DENIED), "no permission for the table TABLE in eu-west-1: these AWS credentials"),
        (None, on("batch_get_item", DENIED), "no permission for the table TABLE in eu-west-1: these AWS"),
        (
            None,
            on("describe_table", service_error("ValidationException")),
            "the table TABLE cannot be one in eu-west-1: --set CommerceTable=NAME takes a name such as shop",
        ),
    ],
)
@pytest.mark.parametrize("command", ["layout", "run"])
def test_refused_table_is_named_with_its_region_and_the_remedy(context, shop, command, change, plan, line):
    shop.keep(shop.sell())
    if plan is not None:
        shop.world.dynamodb.plan = plan
    table = change or f"CommerceTable={shop.world.table}"
    with pytest.raises(CommandError) as raised:
        compare(context, command, table)
    assert str(raised.value).startswith(line.replace("TABLE", shop.world.table))
    assert "--profile" in str(raised.value) or "--set CommerceTable=NAME" in str(raised.value)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (None, "no connection to AWS in eu-west-1 for the SSM parameter /k: check the network and --region"),
        ("ParameterNotFound", "there is no SSM parameter /k in eu-west-1 in the account of these"),
        ("AccessDeniedException", "no permission for the SSM parameter /k in eu-west-1: these AWS"),
    ],
)
@pytest.mark.parametrize("command", ["layout", "run"])
def test_refused_parameter_is_named_with_its_region(context, shop, monkeypatch, command, code, line):
    def refuse(**_):
        if code is None:
            raise EndpointConnectionError(endpoint_url="https://ssm")
        raise client_error(client_exceptions("ssm"), "GetParameter", code, "")

    monkeypatch.setattr(shop.world.ssm, "get_parameter", refuse)
    with pytest.raises(CommandError, match=line):
        compare(context, command, f"CommerceTable={shop.world.table}")


@pytest.mark.parametrize("command", ["layout", "run"])
def test_table_that_is_being_made_is_named_with_its_status(context, shop, monkeypatch, command):
    described = shop.world.memory.describe_table(TableName=shop.world.table)["Table"]
    answer = {"Table": described | {"TableStatus": "CREATING"}}
    monkeypatch.setattr(shop.world.dynamodb, "describe_table", lambda **_: answer)
    with pytest.raises(CommandError, match="in eu-west-1 is CREATING; it must be ACTIVE"):
        compare(context, command, f"CommerceTable={shop.world.table}")


def compare(context, command, table):
    given = [table, "StripeSecretParameter=/k", f"StripeApiBase={context.world.stripe.url}"]
    return layout(context, given) if command == "layout" else run(context, dry_run=True, set_=given)


def test_command_that_finds_all_orders_exits_with_zero(context, shop):
    shop.keep(shop.sell())
    result = run_command(context)
    assert not result.needs_attention
    assert context.show(result).rstrip().endswith("The table fits.")


# The case files


def play_and_check(play_case, number):
    player = play_case(number)
    return ComparedShop(player.world).check()


def test_case_of_other_sort_keys(play_case):
    result = play_and_check(play_case, "27")
    assert find(result, Code.SORT_KEY).setting == "OrderSortKey=any"
    assert Code.DOUBLED in codes(result)


def test_case_of_major_units(play_case):
    result = play_and_check(play_case, "29")
    assert find(result, Code.MAJOR_UNITS).sessions == 1
    assert not result.fits
