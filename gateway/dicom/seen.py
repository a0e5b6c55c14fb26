"""When was each device last on the line, without a commit for every association?"""

import logging
from datetime import datetime
from typing import Final

from gateway.assemble import Parts
from gateway.dicom.gathered import Gathered
from gateway.dicom.store import where

log = logging.getLogger("teleread.dicom")

_EVERY: Final = 5.0


class Seen(Gathered[int, datetime]):
    """Devices that were there. `add` may be called from any thread, and never waits."""

    def __init__(self, parts: Parts) -> None:
        super().__init__("seen", _EVERY)
        self._parts = parts

    def add(self, device_id: int) -> None:
        """This device is on the line now."""
        with self.gathering() as devices:
            devices[device_id] = self._parts.now()

    def write(self, values: dict[int, datetime]) -> None:
        """See `Gathered.write`."""
        try:
            with self._parts.new_unit() as unit:
                for device_id, at in values.items():
                    unit.people.saw_device(device_id, at)
        except Exception as error:  # the next time it is on the line it is seen again
            log.error("when devices were seen is not written down: %s", where(error))
