"""Questions and answers between processes: frames over a Unix socket, one question at a time a connection.

Cheap on purpose. What answers stands for services on other machines, so it must not eat the cores that the
programs are measured on.
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
    """A name (of an operation, or a status) and what belongs to it."""

    name: str
    body: bytes


class Line:
    """One connection. Not thread-safe."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._file = connection.makefile("rb")

    @classmethod
    def to(cls, path: Path) -> "Line":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        return cls(connection)

    def says(self, frame: Frame) -> None:
        content = frame.name.encode() + b"\n" + frame.body
        self.connection.sendall(_LENGTH.pack(len(content)) + content)

    def hears(self) -> Frame | None:
        """None: the other side is gone."""
        if len(head := self._file.read(_LENGTH.size)) < _LENGTH.size:
            return None
        name, _, body = self._file.read(*_LENGTH.unpack(head)).partition(b"\n")
        return Frame(name.decode(), body)

    def asks(self, frame: Frame) -> Frame:
        self.says(frame)
        answer = self.hears()
        if answer is None:
            raise ConnectionError(f"nobody answers {frame.name}")
        return answer

    def close(self) -> None:
        self._file.close()
        self.connection.close()


class Lines:
    """A connection for each thread, made when it first asks. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = threading.local()
        self._made: list[Line] = []

    def asks(self, frame: Frame) -> Frame:
        if not hasattr(self._own, "line"):
            self._own.line = Line.to(self._path)
            self._made.append(self._own.line)
        line: Line = self._own.line
        return line.asks(frame)

    def close(self) -> None:
        for line in self._made:
            line.close()


class Switchboard:
    """Answers every connection from one thread. `takes` may take a connection over for good: it is given the
    first frame, and answers whether it has."""

    def __init__(
        self, path: Path, answers: Callable[[Frame], Frame], takes: Callable[[Line, Frame], bool]
    ) -> None:
        self._answers = answers
        self._takes = takes
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(128)
        self._hangs_up, self._hung_up = socket.socketpair()
        for own in (self._listener, self._hung_up):
            self._selector.register(own, selectors.EVENT_READ)

    def serves(self) -> None:
        """Until it is closed, by another thread."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._hung_up:
                    self._ends()
                    return
                if key.fileobj is self._listener:
                    connection, _ = self._listener.accept()
                    self._selector.register(connection, selectors.EVENT_READ, Line(connection))
                else:
                    self._serves(key.data)

    def close(self) -> None:
        self._hangs_up.close()

    def _ends(self) -> None:
        for key in self._selector.get_map().values():
            if key.data:
                key.data.close()
        for own in (self._selector, self._listener, self._hung_up):
            own.close()

    def _serves(self, line: Line) -> None:
        frame = line.hears()
        if frame is None:
            self._selector.unregister(line.connection)
            line.close()
        elif self._takes(line, frame):
            self._selector.unregister(line.connection)
        else:
            line.says(self._answers(frame))
