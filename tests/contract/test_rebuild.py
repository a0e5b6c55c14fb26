"""Does the index come back from the objects, row for row?"""

from datetime import timedelta

import pytest

from gateway.checking import run_check
from gateway.rebuilding import NAME, run_rebuild
from storage import tables
from storage.index import Index, open_engine
from storage.upkeep import DAMAGED
from tests.contract.conftest import NOW
from tests.contract.keeping import Kept, place_of, settings_of
from worklist import arrival, reading
from worklist.errors import Refusal
from worklist.person import Caller, Role
from worklist.policy import Policy

DICOM_PART = ("patient", "study", "series", "instance", "text_repair")


@pytest.fixture
def kept(house, objects, engine, request, tmp_path, index_url):
    """Studies as they come: versions, UIDs used twice, moved series, a guessed character set."""
    place = request.getfixturevalue("s3_place") if engine == "postgres and s3" else None
    made = Kept(house, objects, settings_of(tmp_path, index_url, place))
    for number in range(1, 5):
        made.receive("1.1", f"1.1.1.{number}", InstanceNumber=str(number), Rows=None)
    made.receive("1.2", "1.2.1.1", calling="WEST", StudyDate="20261101", StudyTime="101112")
    made.receive("1.1", "1.1.1.2", InstanceNumber="9")  # other content: a new version
    made.receive("1.1", "1.1.1.3", series="1.1.2")  # in another series
    made.receive("1.5", "1.1.1.1", PatientID="P2", PatientName="Somebody^Else")  # in another study
    made.receive("1.1", "1.1.1.9", calling="WEST")  # the same study UID at another Site
    made.receive("1.6", "1.6.1.1", calling="CART", Modality="ECG")
    made.receive("1.7", "1.7.1.1", PatientName="王^小明".encode("gb18030").decode("latin-1"))
    made.receive("1.8", "1.8.1.1", EncapsulatedDocument=b"\1\2" * (3 << 20))
    made.receive("1.1", "1.1.1.2", InstanceNumber="9")  # the same again
    return made


def part(index, names=DICOM_PART):
    found = {}
    with index.view() as unit:
        for name in names:
            table = tables.metadata.tables[name]
            key = list(table.primary_key.columns)
            rows = unit.connection.execute(table.select().order_by(*key)).mappings()
            found[name] = [dict(row) for row in rows]
    return found


def everything(index):
    return part(index, sorted(tables.metadata.tables))


def rebuilt(kept):
    index = Index(open_engine(f"sqlite:///{kept.settings.data_dir / NAME}"))
    try:
        return everything(index)
    finally:
        index.close()


def test_every_row_of_every_table_is_as_it_was(kept):
    _read_a_little(kept)
    before = everything(kept.index)
    assert run_rebuild(kept.settings, replace=False) == 0
    after = rebuilt(kept)
    for name, rows in before.items():
        assert after[name] == rows, name
    assert len(after["instance"]) == 12
    assert everything(kept.index) == before


def _read_a_little(kept):
    """Somebody has claimed the ECG, a study has settled, another has lost an object once."""
    reader = Caller(
        "zhou", frozenset({Role.READER}), "hospital", frozenset({"hospital", "east", "west"})
    )
    with kept.index.unit() as unit:
        (row,) = unit.connection.execute(tables.task.select()).all()
        reading.claim(unit, row.id, reader, NOW, Policy())
        arrival.settle(unit, 2, NOW + timedelta(hours=1), Policy())
        study = unit.studies.lock(3)
        unit.studies.save(study.marked(DAMAGED))


def test_from_the_objects_alone_the_dicom_part_is_as_it_was(kept, tmp_path, monkeypatch, capsys):
    before = part(kept.index)
    alone = settings_of(tmp_path, "sqlite", kept_place(kept))
    _lose_index(kept, monkeypatch)
    assert run_rebuild(alone, replace=False) == 0
    said = capsys.readouterr()
    assert "nothing is carried over" in said.err
    assert "site\teast: only its key is known" in said.out
    assert ranked(rebuilt(kept)) == ranked(before)


def ranked(found):
    """Rows by their place among their kind: PostgreSQL leaves gaps between numbers. Without what
    only the registered device says: that a cart sends ECGs."""
    ids = {name: [row["id"] for row in found[name]] for name in ("study", "series", "instance")}
    rows = {}
    for name in DICOM_PART:
        rows[name] = [dict(row) for row in found[name]]
        for row in rows[name]:
            row.pop("id", None)
            for of in ("study", "series"):
                if f"{of}_id" in row:
                    row[f"{of}_id"] = ids[of].index(row[f"{of}_id"])
    return rows


def kept_place(kept):
    from storage.s3 import S3Place

    settings = kept.settings
    if settings.objects == "files":
        return None
    return S3Place(
        settings.s3_endpoint,
        settings.s3_bucket,
        settings.s3_access_key.get_secret_value()
        if hasattr(settings.s3_access_key, "get_secret_value")
        else settings.s3_access_key,
        settings.s3_secret_key.get_secret_value(),
        prefix=settings.s3_prefix,
    )


def _lose_index(kept, monkeypatch):
    """The old index cannot be found any more."""
    from gateway import rebuilding

    def gone(_):
        raise FileNotFoundError

    monkeypatch.setattr(rebuilding, "_opened", gone)


def test_it_takes_the_place_of_the_old_one_and_is_clean(kept, engine, capsys):
    before = everything(kept.index)
    if engine == "postgres and s3":
        with pytest.raises(Refusal, match="Stop it first"):
            run_rebuild(kept.settings, replace=True)
    kept.index.close()
    assert run_rebuild(kept.settings, replace=True) == 0
    index = Index(open_engine(kept.settings.index_url))
    assert everything(index) == before
    index.close()
    assert run_check(kept.settings, repair=False) == 0
    index = Index(open_engine(kept.settings.index_url))
    again = Kept.__new__(Kept)
    again.index, again.objects, again.now = index, kept.objects, kept.now
    from storage.ingest import Ingest

    again.ingest = Ingest(index, kept.objects, Policy(), lambda: again.now)
    assert again.receive("1.1", "1.1.1.77").what == "new"  # it goes on where it was
    index.close()


def test_an_object_that_has_changed_does_not_become_the_truth(kept, capsys):
    locator = kept.locator("1.1.1.4")
    before = part(kept.index)
    kept.flip(locator, kept.objects.get(locator).index(b"Ding"))
    assert run_rebuild(kept.settings, replace=False) == 0
    assert [row["digest"] for row in rebuilt(kept)["instance"]] == [
        row["digest"] for row in before["instance"]
    ]


def test_rows_of_objects_that_are_gone_stay_as_they_were(kept, capsys):
    before = everything(kept.index)
    kept.objects.delete(kept.locator("1.1.1.1"))  # the first of its study
    kept.objects.delete(kept.locator("1.1.1.2", version=2))
    kept.objects.delete(kept.locator("1.6.1.1"))  # the only one of its study
    run_rebuild(kept.settings, replace=False)
    after = rebuilt(kept)
    for name in ("instance", "series", "task", "fact"):
        assert after[name] == before[name], name
    counts = ("id", "instance_count", "series_count", "newest_instance", "modalities", "kind")
    for name in counts:
        assert [row[name] for row in after["study"]] == [row[name] for row in before["study"]]


def test_without_an_old_index_a_torn_object_makes_no_row(kept, engine, monkeypatch, capsys):
    locator = kept.locator("1.1.1.4")
    if engine == "postgres and s3":
        kept.put_as(locator, kept.objects.get(locator)[:200])
    else:
        path, begin = place_of(kept.objects, locator)
        assert path.is_file()
        assert begin
        kept.flip(locator)
    _lose_index(kept, monkeypatch)
    assert run_rebuild(kept.settings, replace=False) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"{'meta' if engine == 'postgres and s3' else 'corrupt'}\t{locator}: no row" in lines


def test_an_object_the_old_index_does_not_know_comes_in_like_a_late_one(kept, capsys):
    before = part(kept.index)
    with kept.index.unit() as unit:  # as after an older copy of the index was put in place
        one, last = tables.instance, before["instance"][-1]["id"]
        unit.connection.execute(one.delete().where(one.c.id == last))
    assert run_rebuild(kept.settings, replace=False) == 0
    assert ranked(rebuilt(kept))["instance"] == ranked(before)["instance"]
