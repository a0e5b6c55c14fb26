"""How is an object read like a file, without loading it whole?"""

import io
import os

from storage.objects import Objects

# A header fits in one or two of these; a frame is read in one go, whatever its size.
BLOCK = 64 * 1024


class _Ranges(io.RawIOBase):
    """Reads of an object as ranges of its store."""

    def __init__(self, objects: Objects, locator: str, length: int) -> None:
        super().__init__()
        self._objects = objects
        self._locator = locator
        self._length = length
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        if start + offset < 0:
            raise ValueError("a place before the beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), max(self._length - self._at, 0))
        found = self._objects.read(self._locator, self._at, wanted) if wanted else b""
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def object_file(objects: Objects, locator: str, length: int) -> io.BufferedReader:
    """The object as a binary file of `length` bytes; it holds nothing open and needs no closing.

    One thread at a time may use it. FileNotFoundError on reading where there is no such object.
    """
    return io.BufferedReader(_Ranges(objects, locator, length), BLOCK)
