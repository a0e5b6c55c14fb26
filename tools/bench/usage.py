"""How much processor time and memory has a process used, its children included?

Read from /proc, so on Linux only.
"""

import os
import threading
from pathlib import Path
from types import TracebackType

_TICKS = os.sysconf("SC_CLK_TCK")
_EVERY = 0.1


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, of its children, and of those it has waited for."""
    return sum(_cpu(one) for one in _family(pid))


def resident(pid: int) -> int:
    """Bytes in memory of a process and its children; what they share counts for each."""
    return sum(_status(one, "VmRSS") for one in _family(pid))


class Peak:
    """The most memory a process and its children had while the `with` lasted, in bytes."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_EVERY):
            self.bytes = max(self.bytes, resident(self._pid))


def _family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*"):
        found += [int(one) for one in _text(task / "children").split()]
    return found


def _cpu(pid: int) -> float:
    # after the name in parentheses; fields 14 to 17 of proc(5): own and waited-for children's time
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def _status(pid: int, name: str) -> int:
    for line in _text(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended meanwhile
        return ""
