"""Which other receivers does this machine have, and how are they run as fast as they can be?

Both are taken as Debian ships them, except that TCP_NODELAY=1 turns off what would make them wait
some 40 ms for each object.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.bench.house import AE_TITLE, ROOT, end, free_port, listens, until

STORESCP, ORTHANC = "storescp", "Orthanc"
_PLACES = ("/usr/sbin", "/usr/local/sbin")


@dataclass(frozen=True)
class Receiver:
    """A running receiver: its name in the table, process and DICOM port."""

    name: str
    pid: int
    port: int
    tls: bool = False


def program(name: str) -> str | None:
    """Where the program is. The environment has scripts of DCMTK's names: those are not meant."""
    inside = str(ROOT / ".venv")
    places = [one for one in os.get_exec_path() if not one.startswith(inside)]
    return shutil.which(name, path=os.pathsep.join((*places, *_PLACES)))


@contextmanager
def running(
    name: str, folder: Path, destination: tuple[str, int] | None = None
) -> Iterator[Receiver | None]:
    """The receiver while the `with` lasts; None where it is not installed or does not start.

    `destination` is the AE Title and port of a device here that Orthanc may send to.
    """
    path = program(name)
    if path is None:
        yield None
        return
    home = folder / name
    home.mkdir()
    port = free_port()
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            COMMANDS[name](path, home, port, destination),
            cwd=home,
            env={**os.environ, "TCP_NODELAY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: process.poll() is not None or listens(port), f"{name} to listen")
        yield None if process.poll() is not None else Receiver(name, process.pid, port)
    finally:
        end(process)


def _storescp(path: str, home: Path, port: int, _: tuple[str, int] | None) -> list[str]:
    """One process for each association, else it would serve only one at a time."""
    kept = home / "kept"
    kept.mkdir()
    return [path, "--fork", "-aet", AE_TITLE, "-od", str(kept), str(port)]


def _orthanc(path: str, home: Path, port: int, to: tuple[str, int] | None) -> list[str]:
    settings = {
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {to[0]: [to[0], "127.0.0.1", to[1]]} if to else {},
        "StorageDirectory": str(home / "kept"),
        "IndexDirectory": str(home / "kept"),
        "DicomAet": AE_TITLE,
        "DicomPort": port,
        "HttpServerEnabled": False,
        "Plugins": [],
    }
    file = home / "orthanc.json"
    file.write_text(json.dumps(settings))
    return [path, str(file)]


COMMANDS: dict[str, Callable[[str, Path, int, tuple[str, int] | None], list[str]]] = {
    STORESCP: _storescp,
    ORTHANC: _orthanc,
}
