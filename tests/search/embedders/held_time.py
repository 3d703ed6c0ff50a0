"""Monotonic time that passes only while somebody sleeps."""


class HeldTime:
    """Stands for the module `time`; `sleeps` are the waits so far, in seconds."""

    def __init__(self) -> None:
        self.sleeps: list[float] = []

    def monotonic(self) -> float:
        return 1_000.0 + sum(self.sleeps)

    def sleep(self, seconds: float, /) -> None:
        self.sleeps.append(seconds)
