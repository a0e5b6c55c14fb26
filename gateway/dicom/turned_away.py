"""How is it remembered who was turned away, without that being a way to keep us busy?"""

import logging
from dataclasses import replace
from typing import Final

from gateway.assemble import Parts
from gateway.dicom.gathered import Gathered
from gateway.dicom.store import where
from storage.refused import RefusedCall, note

log = logging.getLogger("teleread.dicom")

_MOST: Final = 500  # callers between two times of writing; more are an attack, and not remembered
_EVERY: Final = 1.0

_Key = tuple[str, str, str, str]  # calling, called, address, certificate


class TurnedAway(Gathered[_Key, RefusedCall]):
    """Callers that were refused. `add` may be called from any thread, and never waits."""

    def __init__(self, parts: Parts) -> None:
        super().__init__("turned-away", _EVERY)
        self._parts = parts

    def add(self, calling: str, called: str, address: str, certificate: str, why: str) -> None:
        """One more refused call."""
        now = self._parts.now()
        key = (calling[:16], called[:16], address[:64], certificate)
        with self.gathering() as calls:
            before = calls.get(key)
            if before is not None:
                calls[key] = replace(before, why=why, times=before.times + 1, last_at=now)
            elif len(calls) < _MOST:
                calls[key] = RefusedCall(*key, why, 1, now, now)

    def write(self, values: dict[_Key, RefusedCall]) -> None:
        """See `Gathered.write`."""
        try:
            with self._parts.new_unit() as unit:
                note(unit.connection, list(values.values()))
        except Exception as error:  # the list is a help, nothing hangs on it
            log.error("refused callers not written down: %s", where(error))
