"""Time that passes only when somebody waits: processes are generators that yield how long, in seconds."""

from collections.abc import Generator
from heapq import heappop, heappush

type Process = Generator[float | None]


class Simulation:
    """Runs its processes in the order of their time, and at the same moment in that of their coming.

    A process that yields None sleeps until somebody calls `wake`.
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
        """Until no process has a turn left."""
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
