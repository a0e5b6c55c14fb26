"""How is a digest made while the same bytes go to the disk?

hashlib gives the interpreter free for long inputs, so a second thread costs no more than the
hand-over. One is enough: who finds it busy works by himself.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final

WORTH_IT: Final = 1 << 16
"""Bytes below which the hand-over takes longer than the digest."""

Wait = Callable[[], None]


class _Work:
    """Something that is done once and waited for."""

    def __init__(self, work: Callable[[Any], object], given: bytes | memoryview) -> None:
        self._work = work
        self._given: bytes | memoryview = given
        self._error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()

    def do(self) -> None:
        """The work itself, on whichever thread."""
        try:
            self._work(self._given)
        except BaseException as error:
            self._error = error
        self._given = b""

    def wait(self) -> None:
        """Until it has been done."""
        with self.done:
            if self._error is not None:
                raise self._error


class Beside:
    """A thread that does one thing at a time, if it is free."""

    def __init__(self) -> None:
        self._free = threading.Lock()
        self._work: SimpleQueue[_Work] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self, work: Callable[[Any], object], given: bytes | memoryview) -> Wait:
        """Let `work(given)` be done, here or beside; the returned function waits for its end and
        may be called again, and raises what the work raised."""
        if len(given) < WORTH_IT or not self._free.acquire(blocking=False):
            work(given)
            return _nothing
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="digest", daemon=True)
            self._thread.start()
        one = _Work(work, given)
        self._work.put(one)
        return one.wait

    def _run(self) -> None:
        while True:
            one = self._work.get()
            one.do()
            self._free.release()
            one.done.release()
            del one  # not to be held until the next one comes


def _nothing() -> None:
    return
