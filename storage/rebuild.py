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
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Engine,
    bindparam,
    insert,
    select,
    update,
)

from storage.carrying import BEFORE, bring_lost, carry_over, copy
from storage.check import patiently
from storage.condition import blocks
from storage.entering import Arriving, Kept, Received, enter, enter_one_more
from storage.header import read_header
from storage.index import IndexUnit
from storage.objects import LocalObjects, Objects
from storage.part10 import Meta, read_meta
from storage.statement import Statement
from storage.studies import Studies
from storage.tables import instance, metadata, series, site, study
from worklist.arrival import Study
from worklist.errors import Refusal
from worklist.policy import Policy
from worklist.site import Device, SiteKind

_IN_MEMORY: Final = 64 << 20
_HEAD: Final = 4096
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
            for name in BEFORE:
                copy(old, connection, metadata.tables[name])
    with tempfile.TemporaryDirectory(dir=spool) as folder:
        order = _Order(Path(folder) / "order.sqlite")
        for found in _listed(objects, old, done):
            order.add(found)
            seen("objects listed", len(found), 0)
        work = _Work(old, objects, fresh, Path(folder), policy, seen, done)
        work.take(order.batches(known=True))
        if old is not None:
            with fresh.begin() as connection:
                bring_lost(old, connection)
                carry_over(old, connection)
        work.take(order.batches(known=False))  # they come in as late ones do
        order.close()
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

    def batches(self, *, known: bool) -> Iterator[list[tuple[str, _Known | None]]]:
        """Those the old index knows, or the others."""
        rows = self._db.execute(
            "SELECT locator, row FROM object WHERE (known IS NOT NULL) = ? "
            "ORDER BY known, at, locator",
            (known,),
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


_study_id = Statement(
    select(study.c.id).where(
        study.c.site == bindparam("at_site"), study.c.study_uid == bindparam("uid")
    )
)
_series_id = Statement(
    select(series.c.id).where(
        series.c.study_id == bindparam("study_key"), series.c.series_uid == bindparam("uid")
    )
)
_renumber = Statement(
    update(study).where(study.c.id == bindparam("new_id")).values(id=bindparam("old_id"))
)


class _KnownStudies(Studies):
    """Studies whose rows get the numbers they had."""

    def __init__(self, connection: Connection, old: Connection) -> None:
        super().__init__(connection)
        self._new, self._old = connection, old
        self.known: _Known | None = None

    def add(self, one: Study, study_time: str | None, attributes: dict[str, Any]) -> Study:
        """See `Studies.add`."""
        added = super().add(one, study_time, attributes)
        known = _study_id.one(self._old, {"at_site": one.site, "uid": one.uid})
        if known is None or known.id == added.id:
            return added
        _renumber.run(self._new, {"old_id": known.id, "new_id": added.id})
        return replace(added, id=known.id)

    def add_series(self, **columns: Any) -> int:
        """See `Studies.add_series`."""
        of = {"study_key": columns["study_id"], "uid": columns["series_uid"]}
        known = _series_id.one(self._old, of)
        return super().add_series(**columns, **({} if known is None else {"id": known.id}))

    def add_instance(self, **columns: Any) -> None:
        """See `Studies.add_instance`."""
        if (known := self.known) is not None:
            numbers = {"id": known.id, "number_in_study": known.number, "version": known.version}
            columns = {**columns, **numbers}
        super().add_instance(**columns)


@dataclass(frozen=True)
class _Work:
    """What `rebuild` was given."""

    old: Connection | None
    objects: Objects
    fresh: Engine
    spool: Path
    policy: Policy
    seen: Seen
    done: Rebuilt

    def take(self, batches: Iterator[list[tuple[str, _Known | None]]]) -> None:
        """Read these objects and enter them, one after another."""
        senders = _Senders(self.done)
        with ThreadPoolExecutor(_THREADS, "rebuild") as threads:
            for batch in batches:
                taken = threads.map(lambda one: _taken(self.objects, self.spool, *one), batch)
                with self.fresh.begin() as connection:
                    unit = IndexUnit(connection)
                    if self.old is not None:
                        unit.studies = _KnownStudies(connection, self.old)
                    for one, (_, known) in zip(taken, batch, strict=True):
                        _enter(unit, one, known, senders, self.policy, self.done)
                        self.seen("objects read", 1, one.kept.length if one.kept else 0)


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


class _Senders:
    """Who sent what: each Site and device is looked up once."""

    def __init__(self, done: Rebuilt) -> None:
        self._done = done
        self._sites: set[str] = set()
        self._devices: dict[tuple[str, str, str], Device] = {}

    def device(self, unit: IndexUnit, meta: Meta) -> Device:
        """The device that sent it, as it is registered now; else one of which only the title is
        known."""
        key = (meta.site, meta.calling, meta.called)
        if key not in self._devices:
            self._require_site(unit.connection, meta)
            callers = [one for one in unit.people.callers(meta.calling) if one.site == meta.site]
            best = next((one for one in callers if one.called == meta.called), None)
            self._devices[key] = (
                best or next(iter(callers), None) or Device(0, meta.site, meta.calling)
            )
        return self._devices[key]

    def _require_site(self, connection: Connection, meta: Meta) -> None:
        """A Site of which nobody knows more than its key still owns what it sent."""
        if meta.site in self._sites:
            return
        self._sites.add(meta.site)
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
        self._done.placeholders.append(meta.site)


def _enter(
    unit: IndexUnit,
    one: _Taken,
    known: _Known | None,
    senders: _Senders,
    policy: Policy,
    done: Rebuilt,
) -> None:
    if one.meta is None or one.kept is None:
        done.left_out.append((one.why, one.locator))
        return
    if isinstance(unit.studies, _KnownStudies):
        unit.studies.known = known
    meta = one.meta
    sender = senders.device(unit, meta)
    received = Received(sender, meta.called, b"", meta.transfer_syntax, None, None, "rebuild")
    arriving = Arriving(received, one.header, one.kept, meta.received_at)
    stored = None
    if not unit.studies.versions(meta.site, one.header.sop_uid):
        stored = enter_one_more(unit, arriving, policy)
    stored = stored or enter(unit, arriving, policy)
    if stored.what == "same":
        done.same += 1
    else:
        done.instances += 1
