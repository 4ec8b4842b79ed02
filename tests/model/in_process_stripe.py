"""The fake Stripe without sockets: the real library's requests, answered in the same thread.

All but the transport is what other tests use: the account's store, its endpoints, its errors.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import stripe

from recon.config import Settings
from recon.stripe.connection import STRIPE_VERSION, StripeConnection
from recon.stripe.key import StripeKey
from recon.stripe.rate_limiter import RateLimiter
from testkit.builders import FakeTime
from testkit.fake_stripe import api, errors
from testkit.fake_stripe.store import Store

REQUEST_ID = "req_model"
OTHER_KEY = "sk_test_of_another_account"


class StripeApi:
    """The account's endpoints as calls. `keys` are those that are valid at the moment.

    `other` is another account, whose key is always valid.
    """

    url = "https://stripe.test"

    def __init__(self, key: str) -> None:
        self.store, self.other = Store(), Store()
        self.keys = {key}
        self.may_read_events = True

    def retrieve(self, query: str, path: str, key: str) -> dict[str, Any]:
        store = self.other if key == OTHER_KEY else self.store
        return api.answer(store, api.understand("GET", path, query))

    # One call for each endpoint, so that each can fail alone.
    list = line_items = disputes = invoice_payments = products = retrieve

    def events(self, query: str, path: str, key: str) -> dict[str, Any]:
        if not self.may_read_events:
            raise errors.forbidden(next(iter(self.keys)), "acct_model", "rak_event_read")
        return self.retrieve(query, path, key)


class EndpointClient(stripe.HTTPClient):
    """The library's HTTP client. `endpoints` is a StripeApi, or one behind faults."""

    name = "in-process"

    def __init__(self, endpoints: Any) -> None:
        super().__init__()
        self._endpoints = endpoints

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        target = urlsplit(url)
        endpoint = api.understand(method.upper(), target.path, target.query).endpoint
        try:
            key = (headers or {}).get("Authorization", "").removeprefix("Bearer ")
            self._check_key(key)
            body = getattr(self._endpoints, endpoint.value)(target.query, target.path, key)
        except errors.StripeFailureError as failure:
            return json.dumps(failure.body(REQUEST_ID)), failure.status, {"request-id": REQUEST_ID}
        except errors.DropConnectionError as exc:
            raise stripe.APIConnectionError("dropped") from exc
        return json.dumps(body), 200, {"request-id": REQUEST_ID}

    def _check_key(self, key: str) -> None:
        if key not in {*self._endpoints.keys, OTHER_KEY}:
            raise errors.wrong_key(key)

    def close(self) -> None:
        """Do nothing: no connection is open."""


def connect_process(
    settings: Settings, endpoints: Any, ssm: Any, limiter: RateLimiter, clock: FakeTime
) -> StripeConnection:
    """Return the connection of one process, which shares nothing but the parameter with others."""
    connection = StripeConnection(StripeKey(settings, lambda: ssm), limiter, timeout=5.0, clock=clock)
    connection.close()
    connection._http = EndpointClient(endpoints)  # type: ignore[assignment]
    connection._client = stripe.StripeClient(
        "set per request", http_client=connection._http, stripe_version=STRIPE_VERSION
    )
    return connection
