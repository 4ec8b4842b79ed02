"""Every error this system raises on purpose, and what the pipeline does with it.

    SyncError
      Retryable              tried again: inside the invocation, then by the queue's visibility timeout
        StripeThrottled        429: Stripe's limiter said not now
        StripeUnavailable      5xx, timeout, connection dropped, unreadable answer
        KeyRejected            401: the Stripe key is wrong or revoked
          KeyNotAllowed          403: the key is right and lacks this permission
        KeyUnavailable         the SSM parameter with the key could not be read
        LineItemsMissing       a paid session without line items: never written as an empty order
        TableUnavailable       DynamoDB throttled, conflicted or could not be reached
        QueueUnavailable       SQS rejected or could not be reached
        NotAllowed             a role lacks a permission for the table or the queue; the message names it
        HopFailed              the producer could not invoke itself to go on with a run
        OutOfTime              the invocation's time would not have sufficed
        Unfinished             a last attempt that ended without an answer: the function was killed
        Unexpected             anything nobody thought of: a bug, never a reason to lose a session
      Permanent              trying again changes nothing: an error outcome, then the dead-letter queue
        SessionNotFound        Stripe answers 404 for the session
        StripeRejected         Stripe refuses the request itself (400, 402, …)
        MalformedSession       Stripe's answer lacks what an order needs, or has it in a wrong type
        OrderTooLarge          the snapshot exceeds DynamoDB's 400 KB
        TableRefused           DynamoDB refuses the request itself: a value it cannot store
        TooManyHops            a run that does not end, however often its producer goes on
        MalformedMessage       a queue message that this version cannot read
      ConfigError            missing or wrong environment; names every wrong name at once
      InvalidRequest         a producer event that names something wrong; a manual one is answered with 400

Messages never hold Stripe's own text, a key, a name or an address: they are logged and stored.
"""


class SyncError(Exception):
    """The root: what this system raises on purpose."""


class Retryable(SyncError):
    """Transient: the same call may succeed later."""


class StripeThrottled(Retryable):
    """Stripe answered 429."""


class StripeUnavailable(Retryable):
    """Stripe failed, timed out or dropped the connection."""


class KeyRejected(Retryable):
    """Stripe answered 401. Retryable, because an operator mends the key and not the message."""


class KeyNotAllowed(KeyRejected):
    """Stripe answered 403: the key lacks a permission for what was asked."""


class KeyUnavailable(Retryable):
    """The SSM parameter that holds the key could not be read."""


class LineItemsMissing(Retryable):
    """A paid session came without line items."""


class TableUnavailable(Retryable):
    """DynamoDB throttled, conflicted or could not be reached."""


class QueueUnavailable(Retryable):
    """SQS rejected entries or could not be reached."""


class NotAllowed(Retryable):
    """AWS denied a role an action. Retryable, because an operator mends the policy and not the message."""


class HopFailed(Retryable):
    """The producer could not invoke itself."""


class OutOfTime(Retryable):
    """What was left of the invocation would not have sufficed; nothing was started."""


class Unfinished(Retryable):
    """A last attempt began and nobody saw it end."""


class Unexpected(Retryable):
    """An exception nobody mapped. Retried, since losing a session to a bug is worse than a late order."""


class Permanent(SyncError):
    """Trying again changes nothing; a person has to look."""


class SessionNotFound(Permanent):
    """Stripe does not know the session."""


class StripeRejected(Permanent):
    """Stripe refuses the request itself."""


class MalformedSession(Permanent):
    """A session or line item that cannot become an order; the message names the field."""


class OrderTooLarge(Permanent):
    """The snapshot does not fit a DynamoDB item."""


class TableRefused(Permanent):
    """DynamoDB refuses the request itself."""


class TooManyHops(Permanent):
    """A run that does not end."""


class MalformedMessage(Permanent):
    """A queue message this version cannot read; the message names the field.

    `run_id` and `session_id` are set where both could be read: then the session gets an error outcome.
    """

    def __init__(self, message: str, *, run_id: str | None = None, session_id: str | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.session_id = session_id


class ConfigError(SyncError):
    """The environment is incomplete or wrong."""


class InvalidRequest(SyncError):
    """A producer event with something wrong in it."""
