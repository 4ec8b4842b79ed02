"""The Stripe key: its parameter, its kind and mode, and what it may read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ops.doctor.facts import PUBLISHABLE, SECRET, Access, AccessProbe, KeyParameter, KeyPrefix, StackFacts
from ops.doctor.fetched import Fetched, Unavailable, unreadable
from ops.doctor.finding import CheckFinding, advice, fix, ok, unknown
from ops.doctor.shell import Shell
from recon.dynamodb.watermark import Watermark
from recon.stripe.expansions import (
    BALANCE_TRANSACTIONS,
    COUPONS,
    PROMOTION_CODES,
    REVIEWS,
    SHIPPING_RATES,
)

# From the shell's environment, so that the key is not in the shell's history.
_NEW_KEY = '"$STRIPE_KEY"'
_DASHBOARD = "https://dashboard.stripe.com/{mode}apikeys"


@dataclass(frozen=True)
class PermissionArea:
    """A kind of object that a key needs to read: Stripe's name, and what happens without it."""

    name: str
    resources: str
    without: str


SESSIONS = PermissionArea("key: sessions", "Checkout Sessions", "no run can list sessions")
LINE_ITEMS = PermissionArea(
    "key: line items", "Products and Prices", "sessions end with the error KeyNotAllowed"
)
CHARGES = PermissionArea("key: charges", "Charges and PaymentIntents", "refunded orders are written, too")
DISPUTES = PermissionArea("key: disputes", "Disputes", "orders with a lost dispute are written, too")
INVOICES = PermissionArea("key: invoices", "Invoices", "refunded orders of subscriptions are written, too")
EVENTS = PermissionArea("key: events", "Events", "a late webhook can double an order")
DETAILS = {
    BALANCE_TRANSACTIONS: PermissionArea(
        "key: balance transactions", "Balance transactions", "`paidAt` is when the charge was made"
    ),
    REVIEWS: PermissionArea("key: reviews", "Reviews", "no order says that its payment is under review"),
    SHIPPING_RATES: PermissionArea("key: shipping rates", "Shipping rates", "`shippingMethod` has no `name`"),
    PROMOTION_CODES: PermissionArea(
        "key: promotion codes", "Promotion codes", "`stripeDiscounts` have no `code`"
    ),
    COUPONS: PermissionArea("key: coupons", "Coupons", "discounts of sessions from before 2025 are missing"),
}


def check(facts: StackFacts) -> Iterator[CheckFinding]:
    settings = facts.settings
    if settings is None:
        yield unknown("key", "the consumer's settings, which name it, cannot be read")
        return
    name = settings.stripe_secret_parameter
    if facts.parameter is not None and name:
        yield check_parameter(facts.parameter, name, facts.shell)
    if facts.key is None:
        return
    if isinstance(facts.key, Unavailable):
        if not facts.key.is_missing:
            yield unreadable("key", facts.key)
        return
    # A parameter does not change a key in the environment.
    replace = None if settings.stripe_secret or not name else put_key_command(name, facts.shell)
    yield check_kind(facts.key, replace)
    proof = facts.permissions.proof if facts.permissions else AccessProbe(Access.UNTRIED)
    yield check_account(facts.watermark, proof, replace)
    yield check_mode(facts.key, facts.livemode, proof, replace)
    yield from _of_permissions(facts, facts.key, replace)


def put_key_command(name: str, shell: Shell) -> str:
    return shell.aws(f"ssm put-parameter --name {name} --type SecureString --overwrite --value {_NEW_KEY}")


def check_parameter(parameter: Fetched[KeyParameter], name: str, shell: Shell) -> CheckFinding:
    if isinstance(parameter, Unavailable):
        if parameter.is_missing:
            return fix(
                "parameter",
                f"{name} does not exist, so no function can call Stripe",
                put_key_command(name, shell),
            )
        return unreadable("parameter", parameter)
    if parameter.type != "SecureString":
        return fix(
            "parameter",
            f"{name} is a {parameter.type} and not encrypted; AWS cannot change the type of a parameter",
            shell.aws(f"ssm delete-parameter --name {name}") + " && " + put_key_command(name, shell),
        )
    return ok("parameter", f"{name}, a SecureString, last changed {parameter.modified:%Y-%m-%d}")


def check_kind(key: KeyPrefix, replace: str | None) -> CheckFinding:
    if key.kind is None or key.kind == PUBLISHABLE:
        what = (
            "a publishable key, which cannot read anything" if key.kind else "not a Stripe key (sk_… or rk_…)"
        )
        return fix("key", f"it is {what}", replace)
    if key.kind == SECRET:
        return advice(
            "key",
            "a secret key, which may do everything; a restricted key with read permissions is enough",
            _dashboard(key),
        )
    return ok("key", "a restricted key")


def check_account(watermark: Fetched[Watermark], proof: AccessProbe, replace: str | None) -> CheckFinding:
    """Check that the key reads the session that proves its account and mode."""
    if isinstance(watermark, Unavailable):
        return unreadable("key: account", watermark)
    if proof.access is Access.UNTRIED:
        if watermark.confirmed_by:
            return ok("key: account", f"an operator accepted it with run {watermark.confirmed_by}")
        what = "nothing proves yet that it is the shop's; the next run compares paid sessions with the table"
        return advice("key: account", what)
    match proof.access:
        case Access.ALLOWED:
            return ok("key: account", f"it reads {watermark.proven_by}, which has an order of the webhook")
        case Access.NOT_FOUND:
            what = (
                f"it cannot read {watermark.proven_by}, which has an order of the webhook: it belongs to "
                "another account or mode, and every run is held"
            )
            return fix("key: account", what, replace)
        case _:
            return unknown("key: account", f"unknown: {proof.why}")


def check_mode(
    key: KeyPrefix, last: Fetched[bool | None], proof: AccessProbe, replace: str | None
) -> CheckFinding:
    """Check the key's mode: by the proof session if there is one, otherwise by the last run's mode."""
    if key.livemode is None:
        return unknown("key: mode", "its prefix does not show whether it is for live or test mode")
    mode = _mode(live=key.livemode)
    if isinstance(last, Unavailable):
        return unknown("key: mode", f"{mode}; the mode of the last run: {unreadable('', last).what}")
    match proof:
        case AccessProbe(Access.ALLOWED):
            return ok("key: mode", f"{mode}, like the shop's orders")
        case AccessProbe(Access.NOT_FOUND):
            return advice("key: mode", f"{mode}; compare it with the shop's")
    return _compare_with_last_run(mode, key, last, replace)


def _compare_with_last_run(mode: str, key: KeyPrefix, last: bool | None, replace: str | None) -> CheckFinding:
    if last is None:
        return ok("key: mode", f"{mode}; no run has recorded its mode yet")
    if last != key.livemode:
        return fix("key: mode", f"{mode}, but the last run had {_mode(live=last)}", replace)
    return ok("key: mode", f"{mode}, like the last run")


def _of_permissions(facts: StackFacts, key: KeyPrefix, replace: str | None) -> Iterator[CheckFinding]:
    permissions = facts.permissions
    if permissions is None:
        return
    if permissions.sessions.access is Access.REJECTED:
        yield fix(
            "key: accepted", f"no: {permissions.sessions.why}; every run fails until it is replaced", replace
        )
        return
    for area, probe in (
        (SESSIONS, permissions.sessions),
        (LINE_ITEMS, permissions.line_items),
        (CHARGES, permissions.charges),
        (DISPUTES, permissions.disputes),
        (INVOICES, permissions.invoices),
        (EVENTS, permissions.events),
    ):
        yield check_permission(area, probe, key)
    for permission, probe in permissions.details.items():
        yield check_permission(DETAILS[permission], probe, key, missing=advice)


def check_permission(
    area: PermissionArea,
    probe: AccessProbe,
    key: KeyPrefix,
    missing: Callable[[str, str, str], CheckFinding] = fix,
) -> CheckFinding:
    """Return the finding of a permission. `missing` makes that of one which the key lacks."""
    match probe.access:
        case Access.ALLOWED:
            return ok(area.name, f"can be read ({area.resources})")
        case Access.NOT_ALLOWED:
            what = f"cannot be read: {area.without}. Give the key read permission for {area.resources}"
            return missing(area.name, what, _dashboard(key))
        case Access.UNTRIED:
            return advice(area.name, f"not tried: {probe.why}")
        case _:
            return unknown(area.name, f"unknown: {probe.why}")


def _dashboard(key: KeyPrefix) -> str:
    return _DASHBOARD.format(mode="test/" if key.livemode is False else "")


def _mode(*, live: bool) -> str:
    return "live mode" if live else "test mode"
