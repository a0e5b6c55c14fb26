"""Does a backup hold everything, and does everything come back, on either engine?"""

import hashlib

import pytest

from gateway.backing_up import run_backup
from gateway.checking import run_check
from gateway.restoring import run_restore
from storage import backup, tables
from tests.contract.keeping import Kept, settings_of
from worklist.errors import Refusal

LARGE = b"\1\2" * (3 << 20)


@pytest.fixture
def word(tmp_path):
    path = tmp_path / "passphrase"
    path.write_text("eleven cups of tea\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def kept(house, objects, engine, request, tmp_path, index_url, word):
    place = request.getfixturevalue("s3_place") if engine == "postgres and s3" else None
    settings = settings_of(tmp_path, index_url, place, backup_passphrase_file=word)
    settings.secret_path.write_text("ab" * 32)
    settings.secret_path.chmod(0o600)
    made = Kept(house, objects, settings)
    for number in range(1, 6):
        made.receive("1.1", f"1.1.1.{number}", InstanceNumber=str(number))
    made.receive("1.1", "1.1.1.1", InstanceNumber="9")
    made.receive(
        "1.2", "1.2.1.1", calling="WEST", PatientName="测试^一", SpecificCharacterSet="GB18030"
    )
    made.receive("1.4", "1.4.1.1", EncapsulatedDocument=LARGE)
    return made


@pytest.fixture(params=["sqlite and files", "postgres and s3"])
def elsewhere(request, tmp_path, new_database, s3_server, word):
    """Settings of a gateway that has nothing yet."""
    data = tmp_path / "elsewhere"
    given = {"data_dir": data, "backup_passphrase_file": word, "min_free_bytes": 0}
    if request.param == "postgres and s3":
        names = ("endpoint", "bucket", "access_key", "secret_key")
        given["database_url"] = new_database()
        given |= {"objects": "s3", "s3_prefix": tmp_path.name}
        given |= {f"s3_{name}": s3_server[name] for name in names}
    from gateway.settings import Settings

    return Settings(**given)


def opened(settings):
    from gateway.assemble import assemble

    return assemble(settings)


def contents(index, objects):
    """Every row of every table, and of each object the bytes in place of its locator."""
    found = {}
    with index.view() as unit:
        for table in tables.metadata.sorted_tables:
            key = list(table.primary_key.columns)
            rows = unit.connection.execute(table.select().order_by(*key)).mappings()
            found[table.name] = [dict(row) for row in rows]
    for row in found["instance"]:
        row["locator"] = hashlib.sha256(objects.get(row["locator"])).hexdigest()
    del found["upkeep"]
    return found


def test_everything_comes_back_byte_for_byte(kept, elsewhere, tmp_path):
    folder = tmp_path / "copy"
    before = contents(kept.index, kept.objects)
    assert run_backup(kept.settings, folder) == 0
    done = run_restore(elsewhere, folder, verify=True, only_verify=False, replace=False)
    assert done == 0
    assert run_check(elsewhere, repair=False) == 0
    parts = opened(elsewhere)
    after = contents(parts.index, parts.objects)
    assert after == before
    assert elsewhere.secret_path.read_text() == "ab" * 32
    assert elsewhere.secret_path.stat().st_mode & 0o077 == 0
    with parts.index.unit() as unit:
        unit.people.add_device(site="east", ae_title="NEW", called=None, host=None, port=None)
        rows = unit.connection.execute(tables.device.select()).mappings().all()
    assert len({row["id"] for row in rows}) == len(before["device"]) + 1  # numbered on
    parts.close()


def test_what_is_there_already_is_not_copied_again(kept, tmp_path, capsys):
    folder = tmp_path / "copy"
    run_backup(kept.settings, folder)
    first = capsys.readouterr().err
    assert "8 objects" in first and "; 8 new" in first
    kept.receive("1.9", "1.9.1.1")
    run_backup(kept.settings, folder)
    second = capsys.readouterr().err
    assert "9 objects" in second and "; 1 new" in second
    assert len(list(folder.glob("index-*"))) == 1


def test_a_backup_that_was_broken_off_is_none_and_is_continued(kept, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "copy"
    calls = []
    copy = backup._copy

    def dies(objects, path, one):
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(path)
        return copy(objects, path, one)

    monkeypatch.setattr(backup, "_copy", dies)
    with pytest.raises(KeyboardInterrupt):
        run_backup(kept.settings, folder)
    with pytest.raises(Refusal, match="holds no whole backup"):
        backup.read_manifest(folder)
    monkeypatch.undo()
    calls[0].write_bytes(b"torn")  # the power went before this one was on the disk
    assert run_backup(kept.settings, folder) == 0
    assert "8 objects" in (said := capsys.readouterr().err)
    assert "; 4 new" in said
    assert _proved(kept, folder) == 0


def _proved(kept, folder):
    return run_restore(kept.settings, folder, verify=False, only_verify=True, replace=False)


def test_one_changed_byte_anywhere_in_a_backup_is_found_before_anything_is_restored(
    kept, elsewhere, tmp_path, capsys
):
    folder = tmp_path / "copy"
    run_backup(kept.settings, folder)
    assert _proved(kept, folder) == 0
    paths = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 0]
    assert len(paths) == 8 + 4
    for path in paths:
        if path.name == backup.MANIFEST:
            continue
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes((whole[-1] ^ 1,)))
        try:
            code = run_restore(elsewhere, folder, verify=True, only_verify=False, replace=False)
        except Refusal:
            code = 1
        assert code == 1, path
        assert not (elsewhere.data_dir / "index.sqlite").exists()
        path.write_bytes(whole)
    capsys.readouterr()


def test_without_verify_a_changed_object_is_refused_as_well(kept, elsewhere, tmp_path):
    folder = tmp_path / "copy"
    run_backup(kept.settings, folder)
    path = backup.place(folder, kept.locator("1.4.1.1"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"\0")
    with pytest.raises(Refusal, match="Nothing was restored"):
        run_restore(elsewhere, folder, verify=False, only_verify=False, replace=False)
    assert not (elsewhere.data_dir / "index.sqlite").exists()
    path.write_bytes(whole)
    assert run_restore(elsewhere, folder, verify=False, only_verify=False, replace=True) == 0
    assert run_check(elsewhere, repair=False) in (0, 1)  # objects of the first try have no row


def test_keys_do_not_stand_in_a_backup_and_open_only_with_the_passphrase(
    kept, elsewhere, tmp_path, word
):
    folder = tmp_path / "copy"
    run_backup(kept.settings, folder)
    for path in folder.rglob("*"):
        assert path.is_dir() or b"ab" * 32 not in path.read_bytes()
    word.write_text("another passphrase")
    with pytest.raises(Refusal, match="do not open"):
        run_restore(elsewhere, folder, verify=False, only_verify=False, replace=False)
    assert not elsewhere.data_dir.exists()


def test_a_damaged_object_is_told_of_and_a_good_copy_in_the_backup_stays(kept, tmp_path, capsys):
    folder = tmp_path / "copy"
    run_backup(kept.settings, folder)
    locator = kept.locator("1.1.1.2")
    good = backup.place(folder, locator).read_bytes()
    kept.flip(locator)
    assert run_backup(kept.settings, folder) == 0  # what was good once is still good here
    assert backup.place(folder, locator).read_bytes() == good
    fresh = tmp_path / "fresh"
    capsys.readouterr()
    assert run_backup(kept.settings, fresh) == 1
    assert capsys.readouterr().out.startswith("corrupt\tinstance 2 of study 1: ")
    kept.objects.delete(locator)
    missing = tmp_path / "missing"
    assert run_backup(kept.settings, missing) == 1
    assert capsys.readouterr().out.startswith("missing\tinstance 2 of study 1: ")


def test_what_is_in_use_is_not_overwritten(kept, tmp_path, engine):
    folder = tmp_path / "copy"
    run_backup(kept.settings, folder)
    with pytest.raises(Refusal):
        run_restore(kept.settings, folder, verify=False, only_verify=False, replace=False)


def test_a_folder_with_other_things_is_refused(kept, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(Refusal, match="holds other things"):
        run_backup(kept.settings, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["thesis.txt"]
