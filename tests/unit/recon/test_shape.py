"""shape.toml: what it accepts, how it names a mistake, and what it makes of a session and of an item."""

from decimal import Decimal

import pytest

from recon.config import FenceMode, load_settings
from recon.domain.key_template import read_values
from recon.domain.shape import MAX_BYTES, parse_shape, strip_comments
from recon.errors import ConfigError

FILE = """\
# The shop of the example
[find]
table = "orders"                                                # default: CommerceTable
key   = { orderId = "ORDER#{metadata.orderId|client_reference_id}", sk = "META" }  # "#" is no comment
done  = { status = ["PAID", "SHIPPED"] }
open  = { status = ["PENDING"] }
"""
ENVIRONMENT = {
    "COMMERCE_TABLE": "shop",
    "SYNC_QUEUE_URL": "https://queue",
    "STRIPE_SECRET": "key",
    "SYNC_LEDGER_TABLE": "books",
}
SESSION = {
    "id": "cs_1",
    "payment_intent": {"id": "pi_1"},
    "client_reference_id": "ref",
    "customer": None,
    "customer_details": {"email": "a@b.example"},
    "metadata": {"orderId": "o-1", "empty": "", "number": 7},
}


def shape(lines):
    return parse_shape("[find]\n" + lines)


def test_whole_file_is_read():
    parsed = parse_shape(FILE)
    assert (parsed.table, parsed.index) == ("orders", None)
    assert parsed.paths == ("metadata.orderId", "client_reference_id")
    assert parsed.make_key({"metadata.orderId": "o-1"}) == {"orderId": "ORDER#o-1", "sk": "META"}
    assert str(parsed.key["orderId"]) == "ORDER#{metadata.orderId|client_reference_id}"


def test_comments_are_removed_and_quoted_signs_stay():
    text = strip_comments(FILE)
    assert text.splitlines()[:2] == ["[find]", 'table = "orders"']
    assert '{ orderId = "ORDER#{' in text
    assert parse_shape(text).key == parse_shape(FILE).key


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        (r' a = "\"#" # b', r' a = "\"#"'),
        (r"a = '\' # b '", r"a = '\'"),
        ("""a = '"#"' # b""", """a = '"#"'"""),
        ("""a = ["", 'x#'] #""", """a = ["", 'x#']"""),
        ("\na # b\nc\n", "a # b\nc"),
        ('a = """\n# b\n"""\n', 'a = """\n# b\n"""'),
    ],
)
def test_only_comments_go_and_text_that_would_change_stays(text, stripped):
    assert strip_comments(text) == stripped


KEY = 'key = { id = "{id}" }\n'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", r"find\.key must name one or two attributes"),
        ('key = "{id}"', r"find\.key must name one or two attributes"),
        ("key = {}", r"find\.key must name one or two"),
        ('key = { a = "{id}", b = "x", c = "y" }', r"find\.key must name one or two"),
        ("key = { a = 1 }", r"find\.key\.a must be a text"),
        ('key = { "" = "{id}" }', r"find\.key must name its attributes"),
        (KEY + 'done = { "" = ["x"] }', r"find\.done must name its attribute"),
        (
            'key = { a = "" }',
            r"find\.key\.a is wrong: it is empty; write a path in braces, such as \{metadata\.orderId\}$",
        ),
        (
            'key = { a = "{id" }',
            r"find\.key\.a is wrong: '\{id' has a brace without its other half; write \{path",
        ),
        ('key = { a = "id}" }', r"find\.key\.a is wrong: 'id\}' has a brace"),
        ('key = { a = "\ud800{id}" }', "a is wrong: it has a character that DynamoDB cannot store$"),
        (
            'key = { a = "{amount_total}" }',
            (
                r"'amount_total' is no path of a session; the paths are id, payment_intent, "
                r"client_reference_id, customer, customer_details\.email, metadata\.<key>$"
            ),
        ),
        ('key = { a = "{id|}" }', r"find\.key\.a is wrong: '' is no path"),
        ('key = { a = "{metadata.}" }', r"'metadata\.' is no path"),
        ('key = { a = "ORDER" }', r"find\.key takes nothing from the session"),
        (KEY + "limit = 1", r"find\.limit is unknown; known are find\.table, find\.key"),
        (KEY + 'table = "arn:aws:x"', r"find\.table must be the name of a table, not an ARN$"),
        (KEY + "index = 3", r"find\.index must be the name of an index"),
        (
            KEY + 'done = ["PAID"]',
            r'find\.done must name one attribute with its values, such as done = \{ status = \["PAID"\] \}$',
        ),
        (KEY + 'done = { a = ["x"], b = ["y"] }', r"find\.done must name one attribute"),
        (KEY + "done = { status = [] }", r"find\.done\.status must be a list"),
        (KEY + 'open = { status = "PENDING" }', r"find\.open\.status must be a list"),
        (KEY + "open = { status = [1.5] }", r"find\.open\.status must be a list"),
        (KEY + 'done = { s = ["a"] }\nopen = { s = ["a"] }', r"find\.done and find\.open both have 'a'"),
        (KEY + "key = {}", "it is no TOML"),
        (f"# {'x' * MAX_BYTES}", f"{MAX_BYTES} are the most"),
        ("key = { a = '" + "".join(f"{{metadata.k{n}}}" for n in range(11)) + "' }", "names 11 paths"),
    ],
)
def test_mistake_is_named_with_its_key_and_the_right_form(lines, message):
    with pytest.raises(ConfigError, match=f"(?s)^shape.toml: .*{message}"):
        shape(lines)


def test_longest_file_and_the_most_paths_are_read():
    key = "".join(f"{{metadata.k{n}}}" for n in range(10))
    lines = f'[find]\nkey = {{ a = "{key}" }}\n#'
    assert len(parse_shape(lines + "x" * (MAX_BYTES - len(lines))).paths) == 10


@pytest.mark.parametrize("text", ["", "[other]\n", "find = 1"])
def test_file_without_its_table_is_refused(text):
    with pytest.raises(ConfigError, match=r"find\] is missing|known are find"):
        parse_shape(text)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{id}", "cs_1"),
        ("{payment_intent}", "pi_1"),
        ("{customer|client_reference_id}", "ref"),
        ("{metadata.empty|metadata.orderId}", "o-1"),
        ("{customer_details.email}#{metadata.orderId}", "a@b.example#o-1"),
        ("{customer}", None),
        ("{metadata.number}", None),
        ("x{metadata.absent}", None),
    ],
)
def test_template_takes_the_first_value_that_is_not_empty(template, expected):
    parsed = shape(f'key = {{ a = "{template}" }}')
    made = parsed.make_key({"id": "cs_1", **read_values(SESSION, parsed.paths)})
    assert made == (expected and {"a": expected})


@pytest.mark.parametrize("text", ["x" * 1025, "\ud800"])
def test_value_that_no_key_can_hold_makes_no_key(text):
    parsed = shape('key = { a = "{metadata.a}" }')
    assert parsed.make_key(read_values({"metadata": {"a": text}}, parsed.paths)) is None
    assert parsed.make_key(read_values({"metadata": {"a": "x" * 1024}}, parsed.paths)) == {"a": "x" * 1024}


def test_address_of_the_customer_is_the_one_that_the_shop_set_until_there_is_another():
    session = {"customer_email": "b@b.example", "customer_details": {"email": ""}}
    assert read_values(session, ("customer_details.email",)) == {"customer_details.email": "b@b.example"}


def test_sort_key_beyond_the_limit_of_dynamodb_makes_no_key():
    parsed = shape('key = { a = "{metadata.a}", b = "long#{metadata.a}" }')
    assert parsed.make_key({"metadata.a": "x" * 1019}) is not None
    assert parsed.make_key({"metadata.a": "x" * 1020}) is None


DONE, OPEN = 'done = { s = ["PAID"] }\n', 'open = { s = ["PENDING"] }\n'


@pytest.mark.parametrize(
    ("lists", "item", "is_done", "foreign"),
    [
        ("", {}, True, None),
        (DONE, {"s": "PAID"}, True, None),
        (DONE, {"s": "PENDING"}, False, None),
        (DONE, {}, False, None),
        (OPEN, {"s": "PENDING"}, False, None),
        (OPEN, {"s": "PAID"}, True, None),
        (DONE + OPEN, {"s": "PAID"}, True, None),
        (DONE + OPEN, {"s": "PENDING"}, False, None),
        (DONE + OPEN, {"s": "CANCELLED"}, True, "s"),
        (DONE + OPEN, {}, True, "s"),
        (DONE + OPEN, {"s": ["PAID"]}, True, "s"),
        (DONE, {"s": {"PAID": True}}, False, None),
        (OPEN, {"s": None}, True, None),
        ("done = { paid = [1] }", {"paid": Decimal("1.0")}, True, None),
        ("done = { paid = [true] }", {"paid": True}, True, None),
        ("done = { paid = [true] }", {"paid": 1}, False, None),
        ("done = { paid = [1] }", {"paid": True}, False, None),
    ],
)
def test_item_is_done_by_its_lists(lists, item, is_done, foreign):
    parsed = shape(KEY + lists)
    assert (parsed.is_done(item), parsed.find_foreign_word(item)) == (is_done, foreign)


def test_settings_hold_the_shape_and_its_table():
    settings = load_settings(ENVIRONMENT | {"SYNC_SHAPE": FILE})
    assert settings.shape == parse_shape(FILE.strip())
    assert settings.table == "orders"
    assert settings.webhook_fence is FenceMode.OFF


def test_settings_without_a_file_are_those_of_today():
    settings = load_settings(ENVIRONMENT | {"SYNC_SHAPE": " "})
    assert (settings.shape, settings.table) == (None, "shop")
    assert settings.webhook_fence is FenceMode.WRITTEN


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SYNC_LEDGER_TABLE": ""}, "SYNC_SHAPE needs SYNC_LEDGER_TABLE"),
        ({"SYNC_LEDGER_TABLE": "orders"}, "SYNC_LEDGER_TABLE must be another table"),
        ({"SYNC_WEBHOOK_FENCE": "all"}, "SYNC_WEBHOOK_FENCE must not be all"),
        ({"SYNC_USER_ID_FROM": "customer"}, "SYNC_USER_ID_FROM has no effect with SYNC_SHAPE"),
        ({"EMAIL_CASE": "lower"}, "EMAIL_CASE has no effect"),
        ({"SYNC_ORDER_SORT_KEY": "any"}, "SYNC_ORDER_SORT_KEY has no effect"),
        ({"ORDER_NUMBER_PREFIX": "A"}, "ORDER_NUMBER_PREFIX has no effect"),
        ({"SYNC_SHAPE": "[find]\nkey = 1"}, r"SYNC_SHAPE: shape.toml: find\.key must"),
    ],
)
def test_contradiction_of_settings_is_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(ENVIRONMENT | {"SYNC_SHAPE": FILE} | changes)
