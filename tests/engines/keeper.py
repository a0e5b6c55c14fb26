"""Who starts a real engine for the tests of a session, and who ends it?

`python -m tests.engines.keeper ENGINE FOLDER` starts the engine as its own children, writes
`ready.json`, and ends them when nobody holds FOLDER/users any more. Users hold it by `flock`, which
the kernel lets go of even when a test process is killed: no engine outlives its tests.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PATIENCE = 90.0
# they outlive this process: nobody waits for them
_keepers: list[subprocess.Popen[bytes]] = []
ROOT = Path(__file__).resolve().parents[2]


class Children:
    """The engine's processes, ended in reverse order by the id they were started under."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[tuple[subprocess.Popen[bytes], signal.Signals]] = []

    def start(
        self, words: Sequence[str | Path], ends: signal.Signals = signal.SIGKILL, **more: Any
    ) -> subprocess.Popen[bytes]:
        """A child that stays in the foreground and ends by this signal; its words go to a log."""
        name = Path(words[0]).name
        with (self.folder / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **more
            )
        self._running.append((child, ends))
        return child

    def wait_until(self, holds: Callable[[], object], what: str) -> None:
        """Until this holds, all children alive."""
        end = time.monotonic() + PATIENCE
        while not holds():
            for child, _ in self._running:
                if child.poll() is not None:
                    raise RuntimeError(f"{child.args!r} ended with {child.returncode}")
            if time.monotonic() > end:
                raise RuntimeError(f"waited too long for {what}")
            time.sleep(0.02)

    def end(self) -> None:
        """Nothing of a throw-away engine needs to be saved."""
        for child, ends in reversed(self._running):
            child.send_signal(ends)
            child.wait(PATIENCE)


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody answers on this port."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def use(engine: str, common: Path) -> tuple[Mapping[str, Any], Callable[[], None]]:
    """The engine of this session, started if nobody has yet: what `ready.json` says, and a function
    that lets go of it. `common` is a folder all workers of the session share."""
    folder = common / engine
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "start").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        users = (folder / "users").open("w")
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while a keeper ends
        ready = folder / "ready.json"
        if not ready.exists():
            _start(engine, folder)
        return json.loads(ready.read_text()), users.close


def _start(engine: str, folder: Path) -> None:
    failed = folder / "failed.txt"
    failed.unlink(missing_ok=True)
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.engines.keeper", engine, str(folder)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C ends the tests, and then the keeper ends the engine
    )
    _keepers.append(keeper)
    end = time.monotonic() + PATIENCE
    while not (folder / "ready.json").exists():
        if failed.exists() or keeper.poll() is not None or time.monotonic() > end:
            why = failed.read_text() if failed.exists() else "it has ended"
            raise RuntimeError(f"{engine} did not start: {why}")
        time.sleep(0.02)


def main(engine: str, folder: Path) -> None:
    """Keep one engine until nobody uses it."""
    import importlib
    import shutil
    import tempfile
    import traceback

    # sockets have short names, so the engine's own folder is near the root
    place = Path(tempfile.mkdtemp(prefix=f"{engine}-"))
    children = Children(place)
    try:
        said = importlib.import_module(f"tests.engines.{engine}").start(children, place)
        _write(folder / "ready.json", json.dumps({**said, "keeper": os.getpid()}))
        with (folder / "users").open("w") as users:
            fcntl.flock(users, fcntl.LOCK_EX)
            (folder / "ready.json").unlink()
            children.end()
    except BaseException:
        logs = "".join(f"\n{log.name}:\n{log.read_text()[-1500:]}" for log in place.glob("*.log"))
        _write(folder / "failed.txt", traceback.format_exc() + logs)
        children.end()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    whole = path.with_suffix(".partial")
    whole.write_text(text)
    whole.rename(path)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
