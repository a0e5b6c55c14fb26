"""Where do bytes that never change lie, and how do they get there for good?

Verbs over opaque locators: put or begin, get, read (a range), length, list, delete. Success of
`put` and of `commit` means that the bytes and their name have been synced to stable storage.
"""

import fcntl
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from storage.filesystem import start_writing, sync_folder
from storage.segments import Part, Segment, Segments
from worklist.errors import Code, Refusal

SMALL: Final = 4 << 20
"""DICOM objects below this many bytes lie together in segments, all others are files."""
_TOGETHER: Final = frozenset({"dicom"})  # a signed document is a file that a person can find
_SEGMENTS: Final = "segments"
_STRETCH: Final = 4 << 20  # bytes after which writing to the disk begins, and the room is looked at


class Writing(Protocol):
    """An object on its way. Exactly one of `commit` and `abandon` must come; `abandon` after either
    does nothing."""

    def write(self, part: Part) -> None:
        """Append. OUT_OF_RESOURCES when there is no room."""

    def commit(self) -> str:
        """Sync everything; return the locator."""

    def abandon(self) -> None:
        """Leave nothing behind."""

    def whole(self) -> AbstractContextManager[int]:
        """Before `commit`: a descriptor over all that was written, to be read while it lasts."""


class Objects(Protocol):
    """A store of immutable bytes. `kind` is a short word that tells DICOM objects from report
    documents."""

    def put(self, kind: str, parts: Iterable[Part], *, digest: bytes | None = None) -> str:
        """Keep the concatenated parts; return the locator. OUT_OF_RESOURCES when there is no room.

        `digest` is the SHA-256 of the last part where the caller has it already."""

    def begin(self, kind: str) -> Writing:
        """Keep an object that does not fit into memory."""

    def get(self, locator: str) -> bytes:
        """All bytes. FileNotFoundError when there is no such object."""

    def read(self, locator: str, start: int, length: int) -> bytes:
        """At most `length` bytes from `start`."""

    def length(self, locator: str) -> int:
        """The size in bytes."""

    def list(self) -> Iterator[str]:
        """Every locator, in no particular order."""

    def delete(self, locator: str) -> None:
        """Forget the object; one that is not there is no error."""

    def close(self) -> None:
        """Hold nothing open any more."""

    def require_room(self) -> None:
        """Refuse (OUT_OF_RESOURCES) when new studies must not be taken for want of space."""


class LocalObjects:
    """Objects in files below `root`.

    Small ones are records of segments: one sync each, where a file of its own needs two (bytes,
    folder) and a rename. Large ones are files: temporary file, fsync, rename, fsync of the folder.
    """

    def __init__(self, root: Path, min_free_bytes: int, *, sweeps: bool = True) -> None:
        self._root = root
        self._min_free = min_free_bytes
        self._incoming = root / "incoming"
        self._segments: dict[str, Segments] = {}
        # folders whose own names are known to be synced: one made by another thread, or by a
        # process that was killed, may not be yet
        self._synced: set[Path] = set()
        self._incoming.mkdir(parents=True, exist_ok=True)
        if sweeps:  # a command beside a running gateway leaves that to it
            _sweep(self._incoming)
        sync_folder(root)
        sync_folder(root.parent)

    def put(self, kind: str, parts: Iterable[Part], *, digest: bytes | None = None) -> str:
        """See `Objects.put`."""
        together = tuple(parts)
        if kind not in _TOGETHER or sum(map(len, together)) >= SMALL:
            return self._put_file(kind, together)
        with _refusing():
            segment, at = self._of_kind(kind).put(together, digest)
        return f"{kind}/{_SEGMENTS}/{segment}/{at}"

    def begin(self, kind: str) -> "_File":
        """See `Objects.begin`."""
        name = uuid.uuid4().hex
        with _refusing():
            folder = self._folder(kind, name[:2])
            return _File(self._incoming / name, folder / name, f"{kind}/{name[:2]}/{name}", self)

    def get(self, locator: str) -> bytes:
        """See `Objects.get`."""
        if record := self._record(locator):
            return record[0].read(record[1], record[2], 0, None)
        return self._path(locator).read_bytes()

    def read(self, locator: str, start: int, length: int) -> bytes:
        """See `Objects.read`."""
        if record := self._record(locator):
            return record[0].read(record[1], record[2], start, length)
        with self._path(locator).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), length, start)

    def length(self, locator: str) -> int:
        """See `Objects.length`."""
        if record := self._record(locator):
            return record[0].length(record[1], record[2])
        return self._path(locator).stat().st_size

    def list(self) -> Iterator[str]:
        """See `Objects.list`."""
        for path in self._root.glob("*/??/*"):
            yield path.relative_to(self._root).as_posix()
        for folder in self._root.glob(f"*/{_SEGMENTS}"):
            kind = folder.parent.name
            for segment, at in self._of_kind(kind).list():
                yield f"{kind}/{_SEGMENTS}/{segment}/{at}"

    def proof(self, locator: str) -> bytes | None:
        """The SHA-256 of the data set that stands behind a record; None for a file of its own."""
        if record := self._record(locator):
            return record[0].proof(record[1], record[2])
        return None

    def segments(self) -> Iterator[Segment]:
        """What every segment holds."""
        for folder in self._root.glob(f"*/{_SEGMENTS}"):
            yield from self._of_kind(folder.parent.name).survey()

    def cut_torn(self, is_named: Callable[[str], bool]) -> int:
        """Give back what is left of records that were never finished; in how many segments.
        `is_named`: whether a row names this locator; then it was promised, and is damaged."""
        cut = 0
        for folder in self._root.glob(f"*/{_SEGMENTS}"):
            place = folder.relative_to(self._root).as_posix()
            named = partial(_asked, is_named, place)
            cut += self._of_kind(folder.parent.name).cut_torn(named)
        return cut

    def delete(self, locator: str) -> None:
        """See `Objects.delete`."""
        if record := self._record(locator):
            record[0].delete(record[1], record[2])
        else:
            self._path(locator).unlink(missing_ok=True)

    def close(self) -> None:
        """See `Objects.close`."""
        for segments in self._segments.values():
            segments.close()

    def require_room(self) -> None:
        """See `Objects.require_room`."""
        room = os.statvfs(self._root)
        if room.f_bavail * room.f_frsize < self._min_free:
            raise Refusal(
                Code.OUT_OF_RESOURCES, "The disk is nearly full; new studies are not taken."
            )

    def _put_file(self, kind: str, parts: Iterable[Part]) -> str:
        writing = self.begin(kind)
        try:
            for part in parts:
                writing.write(part)
            return writing.commit()
        finally:
            writing.abandon()

    def _of_kind(self, kind: str) -> Segments:
        return self._segments.get(kind) or self._segments.setdefault(
            kind, Segments(self._root / kind / _SEGMENTS)
        )

    def _record(self, locator: str) -> tuple[Segments, str, int] | None:
        """Where a small object lies; None for one in a file of its own."""
        words = locator.split("/")
        if len(words) != 4 or words[1] != _SEGMENTS:
            return None
        kind, _, segment, at = words
        if not (kind.isalnum() and at.isdecimal()):
            raise FileNotFoundError(locator)
        return self._of_kind(kind), segment, int(at)

    def _folder(self, kind: str, prefix: str) -> Path:
        folder = self._root / kind / prefix
        if folder not in self._synced:
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)
            sync_folder(self._root)
            self._synced.add(folder)
        return folder

    def _path(self, locator: str) -> Path:
        path = self._root / locator
        if ".." in path.parts or not path.is_relative_to(self._root):
            raise FileNotFoundError(locator)
        return path


class _File:
    """One object in a file of its own. Implements `Writing`."""

    def __init__(self, temporary: Path, final: Path, locator: str, store: LocalObjects) -> None:
        self._temporary, self._final, self._locator = temporary, final, locator
        self._store = store
        self._size = self._started = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(temporary, flags, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # in use: not to be swept
        self._is_over = False

    def write(self, part: Part) -> None:
        """See `Writing.write`."""
        with _refusing():
            view = memoryview(part)
            while view:
                written = os.write(self._descriptor, view)
                self._size += written
                view = view[written:]
        if self._size - self._started >= _STRETCH:
            start_writing(self._descriptor, self._started, self._size - self._started)
            self._started = self._size
            self._store.require_room()

    def commit(self) -> str:
        """See `Writing.commit`."""
        with _refusing():
            try:
                os.fsync(self._descriptor)
                self._temporary.rename(self._final)
                sync_folder(self._final.parent)
            except OSError:
                self._final.unlink(missing_ok=True)
                raise
        self._close()
        return self._locator

    def abandon(self) -> None:
        """See `Writing.abandon`."""
        if not self._is_over:
            self._temporary.unlink(missing_ok=True)
            self._close()

    @contextmanager
    def whole(self) -> Iterator[int]:
        """See `Writing.whole`."""
        yield self._descriptor

    def _close(self) -> None:
        self._is_over = True
        os.close(self._descriptor)


def _asked(is_named: Callable[[str], bool], place: str, segment: str, at: int) -> bool:
    return is_named(f"{place}/{segment}/{at}")


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Refusal(
            Code.OUT_OF_RESOURCES, f"The object store failed: {error.strerror}."
        ) from error


def _sweep(incoming: Path) -> None:
    """Remove what was never acknowledged because its process ended in the middle. What another
    process is writing is locked by it."""
    for left in incoming.iterdir():
        with suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()
