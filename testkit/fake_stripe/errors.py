"""The errors of the fake, with Stripe's messages and fields.

StripeFailureError      an HTTP response with Stripe's error body
DropConnectionError     no response: the socket is closed
"""

from dataclasses import dataclass
from typing import Any

# Stripe shows these characters of an unknown key, so that a log line identifies it.
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
    """One error response. `code` and `param` are absent from the body if they are None."""

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
    """The connection ends without a response."""


def missing_key() -> StripeFailureError:
    return StripeFailureError(401, _HOW_TO_AUTHENTICATE)


def wrong_key(key: str) -> StripeFailureError:
    return StripeFailureError(401, f"Invalid API Key provided: {mask_key(key)}")


def mask_key(key: str) -> str:
    """Return a key as Stripe shows it: its kind and its last four characters; only stars if it is short."""
    hidden = len(key) - _SHOWN_KEY_PREFIX - _SHOWN_KEY_SUFFIX
    if hidden <= 0:
        return "*" * len(key)
    return key[:_SHOWN_KEY_PREFIX] + "*" * hidden + key[-_SHOWN_KEY_SUFFIX:]


def forbidden(key: str, account: str, permission: str) -> StripeFailureError:
    """Return the error of a valid restricted key without the permission. Stripe gives it no code."""
    return StripeFailureError(
        403,
        f"The provided key '{mask_key(key)}' does not have the required permissions for this endpoint on "
        f"account '{account}'. Having the '{permission}' permission would allow this request to continue.",
    )


def no_such_session(session_id: str) -> StripeFailureError:
    return StripeFailureError(404, f"No such checkout.session: '{session_id}'", "resource_missing", "session")


def no_such_cursor(kind: str, item_id: str, param: str) -> StripeFailureError:
    """Return the error of an unknown object in a parameter, which is 400; one in the URL is 404."""
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
    """Return the rate limit error with `Stripe-Rate-Limited-Reason: reason` and without Retry-After."""
    return StripeFailureError(429, _TOO_MANY, "rate_limit", rate_limited_reason=reason)


def server_error() -> StripeFailureError:
    return StripeFailureError(500, _OUR_FAULT, type="api_error")
