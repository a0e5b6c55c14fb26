"""How does a real gateway run beside the bench, in a folder of its own?

The sites, devices and people are those of the demo, the process is the command people use.
"""

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway import demo
from gateway.assemble import Parts, assemble
from gateway.settings import Settings
from tools.bench.certificate import certified
from tools.bench.figures import NotMeasured

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
PASSWORD = demo.PASSWORD
READER, DOCTOR, COORDINATOR = "radiologist", "doctor1", "coordinator"
HOSPITAL, CENTER, OTHER_CENTER = demo.HOSPITAL, demo.CENTERS[1], demo.CENTERS[2]
# calling AE Titles of the first center, and the called one
SCANNER, CART, AE_TITLE = "LIUWAN_IMG", "LIUWAN_ECG", "TELEREAD"

_LOOK = 0.005
_READY = b" ready: "


class House:
    """A data folder and the gateway's process over it."""

    def __init__(self, folder: Path, furniture: Path) -> None:
        self.data = folder / "data"
        shutil.copytree(furniture, self.data)
        self._folder = folder
        self._log = folder / "log"
        self.web_port, self.dicom_port, self.tls_port = free_port(), free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where people come in."""
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def index(self) -> Path:
        """The file of its index."""
        return self.data / "index.sqlite"

    @property
    def pid(self) -> int:
        """The process."""
        if self._process is None:
            raise NotMeasured("the gateway does not run")
        return self._process.pid

    def start(self) -> float:
        """Run `teleread serve`; the seconds until it is ready."""
        began = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "serve"],
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(self._is_ready, "the gateway to be ready")
        return time.monotonic() - began

    def stop(self) -> float:
        """SIGTERM; the seconds until the process has ended."""
        if self._process is None:
            return 0.0
        began = time.monotonic()
        end(self._process)
        self._process = None
        return time.monotonic() - began

    @contextmanager
    def running(self) -> Iterator[None]:
        """Runs inside of the `with`."""
        try:
            self.start()
            yield
        finally:
            self.stop()

    @contextmanager
    def parts(self) -> Iterator[Parts]:
        """The data of the gateway that does not run, opened here."""
        opened = assemble(Settings(data_dir=self.data, web_port=self.web_port))
        try:
            yield opened
        finally:
            opened.close()

    def _is_ready(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            said = self._log.read_text(errors="replace").strip().splitlines()
            raise NotMeasured(f"the gateway did not start: {said[-1] if said else 'no word'}")
        return _READY in self._log.read_bytes()

    def _environment(self) -> dict[str, str]:
        certificate, key = certified(self._folder)
        given = {
            "DATA_DIR": str(self.data),
            "WEB_PORT": str(self.web_port),
            "DICOM_PORT": str(self.dicom_port),
            "DICOM_TLS_PORT": str(self.tls_port),
            "DICOM_TLS_CERT": str(certificate),
            "DICOM_TLS_KEY": str(key),
        }
        ours = {f"TELEREAD_{name}": value for name, value in given.items()}
        return {**os.environ, "PYTHONPATH": str(ROOT), **ours}


def furnish(folder: Path) -> Path:
    """A data folder with the demo's sites, devices and people, to be copied."""
    data = folder / "furniture"
    parts = assemble(Settings(data_dir=data))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            demo.furnish(parts)
    finally:
        parts.close()
    return data


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL when nothing comes of it."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(PATIENCE)


def until(holds: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait for a fact, looking often."""
    last = time.monotonic() + patience
    while not holds():
        if time.monotonic() > last:
            raise NotMeasured(f"waited {patience:.0f} s for {what}")
        time.sleep(_LOOK)


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
