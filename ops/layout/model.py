"""The evidence that is read for one session, and the findings about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ops.runs.finding import StatusFinding, Verdict
from recon.domain.message import SessionMessage
from recon.domain.order import SOURCE
from recon.domain.stripe_objects import Json
from recon.domain.table_decision import skip_reason_from_message
from recon.dynamodb.table import Item

# The `source` of orders that this sync wrote, or the Lambda that it replaces.
SYNC_SOURCES = frozenset({SOURCE, "stripe_fallback"})


@dataclass(frozen=True)
class Evidence:
    """A paid session and its orders in the table.

    `found` are those that the sync's own lookup finds, `elsewhere` those that it does not find.
    """

    session: Json
    message: SessionMessage
    found: Sequence[Item] = ()
    elsewhere: Sequence[Item] = ()

    @property
    def order(self) -> Item | None:
        """Return the order that the shop wrote, or None if there is none but the sync's."""
        return next((item for item in (*self.found, *self.elsewhere) if not is_by_sync(item)), None)

    @property
    def is_found(self) -> bool:
        """Return whether the sync's lookup finds an order that the shop wrote."""
        return any(not is_by_sync(item) for item in self.found)

    @property
    def is_skipped(self) -> bool:
        """Return whether runs skip the session by itself, so that they never look its order up."""
        return skip_reason_from_message(self.message) is not None

    @property
    def is_doubled(self) -> bool:
        """Return whether the sync has written an order beside one of the shop that it does not find."""
        return not self.is_found and self.order is not None and any(map(is_by_sync, self.found))


def is_by_sync(order: Item) -> bool:
    """Return whether an order was written by this sync or the one that it replaces."""
    return "syncRunId" in order or order.get("source") in SYNC_SOURCES


class Code(StrEnum):
    """What a finding is about."""

    USER_ID = "user_id"
    EMAIL_CASE = "email_case"
    USER_ID_UNKNOWN = "user_id_unknown"
    SORT_KEY = "sort_key"
    SORT_KEY_READ = "sort_key_read"
    MARK = "mark"
    PAYMENT_INTENT = "payment_intent"
    PREFIX = "prefix"
    MAJOR_UNITS = "major_units"
    NUMERIC_TIMES = "numeric_times"
    DOUBLED = "doubled"
    OTHER_SESSIONS = "other_sessions"
    NO_USER = "no_user"
    NO_ORDER = "no_order"
    NO_SESSIONS = "no_sessions"
    NOT_SCANNED = "not_scanned"
    SHAPE = "shape"
    NO_SHAPE = "no_shape"
    NEEDS_INDEX = "needs_index"
    NULL_IDS = "null_ids"
    NESTED_ID = "nested_id"
    ID_CASE = "id_case"
    NO_KEY = "no_key"
    USER_KEY = "user_key"
    KEY_TYPE = "key_type"
    CANDIDATES = "candidates"
    PROJECTION = "projection"
    FEW_SESSIONS = "few_sessions"
    STATUS_WORDS = "status_words"
    NO_STATUS = "no_status"
    OPEN_ORDERS = "open_orders"


@dataclass(frozen=True)
class LayoutFinding(StatusFinding):
    """One property of the table or of the sessions; its code is a `Code`.

    Its verdict is `fix` if it does not fit, `ok` if it is only named, `advice` for single sessions, and
    `unknown` if it could not be compared. `setting` is the template parameter that helps and its value, as
    `NAME=VALUE`, or None if none does or none is needed. `examples` are ids of sessions.
    """

    setting: str | None = None
    examples: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Return False if something must be changed."""
        return self.verdict is not Verdict.FIX


@dataclass(frozen=True)
class SessionPlace:
    """Where the order of one session is.

    `found` is True if the sync's lookup finds it, `key` describes its key without any value of a customer's,
    and is None if no order was seen. `codes` are those of the findings about this session.
    """

    session_id: str
    created: str
    found: bool
    key: str | None
    codes: tuple[Code, ...] = ()


@dataclass(frozen=True)
class ReadCounts:
    """What was read of the table beyond the sync's own lookups."""

    queries: int = 0
    scan_requests: int = 0
    scanned_items: int = 0


@dataclass(frozen=True)
class ShapeFile:
    """A `shape.toml`, proposed or given, and what the functions' lookup finds with it of the sessions.

    `found` have a done order, `open` one that is not done, `absent` none, and of `no_key` the key cannot be
    made. All are None if the lookup cannot be tried before `index_command` has added the index.
    """

    file: str
    found: int | None
    open: int | None
    absent: int | None
    no_key: int | None
    index_command: str | None = None


@dataclass(frozen=True)
class Layout:
    """The result. `settings` are the parameters that help, and `found_with_settings` is how many sessions'
    orders the lookup would find with them. `shape` is the file of a table with another layout."""

    table: str
    sessions: int
    with_order: int
    found: int
    found_with_settings: int
    fits: bool
    settings: tuple[str, ...] = ()
    findings: tuple[LayoutFinding, ...] = ()
    places: tuple[SessionPlace, ...] = ()
    read: ReadCounts = field(default_factory=ReadCounts)
    shape: ShapeFile | None = None
