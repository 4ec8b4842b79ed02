"""The fake Stripe without a socket: the library's own client on a transport that a test can make fail."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import stripe as library

from testkit.doubles.faults import CallHistory, Faulty
from testkit.fake_stripe import FakeStripe
from testkit.fake_stripe.errors import DropConnectionError

type StripeReply = tuple[bytes, int, Mapping[str, str]]


class Stripe:
    """Stripe as one call, `get`: a request and its reply. `page_size` makes its pages short."""

    def __init__(self, account: FakeStripe, page_size: int | None = None) -> None:
        self._account = account
        self._page_size = page_size

    def get(self, url: str, headers: Mapping[str, str]) -> StripeReply:
        parts = urlsplit(url)
        target = f"{parts.path}?{self._shorten_pages(parts.query)}"
        lower = {name.lower(): value for name, value in headers.items()}
        try:
            answer = self._account._answer("GET", target, lower, b"")
        except DropConnectionError as exc:
            raise library.APIConnectionError("connection dropped") from exc
        return json.dumps(answer.body).encode(), answer.status, answer.headers

    def _shorten_pages(self, query: str) -> str:
        fields = dict(parse_qsl(query, keep_blank_values=True))
        if "limit" in fields and self._page_size:
            fields["limit"] = str(min(int(fields["limit"]), self._page_size))
        return urlencode(fields)


class InProcessTransport(library.HTTPClient):
    """The library's HTTP client; `stripe` answers its requests and records them in a history."""

    name = "in process"

    def __init__(self, stripe: Stripe, history: CallHistory) -> None:
        super().__init__()
        self.stripe = Faulty(stripe, history=history)

    def request(self, method: str, url: str, headers: Any, post_data: Any = None) -> StripeReply:  # type: ignore[override]
        assert method == "get"
        reply: StripeReply = self.stripe.get(url, headers)
        return reply

    def close(self) -> None:
        """Do nothing: no connection is open."""
