"""The clock of the contract suite's in-memory engines."""


class ManualClock:
    """A clock in epoch seconds that moves only when it is advanced."""

    def __init__(self, now: float = 1_732_672_800.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock forward. It can replace `time.sleep`."""
        self.now += seconds
