"""The failures that the fake answers with, in Stripe's words and shape.

StripeFailureError      an HTTP answer with Stripe's error body
DropConnectionError     no answer at all: the socket is closed
"""

from dataclasses import dataclass
from typing import Any

# Stripe shows this much of a key that it does not know, so that a log line tells which one it was.
_SHOWN_KEY_PREFIX = 8
_SHOWN_KEY_SUFFIX = 4

_HOW_TO_AUTHENTICATE = (
    "You did not provide an API key. You need to provide your API key in the Authorization header, using "
    "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See "
    "https://stripe.com/docs/api#authentication for details, or we can help at https://support.stripe.com/."
)
_TOO_MANY = (
    "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits."
)
_OUR_FAULT = (
    "Sorry! There was an error while talking to one of our backends. We have already been notified of the "
    "problem, but please contact support@stripe.com with any questions you may have."
)


@dataclass
class StripeFailureError(Exception):
    """One error answer. `code` and `param` are absent from the body where Stripe has none."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    type: str = "invalid_request_error"
    rate_limited_reason: str | None = None

    def body(self, request_id: str) -> dict[str, Any]:
        error = {
            "code": self.code,
            "doc_url": self.code and f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}",
            "message": self.message,
            "param": self.param,
            "request_log_url": f"https://dashboard.stripe.com/test/logs/{request_id}",
            "type": self.type,
        }
        return {"error": {name: value for name, value in error.items() if value is not None}}


class DropConnectionError(Exception):
    """The connection ends without an answer."""


def missing_key() -> StripeFailureError:
    return StripeFailureError(401, _HOW_TO_AUTHENTICATE)


def wrong_key(key: str) -> StripeFailureError:
    return StripeFailureError(401, f"Invalid API Key provided: {masked(key)}")


def masked(key: str) -> str:
    """A key as Stripe repeats it: its kind and its last four characters; all stars when it is short."""
    hidden = len(key) - _SHOWN_KEY_PREFIX - _SHOWN_KEY_SUFFIX
    if hidden <= 0:
        return "*" * len(key)
    return key[:_SHOWN_KEY_PREFIX] + "*" * hidden + key[-_SHOWN_KEY_SUFFIX:]


def forbidden(key: str, account: str, permission: str) -> StripeFailureError:
    """What a restricted key hears that is right and may not do this. Stripe gives it no code."""
    return StripeFailureError(
        403,
        f"The provided key '{masked(key)}' does not have the required permissions for this endpoint on "
        f"account '{account}'. Having the '{permission}' permission would allow this request to continue.",
    )


def no_such_session(session_id: str) -> StripeFailureError:
    return StripeFailureError(404, f"No such checkout.session: '{session_id}'", "resource_missing", "session")


def no_such_cursor(kind: str, item_id: str, param: str) -> StripeFailureError:
    """400, not 404: what does not exist is named by a parameter and not by the URL."""
    return StripeFailureError(400, f"No such {kind}: '{item_id}'", "resource_missing", param)


def unknown_parameter(name: str) -> StripeFailureError:
    return StripeFailureError(400, f"Received unknown parameter: {name}", "parameter_unknown", name)


def invalid_integer(name: str, message: str) -> StripeFailureError:
    return StripeFailureError(400, message, "parameter_invalid_integer", name)


def invalid(message: str, param: str | None = None) -> StripeFailureError:
    return StripeFailureError(400, message, param=param)


def expanded_too_deep(path: str) -> StripeFailureError:
    message = f"You cannot expand more than 4 levels of a property. Property: {path}"
    return StripeFailureError(400, message, "property_expansion_max_depth")


def not_expandable(name: str, *, on_list: bool) -> StripeFailureError:
    hint = f" You may want to try expanding 'data.{name}' instead." if on_list else ""
    return StripeFailureError(400, f"This property cannot be expanded ({name}).{hint}")


def unknown_url(method: str, path: str) -> StripeFailureError:
    return StripeFailureError(
        404,
        f"Unrecognized request URL ({method}: {path}). If you are trying to list objects, "
        "remove the trailing slash. If you are trying to retrieve an object, make sure you "
        "passed a valid (non-empty) identifier in your code.",
    )


def rate_limited(reason: str) -> StripeFailureError:
    """`reason` is what Stripe puts into `Stripe-Rate-Limited-Reason`; there is no Retry-After."""
    return StripeFailureError(429, _TOO_MANY, "rate_limit", rate_limited_reason=reason)


def server_error() -> StripeFailureError:
    return StripeFailureError(500, _OUR_FAULT, type="api_error")
