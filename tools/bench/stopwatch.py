"""How long has the bench been running, and may another repetition begin?"""

import time


class Stopwatch:
    """Runs from its making. Late means: begin nothing that may be left out."""

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._seconds = seconds

    @property
    def elapsed(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._began

    @property
    def is_late(self) -> bool:
        """Whether the time that was given is over."""
        return self.elapsed > self._seconds
