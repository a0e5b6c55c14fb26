"""Where do the bytes of instances lie while they arrive, and how many may there be?

Buffers are pages of their own, given back to the system or to the next instance. A small one is
always to be had; larger ones only within a budget that all associations share, so that memory does
not grow with the number of senders or the size of what they send.
"""

import mmap
import threading
from typing import Final

SMALL: Final = 1 << 16
_SIZES: Final = (SMALL, 1 << 20, 4 << 20)


class Pool:
    """Buffers of a few sizes. Every method may be called from any thread."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._mutex = threading.Lock()
        self._lent = 0
        self._free: dict[int, list[mmap.mmap]] = {size: [] for size in _SIZES}

    @property
    def lent(self) -> int:
        """Bytes in use, small buffers aside."""
        return self._lent

    def take(self, size: int) -> mmap.mmap:
        """A buffer of at least `size` bytes; a smaller one when that is not to be had."""
        for wanted in reversed([one for one in _SIZES if one <= _class_of(size)]):
            if (buffer := self._take(wanted)) is not None:
                return buffer
        return mmap.mmap(-1, SMALL)

    def give(self, buffer: mmap.mmap) -> None:
        """The buffer is not used any more."""
        size = len(buffer)
        with self._mutex:
            if size != SMALL:
                self._lent -= size
            if self._kept() + size <= self._budget // 2:
                self._free[size].append(buffer)

    def _take(self, size: int) -> mmap.mmap | None:
        with self._mutex:
            if size != SMALL:
                if self._lent + size > self._budget:
                    return None
                self._lent += size
            if self._free[size]:
                return self._free[size].pop()
            while self._lent + self._kept() > self._budget and self._drop():
                pass
        return mmap.mmap(-1, size)

    def _kept(self) -> int:
        return sum(size * len(free) for size, free in self._free.items())

    def _drop(self) -> bool:
        """Give one unused buffer back to the system."""
        for free in self._free.values():
            if free:
                free.pop()
                return True
        return False


def _class_of(size: int) -> int:
    return next((one for one in _SIZES if one >= size), _SIZES[-1])
