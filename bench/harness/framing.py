"""Requests between processes: frames over a Unix socket, one request at a time on a connection.

It is cheap on purpose: the server simulates services on other machines, so it must not use the cores on which
the programs are measured.
"""

import selectors
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_LENGTH = struct.Struct(">I")


class Frame(NamedTuple):
    """A name (an operation or a status) and its content."""

    name: str
    body: bytes


class FrameConnection:
    """One connection, which is not thread-safe."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._file = connection.makefile("rb")

    @classmethod
    def open(cls, path: Path) -> "FrameConnection":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        return cls(connection)

    def send(self, frame: Frame) -> None:
        content = frame.name.encode() + b"\n" + frame.body
        self.connection.sendall(_LENGTH.pack(len(content)) + content)

    def receive(self) -> Frame | None:
        """Return the next frame, or None if the other side has closed the connection."""
        if len(head := self._file.read(_LENGTH.size)) < _LENGTH.size:
            return None
        name, _, body = self._file.read(*_LENGTH.unpack(head)).partition(b"\n")
        return Frame(name.decode(), body)

    def request(self, frame: Frame) -> Frame:
        self.send(frame)
        answer = self.receive()
        if answer is None:
            raise ConnectionError(f"no response to {frame.name}")
        return answer

    def close(self) -> None:
        self._file.close()
        self.connection.close()


class ThreadConnections:
    """A connection for each thread, opened at its first request. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = threading.local()
        self._made: list[FrameConnection] = []

    def request(self, frame: Frame) -> Frame:
        if not hasattr(self._own, "connection"):
            self._own.connection = FrameConnection.open(self._path)
            self._made.append(self._own.connection)
        connection: FrameConnection = self._own.connection
        return connection.request(frame)

    def close(self) -> None:
        for connection in self._made:
            connection.close()


class FrameServer:
    """Handles every connection on one thread.

    `take_over` gets each frame first; if it returns True, the connection is its own from then on.
    """

    def __init__(
        self,
        path: Path,
        handle: Callable[[Frame], Frame],
        take_over: Callable[[FrameConnection, Frame], bool],
    ) -> None:
        self._handle = handle
        self._accept_program = take_over
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(128)
        self._close_signal, self._closed_signal = socket.socketpair()
        for own in (self._listener, self._closed_signal):
            self._selector.register(own, selectors.EVENT_READ)

    def serve(self) -> None:
        """Serve until another thread calls `close`."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._closed_signal:
                    self._close_all()
                    return
                if key.fileobj is self._listener:
                    connection, _ = self._listener.accept()
                    self._selector.register(connection, selectors.EVENT_READ, FrameConnection(connection))
                else:
                    self._serve_connection(key.data)

    def close(self) -> None:
        self._close_signal.close()

    def _close_all(self) -> None:
        for key in self._selector.get_map().values():
            if key.data:
                key.data.close()
        for own in (self._selector, self._listener, self._closed_signal):
            own.close()

    def _serve_connection(self, connection: FrameConnection) -> None:
        frame = connection.receive()
        if frame is None:
            self._selector.unregister(connection.connection)
            connection.close()
        elif self._accept_program(connection, frame):
            self._selector.unregister(connection.connection)
        else:
            connection.send(self._handle(frame))
