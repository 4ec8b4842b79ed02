"""Pure: the file `shape.toml`, which says where another shop keeps its orders and how to tell a done one.

[find]
table = "orders"                                                # default: CommerceTable
key   = { orderId = "{metadata.orderId|client_reference_id}" }  # one or two attributes, read by key
# index = "StripeSessionIndex"                                  # instead: query this index
done  = { status = ["PAID", "SHIPPED"] }                        # and, or instead: open = { … }
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from recon.domain.key_template import ID, KeyTemplate, parse_template, read_values
from recon.domain.stripe_objects import Json
from recon.errors import ConfigError

FILE = "shape.toml"
# Lambda's environment variables take 4 KB in all.
MAX_BYTES = 2048
MAX_KEY_ATTRIBUTES = 2
# A message holds a value for each.
MAX_PATHS = 10
# DynamoDB's limits of a partition key and of a sort key.
_MAX_KEY_BYTES = (2048, 1024)
_TABLE = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_QUOTED_OR_COMMENT = re.compile(r"""("(?:\\.|[^"\\])*"|'[^']*')|#.*""")
_SETTINGS = ("table", "key", "index", "done", "open")
_KEY_FORM = 'such as key = { orderId = "{metadata.orderId}" }'
_LIST_FORM = 'such as {name} = {{ status = ["PAID"] }}'

type Word = str | bool | int


@dataclass(frozen=True)
class StatusList:
    """The values of one attribute by which the shop calls an order done, or still open."""

    attribute: str
    words: tuple[Word, ...]

    def holds(self, item: Mapping[str, object]) -> bool:
        """Return True if the item has one of the values. A boolean is no number."""
        value = item.get(self.attribute)
        return any(value == word and isinstance(value, bool) == isinstance(word, bool) for word in self.words)


@dataclass(frozen=True)
class Shape:
    """Where the orders of another shop are. Two of the same text are equal.

    `table` is None for the table of the settings. `key` holds a template for each attribute. They are the
    keys of the table, or those of `index`. Without `done` and `open`, an item that is present is done.
    """

    text: str
    table: str | None = field(compare=False)
    key: Mapping[str, KeyTemplate] = field(compare=False)
    index: str | None = field(default=None, compare=False)
    done: StatusList | None = field(default=None, compare=False)
    open: StatusList | None = field(default=None, compare=False)

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the paths of a session that the key needs, each once."""
        return tuple(dict.fromkeys(path for template in self.key.values() for path in template.paths))

    @property
    def attributes(self) -> tuple[str, ...]:
        """Return the attributes of an item that decide about it, besides its keys."""
        return tuple(dict.fromkeys(each.attribute for each in (self.done, self.open) if each))

    def read_values(self, session: Json) -> tuple[tuple[str, str], ...]:
        """Return the values of a session at the paths of the key. There is always one, the id if need be."""
        return tuple(read_values(session, self.paths).items()) or ((ID, session["id"]),)

    def make_key(self, values: Mapping[str, str]) -> dict[str, str] | None:
        """Return the key of a session's item, or None if it cannot be made from these values of the paths."""
        key = {}
        for (name, template), longest in zip(self.key.items(), _MAX_KEY_BYTES, strict=False):
            text = template.fill(values)
            if text is None or len(text.encode()) > longest:
                return None
            key[name] = text
        return key

    def is_done(self, item: Mapping[str, object]) -> bool:
        """Return whether the shop has done its work on an order, so that nothing of it is missing.

        A value in neither list was set by a person. With one list only, all other values are the opposite.
        """
        if self.done and self.done.holds(item):
            return True
        if self.open:
            return not self.open.holds(item)
        return self.done is None

    def find_foreign_word(self, item: Mapping[str, object]) -> str | None:
        """Return the attribute whose value is in neither of the two lists, or None."""
        if self.done is None or self.open is None or self.done.holds(item) or self.open.holds(item):
            return None
        return self.done.attribute


def strip_comments(text: str) -> str:
    """Return the file without comments and empty lines, as the functions get it.

    A `#` within quotes is no comment. Text that is no TOML stays as it is, for the error to name its line. So
    does text with a string of several lines that would change.
    """
    lines = (
        _QUOTED_OR_COMMENT.sub(lambda found: found[1] or "", line).rstrip() for line in text.splitlines()
    )
    stripped = "\n".join(line for line in lines if line)
    try:
        return stripped if _load(stripped) == _load(text) else text.strip()
    except ConfigError:
        return text.strip()


def parse_shape(text: str) -> Shape:
    """Return the shape of a file.

    Raise ConfigError that names the key in the file and what would be right.
    """
    if (size := len(text.encode("utf-8", "replace"))) > MAX_BYTES:
        raise _wrong(f"it has {size} bytes; {MAX_BYTES} are the most, without comments")
    raw = _load(text)
    _refuse_unknown("", raw, ("find",))
    find = raw.get("find")
    if not isinstance(find, dict):
        raise _wrong(f"[find] is missing; it needs a key, {_KEY_FORM}")
    _refuse_unknown("find.", find, _SETTINGS)
    shape = Shape(
        text=text,
        table=_read_name(find, "table", _TABLE.fullmatch, "the name of a table, not an ARN"),
        key=_read_key(find),
        index=_read_name(find, "index", _TABLE.fullmatch, "the name of an index"),
        done=_read_list(find, "done"),
        open=_read_list(find, "open"),
    )
    _check_lists(shape)
    return shape


def _load(text: str) -> dict[str, Any]:
    # Only a stack with such a file needs the library.
    import tomllib  # noqa: PLC0415 - see above

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _wrong(f"it is no TOML: {error}") from error


def _refuse_unknown(parent: str, raw: Mapping[str, Any], known: Iterable[str]) -> None:
    for name in raw:
        if name not in known:
            names = ", ".join(f"{parent}{one}" for one in known)
            raise _wrong(f"{parent}{name} is unknown; known are {names}")


def _read_name(find: Mapping[str, Any], name: str, is_right: Any, what: str) -> str | None:  # noqa: ANN401 - a predicate
    value = find.get(name)
    if value is None or (isinstance(value, str) and is_right(value)):
        return value
    raise _wrong(f"find.{name} must be {what}")


def _read_key(find: Mapping[str, Any]) -> dict[str, KeyTemplate]:
    raw = find.get("key")
    if not isinstance(raw, dict) or not 1 <= len(raw) <= MAX_KEY_ATTRIBUTES:
        raise _wrong(f"find.key must name one or two attributes with their templates, {_KEY_FORM}")
    templates = {}
    for name, text in raw.items():
        if not name:
            raise _wrong(f"find.key must name its attributes, {_KEY_FORM}")
        if not isinstance(text, str):
            raise _wrong(f"find.key.{name} must be a text in quotes, {_KEY_FORM}")
        try:
            templates[name] = parse_template(text)
        except ValueError as error:
            raise _wrong(f"find.key.{name} is wrong: {error}") from error
    paths = {path for template in templates.values() for path in template.paths}
    if len(paths) > MAX_PATHS:
        raise _wrong(f"find.key names {len(paths)} paths of a session; name {MAX_PATHS} at most")
    if not paths:
        raise _wrong(f"find.key takes nothing from the session, so all would have the same key; {_KEY_FORM}")
    return templates


def _read_list(find: Mapping[str, Any], name: str) -> StatusList | None:
    raw = find.get(name)
    if raw is None:
        return None
    form = _LIST_FORM.format(name=name)
    if not isinstance(raw, dict) or len(raw) != 1:
        raise _wrong(f"find.{name} must name one attribute with its values, {form}")
    ((attribute, words),) = raw.items()
    if not attribute:
        raise _wrong(f"find.{name} must name its attribute, {form}")
    if not isinstance(words, list) or not words or not all(isinstance(w, str | bool | int) for w in words):
        raise _wrong(f"find.{name}.{attribute} must be a list of texts, whole numbers, true or false, {form}")
    return StatusList(attribute, tuple(words))


def _check_lists(shape: Shape) -> None:
    done, opened = shape.done, shape.open
    if done is None or opened is None or done.attribute != opened.attribute:
        return
    if both := [word for word in done.words if opened.holds({done.attribute: word})]:
        raise _wrong(f"find.done and find.open both have {both[0]!r}; a value belongs in one of them")


def _wrong(why: str) -> ConfigError:
    return ConfigError(f"{FILE}: {why}")
