"""An HTTP server without any Stripe: keep-alive connections on 127.0.0.1 that can be dropped."""

import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from testkit.fake_stripe.errors import DropConnectionError

# How soon the accepting thread notices that it has to stop.
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: status, JSON body, and headers in addition to those of the body."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


# Method, target, headers by lower-case name, content. May raise DropConnectionError instead of answering.
type Answering = Callable[[str, str, Mapping[str, str], bytes], Answer]


class HttpServer(ThreadingHTTPServer):
    """A server that closes its open connections on stop, since keep-alive ones would hold their threads."""

    daemon_threads = False
    block_on_close = True
    # Consumers arrive at the same instant; the default of five would refuse some.
    request_queue_size = 128

    def __init__(self, port: int, answering: Answering) -> None:
        self.answering = answering
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_SECONDS,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and wait for the last request to end."""
        self.shutdown()
        with self._lock:
            for connection in self._open:
                _shut_down(connection)
        self.server_close()
        self._thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        # Added before its thread starts, so that `stop` cannot miss it.
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    # Without these two, an answer leaves in several small packets and waits 40 ms for an acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1
    server: HttpServer

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def finish(self) -> None:
        # A client that timed out has closed the connection, so that flushing fails.
        try:
            super().finish()
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that is overridden
        """Print nothing: requests are logged elsewhere, and a key must never reach a terminal."""

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            self._send(self.server.answering(self.command, self.path, headers, content))
        except DropConnectionError:
            self.close_connection = True
            _shut_down(self.connection)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names that http.server looks for

    def _send(self, answer: Answer) -> None:
        content = json.dumps(answer.body, separators=(",", ":")).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _shut_down(connection: socket.socket) -> None:
    """Shut a connection down, which wakes the thread that reads from it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client has closed it already
