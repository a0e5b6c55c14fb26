"""Which calls of the kernel does Python not name?

Linux only, and each may be missing: then nothing happens, and only time or room is lost.
"""

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_OFFSET = ctypes.c_int64
_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01
_START_WRITING = 2


def start_writing(descriptor: int, start: int, length: int) -> None:
    """Begin to bring these bytes to the disk without waiting: the sync that follows is shorter. No
    promise of any kind (sync_file_range(2))."""
    call = getattr(_LIBC, "sync_file_range", None)
    if call is not None:
        call(descriptor, _OFFSET(start), _OFFSET(length), _START_WRITING)


def give_back(descriptor: int, start: int, length: int) -> None:
    """Free the room of these bytes inside of a file; they read as zeros (fallocate(2))."""
    call = getattr(_LIBC, "fallocate", None)
    if call is not None and length > 0:
        call(descriptor, _PUNCH_HOLE_KEEP_SIZE, _OFFSET(start), _OFFSET(length))


def sync_folder(folder: os.PathLike[str]) -> None:
    """Bring the names in this folder to stable storage."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
