"""How much must a browser load for each page, compressed as the gateway sends it?"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from tools.bench.figures import Figure, NotMeasured, one
from tools.bench.house import ROOT

DIST = ROOT / "viewers" / "web" / "dist"
_LEVEL = 6
_SMALLEST = 1024  # smaller ones go out as they are
# what a file needs before it runs: its static imports, and those of the pages that it names
_IMPORTS = re.compile(r"""(?:^|[;}])(?:import|export)\b[^;"'()]*["']\./([\w.-]+)["']""")
_LAZY = re.compile(r"""import\(["'`]\./([\w.-]+)["'`]\)""")
_LISTED = re.compile(r"""["'`](?:assets/|/assets/|\./)?([\w.-]+-[\w-]{8}\.(?:js|css|wasm|svg))["'`]""")
_PAGES = (
    ("center page, first load (sign-in included)", "CenterPage"),
    ("worklist, first load", "WorklistPage"),
    ("reading page, first load, with the engine for images", "ReadPage"),
)
_ENGINE = ("engine", "viewport", "measurements", "decodeImageFrameWorker")


def measure() -> Iterator[Figure]:
    """Index, scripts and styles of each page; fonts and icons included, codecs not."""
    if not (DIST / "index.html").is_file():
        raise NotMeasured("the pages are not built")
    first = _needed(_named(DIST / "index.html"))
    for what, name in _PAGES:
        files = first | _needed(_starting_with(name)) | _styles(name)
        if name == "ReadPage":
            files |= _needed(set().union(*(_starting_with(part) for part in _ENGINE)))
        files |= _starting_with("icons") | _starting_with("live-worker")
        yield one(what, "KB", sum(map(_sent, {*files, DIST / "index.html"})) / 1000)
