"""The sandbox's Stripe without a socket: the library's own client on a transport that a test can harm."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import stripe as library

from testkit.doubles.faults import CallHistory, Faulty
from testkit.fake_stripe import FakeStripe
from testkit.fake_stripe.errors import DropConnectionError

type Reply = tuple[bytes, int, Mapping[str, str]]


class Stripe:
    """The one call there is: a request and its reply. `page` makes Stripe's pages short."""

    def __init__(self, account: FakeStripe, page: int | None) -> None:
        self._account = account
        self._page = page

    def get(self, url: str, headers: Mapping[str, str]) -> Reply:
        parts = urlsplit(url)
        target = f"{parts.path}?{self._shortened(parts.query)}"
        lower = {name.lower(): value for name, value in headers.items()}
        try:
            answer = self._account._answer("GET", target, lower, b"")
        except DropConnectionError as exc:
            raise library.APIConnectionError("connection dropped") from exc
        return json.dumps(answer.body).encode(), answer.status, answer.headers

    def _shortened(self, query: str) -> str:
        fields = parse_qsl(query, keep_blank_values=True)
        return urlencode(
            [(k, str(min(int(v), self._page)) if k == "limit" and self._page else v) for k, v in fields]
        )


class Transport(library.HTTPClient):
    """What the library sends its requests through."""

    name = "in process"

    def __init__(self, account: FakeStripe, history: CallHistory, page: int | None = None) -> None:
        super().__init__()
        self.port = Faulty(Stripe(account, page), history=history)

    def request(self, method: str, url: str, headers: Any, post_data: Any = None) -> Reply:  # type: ignore[override]
        assert method == "get"
        reply: Reply = self.port.get(url, headers)
        return reply

    def close(self) -> None:
        """Nothing is open."""
