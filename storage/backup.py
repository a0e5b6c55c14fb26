"""How is a copy made of everything that is kept, beside a running gateway?

First the index, as one transaction sees it; then every object it names. An object never changes,
so what is in the folder already is not copied again. The manifest is written last, when all else is
synced: without it the folder holds no backup, or still the one before.
"""

import fcntl
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from storage import dump
from storage.check import View, patiently
from storage.condition import BLOCK, MISSING, Named, Reading, blocks
from storage.filesystem import sync_folder
from storage.objects import Objects
from worklist.errors import Code, Refusal

MANIFEST: Final = "manifest.json"
MARKER: Final = "teleread-backup"
_FORMAT: Final = 1
_THREADS: Final = 4
_BATCH: Final = 64


@dataclass(frozen=True)
class Entry:
    """One object of a backup: its place in the list, its locator, all its bytes' length and
    SHA-256. `what` says what was wrong with it when it was copied; one that was missing has no
    bytes."""

    kind: str
    id: str
    locator: str
    offset: int
    length: int
    sha256: str
    what: str | None = None


@dataclass
class Manifest:
    """What a whole backup consists of. Files by name, each with its SHA-256."""

    began_at: str
    ended_at: str
    schema: str
    index: str
    objects: str
    keys: str
    digests: dict[str, str]
    rows: dict[str, int]
    count: int
    bytes: int
    damaged: int
    format: int = _FORMAT


@dataclass
class Copied:
    """What a run has done."""

    objects: int = 0
    bytes: int = 0
    new: int = 0
    new_bytes: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)


def back_up(
    view: View,
    objects: Objects,
    folder: Path,
    keys: bytes,
    now: Callable[[], datetime],
    seen: Callable[[str, int, int], None],
) -> Copied:
    """Bring the folder up to what is kept now. `keys` is what must be kept besides, sealed.

    `seen` is told (of what, how many more, bytes). Refuses a folder that holds other things, or in
    which another backup is being made.
    """
    with _taken(folder):
        began = now()
        stamp = began.strftime("%Y%m%dT%H%M%S%f")
        names = {
            "index": f"index-{stamp}.jsonl.gz",
            "objects": f"objects-{stamp}.jsonl.gz",
            "keys": f"keys-{stamp}.sealed",
        }
        index, catalogue = folder / names["index"], folder / names["objects"]
        with view() as unit:
            rows = dump.write_index(unit.connection, index, lambda n: seen("rows", n, 0))
        copied = _copy_all(objects, folder, index, catalogue, seen)
        (folder / names["keys"]).write_bytes(keys)
        _sync_all(folder)
        digests = {name: _digest(folder / name) for name in names.values()}
        manifest = Manifest(
            began_at=began.isoformat(),
            ended_at=now().isoformat(),
            schema=dump.schema_of(index),
            digests=digests,
            rows=rows,
            count=copied.objects,
            bytes=copied.bytes,
            damaged=len(copied.faults),
            index=names["index"],
            objects=names["objects"],
            keys=names["keys"],
        )
        _write_manifest(folder, manifest)
        _drop_older(folder, set(names.values()))
        return copied


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a whole backup. Refuses a folder without one."""
    try:
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Refusal(
            Code.NOT_FOUND, f"{folder} holds no whole backup: there is no {MANIFEST}."
        ) from error
    except ValueError as error:
        raise Refusal(Code.UNREADABLE, f"{folder / MANIFEST} cannot be read.") from error
    if values.get("format") != _FORMAT:
        raise Refusal(Code.UNREADABLE, f"{folder / MANIFEST} is of another version.")
    return Manifest(**values)


def entries(folder: Path, catalogue: str) -> Iterator[Entry]:
    """The objects of a backup, in the order of its index."""
    with gzip.open(folder / catalogue, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield Entry(*json.loads(line))


def place(folder: Path, locator: str) -> Path:
    """The file of an object."""
    shard = hashlib.sha256(locator.encode()).hexdigest()[:2]
    return folder / "objects" / shard / locator.replace("/", "-")


# --- objects -----------------------------------------------------------------------------------


def _copy_all(
    objects: Objects,
    folder: Path,
    index: Path,
    catalogue: Path,
    seen: Callable[[str, int, int], None],
) -> Copied:
    copied = Copied()
    before = _Before(folder)
    with (
        gzip.open(catalogue, "wt", encoding="utf-8", compresslevel=1) as file,
        ThreadPoolExecutor(_THREADS, "backup") as threads,
    ):
        for batch in _named(index):
            known = [before.of(one) for one in batch]
            pairs = zip(batch, known, strict=True)
            made = threads.map(lambda pair: _kept(objects, folder, *pair), pairs)
            for one, (entry, is_new) in zip(batch, made, strict=True):
                file.write(json.dumps(list(asdict(entry).values())) + "\n")
                _count(copied, entry, one, is_new=is_new)
                seen("objects", 1, entry.length)
    return copied


def _count(copied: Copied, entry: Entry, one: Named, *, is_new: bool) -> None:
    copied.objects += 1
    copied.bytes += entry.length
    if is_new:
        copied.new += 1
        copied.new_bytes += entry.length
    if entry.what:
        copied.faults.append((entry.what, f"{one.row}: {one.locator}"))


def _named(index: Path) -> Iterator[list[Named]]:
    """The objects that the rows name, as they were written down."""
    for given in dump.read_index(index):
        make = {"instance": _of_instance, "report": _of_report}.get(given.table)
        for at in range(0, len(given.rows) if make else 0, _BATCH):
            assert make is not None  # noqa: S101 - no turn of the loop otherwise
            yield [make(row) for row in given.rows[at : at + _BATCH]]


def _of_instance(row: dict[str, Any]) -> Named:
    return Named(
        row["locator"],
        row["offset"],
        row["length"],
        row["digest"],
        row["site"],
        row["study_id"],
        instance_id=row["id"],
    )


def _of_report(row: dict[str, Any]) -> Named:
    return Named(
        row["pdf"], 0, None, row["pdf_digest"], row["site"], row["study_id"], report_id=row["id"]
    )


class _Before:
    """What the whole backup before this one holds: read beside the rows, both in one order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: Iterator[Entry] = iter(())
        self._next: Entry | None = None
        if (folder / MANIFEST).exists():
            self._entries = entries(folder, read_manifest(folder).objects)
            self._next = next(self._entries, None)

    def of(self, one: Named) -> Entry | None:
        """The entry of this object, if it is there whole."""
        kind, number = _key(one)
        while self._next is not None and _order(self._next.kind, self._next.id) < _order(
            kind, number
        ):
            self._next = next(self._entries, None)
        found = self._next
        if found is None or found.locator != one.locator or found.what:
            return None
        path = place(self._folder, one.locator)
        return found if path.is_file() and path.stat().st_size == found.length else None


def _key(one: Named) -> tuple[str, str]:
    if one.instance_id is not None:
        return "instance", str(one.instance_id)
    return "report", str(one.report_id)


def _order(kind: str, number: str) -> tuple[str, int, str]:
    return kind, int(number) if kind == "instance" else 0, number


def _kept(objects: Objects, folder: Path, one: Named, known: Entry | None) -> tuple[Entry, bool]:
    """The object as it is in the folder now, and whether it had to be copied."""
    if known is not None:
        return known, False
    path = place(folder, one.locator)
    if path.is_file():  # from a run that was broken off: believed when it is what it should be
        with path.open("rb") as file:
            entry = _digested(one, iter(lambda: file.read(BLOCK), b""), lambda _: None)
        if entry.what is None:
            return entry, False
    return patiently(lambda: _copy(objects, path, one)), True


def _copy(objects: Objects, path: Path, one: Named) -> Entry:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            entry = _digested(one, blocks(objects, one.locator), file.write)
    except FileNotFoundError:
        partial.unlink()
        return Entry(*_key(one), one.locator, one.offset, 0, "", MISSING)
    partial.rename(path)
    return entry


def _digested(one: Named, parts: Iterator[bytes], write: Callable[[bytes], Any]) -> Entry:
    reading, whole = Reading(one), hashlib.sha256()
    for part in parts:
        reading.feed(part)
        whole.update(part)
        write(part)
    key = _key(one)
    sha = whole.hexdigest()
    return Entry(*key, one.locator, one.offset, reading.size, sha, reading.fault())


# --- the folder --------------------------------------------------------------------------------


@contextmanager
def _taken(folder: Path) -> Iterator[None]:
    """Hold the folder for this run."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    marker = folder / MARKER
    if not marker.exists() and any(folder.iterdir()):
        raise Refusal(Code.INVALID, f"{folder} holds other things; name an empty folder.")
    with marker.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refusal(
                Code.ALREADY_EXISTS, f"Another backup is being made in {folder}."
            ) from error
        yield


def _sync_all(folder: Path) -> None:
    """Everything below is on stable storage when this returns."""
    os.sync()
    sync_folder(folder)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    fresh = folder / f"{MANIFEST}.new"
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(asdict(manifest), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(folder / MANIFEST)
    sync_folder(folder)


def _drop_older(folder: Path, names: set[str]) -> None:
    for kind in ("index-*.gz", "objects-*.gz", "keys-*.sealed"):
        for path in folder.glob(kind):
            if path.name not in names:
                path.unlink()
