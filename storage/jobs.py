"""What is due when? One row for each job: outbox, timer and retry in one."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    Delete,
    Update,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    update,
)

from storage.tables import job
from storage.upsert import upsert

MAX_ATTEMPTS = 12
_LONGEST_DELAY = timedelta(hours=1)

_free = or_(job.c.leased_until.is_(None), job.c.leased_until <= bindparam("now"))
_next = (
    select(job.c.id)
    .where(job.c.dead_at.is_(None), job.c.due_at <= bindparam("now"), _free)
    .order_by(job.c.due_at, job.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
    .scalar_subquery()
)
_lease = (
    update(job)
    .where(job.c.id == _next)
    .values(
        leased_until=bindparam("until"), lease=bindparam("new_lease"), attempts=job.c.attempts + 1
    )
    .returning(job.c.id, job.c.kind, job.c.key, job.c.payload, job.c.attempts, job.c.due_at)
)
_earliest = select(
    func.min(case((job.c.leased_until > job.c.due_at, job.c.leased_until), else_=job.c.due_at))
).where(job.c.dead_at.is_(None))
_mine = (job.c.id == bindparam("job_id")) & (job.c.lease == bindparam("my_lease"))
_as_leased = _mine & (job.c.due_at == bindparam("was_due"))  # nobody has given it a new time
_done = delete(job).where(_as_leased)
_free_again = (
    update(job).where(_mine).values(leased_until=None, lease=None, attempts=0, reason=None)
)
_later = (
    update(job)
    .where(_as_leased)
    .values(
        due_at=bindparam("new_due"),
        leased_until=None,
        lease=None,
        reason=bindparam("why"),
        dead_at=bindparam("dead"),
    )
)
_put_off = (
    update(job)
    .where(_as_leased)
    .values(due_at=bindparam("new_due"), leased_until=None, lease=None, attempts=0, reason=None)
)
_move = (
    update(job)
    .where(job.c.key == bindparam("job_key"))
    .values(due_at=bindparam("new_due"), payload=bindparam("new_payload"))
)
_free_all = update(job).where(job.c.lease.is_not(None)).values(leased_until=None, lease=None)
_dead = (
    select(job.c.kind, job.c.payload, job.c.dead_at)
    .where(job.c.dead_at.is_not(None))
    .order_by(job.c.dead_at, job.c.id)
    .limit(1000)
)
_drop = delete(job).where(job.c.key == bindparam("job_key"))


@dataclass(frozen=True)
class LeasedJob:
    """A job in the hands of one worker until the lease ends."""

    id: int
    kind: str
    key: str
    payload: dict[str, Any]
    attempts: int
    due_at: datetime
    lease: str


@dataclass(frozen=True)
class DeadLetter:
    """A job that was given up after its last attempt and waits for a person."""

    kind: str
    payload: dict[str, Any]
    dead_at: datetime


class Jobs:
    """The job table in one transaction. Implements `worklist.ports.Jobs`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, kind: str, key: str, due_at: datetime, payload: Mapping[str, Any]) -> None:
        """Due at this instant, whatever was said before under this key."""
        upsert(
            self._connection,
            job,
            {"key": key},
            {
                "kind": kind,
                "due_at": due_at,
                "payload": dict(payload),
                "attempts": 0,
                "reason": None,
                "dead_at": None,
            },
        )

    def move(self, key: str, due_at: datetime, payload: Mapping[str, Any]) -> None:
        """Due at this instant instead, also when it is being done. No such job: nothing to do."""
        values = {"job_key": key, "new_due": due_at, "new_payload": dict(payload)}
        self._connection.execute(_move, values)

    def drop(self, key: str) -> None:
        """Not due any more."""
        self._connection.execute(_drop, {"job_key": key})

    def lease(self, now: datetime, length: timedelta) -> LeasedJob | None:
        """Take the job that is due longest, if any, for this long."""
        lease = uuid.uuid4().hex
        row = self._connection.execute(
            _lease, {"now": now, "until": now + length, "new_lease": lease}
        ).one_or_none()
        return None if row is None else LeasedJob(**row._mapping, lease=lease)

    def free_all(self) -> None:
        """End every lease. Only for a process that knows that no other one works on jobs."""
        self._connection.execute(_free_all)

    def earliest(self) -> datetime | None:
        """When the next job becomes due or free."""
        earliest: datetime | None = self._connection.execute(_earliest).scalar_one()
        return earliest

    def done(self, leased: LeasedJob) -> None:
        """Forget it; but keep it if it was given a new time while it was being done."""
        self._unless_asked_again(_done, leased, {})

    def put_off(self, leased: LeasedJob, due_at: datetime) -> None:
        """Not yet: ask again then. No failure. A time it was given meanwhile stands."""
        self._unless_asked_again(_put_off, leased, {"new_due": due_at})

    def failed(self, leased: LeasedJob, reason: str, now: datetime) -> bool:
        """Try again later, doubling the wait; after the last attempt it stands as a dead letter
        (True). A time it was given meanwhile stands, with all attempts."""
        dead = leased.attempts >= MAX_ATTEMPTS
        wait = min(timedelta(seconds=2**leased.attempts), _LONGEST_DELAY)
        values = {
            "new_due": now + wait,
            "why": reason[:500],
            "dead": now if dead else None,
        }
        return self._unless_asked_again(_later, leased, values) and dead

    def _unless_asked_again(
        self, statement: Update | Delete, leased: LeasedJob, values: dict[str, Any]
    ) -> bool:
        """Write the outcome; False where the job has a new time and is only set free for it."""
        mine = {"job_id": leased.id, "my_lease": leased.lease}
        done = self._connection.execute(
            statement, {**mine, **values, "was_due": leased.due_at}
        ).rowcount
        if not done:
            self._connection.execute(_free_again, mine)
        return bool(done)

    def dead(self) -> list[DeadLetter]:
        """Jobs that were given up, oldest first; at most 1000."""
        return [DeadLetter(*row) for row in self._connection.execute(_dead)]

    def counts(self) -> tuple[int, int]:
        """(jobs waiting, dead letters)."""
        waiting = func.count(case((job.c.dead_at.is_(None), 1)))
        dead = func.count(job.c.dead_at)
        row = self._connection.execute(select(waiting, dead)).one()
        return int(row[0]), int(row[1])
