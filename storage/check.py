"""Do objects and index agree, both ways?

Four looks: objects without a row, rows against their objects, counts against rows, jobs for what
waits. Each is read in short transactions, so that it may go on for days beside a running gateway;
nothing here writes (`storage.mending` does).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Row, String, bindparam, cast, func, literal, select

from storage.condition import Named, look, of_instance, of_report
from storage.index import IndexUnit
from storage.objects import Objects
from storage.tables import commitment, critical, instance, job, report, series, study, task
from storage.tables import transmission as sending
from worklist.arrival import Arrival
from worklist.errors import Refusal
from worklist.report import ReportState
from worklist.returning import Transmitted
from worklist.task import TaskState

PAGE: Final = 256
MOST_ORPHANS: Final = 100_000
"""With more objects than this without a row, the index is not the one of these objects."""
_TRIES: Final = 5
_WAIT: Final = 2.0  # seconds until a store that refused is asked again
_THREADS: Final = 4

Answer = TypeVar("Answer")
View = Callable[[], AbstractContextManager[IndexUnit]]

_instances = (
    select(instance).where(instance.c.id > bindparam("after")).order_by(instance.c.id).limit(PAGE)
)
_reports = select(report).where(report.c.id > bindparam("after")).order_by(report.c.id).limit(PAGE)
_named = [
    select(column).where(column.in_(bindparam("these", expanding=True)))
    for column in (instance.c.locator, report.c.pdf)
]
_current = (instance.c.study_id == study.c.id) & instance.c.current
_of_study = instance.c.study_id == study.c.id
counted = select(
    study.c.id,
    study.c.instance_count,
    study.c.series_count,
    study.c.newest_instance,
    select(func.count()).select_from(instance).where(_current).scalar_subquery().label("current"),
    select(func.count())
    .select_from(series)
    .where(series.c.study_id == study.c.id)
    .scalar_subquery()
    .label("of_series"),
    select(func.coalesce(func.max(instance.c.number_in_study), 0))
    .where(_of_study)
    .scalar_subquery()
    .label("newest"),
)
_studies = counted.where(study.c.id > bindparam("after")).order_by(study.c.id).limit(PAGE)
counted_series = select(
    series.c.id,
    series.c.study_id,
    series.c.instance_count,
    select(func.count())
    .select_from(instance)
    .where(instance.c.series_id == series.c.id, instance.c.current)
    .scalar_subquery()
    .label("current"),
)
_all_series = (
    counted_series.where(series.c.id > bindparam("after")).order_by(series.c.id).limit(PAGE)
)


@dataclass(frozen=True)
class Waits:
    """What must have a job: the job's kind, the name of its payload's id, and which rows wait."""

    kind: str
    payload: str
    ids: Any
    holds: Any

    def missing(self, connection: Connection) -> list[Any]:
        """Ids of rows that wait and have no job."""
        key = literal(f"{self.kind}:") + cast(self.ids, String)
        has = select(job.c.id).where(job.c.key == key).exists()
        found = connection.execute(select(self.ids).where(self.holds, ~has).order_by(self.ids))
        return list(found.scalars())


WAITING: Final = (
    Waits("settle", "study_id", study.c.id, study.c.arrival != Arrival.COMPLETE),
    Waits("lease", "task_id", task.c.id, task.c.state == TaskState.CLAIMED),
    Waits("deliver", "report_id", report.c.id, report.c.state == ReportState.SIGNED),
    Waits(
        "escalate",
        "critical_id",
        critical.c.id,
        critical.c.escalated_at.is_(None)
        & critical.c.confirmed_at.is_(None)
        & critical.c.closed_at.is_(None),
    ),
    Waits("send", "transmission_id", sending.c.id, sending.c.state == Transmitted.DUE),
    Waits(
        "commit",
        "commitment_id",
        commitment.c.id,
        commitment.c.checked_at.is_(None) & commitment.c.given_up_at.is_(None),
    ),
)


class Totals:
    """What a pass has seen so far."""

    def __init__(self) -> None:
        self.objects = self.bytes = 0


def all_named(view: View, phase: str = "instance", after: str = "") -> Iterator[list[Named]]:
    """Every object that a row names, superseded versions too, a page at a time: instances in the
    order of their commits, then the documents of reports."""
    if phase == "instance":
        yield from _pages(view, _instances, int(after or 0), of_instance)
        after = ""
    yield from _pages(view, _reports, after, of_report)


def _pages(
    view: View, statement: Any, after: Any, named: Callable[[Row[Any]], Named]
) -> Iterator[list[Named]]:
    while True:
        with view() as unit:
            rows = unit.connection.execute(statement, {"after": after}).all()
        if not rows:
            return
        yield [named(row) for row in rows]
        after = rows[-1].id


def wrong_objects(
    objects: Objects, pages: Iterable[list[Named]], totals: Totals
) -> Iterator[tuple[Named, str | None]]:
    """Every object with what is wrong with it, None where nothing is. Refuses when the store does
    not answer: that is no fault of an object."""
    with ThreadPoolExecutor(_THREADS, "check") as threads:
        for page in pages:
            looks = threads.map(lambda one: patiently(lambda: look(objects, one)), page)
            for one, (what, size) in zip(page, looks, strict=True):
                totals.objects += 1
                totals.bytes += size
                yield one, what


def patiently(ask: Callable[[], Answer]) -> Answer:
    """Ask a store that may be away for a moment; the last refusal passes."""
    for _ in range(_TRIES - 1):
        try:
            return ask()
        except Refusal:
            time.sleep(_WAIT)
    return ask()


def without_row(view: View, objects: Objects, seen: Callable[[int], None]) -> list[str]:
    """Objects that no row names now. Those whose commit is on its way are among them: look again
    (`still_without_row`) when they have been watched long enough. At most MOST_ORPHANS + 1.

    `seen` is told how many more have been looked at.
    """
    found: list[str] = []
    names = objects.list()
    while batch := list(islice(names, PAGE)):
        found += still_without_row(view, batch)
        seen(len(batch))
        if len(found) > MOST_ORPHANS:
            break
    return found[: MOST_ORPHANS + 1]


def still_without_row(view: View, locators: Sequence[str]) -> list[str]:
    """Those of these objects that no row names."""
    left: list[str] = []
    for at in range(0, len(locators), PAGE):
        batch = locators[at : at + PAGE]
        with view() as unit:
            known = named_among(unit.connection, batch)
        left += [one for one in batch if one not in known]
    return left


def named_among(connection: Connection, locators: Sequence[str]) -> set[str]:
    """Those of these objects that a row names."""
    return {
        one
        for statement in _named
        for one in connection.execute(statement, {"these": list(locators)}).scalars()
    }


def wrong_counts(view: View) -> Iterator[tuple[str, int]]:
    """(a sentence, study id) for every study or series that counts its rows wrong."""
    after = 0
    while rows := _some(view, _studies, after):
        for row in rows:
            said = (row.instance_count, row.series_count, row.newest_instance)
            if said != (row.current, row.of_series, row.newest):
                yield f"study {row.id}", row.id
        after = rows[-1].id
    after = 0
    while rows := _some(view, _all_series, after):
        for row in rows:
            if row.instance_count != row.current:
                yield f"series {row.id} of study {row.study_id}", row.study_id
        after = rows[-1].id


def _some(view: View, statement: Any, after: int) -> Sequence[Row[Any]]:
    with view() as unit:
        return unit.connection.execute(statement, {"after": after}).all()


def missing_jobs(view: View) -> Iterator[tuple[str, Any]]:
    """(kind of job, id of what waits for it) where there is no such job."""
    for waits in WAITING:
        with view() as unit:
            ids = waits.missing(unit.connection)
        yield from ((waits.kind, one) for one in ids)
