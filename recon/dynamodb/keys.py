"""The keys of all items that the sync reads and writes, besides the orders (`recon.domain.order_keys`)."""

from recon.dynamodb.table import Key

SYSTEM = "SYSTEM"
STATE_KEY: Key = (SYSTEM, "STRIPE_ORDER_SYNC")
# Apart from the state, which the Lambda that this system replaces puts whole, and so erases.
WATERMARK_KEY: Key = (SYSTEM, "STRIPE_SYNC_WATERMARK")
RUN_PREFIX = "STRIPE_ORDER_SYNC#"
PENDING_PREFIX = "PENDING#"
ATTENTION_PREFIX = "ATTENTION#"
DISMISSED_PREFIX = "DISMISSED#"
ALLOWED_PREFIX = "ALLOWED#"
SESSION_PREFIX = "SESSION#"
EVENT_PREFIX = "EVENT#"
# The sort key of a guard.
GUARD = "SYNC_ORDER"
OUTCOMES_PREFIX = "SYNC_RUN#"
_SYSTEM_PREFIXES = (RUN_PREFIX, PENDING_PREFIX, ATTENTION_PREFIX, DISMISSED_PREFIX, ALLOWED_PREFIX)


def run_key(run_id: str) -> Key:
    """Return the key of a run's record."""
    return (SYSTEM, f"{RUN_PREFIX}{run_id}")


def pending_key(session_id: str) -> Key:
    """Return the key of the entry of a session whose payment is pending."""
    return (SYSTEM, f"{PENDING_PREFIX}{session_id}")


def attention_key(session_id: str) -> Key:
    """Return the key of the item that says what a person has to look at about a session."""
    return (SYSTEM, f"{ATTENTION_PREFIX}{session_id}")


def dismissed_key(session_id: str) -> Key:
    """Return the key of an operator's decision that no order of this session is ever written."""
    return (SYSTEM, f"{DISMISSED_PREFIX}{session_id}")


def allowed_key(session_id: str) -> Key:
    """Return the key of the record of who took a dismissal or a guard back, and why."""
    return (SYSTEM, f"{ALLOWED_PREFIX}{session_id}")


def guard_key(session_id: str) -> Key:
    """Return the key of the record that the sync wrote the order of this session once."""
    return (f"{SESSION_PREFIX}{session_id}", GUARD)


def marker_key(event_id: str) -> Key:
    """Return the key of the webhook's record of an event that it has handled."""
    return (f"{EVENT_PREFIX}{event_id}", "METADATA")


def outcome_partition(run_id: str) -> str:
    """Return the partition key of all outcomes of a run."""
    return f"{OUTCOMES_PREFIX}{run_id}"


def outcome_key(run_id: str, session_id: str) -> Key:
    """Return the key of the outcome of one session in one run."""
    return (outcome_partition(run_id), f"{SESSION_PREFIX}{session_id}")


def is_ledger_record(key: Key) -> bool:
    """Return True for the key of a record of the sync, besides the state and the watermark.

    The shop may have its own items under the same partition keys.
    """
    pk, sk = key
    if pk == SYSTEM:
        return sk.startswith(_SYSTEM_PREFIXES)
    if pk.startswith(OUTCOMES_PREFIX):
        return sk.startswith(SESSION_PREFIX)
    return pk.startswith(SESSION_PREFIX) and sk == GUARD
