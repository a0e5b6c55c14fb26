"""What does the engineer's page show of devices, refused callers and what goes out to devices?"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    and_,
    bindparam,
    case,
    delete,
    distinct,
    func,
    literal,
    or_,
    select,
)

from storage.tables import commitment, device, fact, job, refused_caller, transmission
from worklist.events import Happened
from worklist.returning import Transmitted

MOST = 500
"""Rows of a list that are shown at most; the newest, or those that have waited longest."""

_SITES: BindParameter[Any] = bindparam("sites", expanding=True)
_devices = select(device).where(device.c.site.in_(_SITES)).order_by(device.c.id)
_by_id = select(device).where(device.c.id == bindparam("device_key"), device.c.site.in_(_SITES))
_today = (
    select(
        fact.c.site,
        fact.c.who,
        func.count(distinct(fact.c.study_id)).label("studies"),
        func.count().label("instances"),
    )
    .where(
        fact.c.at >= bindparam("since"),
        fact.c.what == Happened.INSTANCE_STORED,
        fact.c.site.in_(_SITES),
    )
    .group_by(fact.c.site, fact.c.who)
)
_refused = (
    select(refused_caller)
    .order_by(refused_caller.c.last_at.desc(), refused_caller.c.calling)
    .limit(MOST)
)
_refused_count = select(func.count()).select_from(refused_caller)
_forget = delete(refused_caller).where(
    *(column == bindparam(f"of_{column.name}") for column in refused_caller.primary_key)
)


@dataclass(frozen=True)
class Today:
    """What came from one AE Title of one Site since midnight."""

    studies: int = 0
    instances: int = 0


@dataclass(frozen=True)
class Refused:
    """A caller that was not let in. `id` stands for the four that tell callers apart; certificate
    is "" where none was shown."""

    calling: str
    called: str
    address: str
    certificate: str
    why: str
    times: int
    first_at: datetime
    last_at: datetime

    @property
    def id(self) -> str:
        """Fit for an address: it repeats nothing of what a stranger has sent."""
        whole = "\0".join((self.calling, self.called, self.address, self.certificate))
        return hashlib.sha256(whole.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Outgoing:
    """A report or the answer to a commitment that a device does not have yet. `failed`: it is not
    tried any more by itself."""

    id: str
    kind: str
    device_id: int
    site: str
    failed: bool
    attempts: int
    reason: str | None
    since: datetime
    due_at: datetime | None


class Engineer:
    """What is asked for the page of devices, in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def devices(self, sites: Iterable[str]) -> Sequence[Row[Any]]:
        """All columns of the devices of these Sites."""
        return self._connection.execute(_devices, {"sites": sorted(sites)}).all()

    def device(self, device_id: int, sites: Iterable[str]) -> Row[Any] | None:
        """All columns of one device, if it is of these Sites."""
        found = self._connection.execute(_by_id, {"device_key": device_id, "sites": sorted(sites)})
        return found.one_or_none()

    def today(self, sites: Iterable[str], midnight: datetime) -> dict[tuple[str, str], Today]:
        """What has come since, by Site and AE Title."""
        rows = self._connection.execute(_today, {"sites": sorted(sites), "since": midnight})
        return {(row.site, row.who): Today(row.studies, row.instances) for row in rows if row.who}

    def refused(self) -> list[Refused]:
        """Callers that were not let in, the newest first."""
        return [Refused(**row._mapping) for row in self._connection.execute(_refused)]

    def refused_count(self) -> int:
        """How many there are."""
        return int(self._connection.execute(_refused_count).scalar_one())

    def forget(self, one: Refused) -> None:
        """Take it off the list."""
        names = ("calling", "called", "address", "certificate")
        self._connection.execute(_forget, {f"of_{name}": getattr(one, name) for name in names})

    def outgoing(self, sites: Iterable[str]) -> list[Outgoing]:
        """What waits or was given up; what was given up first, then by how long it waits."""
        given = {"sites": sorted(sites)}
        rows = [
            Outgoing(
                row.id,
                row.kind,
                row.device_id,
                row.site,
                bool(row.failed),
                row.attempts or 0,
                row.reason,
                row.since,
                row.due_at,
            )
            for statement in (_transmissions, _commitments)
            for row in self._connection.execute(statement, given)
        ]
        return sorted(rows, key=lambda one: (not one.failed, one.since, one.id))[:MOST]

    def outgoing_counts(self) -> dict[tuple[str, str], int]:
        """How many there are by kind (report, commitment) and state."""
        rows = self._connection.execute(_transmission_counts).all()
        found = {("report", row.state): row.many for row in rows}
        row = self._connection.execute(_commitment_counts).one()
        states = ("waiting", "sent", "failed")
        return found | {("commitment", state): getattr(row, state) or 0 for state in states}

    def jobs(self) -> dict[tuple[str, str], int]:
        """How many jobs there are by kind and whether they wait or were given up."""
        rows = self._connection.execute(_job_counts)
        return {
            (row.kind, state): getattr(row, state) for row in rows for state in ("waiting", "dead")
        }


def _sent_for(prefix: str, key: ColumnElement[str]) -> ColumnElement[bool]:
    return job.c.key == literal(prefix, String) + key


_transmissions: Select[Any] = (
    select(
        transmission.c.id,
        literal("report").label("kind"),
        transmission.c.device_id,
        transmission.c.site,
        (transmission.c.state == Transmitted.FAILED).label("failed"),
        transmission.c.attempts,
        transmission.c.reason,
        transmission.c.due_at.label("since"),
        job.c.due_at.label("due_at"),
    )
    .join_from(transmission, job, _sent_for("send:", transmission.c.id), isouter=True)
    .where(
        transmission.c.state.in_((Transmitted.DUE, Transmitted.FAILED)),
        transmission.c.site.in_(_SITES),
    )
    .order_by(transmission.c.due_at)
    .limit(MOST)
)
_commitments: Select[Any] = (
    select(
        commitment.c.id,
        literal("commitment").label("kind"),
        commitment.c.device_id,
        commitment.c.site,
        or_(commitment.c.given_up_at.is_not(None), job.c.dead_at.is_not(None)).label("failed"),
        job.c.attempts,
        job.c.reason,
        commitment.c.requested_at.label("since"),
        job.c.due_at.label("due_at"),
    )
    .join_from(commitment, job, _sent_for("commit:", commitment.c.id), isouter=True)
    .where(commitment.c.reported_at.is_(None), commitment.c.site.in_(_SITES))
    .order_by(commitment.c.requested_at.desc())
    .limit(MOST)
)
_transmission_counts = select(transmission.c.state, func.count().label("many")).group_by(
    transmission.c.state
)
_unreported = commitment.c.reported_at.is_(None)
_commitment_counts = select(
    func.count(case((and_(_unreported, commitment.c.given_up_at.is_(None)), 1))).label("waiting"),
    func.count(commitment.c.reported_at).label("sent"),
    func.count(case((and_(_unreported, commitment.c.given_up_at.is_not(None)), 1))).label("failed"),
)
_job_counts = select(
    job.c.kind,
    func.count(case((job.c.dead_at.is_(None), 1))).label("waiting"),
    func.count(job.c.dead_at).label("dead"),
).group_by(job.c.kind)
