"""How soon after the last C-STORE answer does somebody who waits know of a study?"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.bench import templates
from tools.bench.browser import Browser
from tools.bench.figures import Figure, several
from tools.bench.house import AE_TITLE, CART, READER, SCANNER, House
from tools.bench.person import Live, Person
from tools.bench.sender import Association, Instance, Template
from worklist.policy import Policy

SLICES = 100


@dataclass(frozen=True)
class Answered:
    """A study that was sent: when its last instance was answered, when the association was released
    (wall clock, seconds)."""

    study: str
    patient: str
    answered: float
    released: float


class Devices:
    """The center's CT and its ECG cart."""

    def __init__(self, house: House, folder: Path) -> None:
        self._port = house.dicom_port
        self._chance = random.SystemRandom()
        self._ct = _template(folder, SCANNER)
        self._ecg = _template(folder, CART)

    def ecg(self) -> Answered:
        """One ECG over one association."""
        return self._sent(self._ecg, CART, 1)

    def ct(self) -> Answered:
        """One series over one association."""
        return self._sent(self._ct, SCANNER, SLICES)

    def _sent(self, template: Template, calling: str, count: int) -> Answered:
        instances: list[Instance] = template.study(self._chance, count)
        association = Association(self._port, calling, AE_TITLE, template.sop_class)
        for one in instances:
            association.store(one)
        answered = time.time()
        association.release()
        return Answered(instances[0].study, instances[0].patient, answered, time.time())


def ecg_to_page(house: House, devices: Devices, browser: Browser, count: int) -> Iterator[Figure]:
    """From the answer to the row of an open worklist page (its DOM has changed)."""
    with browser.signed_in(house, READER) as page:
        page.watch_rows()
        late = []
        for _ in range(count):
            sent = devices.ecg()
            late.append((page.row_stood(sent.patient) - sent.answered) * 1000)
    yield several("ECG: from C-STORE answer to the row in an open page", "ms", late)


def ecg_to_stream(devices: Devices, live: Live, count: int) -> Iterator[Figure]:
    """From the answer to the event that carries its row."""
    late = []
    for _ in range(count):
        sent = devices.ecg()
        late.append((live.arrival(sent.study) - sent.answered) * 1000)
    yield several("ECG: from C-STORE answer to the task event of a live stream", "ms", late)


def ct_to_stream(devices: Devices, live: Live, count: int) -> tuple[list[Answered], Figure]:
    """From the release to the event; the studies, to be read afterwards."""
    sent = [devices.ct() for _ in range(count)]
    late = [live.arrival(one.study) - one.released for one in sent]
    quiet = Policy().quiet_after_release.total_seconds()
    what = f"CT of {SLICES} slices: from release to task, {quiet:g} s quiet time included"
    return sent, several(what, "s", late)


def waiting(person: Person, studies: list[Answered]) -> list[str]:
    """The open tasks of these studies."""
    wanted = {one.study for one in studies}
    return [task["id"] for task in person.tasks() if task["study"]["uid"] in wanted]


def _template(folder: Path, calling: str) -> Template:
    dataset = templates.ct_slice() if calling == SCANNER else templates.twelve_leads()
    return templates.read(templates.written(dataset, folder), dataset)
