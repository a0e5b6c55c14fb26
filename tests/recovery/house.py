"""How does a test run the whole gateway as a process of its own, and what may it ask of it?

The process is the very command people use. Nothing here waits for seconds to pass: a line of the
log, an answer or the end of the process is waited for.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.assemble import Parts, assemble
from gateway.settings import Settings
from storage.objects import LocalObjects

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "gateway.cli")
PASSWORD = "a long enough password"
AE_TITLE = "TELEREAD"

# Far more than an idle machine needs: a busy one shall not fail a test.
PATIENCE = 120.0
LOOK = 0.01

READERS = ("ma", "zhou", "gao")
HOSPITAL, OTHER_HOSPITAL = "qingyu", "beishan"
CENTER, OTHER_CENTER = "liuwan", "songling"
# calling AE Titles
CART, SCANNER, OTHER_SCANNER = "LIUWAN_ECG", "LIUWAN_CT", "SONGLING_CT"

_SITES = (
    (HOSPITAL, "青榆区人民医院", "hospital", ()),
    (OTHER_HOSPITAL, "北山医院", "hospital", ()),
    (CENTER, "柳湾社区卫生服务中心", "center", (HOSPITAL,)),
    (OTHER_CENTER, "松岭镇卫生院", "center", (HOSPITAL, OTHER_HOSPITAL)),
)
_DEVICES = ((CENTER, CART), (CENTER, SCANNER), (OTHER_CENTER, OTHER_SCANNER))
_PEOPLE = (
    *((name, "reader", HOSPITAL) for name in READERS),
    ("li", "coordinator", HOSPITAL),
    ("su", "doctor", CENTER),
    ("hai", "doctor", OTHER_CENTER),
    ("bei", "reader", OTHER_HOSPITAL),
)


@dataclass(frozen=True)
class Ended:
    """How the process ended, and how many seconds after it was told to."""

    code: int
    seconds: float


class House:
    """A data folder, the settings of a gateway over it, and the process while it runs."""

    def __init__(self, folder: Path, data: Path | None = None, **settings: object) -> None:
        self.folder = folder
        self.data = data or folder / "data"
        self.log_file = folder / "stderr.log"
        self.web_port, self.dicom_port = _free_port(), _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        given = {
            "data_dir": self.data,
            "web_port": self.web_port,
            "dicom_port": self.dicom_port,
            "min_free_bytes": 1 << 20,
            **settings,
        }
        self.given = given
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TELEREAD_")}
        self.environment = {
            **clean,
            "PYTHONPATH": str(ROOT),
            **{f"TELEREAD_{name.upper()}": str(value) for name, value in given.items()},
        }

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    # --- the process ---------------------------------------------------------------------------

    def start(self, *before: str) -> None:
        """Run `teleread serve` (behind a command such as strace); returns when it is ready."""
        already = self._log_size()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*before, *COMMAND, "serve"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait_for_line(" ready: ", already)

    @property
    def pid(self) -> int:
        """The gateway's own process, also behind another command: it owns the lock."""
        lock = self.data / "lock"
        if lock.exists():
            return int(lock.read_text())
        assert self.process is not None
        return self.process.pid  # only SQLite is owned by one process

    def tell(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self, began: float | None = None) -> Ended:
        """Until the process has ended."""
        assert self.process is not None
        began = time.monotonic() if began is None else began
        code = self.process.wait(PATIENCE)
        self.process = None
        return Ended(code, time.monotonic() - began)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Ended:
        """Tell it to stop, and wait for that."""
        began = time.monotonic()
        self.tell(number)
        return self.wait(began)

    def kill(self) -> None:
        """SIGKILL: no line of the gateway runs after this."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process = None

    def close(self) -> None:
        """Leave no process behind."""
        if self.process is None:
            return
        if self.process.poll() is None:
            with suppress(OSError, ValueError):
                self.tell(signal.SIGKILL)
            self.process.kill()
        self.process.wait(PATIENCE)
        self.process = None

    # --- what it says --------------------------------------------------------------------------

    def log(self, since: int = 0) -> str:
        """Everything it has written to standard output and error."""
        with self.log_file.open("rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace")

    def wait_for_line(self, part: str, since: int = 0) -> str:
        """The first line with this in it."""
        found = ""

        def said() -> bool:
            nonlocal found
            text = self.log(since)
            found = next((line for line in text.splitlines() if part in line), "")
            ended = self.process is not None and self.process.poll() is not None
            assert found or not ended, f"the gateway has ended:\n{text[-4000:]}"
            return bool(found)

        until(said, f"a line with {part!r}")
        return found

    def _log_size(self) -> int:
        return self.log_file.stat().st_size if self.log_file.exists() else 0

    # --- commands beside it, and its data when it does not run ---------------------------------

    def teleread(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """One command, as a person types it; `given` comes on standard input."""
        return subprocess.run(
            [*COMMAND, *words],
            cwd=self.folder,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    @contextmanager
    def parts(self) -> Iterator[Parts]:
        """The stopped gateway's data, opened by the test."""
        assert self.process is None
        opened = assemble(Settings(**self.given))
        try:
            yield opened
        finally:
            opened.close()

    @property
    def incoming(self) -> list[Path]:
        """Temporary files of objects."""
        return list((self.data / "objects" / "incoming").glob("*"))

    @property
    def objects(self) -> list[str]:
        """The locators of the object store, as another process finds them."""
        return sorted(LocalObjects(self.data / "objects", 0).list())


def until(holds: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait for a fact, looking often; fail with its name when it does not come."""
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, f"waited {patience:.0f} s for {what}"
        time.sleep(LOOK)


def furnished(
    folder: Path, more: Sequence[tuple[Sequence[str], str]] = (), **settings: object
) -> Path:
    """A data folder with sites, devices and people, made by the commands themselves.

    The commands run one after another in one process: starting Python for each would take longer
    than what they do. `more` are further commands with their standard input.
    """
    house = House(folder, **settings)
    commands = [*_furniture(), *((list(words), given) for words, given in more)]
    program = (
        "import io, json, sys\n"
        "from gateway.cli import main\n"
        "for words, given in json.load(open(sys.argv[1])):\n"
        "    sys.stdin = io.StringIO(given)\n"
        "    if main(words): sys.exit(f'failed: {words}')\n"
    )
    listed = folder / "commands.json"
    listed.write_text(json.dumps(commands))
    subprocess.run(
        [sys.executable, "-c", program, str(listed)],
        cwd=folder,
        env=house.environment,
        stdout=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=True,
    )
    return house.data


def user_command(name: str, role: str, site: str) -> tuple[list[str], str]:
    """The command that adds a person, and the password it reads."""
    words = ["user", "add", name, "--role", role, "--site", site, "--password-stdin"]
    words += ["--display", f"{name}医生", "--display-en", f"Dr {name}", "--phone", "0900 555 0142"]
    if role == "reader":
        words += ["--licence", f"L-{name}"]
    return words, f"{PASSWORD}\n"


def _furniture() -> list[tuple[list[str], str]]:
    commands: list[tuple[list[str], str]] = []
    for key, name, kind, read_by in _SITES:
        words = ["site", "add", key, "--name", name, "--kind", kind, "--phone", "0900 555 0100"]
        commands.append(([*words, *(["--read-by", *read_by] if read_by else [])], ""))
    for site, title in _DEVICES:
        modality = ["--modality", "ECG"] if title == CART else []
        commands.append((["device", "add", site, title, *modality], ""))
    return [*commands, *(user_command(*one) for one in _PEOPLE)]


def metric(text: str, name: str) -> float:
    """One figure of the page for Prometheus."""
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found, f"no figure {name}"
    return float(found[1])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
