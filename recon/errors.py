"""Every error that this system raises deliberately, and how the pipeline handles it.

    SyncError
      Retryable              retried: within the invocation, then by the queue's visibility timeout
        StripeThrottled        429: Stripe's rate limit was exceeded
        StripeUnavailable      5xx, timeout, connection dropped, unreadable response
        KeyRejected            401: the Stripe key is wrong or revoked
          KeyNotAllowed          403: the key is valid but lacks this permission
        KeyUnavailable         the SSM parameter with the key could not be read
        LineItemsMissing       a paid session without line items: never written as an empty order
        TableUnavailable       DynamoDB throttled or conflicted, or is unreachable
        QueueUnavailable       SQS rejected the request, or is unreachable
        KeyUnproven            404, while the key was replaced, or for a waiting session is not proven
        NotAllowed             a role lacks a permission for the table or the queue; the message names it
        HopFailed              the producer could not invoke itself to continue a run
        OutOfTime              the invocation has too little time left for the next step
        WebhookAtWork          the webhook has begun to handle an event of the session, and may still be at it
        Unfinished             a last attempt without a result: the function was killed
        Unexpected             any other exception: a bug, which must not lose a session
      Permanent              a retry cannot help: an error outcome, then the dead-letter queue
        SessionNotFound        404: Stripe does not know the session
        StripeRejected         Stripe rejects the request itself (400, 402, …)
        MalformedSession       Stripe's response lacks a field that an order needs, or has a wrong type
        UnknownState           Stripe uses a word for a session's or payment's state that has no meaning here
        OrderTooLarge          the snapshot exceeds DynamoDB's 400 KB
        TableRefused           DynamoDB rejects the request itself: a value it cannot store
        TooManyHops            a run that does not end after thousands of producer invocations
        MalformedMessage       a queue message that this version cannot read
      ConfigError            missing or wrong environment variables; lists all of them
        LedgerInUse            the ledger belongs to another stack; names both
        ShapeMismatch          the keys in shape.toml are not those of the shop's table or index
        LedgerNotMoved         the ledger is in another table, or its move has not ended; names the command
      InvalidRequest         a producer event with a wrong value; 400 is the response to a manual one

Messages are logged and stored, so they never contain Stripe's text, a key, a name or an address.
"""


class SyncError(Exception):
    """The root of all errors that this system raises deliberately."""


class Retryable(SyncError):
    """Transient: the same call may succeed later."""


class StripeThrottled(Retryable):
    """Stripe answered 429."""


class StripeUnavailable(Retryable):
    """Stripe failed, timed out or dropped the connection."""


class KeyRejected(Retryable):
    """Stripe answered 401. It is retryable because an operator can replace the key."""


class KeyNotAllowed(KeyRejected):
    """Stripe answered 403: the key lacks a permission that the request needs."""


class KeyUnavailable(Retryable):
    """The SSM parameter that holds the key could not be read."""


class KeyUnproven(Retryable):
    """Stripe answered 404 to a key that was replaced, or for a waiting session to one that is not proven."""


class LineItemsMissing(Retryable):
    """A paid session came without line items."""


class TableUnavailable(Retryable):
    """DynamoDB throttled, conflicted or could not be reached."""


class QueueUnavailable(Retryable):
    """SQS rejected entries or could not be reached."""


class NotAllowed(Retryable):
    """AWS denied a role an action. It is retryable because an operator can correct the policy."""


class HopFailed(Retryable):
    """The producer could not invoke itself."""


class OutOfTime(Retryable):
    """The invocation has too little time left, so the next step was not started."""


class WebhookAtWork(Retryable):
    """The webhook has claimed an event of the session, and may still work on it for `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"the webhook may still be working on the session for {seconds} s")
        self.seconds = seconds


class Unfinished(Retryable):
    """A last attempt started and has no recorded result."""


class Unexpected(Retryable):
    """An unmapped exception. It is retryable because a late order is better than a lost one."""


class Permanent(SyncError):
    """Permanent: a retry cannot help, and an operator has to act."""


class SessionNotFound(Permanent):
    """Stripe does not know the session."""


class StripeRejected(Permanent):
    """Stripe rejects the request itself."""


class MalformedSession(Permanent):
    """A session or line item that cannot become an order; the message names the field."""


class UnknownState(Permanent):
    """Stripe uses an unknown word for the state of a session or payment; the message names field and word."""


class OrderTooLarge(Permanent):
    """The snapshot does not fit a DynamoDB item."""


class TableRefused(Permanent):
    """DynamoDB rejects the request itself."""


class TooManyHops(Permanent):
    """A run does not end."""


class MalformedMessage(Permanent):
    """A queue message that this version cannot read; the text names the field.

    `run_id` and `session_id` are set if both could be read; the session then gets an error outcome.
    """

    def __init__(self, message: str, *, run_id: str | None = None, session_id: str | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.session_id = session_id


class ConfigError(SyncError):
    """Environment variables are missing or wrong."""


class LedgerInUse(ConfigError):
    """The ledger belongs to another stack."""


class LedgerNotMoved(ConfigError):
    """The ledger is in another table than the settings say, or its move has not ended."""


class ShapeMismatch(ConfigError):
    """The keys in shape.toml are not those of the shop's table or index."""


class InvalidRequest(SyncError):
    """A producer event has a wrong value."""
