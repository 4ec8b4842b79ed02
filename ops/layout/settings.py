"""The settings to check a layout with: those of the deployed stack, or of template parameters."""

from collections.abc import Iterable, Mapping

from ops.errors import CommandError
from recon.config import Settings, load_settings
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
}
# With these, no stack has to be deployed.
REQUIRED = ("CommerceTable", "StripeSecretParameter")


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
    return changes


def apply_changes(variables: Mapping[str, str], changes: Mapping[str, str]) -> Settings:
    """Return the settings of a function's environment with some parameters replaced.

    Raise CommandError if they are invalid.
    """
    # Nothing is sent, so a stack's queue is not needed.
    environ = {"SYNC_QUEUE_URL": "none"} | dict(variables)
    environ |= {PARAMETERS[name]: value for name, value in changes.items()}
    if "StripeSecretParameter" in changes:
        environ.pop("STRIPE_SECRET", None)
    try:
        return load_settings(environ)
    except ConfigError as error:
        raise CommandError(str(error)) from error
