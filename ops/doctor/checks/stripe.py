"""The Stripe key: where it is, what it is, and what it may read."""

from collections.abc import Iterator
from dataclasses import dataclass

from ops.doctor.facts import PUBLISHABLE, SECRET, Access, Facts, Key, Parameter, Tried
from ops.doctor.finding import Finding, advice, fix, ok, unknown
from ops.doctor.shell import Shell
from ops.doctor.unread import Fetched, Unavailable, unseen

# From the shell's environment, so that it stands in no history.
_NEW_KEY = '"$STRIPE_KEY"'
_DASHBOARD = "https://dashboard.stripe.com/{mode}apikeys"


@dataclass(frozen=True)
class Area:
    """What a key may be allowed to read: in Stripe's words, and what a night is like without it."""

    name: str
    resources: str
    without: str


SESSIONS = Area("key: sessions", "Checkout Sessions", "no run can list anything")
LINE_ITEMS = Area("key: line items", "Products and Prices", "sessions end with the error KeyNotAllowed")
CHARGES = Area("key: charges", "Charges and PaymentIntents", "refunded orders are written like all others")
DISPUTES = Area("key: disputes", "Disputes", "orders whose dispute was lost are written like all others")
EVENTS = Area("key: events", "Events", "a webhook that comes late can double an order")


def findings(facts: Facts) -> Iterator[Finding]:
    settings = facts.settings
    if settings is None:
        yield unknown("key", "where it is stands in the consumer's settings, which cannot be read")
        return
    name = settings.stripe_secret_parameter
    if facts.parameter is not None and name:
        yield of_parameter(facts.parameter, name, facts.shell)
    if facts.key is None:
        return
    if isinstance(facts.key, Unavailable):
        if not facts.key.is_missing:
            yield unseen("key", facts.key)
        return
    # A key that stands in the environment is not changed by a parameter.
    replace = None if settings.stripe_secret or not name else put_key(name, facts.shell)
    yield of_kind(facts.key, replace)
    yield of_mode(facts.key, facts.livemode, replace)
    yield from _of_permissions(facts, facts.key, replace)


def put_key(name: str, shell: Shell) -> str:
    return shell.aws(f"ssm put-parameter --name {name} --type SecureString --overwrite --value {_NEW_KEY}")


def of_parameter(parameter: Fetched[Parameter], name: str, shell: Shell) -> Finding:
    if isinstance(parameter, Unavailable):
        if parameter.is_missing:
            return fix(
                "parameter", f"{name} does not exist: no function can ask Stripe", put_key(name, shell)
            )
        return unseen("parameter", parameter)
    if parameter.type != "SecureString":
        return fix(
            "parameter",
            f"{name} is a {parameter.type}, not encrypted; AWS does not change the type of one",
            shell.aws(f"ssm delete-parameter --name {name}") + " && " + put_key(name, shell),
        )
    return ok("parameter", f"{name}, a SecureString, last changed {parameter.modified:%Y-%m-%d}")


def of_kind(key: Key, replace: str | None) -> Finding:
    if key.kind is None or key.kind == PUBLISHABLE:
        what = "a publishable key, which reads nothing" if key.kind else "not a Stripe key (sk_… or rk_…)"
        return fix("key", f"it is {what}", replace)
    if key.kind == SECRET:
        return advice(
            "key",
            "a secret key, which may do everything; a restricted one with read permissions is enough",
            _dashboard(key),
        )
    return ok("key", "a restricted key")


def of_mode(key: Key, last: Fetched[bool | None], replace: str | None) -> Finding:
    if key.livemode is None:
        return unknown("key: mode", "its prefix does not say whether it is of live or of test mode")
    mode = _mode(live=key.livemode)
    if isinstance(last, Unavailable):
        return unknown("key: mode", f"{mode}; the last run's: {unseen('', last).what}")
    if last is None:
        return ok("key: mode", f"{mode}; no run has said yet which one it saw")
    if last != key.livemode:
        return fix(
            "key: mode", f"{mode}, where the last run saw {_mode(live=last)}: they were swapped", replace
        )
    return ok("key: mode", f"{mode}, as the last run")


def _of_permissions(facts: Facts, key: Key, replace: str | None) -> Iterator[Finding]:
    asked = facts.permissions
    if asked is None:
        return
    if asked.sessions.access is Access.REJECTED:
        yield fix(
            "key: accepted", f"no: {asked.sessions.why}; every night fails until it is replaced", replace
        )
        return
    for area, tried in (
        (SESSIONS, asked.sessions),
        (LINE_ITEMS, asked.line_items),
        (CHARGES, asked.charges),
        (DISPUTES, asked.disputes),
        (EVENTS, asked.events),
    ):
        yield of_area(area, tried, key)


def of_area(area: Area, tried: Tried, key: Key) -> Finding:
    match tried.access:
        case Access.ALLOWED:
            return ok(area.name, f"may be read ({area.resources})")
        case Access.NOT_ALLOWED:
            what = f"may not be read: {area.without}. Give the key read on {area.resources}"
            return fix(area.name, what, _dashboard(key))
        case Access.UNTRIED:
            return advice(area.name, f"not tried: {tried.why}")
        case Access.REJECTED | Access.FAILED:
            return unknown(area.name, f"not known: {tried.why}")


def _dashboard(key: Key) -> str:
    return _DASHBOARD.format(mode="test/" if key.livemode is False else "")


def _mode(*, live: bool) -> str:
    return "live mode" if live else "test mode"
