"""What the lists of the pages show, on every engine."""

import uuid
from datetime import timedelta

import pytest

from storage.search import Filter, Search
from tests.contract.conftest import NOW
from worklist.arrival import Arrival, Study
from worklist.patient import Patient
from worklist.priority import Priority
from worklist.task import ReadingTask, TaskState

BOTH = frozenset({"east", "west"})


def study(unit, number, site="east", kind="ECG", name="丁样例", latin="Ding Yangli"):
    return unit.studies.add(
        Study(
            id=0,
            site=site,
            uid=f"2.25.{number}",
            kind=kind,
            patient=Patient(name, latin, f"P{number:04d}", "M", None),
            priority=Priority.ROUTINE,
            arrival=Arrival.COMPLETE,
            received_at=NOW + timedelta(seconds=number),
            last_received_at=NOW,
            accession=f"A{number}",
            modalities=frozenset({kind}),
        ),
        None,
        {},
    )


def task(unit, one, priority=Priority.ROUTINE, minutes=30, **more):
    made = ReadingTask(
        id=uuid.uuid4().hex,
        study_id=one.id,
        site=one.site,
        kind=one.kind,
        priority=priority,
        state=TaskState.OPEN,
        received_at=NOW,
        due_at=NOW + timedelta(minutes=minutes),
        **more,
    )
    unit.tasks.add(made)
    return made


@pytest.fixture
def queue(house):
    """Sixty tasks: three priorities, equal deadlines among them, both sites and kinds."""
    priorities = list(Priority)
    with house.unit() as unit:
        for number in range(60):
            site, kind = ("east", "ECG") if number % 2 else ("west", "CT")
            one = study(unit, number, site, kind)
            task(unit, one, priorities[number % 3], minutes=number // 6)
    return house


def place(row):
    return row.task.priority.rank, row.task.due_at, row.task.id


def test_the_queue_is_paged_by_key_without_gap_or_double(queue):
    pages, after = [], None
    with queue.view() as unit:
        while True:
            rows = Search(unit.connection).tasks(BOTH, Filter(), after, 7)
            if not rows:
                break
            pages += rows
            after = place(rows[-1])
    assert len(pages) == len({row.task.id for row in pages}) == 60
    assert pages == sorted(pages, key=place)


def test_every_filter_alone_and_together(queue):
    with queue.view() as unit:
        search = Search(unit.connection)

        def count(**wanted):
            return len(search.tasks(BOTH, Filter(**wanted), None, 100))

        assert count(specialty="ecg") == count(specialty="images") == 30
        assert count(site="east") == 30
        assert count(priority=Priority.URGENT) == 20
        assert count(specialty="ecg", site="west") == 0
        assert count(specialty="images", site="west", priority=Priority.EMERGENCY) == 10
        assert count(holder="zhou") == 0
        assert search.counts(BOTH, "zhou") == {"all": 60, "ecg": 30, "images": 30, "mine": 0}


def test_no_site_outside_the_caller_s_is_read(queue):
    with queue.view() as unit:
        search = Search(unit.connection)
        rows = search.tasks({"east"}, Filter(site="west"), None, 100)
        assert rows == []
        assert {row.task.site for row in search.tasks({"east"}, Filter(), None, 100)} == {"east"}
        assert search.counts({"east"}, "zhou")["all"] == 30
        assert search.tasks(frozenset(), Filter(), None, 100) == []
        assert search.center_found({"east"}, "丁", None, 100)
        sites = {row.study.site for row in search.center_found({"east"}, "丁", None, 100)}
        assert sites == {"east"}


def test_words_are_found_in_names_initials_and_numbers_and_never_as_patterns(house):
    with house.unit() as unit:
        for number, (name, latin) in enumerate(
            (("丁样例", "Ding Yangli"), ("沈模拟", "Shen Moni"), ("O'Neil 100%_\\", None))
        ):
            task(unit, study(unit, number, name=name, latin=latin))
    with house.view() as unit:
        search = Search(unit.connection)

        def found(text):
            rows = search.tasks(BOTH, Filter(text=text), None, 100)
            return {row.study.patient.name[0] for row in rows}

        assert found("丁") == found("ding y") == found("DY") == found("P0000") == {"丁"}
        assert found("sm") == {"沈"}
        assert found("%") == found("_") == found("\\") == found("o'neil") == {"O"}
        assert found("A1") == {"沈"}
        assert found("zz") == set()


def test_a_row_names_holder_place_and_drafts(house):
    from worklist.report import Draft

    with house.unit() as unit:
        made = task(unit, study(unit, 1))
        held = made.claimed("zhou", NOW, NOW + timedelta(minutes=10), 0)
        unit.tasks.save(held)
        unit.drafts.save(Draft(made.id, "zhou", 1, "a", "b", None, None, NOW))
        unit.drafts.save(Draft(made.id, "ma", 1, "a", "b", None, None, NOW - timedelta(hours=1)))
    with house.view() as unit:
        (row,) = Search(unit.connection).tasks(BOTH, Filter(holder="zhou"), None, 10)
        assert row.task == held
        assert row.holder == ("zhou", "zhou")
        assert row.site.key == "east"
        assert row.drafts == {"zhou": NOW, "ma": NOW - timedelta(hours=1)}
        assert Search(unit.connection).counts(BOTH, "zhou")["mine"] == 1


def test_earlier_studies_are_of_the_same_site_and_patient_id(house):
    from dataclasses import replace

    def known(number, site, patient_id, hours):
        with house.unit() as unit:
            made = study(unit, number, site)
            patient = replace(made.patient, patient_id=patient_id)
            made = replace(made, patient=patient, acquired_at=NOW - timedelta(hours=hours))
            unit.studies.save(made)
            return made

    this = known(1, "east", "X", 0)
    older, oldest = known(2, "east", "X", 5), known(3, "east", "X", 9)
    known(4, "west", "X", 5)
    known(5, "east", "Y", 5)
    known(6, "east", "X", -5)
    nobody = known(7, "east", None, 0)
    with house.view() as unit:
        search = Search(unit.connection)
        assert [row.study.id for row in search.earlier(this)] == [older.id, oldest.id]
        assert search.earlier(nobody) == []


def test_a_center_s_day_holds_what_came_within_it(house):
    with house.unit() as unit:
        for number in (0, 3600, 90000):
            study(unit, number)
    with house.view() as unit:
        search = Search(unit.connection)
        day = search.center_day({"east"}, NOW, NOW + timedelta(days=1), 10)
        assert [row.study.uid for row in day] == ["2.25.3600", "2.25.0"]
        assert all(row.task is None and row.report is None for row in day)
        assert search.center_day({"west"}, NOW, NOW + timedelta(days=1), 10) == []
        first = search.center_found({"east"}, "丁", None, 2)
        key = (first[-1].study.received_at, first[-1].study.id)
        rest = search.center_found({"east"}, "丁", key, 2)
        assert [row.study.uid for row in first + rest] == ["2.25.90000", "2.25.3600", "2.25.0"]
