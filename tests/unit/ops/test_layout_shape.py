"""`nightly-sync layout` and `run --dry-run` on tables with another layout: the file for their orders."""

import json
import re
import shlex
from dataclasses import replace

import pytest

from ops.cli.commands.layout import layout
from ops.cli.commands.run import run
from ops.errors import CommandError
from ops.layout.model import Code
from ops.layout.settings import apply_changes
from ops.layout.table_sample import MOST_QUERIES, SCAN_SEGMENTS
from recon.domain.shape import parse_shape, strip_comments
from recon.timestamps import HOUR
from testkit.builders import NOW, TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.foreign_tables import ForeignTable, ForeignTables
from testkit.fake_stripe import SessionSpec
from testkit.shop.layouts import INDEX, LAYOUTS
from testkit.world import wire

pytestmark = pytest.mark.slow

FINDABLE = [name for name, one in LAYOUTS.items() if one.lines]
METADATA = LAYOUTS["order-id-in-metadata"]


class ShapeShop:
    """A shop with a table of its own, and the operator's command on it."""

    def __init__(self, make_world, make_context, kind, **table):
        self.kind = kind
        self.table = ForeignTable(kind.keys, kind.indexes, **table)
        self.memory = MemoryDynamoDB(lambda: NOW)
        self.memory.add_table(TABLE)
        self.has_own_keys = kind.keys == ("PK", "SK")
        if self.has_own_keys:
            self.memory.add_table("orders")
        self.client = ForeignTables(self.memory, {} if self.has_own_keys else {"orders": self.table})
        self.world = make_world(self.client)
        self.context = make_context(self.world)
        self.sold = 0

    def sell(self, is_done=True, *, order=None, **fields):
        """Sell one session and put its order, with some changes; with `order=False` put none."""
        self.sold += 1
        number = self.sold
        metadata = {"orderId": f"Ab-{number:04}", "userId": f"user-{number % 7}", "source": "web"}
        spec = SessionSpec(
            f"cs_test_shape{number:05}",
            NOW - number * HOUR,
            **{"metadata": metadata, "email": f"Buyer{number}@Example.com"} | fields,
        )
        self.world.sells(spec)
        item = self.kind.order(spec, is_done=is_done)
        if item is not None and order is not False:
            self.put(item | (order or {}))
        return spec

    def put(self, item):
        if self.has_own_keys:
            self.memory.put_item(TableName="orders", Item=wire(item))
        self.table.items.append(wire(item))

    def run(self, *changes, **options):
        given = ["StripeSecretParameter=/shop/stripe", f"StripeApiBase={self.world.stripe.url}", *changes]
        if "shape" not in options:
            given.append("CommerceTable=orders")
        return layout(self.context, given, **options)

    def propose(self):
        """Return the result, of which the file finds what it says and was checked."""
        result = self.run()
        assert result.needs_attention
        return result.data


@pytest.fixture
def open_shop(make_world, make_context):
    return lambda kind, **table: ShapeShop(make_world, make_context, kind, **table)


def codes(result):
    return {finding.code for finding in result.findings}


def find(result, code):
    [finding] = [finding for finding in result.findings if finding.code == code]
    return finding


def read(result):
    return parse_shape(strip_comments(result.shape.file))


def expected(kind):
    return parse_shape(kind.shape("orders"))


@pytest.mark.parametrize("name", FINDABLE)
@pytest.mark.parametrize("others", [0, 1100])
def test_printed_file_finds_the_orders_of_each_layout(open_shop, name, others):
    """A small table is read whole, and of a large one with other orders only a sample and some keys."""
    shop = open_shop(LAYOUTS[name])
    for number in range(others):
        metadata = {"orderId": f"old-{number}", "userId": f"old-{number % 50}"}
        item = shop.kind.order(
            SessionSpec(f"cs_test_old{number}", NOW, metadata=metadata), is_done=number % 9 > 0
        )
        if item:
            shop.put(item)
    for _ in range(20):
        shop.sell()
    shop.sell(is_done=False)
    lost = shop.sell(order=False)
    result = shop.propose()
    shape = read(result)
    wanted = expected(shop.kind)
    assert (shape.key, shape.index, shape.done) == (wanted.key, wanted.index, wanted.done)
    assert shape.open in (wanted.open, None)
    open_ = 1 if shop.kind.waits else 0
    assert (result.shape.found, result.shape.open, result.shape.absent) == (20, open_, 2 - open_)
    assert lost.id in {place.session_id for place in result.places if Code.NO_ORDER in place.codes}
    assert result.read.queries <= MOST_QUERIES
    assert result.read.scan_requests == SCAN_SEGMENTS


OTHER_KEYS = {
    "one partition": (
        ("kind", "sk"),
        lambda s: {"kind": "ORDERS", "sk": f"ORDER#{s.id}"},
        {"kind": "ORDERS", "sk": "ORDER#{id}"},
    ),
    "suffix": (
        ("pk",),
        lambda s: {"pk": f"ORD_{s.metadata['orderId']}#v1"},
        {"pk": "ORD_{metadata.orderId}#v1"},
    ),
    "two values": (
        ("pk",),
        lambda s: {"pk": f"USER#{s.metadata['userId']}#ORDER#{s.metadata['orderId']}"},
        {"pk": "USER#{metadata.userId}#ORDER#{metadata.orderId}"},
    ),
    "tenant": (
        ("tenant", "id"),
        lambda s: {"tenant": s.metadata["source"], "id": s.metadata["orderId"]},
        {"tenant": "{metadata.source}", "id": "{metadata.orderId}"},
    ),
}


@pytest.mark.parametrize("name", OTHER_KEYS)
@pytest.mark.parametrize("others", [0, 1100])
def test_forms_of_keys_are_learned_from_the_table(open_shop, name, others):
    keys, build, key = OTHER_KEYS[name]
    shop = open_shop(replace(METADATA, keys=keys, build=build))
    for number in range(others):
        metadata = {"orderId": f"Zz-{number}", "userId": f"other-{number}", "source": "web"}
        shop.put(shop.kind.order(SessionSpec(f"cs_test_{number:09x}", NOW, metadata=metadata)))
    for _ in range(12):
        shop.sell()
    result = shop.propose()
    assert ({name: str(one) for name, one in read(result).key.items()}, result.shape.found) == (key, 12)


@pytest.mark.parametrize("name", FINDABLE)
def test_saved_output_is_the_file_that_layout_and_preview_accept(open_shop, name, tmp_path):
    shop = open_shop(LAYOUTS[name])
    for _ in range(12):
        shop.sell()
    shop.sell(order=False)
    printed = shop.context.show(shop.run())
    file = tmp_path / "shape.toml"
    file.write_text(printed)
    assert "run --dry-run --shape shape.toml --set StripeSecretParameter=/shop/stripe" in shop.context.log
    checked = shop.run(shape=str(file))
    assert (checked.needs_attention, checked.data.found, checked.data.fits) == (False, 12, True)
    settings = ["StripeSecretParameter=/shop/stripe", f"StripeApiBase={shop.world.stripe.url}"]
    preview = run(shop.context, dry_run=True, shape=str(file), set_=settings)
    counted = json.loads(json.dumps(preview.data["run"].__dict__, default=str))
    assert (counted["processed"], counted["missing"], counted["skipped"], counted["created"]) == (
        13,
        1,
        12,
        0,
    )
    assert preview.data["run"].warnings == ()
    assert preview.data["found"] == 12
    shown = shop.context.show(preview)
    assert re.search(
        r"found +12 orders\nmissing +at most 1 order;.*\nwould skip +12: 12 found, 0 others", shown
    )
    assert "create" not in shown.rpartition("window")[2]


def test_preview_with_a_file_counts_what_is_found_missing_and_skipped(open_shop):
    shop = open_shop(METADATA)
    shop.sell()
    shop.world.sells(SessionSpec("cs_test_other", NOW - HOUR))
    shop.sell(payment_status="unpaid", order=False)
    settings = ["StripeSecretParameter=/k", f"StripeApiBase={shop.world.stripe.url}"]
    preview = run(shop.context, dry_run=True, set_=[*settings, f"Shape={METADATA.shape('orders')}"])
    assert (preview.data["found"], preview.data["run"].missing, preview.data["run"].skipped) == (1, 0, 3)
    shown = shop.context.show(preview)
    assert re.search(r"found +1 order\nmissing +0 orders\nwould skip +3: 1 found, 2 others\n", shown)


def test_attribute_without_an_index_names_the_command_and_the_later_file(open_shop):
    shop = open_shop(LAYOUTS["session-id-in-an-attribute"])
    for _ in range(12):
        shop.sell(order={"status": "PAID"})
    shop.put({"id": "own-cart", "stripeSessionId": None, "status": "PENDING"})
    result = shop.propose()
    words = shlex.split(result.shape.index_command)
    assert words[:5] == ["aws", "dynamodb", "update-table", "--table-name", "orders"]
    assert json.loads(words[6]) == [{"AttributeName": "stripeSessionId", "AttributeType": "S"}]
    [change] = json.loads(words[8])
    assert change["Create"]["KeySchema"] == [{"AttributeName": "stripeSessionId", "KeyType": "HASH"}]
    assert change["Create"]["Projection"] == {"ProjectionType": "ALL"}
    assert result.shape.found is None
    assert "add an index" in find(result, Code.NEEDS_INDEX).what
    assert "1 item of the sample" in find(result, Code.NULL_IDS).what
    shown = shop.context.show(shop.run())
    assert f"# {result.shape.index_command}\n" in shown
    shop.table.indexes = {change["Create"]["IndexName"]: ("stripeSessionId",)}
    file = strip_comments(shown)
    assert shop.run(f"Shape={file}").data.found == 12


def test_provisioned_table_gets_an_index_with_its_throughput(open_shop):
    shop = open_shop(LAYOUTS["session-id-in-an-attribute"])
    shop.sell()
    units = {"ReadCapacityUnits": 3, "WriteCapacityUnits": 2, "NumberOfDecreasesToday": 0}
    describe = shop.table.describe
    shop.table.describe = lambda name: describe(name) | {"ProvisionedThroughput": units}
    [change] = json.loads(shlex.split(shop.propose().shape.index_command)[8])
    assert change["Create"]["ProvisionedThroughput"] == {"ReadCapacityUnits": 3, "WriteCapacityUnits": 2}


def test_alternative_of_two_paths_finds_more_than_each(open_shop):
    shop = open_shop(METADATA)
    for number in range(12):
        session = {"client_reference_id": f"ref-{number}"} if number % 3 == 0 else {}
        metadata = {} if session else {"orderId": f"o-{number}"}
        kept = {"orderId": f"ref-{number}"} if session else {}
        spec = SessionSpec(
            f"cs_test_{number}", NOW - (number + 1) * HOUR, metadata=metadata, objects={"session": session}
        )
        shop.world.sells(spec)
        shop.put({"orderId": metadata.get("orderId"), "status": "PAID"} | kept)
    result = shop.propose()
    assert result.shape.found == 12
    assert read(result).key["orderId"].paths == ("metadata.orderId", "client_reference_id")


def test_record_of_the_customer_is_not_taken_for_the_order(open_shop):
    """Each customer has bought once, so that the customer's key would find as much."""
    shop = open_shop(replace(METADATA, keys=("id",), build=lambda spec: {"id": spec.metadata["orderId"]}))
    for number in range(12):
        metadata = {"orderId": f"o-{number}", "userId": f"u-{number}"}
        shop.sell(metadata=metadata, order=False if number < 3 else None)
        shop.put({"id": f"u-{number}", "status": "active"})
    result = shop.propose()
    assert read(result).paths == ("metadata.orderId",)
    assert (result.shape.found, result.shape.absent) == (9, 3)


def test_key_of_the_customer_alone_is_named_as_unsure(open_shop):
    shop = open_shop(replace(METADATA, keys=("id",), build=lambda spec: {"id": spec.metadata["userId"]}))
    for _ in range(12):
        shop.sell()
    assert Code.USER_KEY in codes(shop.propose())


@pytest.mark.parametrize(
    ("statuses", "done", "opened", "said"),
    [
        ({"PAID": 9, "Shipped": 2, "pending": 1}, ["PAID", "Shipped"], ["pending"], None),
        ({"PAID": 8, "CANCELLED": 2, "PENDING": 1}, ["PAID"], ["PENDING"], "'CANCELLED': in neither list"),
        (
            {"PAID": 6, "KITCHEN": 5, "PENDING": 1},
            ["PAID", "KITCHEN"],
            ["PENDING"],
            "'KITCHEN' is no known word; 5",
        ),
        ({"PAID": 12, "ODD": 1, "PENDING": 1}, ["PAID"], ["PENDING"], "'ODD' is no known word, and 1"),
        ({"PENDING": 9, "PAID": 2}, ["PAID"], ["PENDING"], "9 of 11 paid sessions are open by status"),
        ({"PAID": 12}, ["PAID"], None, "no open value of status was seen"),
        ({True: 9, False: 1}, [True], [False], None),
    ],
)
def test_status_words_are_sorted_and_what_is_unsure_is_said(open_shop, statuses, done, opened, said):
    shop = open_shop(METADATA)
    name = "paid" if True in statuses else "status"
    for word, count in statuses.items():
        for _ in range(count):
            shop.sell(order={"status": None} | {name: word})
    result = shop.propose()
    shape = read(result)
    assert (shape.done.attribute, list(shape.done.words)) == (name, done)
    assert (list(shape.open.words) if shape.open else None) == opened
    assert said is None or said in result.shape.file.replace("\n# ", " ")


def test_order_without_a_status_and_few_sessions_are_unsure(open_shop):
    shop = open_shop(LAYOUTS["session-id-as-key"])
    shop.sell()
    assert codes(shop.propose()) >= {Code.NO_STATUS, Code.FEW_SESSIONS}


def test_second_key_to_the_same_orders_is_named(open_shop):
    kind = LAYOUTS["index-on-session-id"]
    shop = open_shop(
        replace(kind, build=lambda spec: {"id": spec.metadata["orderId"], "stripeSessionId": spec.id})
    )
    for _ in range(12):
        shop.sell()
    result = shop.propose()
    assert read(result).index is None
    assert f"stripeSessionId = {{id}} in index {INDEX} (12)" in find(result, Code.CANDIDATES).what


def test_sessions_without_the_value_and_in_another_case_are_counted(open_shop):
    shop = open_shop(METADATA)
    for number in range(14):
        spec = shop.sell(**({"metadata": {"orderId": ""}, "order": False} if number > 11 else {}))
        if number in (1, 2):
            shop.table.items.pop()
            shop.put({"orderId": spec.metadata["orderId"].lower(), "status": "PAID"})
    result = shop.propose()
    assert "2 paid sessions cannot have the key" in find(result, Code.NO_KEY).what
    assert "2 sessions have the value of the key in another case" in find(result, Code.ID_CASE).what


@pytest.mark.parametrize(
    ("kind", "order", "table", "code"),
    [
        ({"keys": ("id",)}, lambda s: {"id": s.metadata["orderId"].lower()}, {}, Code.ID_CASE),
        ({"keys": ("n",)}, lambda s: {"n": s.created}, {"types": {"n": "N"}}, Code.KEY_TYPE),
        ({"keys": ("id",)}, lambda s: {"id": f"x{s.created}", "pay": {"session": s.id}}, {}, Code.NESTED_ID),
        ({"keys": ("id",)}, lambda s: {"id": f"x{s.created}"}, {}, Code.NO_SHAPE),
    ],
)
def test_table_that_no_file_fits_is_said_with_the_reason(open_shop, kind, order, table, code):
    shop = open_shop(replace(METADATA, build=order, **kind), **table)
    for _ in range(12):
        shop.sell()
    result = shop.propose()
    assert (result.shape, code in codes(result), result.fits) == (None, True, False)
    assert "does not fit" in shop.context.show(shop.run())


def test_index_without_the_status_asks_for_all_attributes(open_shop):
    shop = open_shop(LAYOUTS["index-on-session-id"], projected={INDEX: ("total",)})
    for _ in range(12):
        shop.sell()
    result = shop.propose()
    assert (read(result).done, result.shape.found) == (None, 12)
    assert "does not project status" in find(result, Code.PROJECTION).what


def test_denied_scan_guesses_the_keys_and_says_so(open_shop):
    shop = open_shop(METADATA)
    for _ in range(12):
        shop.sell()
    shop.client.denied.add("Scan")
    result = shop.propose()
    assert (result.shape.found, Code.NOT_SCANNED in codes(result)) == (12, True)


def test_large_table_is_read_within_the_stated_bounds(open_shop):
    """It has keys and indexes that lead nowhere, on which all queries could be spent."""
    indexes = {f"by-a{number}": (f"a{number}",) for number in range(4)}
    shop = open_shop(replace(LAYOUTS["session-id-in-an-attribute"], indexes=indexes))
    for number in range(3000):
        shop.put({"id": f"own-{number}", "stripeSessionId": f"cs_old{number}"})
    for _ in range(60):
        shop.sell(metadata={f"key{number}": f"v {shop.sold} {number}" for number in range(12)})
    result = shop.propose()
    assert (result.sessions, Code.NEEDS_INDEX in codes(result)) == (50, True)
    assert shop.client.requests.count("Scan") == SCAN_SEGMENTS
    assert shop.client.requests.count("Query") <= MOST_QUERIES
    assert result.read.scanned_items <= 1000


def test_nothing_of_a_customer_is_printed(open_shop):
    shop = open_shop(LAYOUTS["user-and-order-id"])
    for _ in range(12):
        shop.sell(name="Zoe Example", order={"customer": "Zoe Example", "state": "CA", "note": "paid"})
    shown = shop.context.show(shop.run())
    shop.context.screen.json(shop.run().data)
    printed = shop.context.out.getvalue().lower() + shop.context.log.lower()
    assert [word for word in ("user-1", "ab-00", "buyer", "zoe", "@") if word in printed] == []
    assert shown.startswith("# Where the orders of table orders are, by 12 paid sessions")


def test_customers_records_in_a_table_without_orders_are_no_other_layout(open_shop):
    profile = lambda s: {"PK": f"USER#{s.metadata['userId']}", "SK": "PROFILE"}  # noqa: E731 - as in the layouts
    shop = open_shop(replace(METADATA, keys=("PK", "SK"), build=profile))
    for _ in range(3):
        shop.sell()
    result = shop.propose()
    assert (result.shape, codes(result)) == (None, {Code.NO_ORDER})


def test_own_layout_needs_no_file(open_shop, tmp_path):
    shop = open_shop(METADATA)
    spec = shop.sell()
    order = {"PK": "USER#user-1", "SK": f"ORDER#{spec.created}#x", "stripeSessionId": spec.id}
    shop.client.put_item(TableName=TABLE, Item=wire(order))
    given = [f"CommerceTable={TABLE}", "StripeSecretParameter=/k", f"StripeApiBase={shop.world.stripe.url}"]
    result = layout(shop.context, given).data
    assert (result.shape, result.found) == (None, 1)
    with pytest.raises(CommandError, match="there is no file to write: the table has the sync's own layout"):
        layout(shop.context, given, write=str(tmp_path / "shape.toml"))


def test_write_makes_a_new_file_only(open_shop, tmp_path):
    shop = open_shop(METADATA)
    for _ in range(12):
        shop.sell()
    file = tmp_path / "shape.toml"
    assert shop.context.show(shop.run(write=str(file))) == f"Wrote {file}.\n"
    assert parse_shape(strip_comments(file.read_text())).key == expected(METADATA).key
    with pytest.raises(CommandError, match=r"shape.toml: the file exists"):
        shop.run(write=str(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[find]\nkey = { id = "{metadata}" }', r"find.key.id is wrong: 'metadata' is no path"),
        (
            '[find]\ntable = "orders"\nkey = { other = "{id}" }',
            "find.key has other; the keys of table orders are",
        ),
        (
            '[find]\ntable = "shop"\nkey = { orderId = "{id}" }',
            "CommerceTable=orders: find.table of the shape is shop",
        ),
    ],
)
def test_wrong_file_is_refused_by_name(open_shop, text, message):
    shop = open_shop(METADATA)
    with pytest.raises(CommandError, match=message):
        shop.run(f"Shape={text}")


def test_settings_of_a_stacks_own_orders_are_left_out_with_a_file_and_given_ones_are_refused():
    environ = {"COMMERCE_TABLE": "t", "STRIPE_SECRET": "sk", "SYNC_ORDER_SORT_KEY": "any"}
    environ |= {"SYNC_WEBHOOK_FENCE": "all", "ORDER_NUMBER_PREFIX": "AB"}
    shape = METADATA.shape("orders")
    assert apply_changes(environ, {"Shape": shape}).table == "orders"
    with pytest.raises(CommandError, match="SYNC_ORDER_SORT_KEY has no effect with SYNC_SHAPE"):
        apply_changes(environ, {"Shape": shape, "OrderSortKey": "any"})


def test_given_file_that_finds_no_order_does_not_fit(open_shop, tmp_path):
    shop = open_shop(METADATA)
    for _ in range(12):
        shop.sell()
    result = shop.run('Shape=[find]\nkey = { orderId = "{id}" }')
    assert (result.needs_attention, result.data.found) == (True, 0)
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        shop.run(shape=str(tmp_path / "absent.toml"))


def test_preview_of_another_layout_without_a_file_asks_for_it(open_shop):
    shop = open_shop(METADATA)
    settings = ["StripeSecretParameter=/k", f"StripeApiBase={shop.world.stripe.url}", "CommerceTable=orders"]
    with pytest.raises(CommandError, match="has the keys orderId, not the texts PK and SK: give the shape"):
        run(shop.context, dry_run=True, set_=settings)


def test_command_that_checks_the_printed_file_needs_no_stack(open_shop):
    shop = open_shop(METADATA)
    shop.sell()
    options = f"--set StripeSecretParameter=/shop/stripe --set StripeApiBase={shop.world.stripe.url}"
    finding = find(shop.propose(), Code.SHAPE)
    assert finding.command == f"nightly-sync layout --shape shape.toml {options}"


def test_preview_warns_of_a_file_that_finds_no_order(open_shop):
    shop = open_shop(METADATA)
    shop.sell()
    settings = ["StripeSecretParameter=/k", f"StripeApiBase={shop.world.stripe.url}", "CommerceTable=orders"]
    preview = run(shop.context, dry_run=True, set_=[*settings, 'Shape=[find]\nkey = { orderId = "{id}" }'])
    assert preview.needs_attention
    assert preview.data["run"].warnings[0].startswith("unproven: ")
    with pytest.raises(CommandError, match=r"find\.key has other"):
        run(shop.context, dry_run=True, set_=[*settings, 'Shape=[find]\nkey = { other = "{id}" }'])
