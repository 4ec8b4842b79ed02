"""Discrete-event simulation: processes are generators that yield how many seconds they wait."""

from collections.abc import Generator
from heapq import heappop, heappush

type Process = Generator[float | None]


class Simulation:
    """Runs processes in the order of their time, and in the order of their start at equal times.

    A process that yields None sleeps until `wake` is called.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._turns: list[tuple[float, int, Process]] = []
        self._asleep: list[Process] = []
        self._numbered = 0

    def start(self, process: Process) -> None:
        self._numbered += 1
        heappush(self._turns, (self.now, self._numbered, process))

    def wake(self) -> None:
        sleepers, self._asleep = self._asleep, []
        for process in sleepers:
            self.start(process)

    def run(self) -> None:
        """Run until no process is due."""
        while self._turns:
            self.now, _, process = heappop(self._turns)
            try:
                seconds = next(process)
            except StopIteration:
                continue
            if seconds is None:
                self._asleep.append(process)
            else:
                self._numbered += 1
                heappush(self._turns, (self.now + seconds, self._numbered, process))
