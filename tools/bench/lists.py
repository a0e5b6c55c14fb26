"""How long do lists take when ten thousand tasks are open?"""

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from gateway.assemble import Parts
from sample_studies.person import EVERYONE
from tools.bench.figures import Figure, several
from tools.bench.house import CENTER, COORDINATOR, DOCTOR, OTHER_CENTER, READER, House
from tools.bench.person import Person, timed
from worklist.arrival import Arrival, Study
from worklist.patient import Patient
from worklist.policy import Policy
from worklist.priority import Priority
from worklist.task import ReadingTask, TaskState

OPEN = 10_000
_TOGETHER = 1000  # in one transaction
_OVER = timedelta(days=14)  # they came within this time
_KINDS = ("ECG", "ECG", "ECG", "CT", "DX", "US", "MR")
_PRIORITIES = (Priority.EMERGENCY, Priority.URGENT, *[Priority.ROUTINE] * 8)


@dataclass(frozen=True)
class _Asked:
    """One question, asked again and again."""

    what: str
    ask: Callable[[], object]


def measure(folder: Path, furniture: Path, *, quick: bool) -> Iterator[Figure]:
    """The answers that pages and programs wait for."""
    folder.mkdir()
    house = House(folder, furniture)
    with house.parts() as parts:
        chance = random.SystemRandom()
        for begin in range(0, OPEN, _TOGETHER):
            _fill(parts, chance, range(begin, begin + _TOGETHER))
    times = 5 if quick else 20
    with (
        house.running(),
        Person(house, READER) as reader,
        Person(house, COORDINATOR) as coordinator,
        Person(house, DOCTOR) as doctor,
    ):
        for asked in _questions(reader, coordinator, doctor):
            yield several(asked.what, "ms", [timed(asked.ask) for _ in range(times)])


def _questions(reader: Person, coordinator: Person, doctor: Person) -> list[_Asked]:
    place = _place_of_the_1000th(reader)
    patient = _patient_id(OPEN // 2)
    return [
        _Asked(
            "worklist: first 200 of all, with counts", lambda: reader.get("/api/tasks", limit=200)
        ),
        _Asked(
            "worklist: first 200 ECGs, with counts",
            lambda: reader.get("/api/tasks", tab="ecg", limit=200),
        ),
        _Asked(
            "worklist: 200 after the 1,000th, with counts",
            lambda: reader.get("/api/tasks", limit=200, after=place),
        ),
        _Asked(
            "worklist: search for a Patient ID",
            lambda: reader.post("/api/tasks/find", {"q": patient, "limit": 200}),
        ),
        _Asked("QIDO-RS: 200 newest studies", lambda: reader.get("/dicom-web/studies", limit=200)),
        _Asked(
            "QIDO-RS: studies of one Patient ID",
            lambda: reader.get("/dicom-web/studies", PatientID=patient),
        ),
        _Asked(
            "QIDO-RS: studies by the beginning of a name",
            lambda: reader.get("/dicom-web/studies", PatientName="Ding*", limit=200),
        ),
        _Asked("board of the coordinator", lambda: coordinator.get("/api/board")),
        _Asked("the center's day", lambda: doctor.get("/api/center/studies")),
    ]


def _place_of_the_1000th(reader: Person) -> str:
    place = ""
    for _ in range(5):
        place = reader.get("/api/tasks", limit=200, after=place).json()["next"]
    return place


# --- ten thousand tasks ------------------------------------------------------------------------


def _fill(parts: Parts, chance: random.Random, numbers: range) -> None:
    now = parts.now()
    with parts.new_unit() as unit:
        for number in numbers:
            study = unit.studies.add(_study(number, chance, now), None, {})
            unit.tasks.add(_task(study))


def _study(number: int, chance: random.Random, now: datetime) -> Study:
    received = now - chance.random() * _OVER
    kind = chance.choice(_KINDS)
    return Study(
        id=0,
        site=chance.choice((CENTER, OTHER_CENTER)),
        uid=f"2.25.{chance.randrange(10**38, 2**127)}",
        kind=kind,
        patient=_patient(number, chance),
        priority=chance.choice(_PRIORITIES),
        arrival=Arrival.COMPLETE,
        received_at=received,
        last_received_at=received,
        description="Chest",
        accession=f"A{number:08d}",
        question="咳嗽两周 cough for two weeks",
        acquired_at=received - timedelta(minutes=4),
        study_date=received.date(),
        modalities=frozenset({kind}),
        series_count=1,
        instance_count=1,
        newest_instance=1,
    )


def _patient(number: int, chance: random.Random) -> Patient:
    like = chance.choice(EVERYONE)
    latin, _, name = like.name.partition("=")
    return Patient(
        name.replace("^", ""),
        latin.replace("^", " "),
        _patient_id(number),
        like.sex,
        like.birth_date,
    )


def _patient_id(number: int) -> str:
    return f"BENCH-{number:06d}"


def _task(study: Study) -> ReadingTask:
    return ReadingTask(
        id=uuid.uuid4().hex,
        study_id=study.id,
        site=study.site,
        kind=study.kind,
        priority=study.priority,
        state=TaskState.OPEN,
        received_at=study.received_at,
        due_at=study.received_at + Policy().target(study.kind, study.priority),
    )
