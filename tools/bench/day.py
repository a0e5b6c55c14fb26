"""How long do people wait on an ordinary day: for a row, for a picture, for a signature?"""

from collections.abc import Iterator
from pathlib import Path

from tools.bench import arrival, browser, signing
from tools.bench.arrival import Answered, Devices
from tools.bench.browser import Browser, Opened
from tools.bench.figures import Figure, NotMeasured, one, remark, several
from tools.bench.house import READER, House
from tools.bench.person import Person, timed


def measure(folder: Path, furniture: Path, *, quick: bool) -> Iterator[Figure]:
    """ECGs and CTs come in, are opened and signed."""
    folder.mkdir()
    house = House(folder, furniture)
    ecgs, cts = (5, 1) if quick else (20, 3)
    with house.running():
        devices = Devices(house, folder)
        yield from _in_the_browser(house, devices, ecgs, cts)
        with Person(house, READER) as reader:
            with reader.live() as live:
                yield from arrival.ecg_to_stream(devices, live, ecgs)
            yield from _signed(reader, ecgs // 2)
    yield from signing.parts(house, ecgs // 4)


def _in_the_browser(house: House, devices: Devices, ecgs: int, cts: int) -> Iterator[Figure]:
    with browser.opened() as chromium:
        if chromium is None:
            yield remark(f"in a browser: {browser.why_not()}")
        else:
            yield from arrival.ecg_to_page(house, devices, chromium, ecgs)
        with Person(house, READER) as reader, reader.live() as live:
            sent, figure = arrival.ct_to_stream(devices, live, cts)
        yield figure
        if chromium is not None:
            yield from _opened(house, chromium, sent)


def _opened(house: House, chromium: Browser, sent: list[Answered]) -> Iterator[Figure]:
    with chromium.signed_in(house, READER) as seat:
        graphics = seat.graphics
        cases = [seat.open_case(study.patient) for study in sent]
    how = "on the processor" if not graphics or "SwiftShader" in graphics else f"by {graphics}"
    yield remark(f"in Chromium {chromium.version}, 1920 × 1080, drawn {how}:")
    yield one("CT: from Enter to the first picture, first case of the page", "s", cases[0].first)
    yield one("CT: from Enter to all painted, first case of the page", "s", cases[0].all)
    yield from _later(cases[1:])


def _later(cases: list[Opened]) -> Iterator[Figure]:
    if cases:
        first, painted = [case.first for case in cases], [case.all for case in cases]
        yield several("CT: from Enter to the first picture, later cases", "s", first)
        yield several("CT: from Enter to all painted, later cases", "s", painted)


def _signed(reader: Person, count: int) -> Iterator[Figure]:
    """From POST to the answer: the PDF is sealed, the object synced, the index committed."""
    tasks = reader.tasks()
    ecgs = [task["id"] for task in tasks if task["specialty"] == "ecg"][: count + 1]
    cts = [task["id"] for task in tasks if task["specialty"] == "images"]
    if not ecgs or not cts:
        raise NotMeasured("no task to sign")
    first, *later = [_sign(reader, task_id) for task_id in ecgs]
    yield one("sign an ECG: from POST to the answer, first since the start", "ms", first)
    yield several("sign an ECG: from POST to the answer, later ones", "ms", later)
    yield several("sign a CT: from POST to the answer", "ms", [_sign(reader, ct) for ct in cts])


def _sign(reader: Person, task_id: str) -> float:
    request = reader.ready_to_sign(task_id)
    return timed(lambda: reader.post(f"/api/tasks/{task_id}/sign", request))
