"""The settings of both Lambdas, read from environment variables during an invocation, not at import."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from recon.domain.order_keys import OrderSortKey
from recon.domain.session_filter import SessionFilter, parse_filter
from recon.domain.shape import Shape, parse_shape
from recon.domain.user_ids import DEFAULT_SOURCES, EmailCase, UserIdRules, parse_sources
from recon.errors import ConfigError

REQUIRED = ("COMMERCE_TABLE", "SYNC_QUEUE_URL")
KEY_SOURCES = ("STRIPE_SECRET", "STRIPE_SECRET_PARAMETER")
# Stripe keeps events for 30 days, so a longer lookback could not detect what happened to a session.
MAX_LOOKBACK_HOURS = 720
LEAST_CONSUMERS = 2
# Requests per second of one consumer. At less, the sessions of a batch get no turn before the function ends.
LEAST_CONSUMER_RPS = 0.6
_ROUNDING = 1e-9
# The default of earlier versions, which installations have stored. It counts as the default.
FORMER_MAX_SESSIONS = 500
# What says how orders are written and looked up in this system's layout.
_FOR_ORDERS: Mapping[str, Callable[["Settings"], object]] = {
    "SYNC_USER_ID_FROM": lambda settings: settings.user_ids.sources,
    "EMAIL_CASE": lambda settings: settings.user_ids.email_case,
    "SYNC_ORDER_SORT_KEY": lambda settings: settings.order_sort_key,
    "ORDER_NUMBER_PREFIX": lambda settings: settings.order_number_prefix,
}
_NO_ORDER = "orders are found by shape.toml, and none is written"
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


class FenceMode(StrEnum):
    """Which orders are written or found with the markers of their events."""

    WRITTEN = "written"
    ALL = "all"
    OFF = "off"


@dataclass(frozen=True)
class Settings:
    """The validated settings. Units are hours, days, seconds and requests per second, as named."""

    table: str
    queue_url: str
    stripe_secret: str | None = field(default=None, repr=False)
    stripe_secret_parameter: str | None = None
    lookback_hours: int = 25
    sessions_per_invocation: int = 0
    dry_run: bool = False
    order_ttl_days: int = 0
    order_number_prefix: str = "BC"
    max_receive_count: int = 10
    backoff_base_seconds: int = 30
    consumer_concurrency: int = 5
    stripe_api_base: str | None = None
    stripe_max_rps: float = 12.0
    grace_minutes: int = 10
    webhook_fence: FenceMode = FenceMode.WRITTEN
    stack: str = "stripe-nightly-sync"
    session_filter: SessionFilter = field(default_factory=SessionFilter)
    user_ids: UserIdRules = field(default_factory=UserIdRules)
    order_sort_key: OrderSortKey = OrderSortKey.EPOCH
    ledger_table: str | None = None
    shape: Shape | None = None

    @property
    def shape_text(self) -> str:
        """The text of shape.toml, which is empty for this system's layout."""
        return self.shape.text if self.shape else ""

    @property
    def consumer_rps(self) -> float:
        """Return one consumer's share of the pipeline's Stripe requests per second."""
        return self.stripe_max_rps / self.consumer_concurrency


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read and validate all settings; an empty value counts as absent.

    Raise ConfigError that lists every missing and every wrong variable.
    """
    env = {name: value.strip() for name, value in environ.items() if value.strip()}
    missing = [name for name in REQUIRED if name not in env]
    if not any(name in env for name in KEY_SOURCES):
        missing.append(" or ".join(KEY_SOURCES))
    wrong: list[str] = []

    def read[T](name: str, default: T, parse: Callable[[str], T], what: str) -> T:
        if name not in env:
            return default
        try:
            return parse(env[name])
        except ValueError:
            wrong.append(f"{name} must be {what}")
        except ConfigError as error:
            wrong.append(f"{name}: {error}")
        return default

    d = Settings(table="", queue_url="")
    shape = read("SYNC_SHAPE", d.shape, parse_shape, "the text of shape.toml")
    settings = Settings(
        table=(shape and shape.table) or env.get("COMMERCE_TABLE", ""),
        queue_url=env.get("SYNC_QUEUE_URL", ""),
        stripe_secret=env.get("STRIPE_SECRET"),
        stripe_secret_parameter=env.get("STRIPE_SECRET_PARAMETER"),
        lookback_hours=read(
            "SYNC_LOOKBACK_HOURS",
            d.lookback_hours,
            _integer(1, MAX_LOOKBACK_HOURS),
            f"an integer from 1 to {MAX_LOOKBACK_HOURS}",
        ),
        sessions_per_invocation=read(
            "SYNC_MAX_SESSIONS",
            d.sessions_per_invocation,
            _sessions_per_invocation,
            "an integer from 0 (0 = until an invocation's time runs out)",
        ),
        dry_run=read("SYNC_DRY_RUN", d.dry_run, _boolean, "true or false"),
        order_ttl_days=read("ORDER_TTL_DAYS", d.order_ttl_days, _integer(0), "an integer from 0 (0 = never)"),
        order_number_prefix=env.get("ORDER_NUMBER_PREFIX", d.order_number_prefix),
        max_receive_count=read(
            "SYNC_MAX_RECEIVE_COUNT", d.max_receive_count, _integer(1, 998), "an integer from 1 to 998"
        ),
        backoff_base_seconds=read(
            "SYNC_BACKOFF_BASE_SECONDS",
            d.backoff_base_seconds,
            _integer(1, 3600),
            "an integer from 1 to 3600",
        ),
        consumer_concurrency=read(
            "SYNC_CONSUMER_CONCURRENCY",
            d.consumer_concurrency,
            _integer(LEAST_CONSUMERS, 1000),
            f"an integer from {LEAST_CONSUMERS} to 1000",
        ),
        stripe_api_base=env.get("STRIPE_API_BASE"),
        stripe_max_rps=read("STRIPE_MAX_RPS", d.stripe_max_rps, _positive, "a number above 0"),
        grace_minutes=read(
            "SYNC_GRACE_MINUTES", d.grace_minutes, _integer(0, 1440), "an integer from 0 to 1440"
        ),
        stack=env.get("SYNC_STACK", d.stack),
        ledger_table=env.get("SYNC_LEDGER_TABLE"),
        session_filter=read("SYNC_ONLY", d.session_filter, parse_filter, "conditions"),
        user_ids=UserIdRules(
            read("SYNC_USER_ID_FROM", DEFAULT_SOURCES, parse_sources, "sources of the user id"),
            read("EMAIL_CASE", EmailCase.KEEP, EmailCase, "keep or lower"),
        ),
        order_sort_key=read("SYNC_ORDER_SORT_KEY", d.order_sort_key, OrderSortKey, "epoch or any"),
        webhook_fence=read(
            "SYNC_WEBHOOK_FENCE",
            d.webhook_fence,
            _fence_mode,
            "written, all or off (true means written, and false means off)",
        ),
        shape=shape,
    )
    pace = settings.stripe_max_rps, settings.consumer_concurrency
    if not wrong and (problem := find_slow_pace(*pace)):
        numbers = f"{settings.stripe_max_rps:g} and {settings.consumer_concurrency}"
        wrong.append(f"STRIPE_MAX_RPS and SYNC_CONSUMER_CONCURRENCY are {numbers}, and {problem}")
    if shape:
        wrong += _find_contradictions(settings)
        # No marker of an event is written either.
        settings = replace(settings, webhook_fence=FenceMode.OFF)
    if settings.ledger_table is not None and settings.ledger_table == settings.table:
        wrong.append("SYNC_LEDGER_TABLE must be another table than COMMERCE_TABLE; leave it out for that one")
    if missing or wrong:
        raise ConfigError(_describe_problems(missing, wrong))
    return settings


def _find_contradictions(settings: Settings) -> list[str]:
    """Return what is wrong beside a shape, with which nothing is written into the shop's table."""
    wrong = []
    if settings.ledger_table is None:
        wrong.append(
            "SYNC_SHAPE needs SYNC_LEDGER_TABLE: the sync writes nothing into the shop's table, so name "
            "another one for its own records"
        )
    if settings.webhook_fence is FenceMode.ALL:
        wrong.append("SYNC_WEBHOOK_FENCE must not be all with SYNC_SHAPE, which writes no marker of an event")
    default = Settings(table="", queue_url="")
    wrong += [
        f"{name} has no effect with SYNC_SHAPE, since {_NO_ORDER}; leave it out"
        for name, value in _FOR_ORDERS.items()
        if value(settings) != value(default)
    ]
    return wrong


def find_slow_pace(requests_per_second: float, consumers: int) -> str | None:
    """Return what is wrong if each consumer's share of the pace is too small, and what would be right."""
    if requests_per_second >= LEAST_CONSUMER_RPS * consumers * (1 - _ROUNDING):
        return None
    least, most = LEAST_CONSUMER_RPS * consumers, int(requests_per_second / LEAST_CONSUMER_RPS)
    fewer = f", or the second at most {most}" if most >= LEAST_CONSUMERS else ""
    return f"the first must be at least {LEAST_CONSUMER_RPS:g} times the second: at least {least:g}{fewer}"


def _describe_problems(missing: list[str], wrong: list[str]) -> str:
    parts = []
    if missing:
        parts.append("missing environment variables: " + ", ".join(missing))
    if wrong:
        parts.append("wrong environment variables: " + ", ".join(wrong))
    return "; ".join(parts)


def _integer(low: int, high: int | None = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if value < low or (high is not None and value > high):
            raise ValueError(text)
        return value

    return parse


def _sessions_per_invocation(text: str) -> int:
    value = _integer(0)(text)
    return 0 if value == FORMER_MAX_SESSIONS else value


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(text)


def _fence_mode(text: str) -> FenceMode:
    if text.lower() in FenceMode:
        return FenceMode(text.lower())
    return FenceMode.WRITTEN if _boolean(text) else FenceMode.OFF


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value
