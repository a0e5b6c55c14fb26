"""On what was this measured?"""

import os
import platform
import sqlite3
from pathlib import Path


def described(folder: Path) -> str:
    """One line: processors, load, memory, Python, SQLite, the disk below `folder`."""
    load = os.getloadavg()[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return ", ".join(
        (
            f"{os.cpu_count()} × {_processor()}",
            f"load {load:.1f} before",
            f"{memory:.0f} GB",
            f"Python {platform.python_version()}",
            f"SQLite {sqlite3.sqlite_version}",
            f"data on {_filesystem(folder)}",
        )
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _filesystem(folder: Path) -> str:
    """The type of the file system that holds the folder: on one in memory a sync costs nothing."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return "an unknown file system"
    for line in lines:
        fields = line.split()
        if fields[2] == wanted:
            return fields[fields.index("-") + 1]
    return "an unknown file system"
