"""How does a reader of the journal miss nothing, whatever the order of commits?

A fact gets its number when it is written and is seen when its transaction commits: with several
writers a lower number may be seen after a higher one. So a follower remembers the numbers that are
not there yet and looks for them until no transaction can hold them any more. SQLite has one writer,
and no such gaps.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Row

from storage.journal import Journal

MOST: Final = 2000
"""Facts that are read at once; who has missed more begins with the newest."""
PATIENCE: Final = 120.0
"""Seconds a number is looked for: longer than any transaction may last."""


class Follower:
    """A position in the journal. One thread at a time reads on; any may ask where to resume."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.position = 0
        self._gaps: dict[int, float] = {}  # number → when it was first missed
        self._late: dict[int, float] = {}  # number → when it was seen after all

    def start(self, facts: Journal) -> None:
        """From now on."""
        self.position = facts.position()
        self._miss(facts.missing(max(self.position - MOST, 0), self.position))

    def news(self, facts: Journal, sites: frozenset[str]) -> list[Row[Any]]:
        """What has been committed since the last call, by number; what concerns these Sites."""
        until = facts.position()
        begin = max(self.position, until - MOST)
        late = facts.these(self._gaps, sites) if self._gaps else []
        fresh = [row for row in facts.after(begin, sites, MOST) if row.id <= until]
        self._advance(facts, begin, until)
        return [*late, *fresh]

    def skip(self, facts: Journal) -> None:
        """Read on without a look: nobody wants to know."""
        until = facts.position()
        self._advance(facts, max(self.position, until - MOST), until)

    def resume(self, last: int) -> int:
        """After which number somebody reads who has read up to `last` and then was away."""
        earliest = min(self._late, default=last + 1) - 1
        return max(min(last, earliest), self.position - MOST)

    def _advance(self, facts: Journal, begin: int, until: int) -> None:
        now = self._clock()
        for number in facts.present(self._gaps) if self._gaps else ():
            del self._gaps[number]
            self._late = {**self._late, number: now}
        self._miss(facts.missing(begin, until))
        self._gaps = _young(self._gaps, now)
        self._late = _young(self._late, now)
        self.position = max(self.position, until)

    def _miss(self, numbers: frozenset[int]) -> None:
        now = self._clock()
        for number in numbers:
            self._gaps.setdefault(number, now)


def _young(numbers: dict[int, float], now: float) -> dict[int, float]:
    return {number: since for number, since in numbers.items() if now - since < PATIENCE}
