"""How is it remembered who was turned away, without that being a way to keep us busy?

Refused calls are added up in memory and written at most once a second, by a thread of its own.
"""

import logging
import threading
from dataclasses import replace
from typing import Final

from gateway.assemble import Parts
from gateway.dicom.store import where
from storage.refused import RefusedCall, note

log = logging.getLogger("teleread.dicom")

_MOST: Final = 500  # callers between two times of writing; more are an attack, and not remembered
_EVERY: Final = 1.0


class TurnedAway:
    """Callers that were refused. `add` may be called from any thread, and never waits."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._mutex = threading.Lock()
        self._calls: dict[tuple[str, str, str, str], RefusedCall] = {}
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write, name="turned-away", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Write what is left, and end."""
        self._stopping.set()
        self._some.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def add(self, calling: str, called: str, address: str, certificate: str, why: str) -> None:
        """One more refused call."""
        now = self._parts.now()
        key = (calling[:16], called[:16], address[:64], certificate)
        with self._mutex:
            before = self._calls.get(key)
            if before is not None:
                self._calls[key] = replace(before, why=why, times=before.times + 1, last_at=now)
            elif len(self._calls) < _MOST:
                self._calls[key] = RefusedCall(*key, why, 1, now, now)
        self._some.set()

    def _write(self) -> None:
        while True:
            self._some.wait()
            self._some.clear()
            with self._mutex:
                calls, self._calls = self._calls, {}
            if calls:
                self._keep(list(calls.values()))
            if self._stopping.wait(_EVERY if calls else 0) and not self._calls:
                return

    def _keep(self, calls: list[RefusedCall]) -> None:
        try:
            with self._parts.new_unit() as unit:
                note(unit.connection, calls)
        except Exception as error:  # the list is a help, nothing hangs on it
            log.error("refused callers not written down: %s", where(error))
