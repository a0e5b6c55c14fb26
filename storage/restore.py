"""How does a backup become a gateway's data again, on whichever engine and store?

Objects get new locators from the store they are put into; the rows are written with those. The
SHA-256 of every object is proved while it is read.
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from storage import dump
from storage.backup import Entry, Manifest, entries, place
from storage.condition import BLOCK
from storage.migrate import make
from storage.objects import SMALL, Objects
from storage.tables import metadata
from worklist.errors import Code, Refusal

_THREADS: Final = 8
_COLUMNS: Final = {"instance": "locator", "report": "pdf"}
_LEFT_OUT: Final = frozenset({"fault"})  # found anew where it still holds

Seen = Callable[[int, int], None]


def wrong_parts(folder: Path, manifest: Manifest, seen: Seen) -> Iterator[str]:
    """One line for everything in the backup that is not what its manifest says."""
    for name, digest in manifest.digests.items():
        path = folder / name
        if not path.is_file():
            yield f"missing\t{name}"
        elif _digest(path) != digest:
            yield f"corrupt\t{name}"
        elif name == manifest.objects:
            yield from _wrong_objects(folder, name, seen)


def _wrong_objects(folder: Path, catalogue: str, seen: Seen) -> Iterator[str]:
    with ThreadPoolExecutor(_THREADS, "verify") as threads:
        for batch in _batches(entries(folder, catalogue)):
            looks = threads.map(lambda one: _wrong(folder, one), batch)
            for one, what in zip(batch, looks, strict=True):
                seen(1, one.length)
                if what:
                    yield f"{what}\t{one.kind} {one.id}: {one.locator}"


def restore(
    folder: Path, manifest: Manifest, objects: Objects, connection: Connection, seen: Seen
) -> int:
    """Make the tables in an empty index, in this transaction, and put every object; how many had
    no bytes in the backup. Refuses what does not match its digest."""
    for name in (manifest.index, manifest.objects):
        if _digest(folder / name) != manifest.digests[name]:
            raise Refusal(Code.UNREADABLE, f"{folder / name} is not what the manifest says.")
    make(connection, manifest.schema)
    catalogue = entries(folder, manifest.objects)
    missing = 0
    with ThreadPoolExecutor(_THREADS, "restore") as threads:
        for given in dump.read_index(folder / manifest.index):
            if given.table in _LEFT_OUT:
                continue
            if given.table not in _COLUMNS:
                dump.take(connection, given)
                continue
            found = [_next(catalogue) for _ in given.rows]
            missing += sum(not one.sha256 for one in found)
            locators = threads.map(lambda one: _put(folder, objects, one), found)
            dump.take(connection, _with(given, _COLUMNS[given.table], list(locators)))
            seen(len(found), sum(one.length for one in found))
    dump.number_on(connection)
    return missing


def is_empty(connection: Connection) -> bool:
    """Whether nobody has begun to use this index."""
    if not inspect(connection).has_table("site"):
        return True
    return connection.execute(text("SELECT 1 FROM site LIMIT 1")).first() is None


def drop_all(connection: Connection) -> None:
    """Remove every table of ours, whatever its schema."""
    names = {*metadata.tables, "alembic_version"}.intersection(
        inspect(connection).get_table_names()
    )
    for name in sorted(names):
        connection.execute(text(f'DROP TABLE IF EXISTS "{name}" CASCADE'))


def _with(given: dump.Rows, column: str, locators: list[str]) -> dump.Rows:
    rows = [{**row, column: locator} for row, locator in zip(given.rows, locators, strict=True)]
    return replace(given, rows=rows)


def _next(catalogue: Iterator[Entry]) -> Entry:
    found = next(catalogue, None)
    if found is None:
        raise Refusal(Code.TRUNCATED, "The backup's list of objects is shorter than its index.")
    return found


def _put(folder: Path, objects: Objects, one: Entry) -> str:
    """Put one object; its new locator. One without bytes keeps the old one: it stays missing."""
    if not one.sha256:
        return one.locator
    kind = one.locator.partition("/")[0]
    path = place(folder, one.locator)
    try:
        if one.length < SMALL:
            data = path.read_bytes()
            _require(hashlib.sha256(data).hexdigest() == one.sha256, one)
            view = memoryview(data)
            return objects.put(kind, (view[: one.offset], view[one.offset :]))
        return _put_large(path, objects, kind, one)
    except FileNotFoundError as error:
        raise _broken(one) from error


def _put_large(path: Path, objects: Objects, kind: str, one: Entry) -> str:
    sha = hashlib.sha256()
    writing = objects.begin(kind)
    try:
        with path.open("rb") as file:
            while part := file.read(BLOCK):
                sha.update(part)
                writing.write(part)
        _require(sha.hexdigest() == one.sha256, one)
        return writing.commit()
    finally:
        writing.abandon()


def _require(holds: bool, one: Entry) -> None:
    if not holds:
        raise _broken(one)


def _broken(one: Entry) -> Refusal:
    return Refusal(
        Code.UNREADABLE,
        f"In the backup {one.kind} {one.id} is gone or changed ({one.locator}). Nothing was "
        "restored.",
    )


def _wrong(folder: Path, one: Entry) -> str | None:
    if not one.sha256:
        return "missing"
    path = place(folder, one.locator)
    if not path.is_file():
        return "missing"
    return None if _digest(path) == one.sha256 else "corrupt"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _batches(found: Iterator[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    for one in found:
        batch.append(one)
        if len(batch) >= 256:
            yield batch
            batch = []
    if batch:
        yield batch
