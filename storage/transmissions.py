"""Which report versions are on their way to which devices, and which have arrived?"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from storage.people import People
from storage.tables import job, transmission
from worklist.returning import Transmission, Transmitted
from worklist.site import Device

_by_id = select(transmission).where(transmission.c.id == bindparam("transmission_key"))
_lock = _by_id.with_for_update()
_of_report = (
    select(transmission)
    .where(transmission.c.report_id == bindparam("report_key"))
    .order_by(transmission.c.device_id)
)
_failed = (
    select(transmission)
    .where(
        transmission.c.device_id == bindparam("of_device"),
        transmission.c.state == Transmitted.FAILED,
    )
    .order_by(transmission.c.due_at, transmission.c.id)
    .limit(1000)
    .with_for_update()
)
_set = update(transmission).where(transmission.c.id == bindparam("transmission_key"))
_attempts = select(job.c.attempts).where(job.c.key == bindparam("job_key"))


class Transmissions:
    """Rows of transmissions in one transaction. Implements `worklist.ports.Transmissions`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, transmission_id: str) -> Transmission | None:
        """The transmission, or None."""
        return self._one(_by_id, transmission_id)

    def lock(self, transmission_id: str) -> Transmission | None:
        """The transmission, held until the end of the transaction."""
        return self._one(_lock, transmission_id)

    def of_report(self, report_id: str) -> Sequence[Transmission]:
        """Where this version goes."""
        found = self._connection.execute(_of_report, {"report_key": report_id})
        return [_transmission(row) for row in found]

    def failed_to(self, device_id: int) -> Sequence[Transmission]:
        """What was given up on its way to this device, held until the end of the transaction."""
        found = self._connection.execute(_failed, {"of_device": device_id})
        return [_transmission(row) for row in found]

    def receivers(self, site: str) -> Sequence[Device]:
        """The Site's devices that signed reports are sent to."""
        devices = People(self._connection).devices()
        return [
            one
            for one in devices
            if one.site == site and one.returns_reports and one.host and one.port
        ]

    def device(self, device_id: int) -> Device | None:
        """The device as it is registered now."""
        devices = People(self._connection).devices()
        return next((one for one in devices if one.id == device_id), None)

    def leases(self, job_key: str) -> int:
        """How often this job has been taken up."""
        found: int | None = self._connection.execute(_attempts, {"job_key": job_key}).scalar()
        return found or 0

    def add(self, one: Transmission) -> None:
        """Write a new transmission."""
        self._connection.execute(insert(transmission), asdict(one))

    def save(self, one: Transmission) -> None:
        """Write a changed transmission."""
        values = asdict(one)
        del values["id"]
        self._connection.execute(_set, {**values, "transmission_key": one.id})

    def _one(self, statement: Any, transmission_id: str) -> Transmission | None:
        row = self._connection.execute(statement, {"transmission_key": transmission_id}).first()
        return None if row is None else _transmission(row)


def _transmission(row: Row[Any]) -> Transmission:
    return Transmission(**{**row._mapping, "state": Transmitted(row.state)})
