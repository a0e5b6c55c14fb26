"""How fast are studies found and sent on (C-FIND, C-MOVE), beside Orthanc on the same disk?

Both hold the same studies, taken in by C-STORE; both are asked by the same client in turn, and send
to the same storescp, which keeps nothing.
"""

import os
import random
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from tools.bench import peers, templates
from tools.bench.asking import STUDY_FIND, STUDY_MOVE, Answered, Workstation
from tools.bench.figures import Figure, NotMeasured, remark, several
from tools.bench.house import (
    AE_TITLE,
    CENTER,
    SCANNER,
    House,
    end,
    free_port,
    listens,
    until,
)
from tools.bench.ingest import TELEREAD
from tools.bench.peers import ORTHANC, STORESCP, Receiver
from tools.bench.sender import Association, Instance, Template
from tools.bench.usage import cpu_seconds

STUDIES, FEW = 2000, 500
SLICES = 200
_FAMILIES, _DAYS = 50, 25  # so many names, so many dates, in turn
_DESTINATION = "BENCH_DEST"
_IDLE, _LOOK = 0.05, 0.5  # seconds of processor time within so many
_PATIENCE = 300.0
_USUAL = {
    "00080020": "",
    "00080050": "",
    "00081030": "",
    "00100010": "",
    "00100020": "",
    "0020000D": "",
}
_MORE = {"00080061": "", "00201206": "", "00201208": ""}


@dataclass(frozen=True)
class _Asked:
    """One query and how many it should find of so many studies."""

    what: str
    keys: Mapping[str, str]
    finds: int


def measure(folder: Path, furniture: Path, *, quick: bool) -> Iterator[Figure]:
    """Queries, then a study that is sent on."""
    folder.mkdir()
    count, repetitions = (FEW, 1) if quick else (STUDIES, 7)
    house = House(folder, furniture)
    with ExitStack() as stack:
        port = stack.enter_context(_destination(folder))
        if port is not None:
            _register(house, port)
        stack.enter_context(house.running())
        to = None if port is None else (_DESTINATION, port)
        orthanc = stack.enter_context(peers.running(ORTHANC, folder, to))
        receivers = [Receiver(TELEREAD, house.pid, house.dicom_port)]
        receivers += [orthanc] if orthanc else []
        one = _fill(receivers, count)
        series = _fill_series(receivers, folder)
        until(lambda: _is_settled(house), "every study to be settled", _PATIENCE)
        for receiver in receivers:
            _until_idle(receiver)
        for asked in _questions(one, count):
            yield from _compared(
                asked.what,
                "ms",
                [[_found(each, asked) for each in receivers] for _ in range(repetitions)],
                receivers,
            )
        if port is None:
            yield remark(f"{STORESCP}: not installed, so nothing is sent on")
        else:
            rows = [[_moved(each, series) for each in receivers] for _ in range(repetitions)]
            what = f"C-MOVE of a CT of {SLICES} × 525 KB to {STORESCP}"
            yield from _compared(what, "s", rows, receivers)
    if orthanc is None:
        yield remark(f"{ORTHANC}: not installed")


def _compared(
    what: str, unit: str, rows: Sequence[Sequence[float]], receivers: Sequence[Receiver]
) -> Iterator[Figure]:
    for place, receiver in enumerate(receivers):
        yield several(f"{what}: {receiver.name}", unit, [row[place] for row in rows])
    for place, receiver in enumerate(receivers[1:], 1):
        ratios = [row[place] / row[0] for row in rows]
        yield several(f"{what}: {receiver.name}'s time ÷ ours", "×", ratios, more=True)


# --- questions -----------------------------------------------------------------------------------


def _questions(one: Instance, count: int) -> list[_Asked]:
    family, of_day = count // _FAMILIES, count // _DAYS
    return [
        _Asked("C-FIND one study by Patient ID", {**_USUAL, "00100020": one.patient}, 1),
        _Asked(
            f"C-FIND {family} by a name's beginning", {**_USUAL, "00100010": "FAMILY07*"}, family
        ),
        _Asked(f"C-FIND {of_day} of one day", {**_USUAL, "00080020": "20260204"}, of_day),
        _Asked(
            f"C-FIND {of_day} of one day, with modalities and counts",
            {**_USUAL, **_MORE, "00080020": "20260204-20260204"},
            of_day,
        ),
        _Asked(f"C-FIND all {count + 1:,}", _USUAL, count + 1),  # and the one that is sent on
    ]


def _found(receiver: Receiver, asked: _Asked) -> float:
    """Milliseconds from the request to the last answer, on an open association."""
    station = Workstation(receiver.port, SCANNER, AE_TITLE, STUDY_FIND)
    answered: Answered = station.find(asked.keys)
    station.release()
    if answered.answers != asked.finds:
        raise NotMeasured(f"{receiver.name} finds {answered.answers} for {asked.finds}")
    return answered.seconds * 1000


def _moved(receiver: Receiver, study: str) -> float:
    station = Workstation(receiver.port, SCANNER, AE_TITLE, STUDY_MOVE)
    answered: Answered = station.move(study, _DESTINATION)
    station.release()
    return answered.seconds


# --- what they hold ------------------------------------------------------------------------------


def _small(base: Dataset, number: int) -> Dataset:
    """A CT of 4² pixels: name and date say where it stands in the row."""
    dataset = templates.marked(Dataset(base))
    dataset.PatientName = f"FAMILY{number % _FAMILIES:02d}^GIVEN"
    dataset.StudyDate = f"202602{number % _DAYS + 1:02d}"
    dataset.Rows = dataset.Columns = 4
    dataset.PixelData = bytes(32)
    return dataset


def _fill(receivers: Sequence[Receiver], count: int) -> Instance:
    """So many studies of one instance each at every receiver; one of them."""
    chance = random.SystemRandom()
    made: dict[int, Template] = {}
    base = templates.ct_slice()
    studies = []
    for number in range(count):
        place = number % (_FAMILIES * _DAYS)
        if place not in made:
            dataset = _small(base, number)
            made[place] = Template(templates.encoded(dataset), str(dataset.SOPClassUID))
        studies += made[place].study(chance, 1)
    _send(receivers, studies, made[0].sop_class)
    return studies[count // 2]


def _fill_series(receivers: Sequence[Receiver], folder: Path) -> str:
    """One study of a whole CT at every receiver; its UID."""
    dataset = templates.ct_slice()
    dataset.StudyDate, dataset.PatientName = "20250101", "WHOLE^SERIES"
    path = templates.written(dataset, folder)
    study = templates.read(path, dataset).study(random.SystemRandom(), SLICES)
    _send(receivers, study, str(dataset.SOPClassUID))
    return study[0].study


def _send(receivers: Sequence[Receiver], instances: Sequence[Instance], sop_class: str) -> None:
    for receiver in receivers:
        association = Association(receiver.port, SCANNER, AE_TITLE, sop_class)
        for one in instances:
            association.store(one)
        association.release()


def _is_settled(house: House) -> bool:
    """Whether none of the gateway's studies is still arriving."""
    with closing(sqlite3.connect(f"file:{house.index}?mode=ro", uri=True)) as index:
        arriving = "SELECT count(*) FROM study WHERE arrival = 'RECEIVING'"
        return bool(index.execute(arriving).fetchone() == (0,))


def _until_idle(receiver: Receiver) -> None:
    """Until nothing is worked on any more: what was taken in may have work to do behind it."""
    last = time.monotonic() + _PATIENCE
    used = cpu_seconds(receiver.pid)
    while time.monotonic() < last:
        time.sleep(_LOOK)
        before, used = used, cpu_seconds(receiver.pid)
        if used - before < _IDLE:
            return
    raise NotMeasured(f"{receiver.name} is never idle")


# --- where studies are sent ----------------------------------------------------------------------


@contextmanager
def _destination(folder: Path) -> Iterator[int | None]:
    """A storescp that keeps nothing, and its port; None where it is not installed."""
    path = peers.program(STORESCP)
    if path is None:
        yield None
        return
    port = free_port()
    process = subprocess.Popen(
        [path, "--fork", "--ignore", "--max-pdu", "131072", "-aet", _DESTINATION, str(port)],
        cwd=folder,
        env={**os.environ, "TCP_NODELAY": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: process.poll() is not None or listens(port), f"{STORESCP} to listen")
        yield port
    finally:
        end(process)


def _register(house: House, port: int) -> None:
    with house.parts() as parts, parts.new_unit() as unit:
        unit.people.add_device(
            site=CENTER,
            ae_title=_DESTINATION,
            called=None,
            host="127.0.0.1",
            port=port,
            modality=None,
            one_per_image=False,
            created_at=parts.now(),
        )
