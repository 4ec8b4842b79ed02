"""A clock for the doubles, and for whatever takes time as a parameter."""


class Clock:
    """A time that passes when it is told to: epoch seconds, as `time.time`."""

    def __init__(self, now: float = 1_732_672_800.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Also stands in for `time.sleep`."""
        self.now += seconds
