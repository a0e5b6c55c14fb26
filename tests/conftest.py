"""What does a test need from the machine, and what happens when it is not there?

Tests that need a program of the machine carry its marker. Where the program is absent they are
skipped by name with the reason; under `CI=true` that is a failure. No test may reach a machine
other than this one.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.engines.fixtures import (  # noqa: F401 - fixtures of every folder
    engines_folder,
    new_database,
    postgres_server,
    postgres_template,
    postgres_url,
    s3_place,
    s3_server,
)

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

# --- what the machine has ----------------------------------------------------------------------


def missing_programs(*names: str) -> list[str]:
    return [name for name in names if shutil.which(name) is None]


@cache
def why_no_browser() -> str | None:
    if not CHROMIUM:
        return "Debian package chromium is not installed"
    if not (ROOT / "viewers" / "web" / "dist" / "index.html").is_file():
        return "the front end is not built (make install)"
    return None


@cache
def why_no_dcmtk() -> str | None:
    missing = missing_programs("dcmdump", "dcmconv")
    # pynetdicom brings scripts of the same names into .venv/bin; only Debian's are meant.
    if not dcmtk("storescu") or not dcmtk("echoscu") or missing:
        return "Debian package dcmtk is not installed"
    return None


@cache
def why_no_dicom3tools() -> str | None:
    return "Debian package dicom3tools is not installed" if missing_programs("dciodvfy") else None


@cache
def why_no_strace() -> str | None:
    if missing_programs("strace"):
        return "Debian package strace is not installed"
    tried = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return "this account may not trace processes" if tried.returncode else None


@cache
def why_no_poppler() -> str | None:
    missing = missing_programs("pdfsig", "pdftoppm", "pdftotext")
    return f"Debian package poppler-utils is not installed ({missing[0]})" if missing else None


@cache
def why_no_cjk_fonts() -> str | None:
    font = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
    return None if font.is_file() else "Debian package fonts-noto-cjk is not installed"


def dcmtk(name: str) -> str | None:
    """Full path of a DCMTK program, never pynetdicom's script of the same name."""
    outside = os.pathsep.join(
        part
        for part in os.environ.get("PATH", "").split(os.pathsep)
        if Path(part).resolve() != Path(sys.executable).parent.resolve()
    )
    return shutil.which(name, path=outside)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NEEDS: dict[str, Callable[[], str | None]] = {
    "browser": why_no_browser,
    "dcmtk": why_no_dcmtk,
    "dicom3tools": why_no_dicom3tools,
    "strace": why_no_strace,
    "poppler": why_no_poppler,
    "cjk_fonts": why_no_cjk_fonts,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, why_not in NEEDS.items():
        if item.get_closest_marker(marker) is None:
            continue
        reason = why_not()
        if reason and os.environ.get("CI") == "true":
            pytest.fail(f"{item.name} needs it: {reason}", pytrace=False)
        if reason:
            pytest.skip(reason)


# --- who runs beside whom ----------------------------------------------------------------------

# Each of these folders runs on one worker from first to last: they start whole servers, measure
# times or kill processes, and would disturb their own kind. They take longest and begin first.
TOGETHER = ("browser", "recovery", "protocol")


def folder_of(nodeid: str) -> str:
    """`unit`, `browser`, … from `tests/unit/test_x.py::test_y`."""
    parts = nodeid.partition("::")[0].split("/")
    return parts[1] if len(parts) > 2 else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        folder = folder_of(item.nodeid)
        return TOGETHER.index(folder) if folder in TOGETHER else len(TOGETHER)

    items.sort(key=turn)


class FolderScheduling(LoadScopeScheduling):
    """Gives whole folders or single files to workers (xdist's own groups miss pytest 9.2's ids)."""

    def _split_scope(self, nodeid: str) -> str:
        folder = folder_of(nodeid)
        return folder if folder in TOGETHER else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FolderScheduling:
    return FolderScheduling(config, log)


# --- nothing leaves the machine ----------------------------------------------------------------


def is_here(host: str) -> bool:
    if host in {"", "localhost"}:
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refuse_other_machines(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        outside = isinstance(address, tuple) and not is_here(str(address[0]))
        if outside:
            raise PermissionError(f"a test may not connect to {address!r}")


sys.addaudithook(refuse_other_machines)


# --- things many tests share -------------------------------------------------------------------


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Debian's Chromium."""
    assert CHROMIUM, "mark the test with @pytest.mark.browser"
    return CHROMIUM


@pytest.fixture(scope="session")
def storescu() -> str:
    """Path of DCMTK's storescu (pynetdicom's script has the same name)."""
    path = dcmtk("storescu")
    assert path, "mark the test with @pytest.mark.dcmtk"
    return path


@pytest.fixture(scope="session")
def echoscu() -> str:
    """Path of DCMTK's echoscu."""
    path = dcmtk("echoscu")
    assert path, "mark the test with @pytest.mark.dcmtk"
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings beside the checkout; the test is skipped where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no folder of shared test data beside this checkout")
    return SHARED_DATA
