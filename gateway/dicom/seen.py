"""When was each device last on the line, without a commit for every association?

Remembered in memory and written every few seconds, by a thread of its own.
"""

import logging
import threading
from datetime import datetime
from typing import Final

from gateway.assemble import Parts
from gateway.dicom.store import where

log = logging.getLogger("teleread.dicom")

_EVERY: Final = 5.0


class Seen:
    """Devices that were there. `add` may be called from any thread, and never waits."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._mutex = threading.Lock()
        self._devices: dict[int, datetime] = {}
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write, name="seen", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Write what is left, and end."""
        self._stopping.set()
        self._some.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def add(self, device_id: int) -> None:
        """This device is on the line now."""
        with self._mutex:
            self._devices[device_id] = self._parts.now()
        self._some.set()

    def _write(self) -> None:
        while True:
            self._some.wait()
            self._some.clear()
            with self._mutex:
                devices, self._devices = self._devices, {}
            if devices:
                self._keep(devices)
            if self._stopping.wait(_EVERY if devices else 0) and not self._devices:
                return

    def _keep(self, devices: dict[int, datetime]) -> None:
        try:
            with self._parts.new_unit() as unit:
                for device_id, at in devices.items():
                    unit.people.saw_device(device_id, at)
        except Exception as error:  # the next time it is on the line it is seen again
            log.error("when devices were seen is not written down: %s", where(error))
