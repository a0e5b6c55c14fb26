"""What can be put right without guessing?

Objects that nobody has promised go; counts follow their rows; what waits gets its job again. Of an
object that is gone or changed the row stays: it is kept as a fault, and its study is marked.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

from sqlalchemy import bindparam, update

from storage.check import WAITING, counted, counted_series, named_among
from storage.condition import Named
from storage.index import IndexUnit
from storage.objects import Objects
from storage.tables import series, study

_count = counted.where(study.c.id == bindparam("of_study"))
_count_series = counted_series.where(series.c.study_id == bindparam("of_study"))
_set_study = update(study).where(study.c.id == bindparam("of_study"))
_set_series = update(series).where(series.c.id == bindparam("of_series"))

NewUnit = Callable[[], AbstractContextManager[IndexUnit]]


def remove(new_unit: NewUnit, objects: Objects, locators: Sequence[str]) -> int:
    """Delete those of these objects that no row names; how many. They must have been watched
    longer than a commit that is answered with success may take (`storage.ingest.LATE`)."""
    with new_unit() as unit:
        known = named_among(unit.connection, locators)
    left = [one for one in locators if one not in known]
    for locator in left:
        objects.delete(locator)
    return len(left)


def keep_faults(unit: IndexUnit, faults: Iterable[tuple[Named, str]], now: datetime) -> None:
    """Keep which objects are gone or changed, mark their studies, and tell of what is news."""
    for one, what in faults:
        if news := unit.upkeep.found(one, what, now):
            unit.facts.add(news)


def recount(unit: IndexUnit, study_id: int) -> None:
    """Let a study and its series count the rows they have."""
    unit.studies.lock(study_id)
    connection = unit.connection
    of = {"of_study": study_id}
    for row in connection.execute(_count_series, of).all():
        connection.execute(_set_series.values(instance_count=row.current), {"of_series": row.id})
    whole = connection.execute(_count, of).one()
    values = {
        "instance_count": whole.current,
        "series_count": whole.of_series,
        "newest_instance": whole.newest,
    }
    connection.execute(_set_study.values(values), of)


def give_jobs(unit: IndexUnit, now: datetime) -> int:
    """A job, due now, for everything that waits for one; how many."""
    made = 0
    for waits in WAITING:
        for one in waits.missing(unit.connection):
            unit.jobs.put(waits.kind, f"{waits.kind}:{one}", now, {waits.payload: one})
            made += 1
    return made
