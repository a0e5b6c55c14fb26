"""How much must a browser load for each page, compressed as the gateway sends it?

Vite writes beside each lazy import which files it needs; those are added up, with the index page
and what every page shares. Answers of the API come on top, codecs only where a picture needs them.
"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from tools.bench.figures import Figure, NotMeasured, one
from tools.bench.house import ROOT

DIST = ROOT / "viewers" / "web" / "dist"
_ASSETS = DIST / "assets"
_LEVEL, _SMALLEST = 6, 1024  # as `gateway.web.pages` compresses
_ALWAYS = ("icons-*.svg", "live-worker-*.js")
_NAMED = re.compile(r'(?:src|href)="/([\w./-]+)"')
_LIST = re.compile(r"m\.f=\[([^\]]*)\]")
_LAZY = r"import\([`\"']\./{name}-[\w-]+\.js[`\"']\)[^;]*?__vite__mapDeps\(\[([\d,]*)\]\)"

_PAGES = (
    ("center page, first load, sign-in included", ("CenterPage",), ()),
    ("worklist, first load, sign-in included", ("WorklistPage",), ()),
    ("reading page, first load, without what draws images", ("ReadPage",), ()),
    (
        "reading page, first load, with all that draws images",
        ("ReadPage", "engine", "viewport", "measurements"),
        ("decodeImageFrameWorker-*.js",),
    ),
)


def measure() -> Iterator[Figure]:
    """The pages that were last built."""
    index = DIST / "index.html"
    if not index.is_file():
        raise NotMeasured("the pages are not built")
    shared = {index, *(DIST / name for name in _NAMED.findall(index.read_text()))}
    for what, lazy, more in _PAGES:
        files = set(shared)
        for name in lazy:
            files |= _needed(name)
        for pattern in (*_ALWAYS, *more):
            files |= set(_ASSETS.glob(pattern))
        yield one(f"{what}, gzipped", "KB", sum(map(_sent, files)) / 1000)


def _needed(name: str) -> set[Path]:
    """The file of a lazy import and everything it imports in turn, styles too."""
    for script in _ASSETS.glob("*.js"):
        text = script.read_text(encoding="utf-8")
        found = re.search(_LAZY.format(name=name), text)
        listed = _LIST.search(text)
        if found and listed:
            files = [one.strip("\"'` ") for one in listed[1].split(",")]
            return {DIST / files[int(number)] for number in found[1].split(",") if number}
    return set(_ASSETS.glob(f"{name}-*.js"))


def _sent(path: Path) -> int:
    raw = path.read_bytes()
    return len(raw) if len(raw) <= _SMALLEST else min(len(raw), len(gzip.compress(raw, _LEVEL)))
