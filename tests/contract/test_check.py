"""Does `teleread check` see whatever is wrong, say it in one line, and mend only what it can?"""

import os
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update

from gateway.checking import run_check
from storage import ingest, tables
from tests.contract.conftest import NOW
from tests.contract.keeping import Kept, place_of, settings_of
from tests.contract.test_review_arrival import encoded
from worklist.errors import Refusal

LARGE = encoded("1.4", "1.4.1", "1.4.1.1", EncapsulatedDocument=b"\1\2" * (3 << 20))


@pytest.fixture
def kept(house, objects, engine, request, tmp_path, index_url):
    place = request.getfixturevalue("s3_place") if engine == "postgres and s3" else None
    return Kept(house, objects, settings_of(tmp_path, index_url, place))


@pytest.fixture
def filled(kept):
    """Two studies of two Sites, one instance in two versions, one object in a file of its own."""
    for number in range(1, 4):
        kept.receive("1.1", f"1.1.1.{number}", InstanceNumber=str(number))
    kept.receive("1.1", "1.1.1.1", InstanceNumber="9")
    kept.receive("1.2", "1.2.1.1", calling="WEST", ImageComments="x" * 3000)
    kept.receive("1.3", "1.3.1.1", ImageComments="y" * 1000)
    kept.now += timedelta(seconds=1)
    kept.give(LARGE)
    return kept


@pytest.fixture
def check(filled, capsys):
    """Runs the command; its exit code and the lines on standard output."""

    def run(*, repair=False):
        code = run_check(filled.settings, repair=repair, watched=0.1)
        return code, capsys.readouterr().out.splitlines()

    return run


def marks(kept, uid):
    with kept.index.unit() as unit:
        return unit.studies.by_uid("east", uid).marks


def test_what_is_whole_is_clean_and_says_nothing(check):
    assert check() == (0, [])
    assert check(repair=True) == (0, [])


def test_a_byte_that_changed_is_found_kept_and_marked_and_its_row_stays(check, filled):
    locator = filled.locator("1.1.1.2")
    filled.flip(locator)
    code, lines = check()
    assert (code, len(lines)) == (1, 1)
    assert lines[0].startswith("corrupt\tinstance 2 of study 1: ")
    assert lines[0].endswith(locator)
    assert filled.rows(tables.fault) == []  # without --repair nothing is written
    assert check(repair=True) == (1, lines)
    (fault,) = filled.rows(tables.fault)
    assert (fault["what"], fault["instance_id"], fault["study_id"]) == ("corrupt", 2, 1)
    assert "damaged" in marks(filled, "1.1")
    assert len(filled.rows(tables.instance)) == 7
    assert check(repair=True) == (1, lines)
    told = [one for one in filled.rows(tables.fact) if one["what"] == "ObjectDamaged"]
    assert len(told) == 1
    filled.flip(locator)  # somebody has put the right bytes back
    assert check(repair=True) == (0, [])
    assert filled.rows(tables.fault) == []
    assert "damaged" not in marks(filled, "1.1")


def test_a_changed_file_meta_is_found(check, filled):
    filled.flip(filled.locator("1.3.1.1"), at=200)
    code, lines = check()
    assert code == 1
    assert lines[0].startswith("meta\tinstance ")


def test_a_superseded_version_and_a_large_object_are_looked_at_too(check, filled):
    filled.flip(filled.locator("1.1.1.1", version=1))
    filled.flip(filled.locator("1.4.1.1"), at=5 << 20)
    code, lines = check()
    assert code == 1
    assert [line.partition("\t")[0] for line in lines] == ["corrupt", "corrupt"]


def test_an_object_that_is_gone_is_missing_and_its_row_stays(check, filled):
    filled.objects.delete(filled.locator("1.3.1.1"))
    code, lines = check(repair=True)
    assert code == 1
    assert lines[0].startswith("missing\tinstance ")
    assert len(filled.rows(tables.instance)) == 7
    assert "damaged" in marks(filled, "1.3")


def test_a_length_that_is_not_the_rows_is_found(check, filled):
    with filled.index.unit() as unit:
        longer = tables.instance.c.length + 1
        unit.connection.execute(
            update(tables.instance).where(tables.instance.c.id == 3).values(length=longer)
        )
    code, lines = check()
    assert code == 1
    assert lines[0].startswith("length\tinstance 3 of study 1")


def test_an_object_without_a_row_is_told_of_and_goes_only_when_asked(check, filled):
    locator = filled.objects.put("dicom", (b"meta", b"nobody was promised this"))
    big = filled.objects.put("dicom", (bytes(5 << 20),))
    wanted = sorted(f"orphan\t{one}" for one in (locator, big))
    code, lines = check()
    assert (code, sorted(lines)) == (1, wanted)
    assert filled.objects.length(locator)
    code, lines = check(repair=True)
    assert (code, sorted(lines)) == (0, [f"{line}\tmended" for line in wanted])
    with pytest.raises(FileNotFoundError):
        filled.objects.length(locator)
    assert check() == (0, [])
    assert len(list(filled.objects.list())) == 7


def test_a_row_that_comes_while_its_object_is_watched_saves_it(check, filled, monkeypatch):
    """The put came first, its commit while `check --repair` was on its way."""
    from storage import check as looks

    before = looks.without_row
    late = []

    def first_look(view, objects, seen):
        names = list(objects.list())
        late.append(filled.receive("1.1", "1.1.1.77"))
        (new,) = set(objects.list()) - set(names)
        return [*before(view, objects, seen), new]

    monkeypatch.setattr(looks, "without_row", first_look)
    assert check(repair=True) == (0, [])
    assert late[0].what == "new"
    assert filled.objects.length(filled.locator("1.1.1.77"))


def test_many_objects_without_a_row_are_not_deleted_but_said_to_be_of_another_index(check, filled):
    for number in range(51):
        filled.objects.put("dicom", (b"meta", b"%d" % number))
    with pytest.raises(Refusal, match="51 objects have no row"):
        check(repair=True)
    assert len(list(filled.objects.list())) == 7 + 51


def test_counts_follow_their_rows(check, filled):
    with filled.index.unit() as unit:
        study = unit.studies.lock(1)
        unit.connection.execute(
            update(tables.study).where(tables.study.c.id == study.id).values(instance_count=40)
        )
        unit.connection.execute(
            update(tables.series).where(tables.series.c.study_id == 1).values(instance_count=41)
        )
    assert check() == (1, ["count\tstudy 1", "count\tseries 1 of study 1"])
    code, lines = check(repair=True)
    assert (code, len(lines)) == (0, 2)
    assert check() == (0, [])
    with filled.index.view() as unit:
        assert unit.studies.get(1) == study


def test_what_waits_gets_its_job_again(check, filled):
    with filled.index.unit() as unit:
        unit.connection.execute(delete(tables.job).where(tables.job.c.key == "settle:1"))
    assert check() == (1, ["job\tsettle:1 is not there"])
    assert check(repair=True) == (0, ["job\tsettle:1 is not there\tmended"])
    assert check() == (0, [])
    with filled.index.unit() as unit:
        leased = unit.jobs.lease(NOW + timedelta(days=9999), timedelta(seconds=1))
        assert leased is not None


@pytest.mark.parametrize("engine", ["sqlite and files"])  # only files have segments
def test_a_torn_record_is_told_of_and_cut(check, filled):
    path, _ = place_of(filled.objects, filled.locator("1.3.1.1"))
    for one in filled.objects._segments["dicom"]._idle:  # as if its process had ended
        os.close(one.descriptor)
    filled.objects._segments.clear()
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(path.read_bytes()[:100])  # the beginning of a record, then the power went
    line = f"torn\tsegment {path.name}: 100 bytes behind its last record"
    assert check() == (1, [line])
    assert check(repair=True) == (0, [f"{line}\tmended"])
    assert path.stat().st_size == whole
    assert check() == (0, [])


@pytest.mark.parametrize("engine", ["sqlite and files"])  # only files have segments
def test_damage_amid_a_segment_is_told_of_and_never_cut(check, filled):
    for one in filled.objects._segments["dicom"]._idle:
        os.close(one.descriptor)
    filled.objects._segments.clear()
    path, begin = place_of(filled.objects, filled.locator("1.1.1.2"))
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(begin - 32)
        file.write(b"?")
    code, lines = check(repair=True)
    assert code == 1
    assert sorted(line.partition("\t")[0] for line in lines) == ["missing", "torn"]
    assert "mended" not in "".join(lines)
    assert path.stat().st_size == len(whole)


# --- the door, beside it -----------------------------------------------------------------------


def test_a_lost_or_changed_object_is_whole_again_when_its_device_sends_it_again(check, filled):
    first, second = encoded("1.1", "1.1.1", "1.1.1.2", InstanceNumber="2"), LARGE
    filled.objects.delete(filled.locator("1.1.1.2"))
    filled.flip(filled.locator("1.4.1.1"), at=5 << 20)
    assert check(repair=True)[0] == 1
    assert len(filled.rows(tables.fault)) == 2
    rows = len(filled.rows(tables.instance))
    filled.now += timedelta(seconds=1)
    for data in (first, second):
        assert filled.give(data).what == "same"
    assert len(filled.rows(tables.instance)) == rows
    assert filled.rows(tables.fault) == []
    assert check() == (0, [])
    assert "damaged" not in marks(filled, "1.1")
    assert filled.give(first).what == "same"
    assert len(list(filled.objects.list())) == rows


@pytest.mark.parametrize("is_swept", [True, False])
def test_a_commit_that_comes_late_is_believed_only_when_its_object_is_still_there(
    filled, monkeypatch, is_swept
):
    clock = iter((0.0, 3600.0, *[3600.0] * 10))
    monkeypatch.setattr(ingest, "_clock", lambda: next(clock))
    put = filled.objects.put

    def swept(*given, **more):
        locator = put(*given, **more)
        if is_swept:
            filled.objects.delete(locator)
        return locator

    monkeypatch.setattr(filled.objects, "put", swept)
    if not is_swept:
        assert filled.receive("1.9", "1.9.1.1").what == "new"
        return
    with pytest.raises(Refusal, match="too late"):
        filled.receive("1.9", "1.9.1.1")
    monkeypatch.undo()
    assert filled.receive("1.9", "1.9.1.1").what == "same"  # the device tries again
    assert filled.objects.get(filled.locator("1.9.1.1"))


@pytest.mark.parametrize("engine", ["sqlite and files"])  # only files have segments
def test_a_damaged_record_at_the_end_is_no_torn_one(check, filled):
    """It was promised: neither a repair nor the removal of its neighbours takes away what is
    left of it."""
    path, _ = place_of(filled.objects, filled.locator("1.3.1.1"))
    for one in filled.objects._segments["dicom"]._idle:
        os.close(one.descriptor)
    filled.objects._segments.clear()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size - 40)  # in the data of the last record
        file.write(b"?")
    named = _named_in(filled, path.name)
    last = max(named, key=lambda one: int(one.rpartition("/")[2]))
    damaged = filled.objects.get(last)
    assert check(repair=True)[0] == 1
    assert path.stat().st_size == size
    for locator in set(named) - {last}:
        filled.objects.delete(locator)
    assert filled.objects.get(last) == damaged


def _named_in(filled, segment):
    with filled.index.view() as unit:
        rows = unit.connection.execute(select(tables.instance.c.locator)).scalars()
        return [one for one in rows if f"/{segment}/" in one]
