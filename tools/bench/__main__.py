"""Which figures does this machine give?

`make bench`, or `python -m tools.bench` for a part of it. One run starts real gateways in a
temporary folder, measures, prints one table, and leaves nothing behind. Figures are for reading:
nothing here fails because something took long; exit code 1 says that something was not measured.
"""

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from pydicom import config

from tools.bench import day, ingest, lists, machine, pages, queries, rooms, running
from tools.bench.figures import Figure, Group, grouped, table
from tools.bench.house import furnish
from tools.bench.stopwatch import Stopwatch

REPETITIONS = 5
# after this no further repetition of the ingest begins
LATE = 170.0


def main() -> int:
    """The command."""
    given = _arguments()
    for name in [name for name in os.environ if name.startswith("TELEREAD_")]:
        del os.environ[name]  # a gateway of one's own must not be meant
    config.settings.reading_validation_mode = config.IGNORE
    warnings.simplefilter("ignore", UserWarning)
    with tempfile.TemporaryDirectory(prefix="teleread-bench-") as name:
        folder = Path(name)
        os.chdir(folder)  # nor its teleread.toml
        try:
            said, groups = _measured(folder, given)
        finally:
            os.chdir("/")
    print(said)
    print(table(groups))
    return 0 if all(group.whole for group in groups) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything once or a few times")
    parser.add_argument("--only", nargs="+", choices=TITLES, default=list(TITLES))
    return parser.parse_args()


def _measured(folder: Path, given: argparse.Namespace) -> tuple[str, list[Group]]:
    stopwatch = Stopwatch(LATE)
    said = machine.described(folder)
    furniture = furnish(folder)
    quick = given.quick
    parts: dict[str, Callable[[], Iterable[Figure]]] = {
        "day": lambda: day.measure(folder / "day", furniture, quick=quick),
        "lists": lambda: lists.measure(folder / "lists", furniture, quick=quick),
        "run": lambda: running.measure(folder / "run", furniture, quick=quick),
        "ingest": lambda: ingest.measure(
            folder / "ingest", furniture, stopwatch, 1 if quick else REPETITIONS
        ),
        "queries": lambda: queries.measure(folder / "queries", furniture, quick=quick),
        "pages": pages.measure,
        "rooms": rooms.measure,
    }
    groups = []
    for name, title in TITLES.items():
        if name in given.only:
            print(f"{stopwatch.elapsed:4.0f} s  {name}", file=sys.stderr, flush=True)
            groups.append(grouped(title, parts[name]))
    return f"{said}; measured in {stopwatch.elapsed:.0f} s", groups


TITLES = {
    "day": "Waiting on an ordinary day",
    "lists": f"Answers with {lists.OPEN:,} open tasks",
    "run": "Start and stop",
    "ingest": "Taking instances in",
    "queries": "Finding studies and sending them on",
    "pages": "What a browser loads",
    "rooms": "Code without blank lines, comments, docstrings",
}


if __name__ == "__main__":
    sys.exit(main())
