"""How is something written down without making a device wait for it?

It is gathered in memory and written together, by a thread of its own, at most once in so many
seconds.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Gathered(ABC, Generic[K, V]):
    """Values by key, until they are written. What fails to be written is the writer's to tell."""

    def __init__(self, name: str, every: float) -> None:
        self._every = every
        self._mutex = threading.Lock()
        self._values: dict[K, V] = {}
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def write(self, values: dict[K, V]) -> None:
        """Write them down; must not raise."""

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Write what is left, and end."""
        self._stopping.set()
        self._some.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    @contextmanager
    def gathering(self) -> Iterator[dict[K, V]]:
        """What has been gathered, to add to; from any thread, and without waiting for the disk."""
        with self._mutex:
            yield self._values
        self._some.set()

    def _run(self) -> None:
        while True:
            self._some.wait()
            self._some.clear()
            with self._mutex:
                values, self._values = self._values, {}
            if values:
                self.write(values)
            if self._stopping.wait(self._every if values else 0) and not self._values:
                return
