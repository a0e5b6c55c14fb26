"""Where do bytes that never change lie, and how do they get there for good?

Six verbs over opaque locators: put, get, read (a range), length, list, delete. Success of `put`
means that the bytes and their name have been synced to stable storage.
"""

import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from worklist.errors import Code, Refusal


class Objects(Protocol):
    """A store of immutable bytes. `kind` is a short word that tells DICOM objects from report
    documents."""

    def put(self, kind: str, parts: Iterable[bytes | memoryview]) -> str:
        """Keep the concatenated parts; return the locator. OUT_OF_RESOURCES when there is no
        room."""

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

    def require_room(self) -> None:
        """Refuse (OUT_OF_RESOURCES) when new studies must not be taken for want of space."""


class LocalObjects:
    """One file for each object below `root`: temporary file, fsync, rename, fsync of the folder."""

    def __init__(self, root: Path, min_free_bytes: int) -> None:
        self._root = root
        self._min_free = min_free_bytes
        self._incoming = root / "incoming"
        # folders whose own names are known to be synced: one made by another thread, or by a
        # process that was killed, may not be yet
        self._synced: set[Path] = set()
        self._incoming.mkdir(parents=True, exist_ok=True)
        for left in self._incoming.iterdir():  # never acknowledged: the process ended in the middle
            left.unlink()
        _sync_folder(root)
        _sync_folder(root.parent)

    def put(self, kind: str, parts: Iterable[bytes | memoryview]) -> str:
        """See `Objects.put`."""
        name = uuid.uuid4().hex
        folder = self._folder(kind, name[:2])
        temporary = self._incoming / name
        try:
            with temporary.open("xb", buffering=0) as file:
                for part in parts:
                    _write_all(file.fileno(), part)
                os.fsync(file.fileno())
            temporary.rename(folder / name)
            _sync_folder(folder)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            (folder / name).unlink(missing_ok=True)
            raise Refusal(
                Code.OUT_OF_RESOURCES, f"The object store failed: {error.strerror}."
            ) from error
        return f"{kind}/{name[:2]}/{name}"

    def get(self, locator: str) -> bytes:
        """See `Objects.get`."""
        return self._path(locator).read_bytes()

    def read(self, locator: str, start: int, length: int) -> bytes:
        """See `Objects.read`."""
        with self._path(locator).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), length, start)

    def length(self, locator: str) -> int:
        """See `Objects.length`."""
        return self._path(locator).stat().st_size

    def list(self) -> Iterator[str]:
        """See `Objects.list`."""
        for path in self._root.glob("*/??/*"):
            yield path.relative_to(self._root).as_posix()

    def delete(self, locator: str) -> None:
        """See `Objects.delete`."""
        self._path(locator).unlink(missing_ok=True)

    def require_room(self) -> None:
        """See `Objects.require_room`."""
        room = os.statvfs(self._root)
        if room.f_bavail * room.f_frsize < self._min_free:
            raise Refusal(
                Code.OUT_OF_RESOURCES, "The disk is nearly full; new studies are not taken."
            )

    def _folder(self, kind: str, prefix: str) -> Path:
        folder = self._root / kind / prefix
        if folder not in self._synced:
            folder.mkdir(parents=True, exist_ok=True)
            _sync_folder(folder.parent)
            _sync_folder(self._root)
            self._synced.add(folder)
        return folder

    def _path(self, locator: str) -> Path:
        path = self._root / locator
        if ".." in path.parts:
            raise FileNotFoundError(locator)
        return path


def _write_all(descriptor: int, part: bytes | memoryview) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
