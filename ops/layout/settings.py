"""The settings to check a layout with: those of the deployed stack, or of template parameters."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from ops.errors import CommandError
from recon.config import Settings, load_settings
from recon.domain.shape import parse_shape, strip_comments
from recon.errors import ConfigError

# Template parameter -> environment variable: all that decide which sessions and orders are read.
PARAMETERS = {
    "CommerceTable": "COMMERCE_TABLE",
    "StripeSecretParameter": "STRIPE_SECRET_PARAMETER",
    "SessionFilter": "SYNC_ONLY",
    "UserIdSources": "SYNC_USER_ID_FROM",
    "EmailCase": "EMAIL_CASE",
    "OrderSortKey": "SYNC_ORDER_SORT_KEY",
    "OrderTtlDays": "ORDER_TTL_DAYS",
    "GraceMinutes": "SYNC_GRACE_MINUTES",
    "StripeMaxRps": "STRIPE_MAX_RPS",
    "StripeApiBase": "STRIPE_API_BASE",
    "Shape": "SYNC_SHAPE",
}
# With these, no stack has to be deployed. A shape may name the table.
REQUIRED = ("CommerceTable", "StripeSecretParameter")
_FILE_ENDING = ".toml"
# Nothing is sent or written, so neither a queue nor a ledger is needed.
_UNUSED_QUEUE = {"SYNC_QUEUE_URL": "none"}
_UNUSED_LEDGER = {"SYNC_LEDGER_TABLE": "none"}
# A stack without a shape may have these for the orders that it writes. With one they are refused.
_OF_OWN_ORDERS = (
    "SYNC_USER_ID_FROM",
    "EMAIL_CASE",
    "SYNC_ORDER_SORT_KEY",
    "ORDER_NUMBER_PREFIX",
    "SYNC_WEBHOOK_FENCE",
)


def parse_changes(texts: Iterable[str]) -> dict[str, str]:
    """Return the values of `NAME=VALUE` by parameter. Raise CommandError that names a wrong one."""
    changes: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"--set {text}: give NAME=VALUE, such as --set OrderSortKey=any")
        if name not in PARAMETERS:
            raise CommandError(f"--set {name}: the parameters that matter here are {', '.join(PARAMETERS)}")
        if name in changes:
            raise CommandError(f"--set {name} is given more than once; give each name once")
        if name in REQUIRED and not value.strip():
            raise CommandError(f"--set {name} is empty; give its value")
        changes[name] = value
    if changes.get("Shape", "").endswith(_FILE_ENDING):
        changes["Shape"] = read_shape_file(changes["Shape"])
    return changes


def read_shape_file(name: str) -> str:
    """Return the text of a shape.toml without comments. Raise CommandError if it cannot be read."""
    try:
        return strip_comments(Path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise CommandError(f"the shape file {name} cannot be read: {reason}") from error


def find_shape_table(changes: Mapping[str, str]) -> str | None:
    """Return the table that the changed shape names, if it names one.

    Raise CommandError for a wrong shape, or if CommerceTable is changed to another table.
    """
    text = changes.get("Shape", "")
    if not text.strip():
        return None
    try:
        table = parse_shape(text).table
    except ConfigError as error:
        raise CommandError(str(error)) from error
    other = changes.get("CommerceTable", table)
    if table is not None and other != table:
        raise CommandError(f"--set CommerceTable={other}: find.table of the shape is {table}; leave one out")
    return table


def needs_stack(changes: Mapping[str, str]) -> bool:
    """Return whether a deployed stack has to say what the changes do not."""
    named = {**changes, **({"CommerceTable": ""} if find_shape_table(changes) else {})}
    return not all(name in named for name in REQUIRED)


def apply_changes(variables: Mapping[str, str], changes: Mapping[str, str]) -> Settings:
    """Return the settings of a function's environment with some parameters replaced.

    Raise CommandError if they are invalid.
    """
    has_shape = bool(changes.get("Shape", "").strip())
    environ = _UNUSED_QUEUE | (_UNUSED_LEDGER if has_shape else {}) | dict(variables)
    if has_shape:
        environ = {name: value for name, value in environ.items() if name not in _OF_OWN_ORDERS}
    environ |= {PARAMETERS[name]: value for name, value in changes.items()}
    if "StripeSecretParameter" in changes:
        environ.pop("STRIPE_SECRET", None)
    if table := find_shape_table(changes):
        environ["COMMERCE_TABLE"] = table
    try:
        return load_settings(environ)
    except ConfigError as error:
        raise CommandError(str(error)) from error
