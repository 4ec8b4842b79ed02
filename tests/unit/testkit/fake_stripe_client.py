"""A client of the fake Stripe with one keep-alive connection."""

import json
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

KEY = "sk_test_0123456789abcdef"
NOW = 1_732_672_800
SESSIONS = "/v1/checkout/sessions"
EVENTS = "/v1/events"
DISPUTES = "/v1/disputes"


class FakeStripeClient:
    """A client that does not raise on error responses."""

    def __init__(self, url):
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=5)

    def request(self, path, *, key=KEY, method="GET", headers=None, **params):
        """Return status, body and headers."""
        query = urlencode(params, doseq=True)
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        self._connection.request(method, f"{path}?{query}", headers=authorization | (headers or {}))
        response = self._connection.getresponse()
        return response.status, json.loads(response.read()), response.headers

    def status(self, path, **params):
        return self.request(path, **params)[0]

    def get(self, path, **params):
        status, body, _ = self.request(path, **params)
        assert status == 200, body
        return body

    def error(self, path, **params):
        status, body, _ = self.request(path, **params)
        return status, body["error"]

    def close(self):
        self._connection.close()
