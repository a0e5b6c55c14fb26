"""What does an index that was made from the objects take over from the one before?

Everything that no object knows; of studies what people and rules have made of them; and the rows of
instances whose objects are gone.
"""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, delete, insert, select, update

from storage.index import IndexUnit
from storage.mending import recount
from storage.tables import instance, metadata, series, study, text_repair
from storage.upkeep import DAMAGED
from worklist.repair import Decision

BEFORE: Final = ("site", "read_by", "device")
"""What entering an instance asks for."""
_MADE: Final = ("study", "series", "instance")  # what stays as the objects made it
_KEPT_MARKS: Final = frozenset({"late_instances", DAMAGED})
_STATE: Final = ("arrival", "kind", "priority")  # of a study, where the old index says it
_TEXTS: Final = ("description", "question", "requester", "patient_name", "patient_name_latin")
_TEXTS_TOO: Final = ("name_alphabetic", "name_ideographic", "name_phonetic", "attributes")


def carry_over(old: Connection, new: Connection) -> None:
    """Everything but studies, series and instances as it was; of studies what people and rules
    have made of them."""
    carried = [one for one in metadata.sorted_tables if one.name not in (*BEFORE, *_MADE)]
    for table in reversed(carried):
        new.execute(delete(table))
    for table in carried:
        copy(old, new, table)
    for rows in _pages(old, study):
        made = {row.id: row for row in new.execute(_state.where(_these(study, rows)))}
        for row in rows:
            before = made[row["id"]]
            marks = sorted({*before.marks, *_KEPT_MARKS.intersection(row["marks"])})
            values = {**{name: row[name] for name in _STATE}, "marks": marks}
            if values != {name: getattr(before, name) for name in values}:
                new.execute(update(study).where(study.c.id == row["id"]).values(values))
    _keep_decided_texts(old, new)


_state = select(study.c.id, study.c.marks, *(study.c[name] for name in _STATE))


def _these(table: Table, rows: list[dict[str, Any]]) -> ColumnElement[bool]:
    return table.c.id.in_([row["id"] for row in rows])


def bring_lost(old: Connection, new: Connection) -> None:
    """Rows of instances whose objects are gone or cannot be read stay as they were."""
    studies: set[int] = set()
    for table in (study, series):
        for rows in _pages(old, table):
            known = set(new.execute(select(table.c.id).where(_these(table, rows))).scalars())
            lost = [row for row in rows if row["id"] not in known]
            if lost:
                new.execute(insert(table), lost)
                studies.update(row["id" if table is study else "study_id"] for row in lost)
    for rows in _pages(old, instance):
        there = select(instance.c.id, instance.c.current).where(_these(instance, rows))
        here = {row.id: row.current for row in new.execute(there)}
        for row in rows:
            if row["id"] not in here:
                new.execute(insert(instance).values(row))
                studies.add(row["study_id"])
            elif here[row["id"]] != row["current"]:
                is_current = update(instance).values(current=row["current"])
                new.execute(is_current.where(instance.c.id == row["id"]))
                studies.add(row["study_id"])
    for study_id in sorted(studies):
        recount(IndexUnit(new), study_id)


def _pages(old: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    after = 0
    while True:
        some = select(table).where(table.c.id > after).order_by(table.c.id).limit(500)
        rows = [dict(row) for row in old.execute(some).mappings()]
        if not rows:
            return
        yield rows
        after = rows[-1]["id"]


def _keep_decided_texts(old: Connection, new: Connection) -> None:
    """A person has decided how a study's text is read: it stays so."""
    decided = select(text_repair.c.study_id).where(text_repair.c.state != Decision.PROPOSED)
    for row in old.execute(select(study).where(study.c.id.in_(decided))).all():
        values = {name: getattr(row, name) for name in (*_TEXTS, *_TEXTS_TOO)}
        new.execute(update(study).where(study.c.id == row.id).values(values))
    for row in old.execute(select(series).where(series.c.study_id.in_(decided))).all():
        values = {"description": row.description, "attributes": row.attributes}
        new.execute(update(series).where(series.c.id == row.id).values(values))


def copy(old: Connection, new: Connection, table: Table) -> None:
    """Every row of this table."""
    rows = old.execution_options(yield_per=500).execute(select(table))
    for part in rows.mappings().partitions():
        new.execute(insert(table), [dict(row) for row in part])
