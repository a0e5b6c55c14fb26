"""How is the index made anew from the objects?

Each object says in its file meta where and when it came in; the rest is in its data set. Taken in
the order of receipt through the same rules as at the door, they make the same rows. What no object
knows (institutions, people, orders, reading, reports, journal) is carried over from the old index
where that can be read; then it also says in which order, and under which numbers, the rows were.
"""

import hashlib
import json
import mmap
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, delete, insert, select, update

from storage.check import patiently
from storage.condition import blocks
from storage.entering import Arriving, Kept, Received, enter, enter_one_more
from storage.header import read_header
from storage.index import IndexUnit
from storage.mending import recount
from storage.objects import LocalObjects, Objects
from storage.part10 import Meta, read_meta
from storage.studies import Studies
from storage.tables import instance, metadata, series, site, study, text_repair
from storage.upkeep import DAMAGED
from worklist.arrival import Study
from worklist.errors import Refusal
from worklist.policy import Policy
from worklist.repair import Decision
from worklist.site import Device, SiteKind

_BEFORE: Final = ("site", "read_by", "device")  # what entering an instance asks for
_MADE: Final = ("study", "series", "instance")  # what stays as the objects made it
_KEPT_MARKS: Final = frozenset({"late_instances", DAMAGED})
_STATE: Final = ("arrival", "kind", "priority")  # of a study, where the old index says it
_TEXTS: Final = ("description", "question", "requester", "patient_name", "patient_name_latin")
_TEXTS_TOO: Final = ("name_alphabetic", "name_ideographic", "name_phonetic", "attributes")
_IN_MEMORY: Final = 64 << 20
_HEAD: Final = 4096
_UNIT: Final = 200
_BATCH: Final = 64
_THREADS: Final = 4

Seen = Callable[[str, int, int], None]


@dataclass
class Rebuilt:
    """What came of it. `left_out` are objects that make no row: (reason, locator);
    `placeholders` Sites of which only the key is known."""

    instances: int = 0
    same: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)
    placeholders: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Known:
    """What the old index says of an object."""

    id: int
    digest: str
    number: int
    version: int


@dataclass(frozen=True)
class _Taken:
    """An object that has been read: what it says, or why it cannot be taken."""

    locator: str
    meta: Meta | None = None
    kept: Kept | None = None
    header: Any = None
    why: str = ""


def rebuild(
    old: Connection | None,
    objects: Objects,
    fresh: Engine,
    spool: Path,
    policy: Policy,
    seen: Seen,
) -> Rebuilt:
    """Fill an empty index with the schema. `old` is a transaction on the index as it was, where it
    can be read. `spool` is a folder for what is too large for memory."""
    done = Rebuilt()
    if old is not None:
        with fresh.begin() as connection:
            for name in _BEFORE:
                _copy(old, connection, metadata.tables[name])
    with tempfile.TemporaryDirectory(dir=spool) as folder:
        order = _Order(Path(folder) / "order.sqlite")
        for found in _listed(objects, old, done):
            order.add(found)
            seen("objects listed", len(found), 0)
        _take_all(order, old, objects, fresh, Path(folder), policy, seen, done)
        order.close()
    if old is not None:
        with fresh.begin() as connection:
            _bring_lost(old, connection)
            _carry_over(old, connection)
    return done


# --- the order of receipt ----------------------------------------------------------------------


class _Order:
    """All objects in the order in which they came in, on disk: there may be millions. Those the
    old index knows stand as they stood there, the others behind them by time of receipt."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute("CREATE TABLE object (locator TEXT, known INTEGER, row TEXT, at TEXT)")

    def add(self, found: list[tuple[str, _Known | None, str]]) -> None:
        rows = [
            (locator, known and known.id, known and json.dumps(asdict(known)), at)
            for locator, known, at in found
        ]
        self._db.executemany("INSERT INTO object VALUES (?, ?, ?, ?)", rows)

    def batches(self) -> Iterator[list[tuple[str, _Known | None]]]:
        rows = self._db.execute(
            "SELECT locator, row FROM object ORDER BY known IS NULL, known, at, locator"
        )
        while batch := rows.fetchmany(_BATCH):
            yield [
                (locator, None if row is None else _Known(**json.loads(row)))
                for locator, row in batch
            ]

    def close(self) -> None:
        self._db.close()


def _listed(
    objects: Objects, old: Connection | None, done: Rebuilt
) -> Iterator[list[tuple[str, _Known | None, str]]]:
    names = (one for one in objects.list() if one.startswith("dicom/"))
    while batch := list(islice(names, 500)):
        known = {} if old is None else _known(old, batch)
        found: list[tuple[str, _Known | None, str]] = []
        for locator in batch:
            if locator in known:
                found.append((locator, known[locator], ""))
                continue
            try:
                head = patiently(lambda at=locator: objects.read(at, 0, _HEAD))  # type: ignore[misc]
                at = read_meta(head).received_at.timestamp()
            except (ValueError, OSError):
                done.left_out.append(("meta", locator))
                continue
            found.append((locator, None, f"{at:020.6f}"))
        yield found


def _known(old: Connection, locators: list[str]) -> dict[str, _Known]:
    rows = old.execute(
        select(
            instance.c.locator,
            instance.c.id,
            instance.c.digest,
            instance.c.number_in_study,
            instance.c.version,
        ).where(instance.c.locator.in_(locators))
    )
    return {row.locator: _Known(*row[1:]) for row in rows}


# --- instances ---------------------------------------------------------------------------------


class _KnownStudies(Studies):
    """Studies whose rows get the numbers they had."""

    def __init__(self, connection: Connection, old: Connection) -> None:
        super().__init__(connection)
        self._new, self._old = connection, old
        self.known: _Known | None = None

    def add(self, one: Study, study_time: str | None, attributes: dict[str, Any]) -> Study:
        """See `Studies.add`."""
        added = super().add(one, study_time, attributes)
        of = select(study.c.id).where(study.c.site == one.site, study.c.study_uid == one.uid)
        known = self._old.execute(of).scalar()
        if known is None or known == added.id:
            return added
        self._new.execute(update(study).where(study.c.id == added.id).values(id=known))
        found = self.get(known)
        assert found is not None  # noqa: S101 - it has just been given this number
        return found

    def add_series(self, **columns: Any) -> int:
        """See `Studies.add_series`."""
        of = select(series.c.id).where(
            series.c.study_id == columns["study_id"],
            series.c.series_uid == columns["series_uid"],
        )
        known = self._old.execute(of).scalar()
        return super().add_series(**columns, **({} if known is None else {"id": known}))

    def add_instance(self, **columns: Any) -> None:
        """See `Studies.add_instance`."""
        if (known := self.known) is not None:
            numbers = {"id": known.id, "number_in_study": known.number, "version": known.version}
            columns = {**columns, **numbers}
        super().add_instance(**columns)


def _take_all(
    order: _Order,
    old: Connection | None,
    objects: Objects,
    fresh: Engine,
    spool: Path,
    policy: Policy,
    seen: Seen,
    done: Rebuilt,
) -> None:
    with ThreadPoolExecutor(_THREADS, "rebuild") as threads:
        for batch in order.batches():
            taken = threads.map(lambda one: _taken(objects, spool, *one), batch)
            with fresh.begin() as connection:
                unit = IndexUnit(connection)
                if old is not None:
                    unit.studies = _KnownStudies(connection, old)
                for one, (_, known) in zip(taken, batch, strict=True):
                    _enter(unit, one, known, policy, done)
                    seen("objects read", 1, one.kept.length if one.kept else 0)


def _taken(objects: Objects, spool: Path, locator: str, known: _Known | None) -> _Taken:
    """Read one object whole."""
    try:
        data = patiently(lambda: _bytes(objects, spool, locator))
        meta = read_meta(bytes(data[:_HEAD]))
        dataset = data[meta.offset :]
        digest = hashlib.sha256(dataset).hexdigest()
        proof = objects.proof(locator) if isinstance(objects, LocalObjects) else None
        if known is None and proof is not None and proof.hex() != digest:
            return _Taken(locator, why="corrupt")
        if known is not None:  # damage must not become the truth
            digest = known.digest
        header = read_header(dataset, meta.transfer_syntax)
    except Refusal as refusal:
        return _Taken(locator, why=refusal.code)
    except ValueError:
        return _Taken(locator, why="meta")
    except OSError:
        return _Taken(locator, why="missing")
    return _Taken(locator, meta, Kept(locator, meta.offset, len(data), digest), header)


def _bytes(objects: Objects, spool: Path, locator: str) -> memoryview:
    """The object, in memory or, when it is large, in a file without a name."""
    parts, size = [], 0
    stream = blocks(objects, locator)
    for part in stream:
        parts.append(part)
        size += len(part)
        if size >= _IN_MEMORY:
            break
    if size < _IN_MEMORY:
        return memoryview(b"".join(parts))
    with tempfile.TemporaryFile(dir=spool) as file:
        file.writelines(parts)
        parts.clear()
        file.writelines(stream)
        file.flush()
        return memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))


def _enter(
    unit: IndexUnit, one: _Taken, known: _Known | None, policy: Policy, done: Rebuilt
) -> None:
    if one.meta is None or one.kept is None:
        done.left_out.append((one.why, one.locator))
        return
    if isinstance(unit.studies, _KnownStudies):
        unit.studies.known = known
    meta = one.meta
    _require_site(unit.connection, meta, done)
    received = Received(
        _device(unit, meta), meta.called, b"", meta.transfer_syntax, None, None, "rebuild"
    )
    arriving = Arriving(received, one.header, one.kept, meta.received_at)
    stored = None
    if not unit.studies.versions(meta.site, one.header.sop_uid):
        stored = enter_one_more(unit, arriving, policy)
    stored = stored or enter(unit, arriving, policy)
    if stored.what == "same":
        done.same += 1
    else:
        done.instances += 1


def _require_site(connection: Connection, meta: Meta, done: Rebuilt) -> None:
    """A Site of which nobody knows more than its key still owns what it sent."""
    if meta.site in done.placeholders:
        return
    there = select(site.c.key).where(site.c.key == meta.site)
    if connection.execute(there).first() is not None:
        return
    values = {
        "key": meta.site,
        "name": meta.site,
        "name_en": meta.site,
        "kind": SiteKind.CENTER,
        "timezone": "Asia/Shanghai",
        "created_at": meta.received_at,
    }
    connection.execute(insert(site).values(values))
    done.placeholders.append(meta.site)


def _device(unit: IndexUnit, meta: Meta) -> Device:
    """The device that sent it, as it is registered now; else one of which only the title is
    known."""
    callers = [one for one in unit.people.callers(meta.calling) if one.site == meta.site]
    best = next((one for one in callers if one.called == meta.called), None)
    return best or next(iter(callers), None) or Device(0, meta.site, meta.calling)


# --- what no object knows ----------------------------------------------------------------------


def _carry_over(old: Connection, new: Connection) -> None:
    """Everything but studies, series and instances as it was; of studies what people and rules
    have made of them."""
    carried = [one for one in metadata.sorted_tables if one.name not in (*_BEFORE, *_MADE)]
    for table in reversed(carried):
        new.execute(delete(table))
    for table in carried:
        _copy(old, new, table)
    for row in old.execute(select(study)).all():
        before = new.execute(select(study.c.marks).where(study.c.id == row.id)).scalar()
        if before is None:
            continue
        marks = sorted({*before, *_KEPT_MARKS.intersection(row.marks)})
        values: dict[str, Any] = {name: getattr(row, name) for name in _STATE}
        new.execute(update(study).where(study.c.id == row.id).values(**values, marks=marks))
    _keep_decided_texts(old, new)


def _bring_lost(old: Connection, new: Connection) -> None:
    """Rows of instances whose objects are gone or cannot be read stay as they were."""
    studies: set[int] = set()
    for rows in _pages(old):
        there = select(instance.c.id, instance.c.current).where(
            instance.c.id.in_([row["id"] for row in rows])
        )
        here = {row.id: row.current for row in new.execute(there)}
        for row in rows:
            if row["id"] not in here:
                for table, key in ((study, row["study_id"]), (series, row["series_id"])):
                    _bring(old, new, table, key)
                new.execute(insert(instance).values(row))
                studies.add(row["study_id"])
            elif here[row["id"]] != row["current"]:
                is_current = update(instance).values(current=row["current"])
                new.execute(is_current.where(instance.c.id == row["id"]))
                studies.add(row["study_id"])
    for study_id in sorted(studies):
        recount(IndexUnit(new), study_id)


def _pages(old: Connection) -> Iterator[list[dict[str, Any]]]:
    after = 0
    while True:
        some = select(instance).where(instance.c.id > after).order_by(instance.c.id).limit(500)
        rows = [dict(row) for row in old.execute(some).mappings()]
        if not rows:
            return
        yield rows
        after = rows[-1]["id"]


def _bring(old: Connection, new: Connection, table: Table, key: int) -> None:
    if new.execute(select(table.c.id).where(table.c.id == key)).first() is None:
        row = old.execute(select(table).where(table.c.id == key)).mappings().one()
        new.execute(insert(table).values(dict(row)))


def _keep_decided_texts(old: Connection, new: Connection) -> None:
    """A person has decided how a study's text is read: it stays so."""
    decided = select(text_repair.c.study_id).where(text_repair.c.state != Decision.PROPOSED)
    for row in old.execute(select(study).where(study.c.id.in_(decided))).all():
        values = {name: getattr(row, name) for name in (*_TEXTS, *_TEXTS_TOO)}
        new.execute(update(study).where(study.c.id == row.id).values(values))
    for row in old.execute(select(series).where(series.c.study_id.in_(decided))).all():
        values = {"description": row.description, "attributes": row.attributes}
        new.execute(update(series).where(series.c.id == row.id).values(values))


def _copy(old: Connection, new: Connection, table: Table) -> None:
    rows = old.execution_options(yield_per=500).execute(select(table))
    for part in rows.mappings().partitions():
        new.execute(insert(table), [dict(row) for row in part])
