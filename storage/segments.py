"""How do many small objects lie in few files, each one synced with a single call?

A segment is a file that only grows, in the hands of one put at a time. A record is: header, the
object's bytes, SHA-256 of its last part. The next one is appended after the one before was synced,
so only the last record of a segment can be torn, and its digest tells. A deleted record keeps its
header; its room goes back to the file system, and so does a segment that holds nothing any more.
"""

import fcntl
import hashlib
import os
import struct
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from storage.filesystem import give_back, sync_folder

MOST_BYTES: Final = 64 << 20
"""A segment that has grown beyond this gets no further record."""
_MOST_IDLE: Final = 16

# magic, whether it lives, CRC-32 of all but the state and the last part, length, where the last
# part begins
_HEADER = struct.Struct("<8sB3xIQQ")
_MAGIC: Final = b"TELEREC1"
_LENGTHS = struct.Struct("<QQ")
_STATE_AT: Final = 8
_LIVES, _DEAD = 1, 0
_DIGEST: Final = 32
_PIECE: Final = 1 << 20

Part = bytes | memoryview


class _Record(NamedTuple):
    """One record's header."""

    at: int
    lives: bool
    crc: int
    length: int
    last_part: int

    @property
    def start(self) -> int:
        return self.at + _HEADER.size

    @property
    def end(self) -> int:
        return self.start + self.length + _DIGEST


@dataclass(frozen=True)
class Segment:
    """What one segment holds: living and dead records, and bytes behind them that are none: the
    rest of a put that was broken off, or damage."""

    name: str
    living: int
    dead: int
    end: int  # where the records end and the rest begins
    torn: int
    in_use: bool


class _Held(NamedTuple):
    """What a segment holds. See `Segment`."""

    living: int
    dead: int
    end: int
    torn: int

    @property
    def is_nothing(self) -> bool:
        """Whether all may go: nothing lives in it, and nothing is damaged."""
        return not self.living and not self.torn


@dataclass
class _Open:
    """A segment that can be appended to."""

    name: str
    descriptor: int
    size: int = 0


class Segments:
    """The segments below one folder. An object is named by (segment, offset of its record)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mutex = threading.Lock()
        self._idle: list[_Open] = []
        self._is_made = False

    def put(self, parts: Sequence[Part], digest: bytes | None) -> tuple[str, int]:
        """Append and sync. `digest` is the SHA-256 of the last part, where the caller has it.
        OSError: nothing has been kept."""
        proof = digest or hashlib.sha256(parts[-1] if parts else b"").digest()
        with self._borrowed() as segment:
            at = segment.size
            length = sum(map(len, parts))
            _write_at(segment.descriptor, (_header(parts, length), *parts, proof), at)
            os.fdatasync(segment.descriptor)
            segment.size = at + _HEADER.size + length + _DIGEST
        return segment.name, at

    def read(self, segment: str, at: int, start: int, length: int | None) -> bytes:
        """At most `length` bytes from `start`; FileNotFoundError where no object lives."""
        with self._opened(segment) as descriptor:
            record = _living(descriptor, at)
            rest = max(record.length - start, 0)
            wanted = rest if length is None else min(length, rest)
            return _read_at(descriptor, record.start + start, wanted)

    def length(self, segment: str, at: int) -> int:
        """The object's size in bytes; FileNotFoundError where none lives."""
        with self._opened(segment) as descriptor:
            return _living(descriptor, at).length

    def proof(self, segment: str, at: int) -> bytes:
        """The SHA-256 of the last part, as it was written; FileNotFoundError where none lives."""
        with self._opened(segment) as descriptor:
            return _read_at(descriptor, _living(descriptor, at).end - _DIGEST, _DIGEST)

    def list(self) -> Iterator[tuple[str, int]]:
        """Every object that is whole and lives."""
        for path in self._folder.glob("*"):
            try:
                with self._opened(path.name) as descriptor:
                    found = [one.at for one in _records(descriptor) if one.lives]
            except FileNotFoundError:  # given back meanwhile
                continue
            yield from ((path.name, at) for at in found)

    def survey(self) -> Iterator[Segment]:
        """What each segment holds."""
        for path in sorted(self._folder.glob("*")):
            try:
                with self._opened(path.name) as descriptor:
                    found = Segment(path.name, *_held(descriptor), _in_use(descriptor))
            except FileNotFoundError:  # given back meanwhile
                continue
            yield found

    def cut_torn(self, is_named: Callable[[str, int], bool]) -> int:
        """Cut off what is left of records that were never finished; in how many segments. A record
        that `is_named` (segment, offset) was finished once: it is damaged, and stays."""
        cut = 0
        for path in sorted(self._folder.glob("*")):
            with (
                suppress(FileNotFoundError, BlockingIOError),
                self._opened(path.name, os.O_RDWR) as descriptor,
            ):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found = _held(descriptor)
                if found.torn and not (
                    is_named(path.name, found.end) or _magic_after(descriptor, found.torn)
                ):
                    os.ftruncate(descriptor, found.end)
                    os.fdatasync(descriptor)
                    cut += 1
        return cut

    def delete(self, segment: str, at: int) -> None:
        """Forget the object for good and free its room. One that is not there is no error."""
        try:
            with self._opened(segment, os.O_RDWR) as descriptor:
                record = _living(descriptor, at)
                os.pwrite(descriptor, bytes((_DEAD,)), at + _STATE_AT)
                os.fdatasync(descriptor)
                if _is_known(descriptor, record):  # a damaged length would reach into neighbours
                    give_back(descriptor, record.start, record.length)
                self._give_back_all(segment, descriptor)
        except FileNotFoundError:
            return

    def close(self) -> None:
        """Hold no segment any more: another process may see to them. A put opens a new one."""
        with self._mutex:
            idle, self._idle = self._idle, []
        for segment in idle:
            self._close(segment)

    def _give_back_all(self, segment: str, descriptor: int) -> None:
        """Remove the file when nothing lives in it and nobody appends to it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if _held(descriptor).is_nothing:
            (self._folder / segment).unlink(missing_ok=True)

    @contextmanager
    def _borrowed(self) -> Iterator[_Open]:
        """A segment for one put alone. What fails leaves the segment as it was, closed."""
        with self._mutex:
            segment = self._idle.pop() if self._idle else None
        segment = segment or self._new()
        try:
            yield segment
        except BaseException:
            self._close(segment)
            raise
        with self._mutex:
            again = segment.size < MOST_BYTES and len(self._idle) < _MOST_IDLE
            if again:
                self._idle.append(segment)
        if not again:
            self._close(segment)

    def _close(self, segment: _Open) -> None:
        """Append nothing more, and take back what was not finished."""
        try:
            os.ftruncate(segment.descriptor, segment.size)
            if _held(segment.descriptor).is_nothing:
                (self._folder / segment.name).unlink(missing_ok=True)
        finally:
            os.close(segment.descriptor)

    def _new(self) -> _Open:
        """An empty segment whose name is on stable storage; its lock says that it is in use."""
        if not self._is_made:
            self._folder.mkdir(parents=True, exist_ok=True)
            sync_folder(self._folder.parent)
            sync_folder(self._folder.parent.parent)
            self._is_made = True
        name = uuid.uuid4().hex
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        descriptor = os.open(self._folder / name, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            sync_folder(self._folder)
        except BaseException:
            self._close(_Open(name, descriptor))
            raise
        return _Open(name, descriptor)

    @contextmanager
    def _opened(self, segment: str, flags: int = os.O_RDONLY) -> Iterator[int]:
        if not segment.isalnum():
            raise FileNotFoundError(segment)
        descriptor = os.open(self._folder / segment, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


# --- records -----------------------------------------------------------------------------------


def _header(parts: Sequence[Part], length: int) -> bytes:
    last_part = length - (len(parts[-1]) if parts else 0)
    crc = zlib.crc32(_LENGTHS.pack(length, last_part))
    for part in parts[:-1]:
        crc = zlib.crc32(part, crc)
    return _HEADER.pack(_MAGIC, _LIVES, crc, length, last_part)


def _record(descriptor: int, at: int) -> _Record | None:
    """The record that begins here, if one does."""
    raw = os.pread(descriptor, _HEADER.size, at)
    if len(raw) < _HEADER.size or not raw.startswith(_MAGIC):
        return None
    _, state, crc, length, last_part = _HEADER.unpack(raw)
    return _Record(at, state == _LIVES, crc, length, last_part)


def _living(descriptor: int, at: int) -> _Record:
    record = _record(descriptor, at)
    if record is None or not record.lives:
        raise FileNotFoundError("no object lives here")
    return record


def _records(descriptor: int) -> Iterator[_Record]:
    """Every record from the first; the last one only if it is whole."""
    record = _record(descriptor, 0)
    while record is not None:
        following = _record(descriptor, record.end)
        if following is not None or not record.lives or _is_whole(descriptor, record):
            yield record
        record = following


def _held(descriptor: int) -> _Held:
    size, end, living, dead = os.fstat(descriptor).st_size, 0, 0, 0
    for one in _records(descriptor):
        end = one.end
        living, dead = living + one.lives, dead + (not one.lives)
    return _Held(living, dead, end, max(size - end, 0))


def _in_use(descriptor: int) -> bool:
    """Whether a process appends to it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _magic_after(descriptor: int, torn: int) -> bool:
    """Whether a whole record stands somewhere in the last `torn` bytes: then they are not the rest
    of a put but damage, and must stay."""
    size = os.fstat(descriptor).st_size
    at, tail = size - torn, b""
    for piece in _pieces(descriptor, at, size):
        text = tail + piece
        begin = at - len(tail)
        found = text.find(_MAGIC)
        while found >= 0:
            record = _record(descriptor, begin + found)
            if record is not None and record.lives and _is_whole(descriptor, record):
                return True
            found = text.find(_MAGIC, found + 1)
        at += len(piece)
        tail = text[-len(_MAGIC) + 1 :]
    return False


def _is_whole(descriptor: int, record: _Record) -> bool:
    """Whether every byte is the one that was put."""
    if not _is_known(descriptor, record):
        return False
    digest = hashlib.sha256()
    for piece in _pieces(descriptor, record.start + record.last_part, record.end - _DIGEST):
        digest.update(piece)
    proof = os.pread(descriptor, _DIGEST, record.end - _DIGEST)
    return proof == digest.digest()


def _is_known(descriptor: int, record: _Record) -> bool:
    """Whether lengths, and all but the last part, are what was put."""
    if os.fstat(descriptor).st_size < record.end or record.last_part > record.length:
        return False
    crc = zlib.crc32(_LENGTHS.pack(record.length, record.last_part))
    for piece in _pieces(descriptor, record.start, record.start + record.last_part):
        crc = zlib.crc32(piece, crc)
    return crc == record.crc


def _pieces(descriptor: int, at: int, end: int) -> Iterator[bytes]:
    while at < end and (piece := os.pread(descriptor, min(_PIECE, end - at), at)):
        yield piece
        at += len(piece)


def _read_at(descriptor: int, at: int, length: int) -> bytes:
    piece = os.pread(descriptor, length, at)
    if len(piece) == length:
        return piece
    return b"".join((piece, *_pieces(descriptor, at + len(piece), at + length)))


def _write_at(descriptor: int, parts: Sequence[Part], at: int) -> None:
    left = [memoryview(part) for part in parts if len(part)]
    while left:
        written = os.pwritev(descriptor, left, at)
        at += written
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if left:
            left[0] = left[0][written:]
