"""How long does the gateway take to start, and to end while people look at its pages?"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tools.bench.figures import Figure, several
from tools.bench.house import READER, House
from tools.bench.person import Person

LIVE_PAGES = 5


def measure(folder: Path, furniture: Path, *, quick: bool) -> Iterator[Figure]:
    """Start and stop, again and again, on a folder that has its sites and people."""
    folder.mkdir()
    house = House(folder, furniture)
    started, stopped = [], []
    for _ in range(1 if quick else 3):
        try:
            started.append(house.start())
            with Person(house, READER) as reader, ExitStack() as stack:
                pages = [stack.enter_context(reader.live()) for _ in range(LIVE_PAGES)]
                stopped.append(house.stop())
                for page in pages:
                    page.wait_for_end()
        finally:
            house.stop()
    yield several("from `teleread serve` to ready", "s", started)
    yield several(f"from SIGTERM to the end, {LIVE_PAGES} live pages open", "s", stopped)
