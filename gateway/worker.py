"""Who does what is due? Threads that lease jobs, do them, and delete or put them off."""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from gateway.assemble import Parts
from gateway.dicom.commitment import commit
from gateway.dicom.send import send
from gateway.upkeep import begin_scrub, scrub
from worklist import arrival, critical, delivery, procedure, reading
from worklist.errors import Refusal

log = logging.getLogger("teleread.worker")

LEASE = timedelta(seconds=60)
# the longest sleep: a due time can also come from another process
LONGEST_SLEEP = timedelta(seconds=20)

# commits within this time become one look at the job table (seconds)
GATHER = 0.05

# A job's function gets the parts, the payload and the instant; it may return a later instant to
# ask again.
Work = Callable[[Parts, Mapping[str, Any], datetime], datetime | None]


def settle(parts: Parts, payload: Mapping[str, Any], now: datetime) -> datetime | None:
    """The study's quiet time may be over."""
    study_id, released_at = payload["study_id"], payload.get("released_at")
    with parts.new_unit() as unit:
        return arrival.settle_if_quiet(unit, study_id, released_at, now, parts.policy)


def lease(parts: Parts, payload: Mapping[str, Any], now: datetime) -> datetime | None:
    """A claim may have run out."""
    with parts.new_unit() as unit:
        return reading.expire(unit, payload["task_id"], now)


def deliver(parts: Parts, payload: Mapping[str, Any], now: datetime) -> None:
    """The grace time is over: the report takes effect and goes to its center."""
    with parts.new_unit() as unit:
        delivery.take_effect(unit, payload["report_id"], now, parts.policy)


def escalate(parts: Parts, payload: Mapping[str, Any], now: datetime) -> None:
    """Nobody has confirmed a critical result in time."""
    with parts.new_unit() as unit:
        critical.escalate(unit, payload["critical_id"], now)


def expect(parts: Parts, payload: Mapping[str, Any], now: datetime) -> datetime | None:
    """A device has ended a procedure step: is everything here that it made?"""
    with parts.new_unit() as unit:
        return procedure.look(unit, payload["step_id"], now, parts.policy)


WORK: Mapping[str, Work] = {
    "settle": settle,
    "lease": lease,
    "deliver": deliver,
    "escalate": escalate,
    "expect": expect,
    "commit": commit,
    "send": send,
    "scrub": scrub,
}


class Worker:
    """A few threads over the one job table. Killed at any moment, it loses nothing: the lease runs
    out."""

    def __init__(self, parts: Parts, threads: int = 2, work: Mapping[str, Work] = WORK) -> None:
        self._parts = parts
        self._work = work
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"worker-{number}", daemon=True)
            for number in range(threads)
        ]
        parts.index.on_change(self._changed.set)

    def start(self) -> None:
        """Begin. Where this process alone owns the index, leases of one that was killed end."""
        if self._parts.lock is not None:
            with self._parts.new_unit() as unit:
                unit.jobs.free_all()
        begin_scrub(self._parts)
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> None:
        """Finish the jobs in hand, at most this many seconds each."""
        self._stopping.set()
        self._changed.set()
        for thread in self._threads:
            thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._changed.clear()
            try:
                if not self.once():
                    self._sleep()
            except Exception:
                log.exception("the job table could not be read; trying again")
                self._changed.wait(1)

    def _sleep(self) -> None:
        with self._parts.view() as unit:
            earliest = unit.jobs.earliest()
        longest = LONGEST_SLEEP.total_seconds()
        if earliest is not None:
            longest = min(longest, (earliest - self._parts.now()).total_seconds())
        if longest > 0 and not self._stopping.is_set() and self._changed.wait(longest):
            self._stopping.wait(GATHER)

    def once(self) -> bool:
        """Do one job that is due. False when none is."""
        now = self._parts.now()
        with (
            self._parts.view() as unit
        ):  # a look first: most wake-ups find nothing, and a look needs no commit
            earliest = unit.jobs.earliest()
        if earliest is None or earliest > now:
            return False
        with self._parts.new_unit() as unit:
            leased = unit.jobs.lease(now, LEASE)
        if leased is None:
            return False
        try:
            again = self._work[leased.kind](self._parts, leased.payload, now)
        except Exception as error:
            reason = error.code if isinstance(error, Refusal) else type(error).__name__
            with self._parts.new_unit() as unit:
                dead = unit.jobs.failed(leased, reason, self._parts.now())
            log.log(
                logging.ERROR if dead else logging.WARNING,
                "job %s failed (%s), attempt %d%s",
                leased.key,
                reason,
                leased.attempts,
                ", given up" if dead else "",
                exc_info=not isinstance(error, Refusal),
            )
            return True
        with self._parts.new_unit() as unit:
            if again is None:
                unit.jobs.done(leased)
            else:
                unit.jobs.put_off(leased, again)
        return True
