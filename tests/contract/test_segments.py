"""What is left of a segment when a process or the power fails at any point?"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from storage import segments
from storage.objects import SMALL, LocalObjects
from worklist.errors import Code, Refusal

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "objects"


@pytest.fixture
def store(root):
    return LocalObjects(root, 0)


def files(root):
    return sorted((root / "dicom" / "segments").iterdir())


def test_a_torn_record_at_the_end_is_no_object_wherever_it_was_cut(store, root):
    whole = store.put("dicom", [b"h" * 20, b"whole" * 40])
    (file,) = files(root)
    size = file.stat().st_size
    store.put("dicom", [b"h" * 20, b"torn" * 40])
    raw = file.read_bytes()
    for cut in range(size, len(raw)):
        file.write_bytes(raw[:cut])
        assert list(LocalObjects(root, 0).list()) == [whole], cut
    for lost in range(size, len(raw), 7):  # a block that never reached the disk reads as zeros
        file.write_bytes(raw[:lost] + bytes(len(raw[lost : lost + 7])) + raw[lost + 7 :])
        if file.read_bytes() != raw:
            assert list(LocalObjects(root, 0).list()) == [whole], lost
    file.write_bytes(raw)
    assert len(list(LocalObjects(root, 0).list())) == 2


def test_a_store_that_opens_again_leaves_what_is_there_alone(store, root):
    first = store.put("dicom", [b"first"])
    before = files(root)[0].read_bytes()
    again = LocalObjects(root, 0)
    second = again.put("dicom", [b"second"])
    assert files(root)[0].read_bytes() == before or files(root)[1].read_bytes() == before
    assert {one: again.get(one) for one in again.list()} == {first: b"first", second: b"second"}


def test_one_file_per_object_of_an_older_folder_is_still_read(store, root):
    older = root / "dicom" / "ab" / ("ab" + "0" * 30)
    older.parent.mkdir(parents=True)
    older.write_bytes(b"older")
    locator = older.relative_to(root).as_posix()
    assert list(store.list()) == [locator]
    assert store.get(locator) == b"older"
    assert store.read(locator, 1, 2) == b"ld"
    store.delete(locator)
    assert not older.exists()


def test_deleting_gives_the_room_back_and_the_file_when_nothing_lives_in_it(root, monkeypatch):
    monkeypatch.setattr(segments, "MOST_BYTES", 5_000_000)
    store = LocalObjects(root, 0)
    size = 1_500_000
    locators = [store.put("dicom", [os.urandom(size)]) for _ in range(4)]
    (file,) = files(root)
    used = file.stat().st_blocks * 512
    store.delete(locators[0])
    assert file.stat().st_blocks * 512 <= used - size // 2
    assert [store.length(one) for one in locators[1:]] == [size] * 3
    for locator in locators[1:]:
        store.delete(locator)
    assert files(root) == []  # it was full, so nobody appends to it


def test_a_segment_in_use_stays_though_nothing_lives_in_it(store, root):
    store.delete(store.put("dicom", [b"x" * 1000]))
    LocalObjects(root, 0).delete(store.put("dicom", [b"y" * 1000]))  # as a command beside does
    kept = store.put("dicom", [b"z" * 1000])
    assert store.get(kept) == b"z" * 1000
    assert list(store.list()) == [kept]
    assert len(files(root)) == 1


def test_deleting_a_record_of_damaged_length_leaves_its_neighbours(store, root):
    first, second = (store.put("dicom", [b"h" * 20, data * 9000]) for data in (b"a", b"b"))
    (file,) = files(root)
    with file.open("r+b") as raw:
        raw.seek(16)  # the first record's length
        raw.write((16000).to_bytes(8, "little"))
    store.delete(first)
    assert store.get(second) == b"h" * 20 + b"b" * 9000


def test_a_store_that_is_closed_holds_no_segment(store, root):
    kept = store.put("dicom", [b"kept"])
    lost = store.put("dicom", [b"lost"])
    assert [one.in_use for one in store.segments()] == [True]
    store.close()
    assert [one.in_use for one in store.segments()] == [False]
    after = store.put("dicom", [b"after"])
    store.delete(lost)
    assert {one: store.get(one) for one in store.list()} == {kept: b"kept", after: b"after"}
    store.delete(kept)
    assert len(files(root)) == 1


def test_puts_at_once_take_a_segment_each_and_share_none(store, root):
    together = threading.Barrier(8)
    put: dict[str, bytes] = {}

    def work(number):
        together.wait()
        for turn in range(20):
            data = bytes([number, turn]) * 5000
            put[store.put("dicom", [data])] = data

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files(root)) <= 8
    assert {locator: store.get(locator) for locator in store.list()} == put
    assert len(put) == 160


def test_a_put_that_fails_leaves_the_segment_as_it_was(store, root, monkeypatch):
    kept = store.put("dicom", [b"kept"])
    (file,) = files(root)
    before = file.read_bytes()

    def fails(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fails)
        with pytest.raises(Refusal) as refused:
            store.put("dicom", [b"lost" * 1000])
    assert refused.value.code is Code.OUT_OF_RESOURCES
    assert file.read_bytes() == before
    after = store.put("dicom", [b"after"])
    assert {one: store.get(one) for one in store.list()} == {kept: b"kept", after: b"after"}


def test_another_process_that_starts_sweeps_only_what_nobody_writes(store, root):
    left = root / "incoming" / "left"
    left.write_bytes(b"of a process that was killed")
    writing = store.begin("dicom")
    writing.write(b"still coming")
    again = LocalObjects(root, 0)
    assert not left.exists()
    assert again.get(writing.commit()) == b"still coming"


_WRITER = """
import os, sys, threading
from pathlib import Path
from storage.objects import LocalObjects
store = LocalObjects(Path(sys.argv[1]), 0)
def work(number):
    turn = 0
    while True:
        body = bytes([number]) * (1000 + 37 * turn % 60000)
        locator = store.put("dicom", [b"head", body])
        os.write(1, f"{locator} {len(body)} {number}\\n".encode())
        turn += 1
for number in range(4):
    threading.Thread(target=work, args=(number,)).start()
"""


def test_a_process_that_is_killed_in_the_middle_loses_nothing_it_has_said(root):
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(root)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        )
        said = [writer.stdout.readline() for _ in range(100)]
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.read().splitlines(keepends=True)
        writer.wait()
        writer.stdout.close()
        store = LocalObjects(root, 0)
        found = set(store.list())
        for line in said:
            locator, length, number = line.decode().split()
            assert locator in found
            assert store.get(locator) == b"head" + bytes([int(number)]) * int(length)
        for locator in found:  # what was not said yet may be there, but never a part of it
            assert len(set(store.get(locator)[4:])) == 1


def test_large_objects_do_not_go_into_segments(store, root):
    locator = store.put("dicom", [bytes(SMALL)])
    assert not (root / "dicom" / "segments").exists()
    assert (root / locator).stat().st_size == SMALL
