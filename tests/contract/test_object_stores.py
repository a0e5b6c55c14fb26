"""Does every object store keep what it was given, and nothing else?"""

import hashlib
import os
import threading

import pytest

from storage.s3 import PART
from worklist.errors import Code, Refusal


def large(length):
    """Bytes that differ from part to part."""
    return os.urandom(1 << 16) * (length >> 16) + b"tail"


def test_what_was_put_is_there_whole_and_in_ranges(objects):
    locator = objects.put("dicom", (b"meta", memoryview(b"data set")))
    assert objects.get(locator) == b"metadata set"
    assert objects.length(locator) == 12
    assert objects.read(locator, 4, 4) == b"data"
    assert objects.read(locator, 9, 100) == b"set"
    assert objects.read(locator, 0, 0) == b""
    assert objects.read(locator, 12, 5) == b""
    assert list(objects.list()) == [locator]


def test_equal_bytes_are_two_objects(objects):
    first, second = (objects.put("dicom", (b"same",)) for _ in range(2))
    objects.delete(first)
    assert objects.get(second) == b"same"
    assert list(objects.list()) == [second]


def test_nothing_and_an_empty_object_are_told_apart(objects):
    locator = objects.put("report", (b"",))
    assert objects.length(locator) == 0
    assert objects.get(locator) == b""
    objects.delete(locator)
    objects.delete(locator)
    for ask in (objects.get, objects.length, lambda one: objects.read(one, 0, 1)):
        with pytest.raises(FileNotFoundError):
            ask(locator)


@pytest.mark.parametrize("length", [0, 1 << 16, PART, 3 * PART])
def test_an_object_that_does_not_fit_into_memory(objects, length):
    data = large(length)
    writing = objects.begin("dicom")
    for at in range(0, len(data), 1 << 20):
        writing.write(memoryview(data)[at : at + (1 << 20)])
    with writing.whole() as descriptor:
        assert os.pread(descriptor, len(data) + 1, 0) == data
    assert list(objects.list()) == []
    locator = writing.commit()
    writing.abandon()
    assert hashlib.sha256(objects.get(locator)).digest() == hashlib.sha256(data).digest()
    assert objects.length(locator) == len(data)
    assert objects.read(locator, len(data) - 4, 9) == b"tail"


def test_what_was_abandoned_was_never_there(objects, tmp_path):
    writing = objects.begin("dicom")
    writing.write(large(1 << 20))
    writing.abandon()
    writing.abandon()
    assert list(objects.list()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_many_threads_each_find_their_own(objects):
    kept = {}

    def keep(number):
        for at in range(8):
            data = f"{number}.{at}".encode() * 1000
            kept[objects.put("dicom", (data,))] = data

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept) == 128
    assert set(objects.list()) == set(kept)
    assert all(objects.get(locator) == data for locator, data in kept.items())


def test_a_nearly_full_disk_refuses_new_studies(objects):
    objects._min_free = 1 << 60
    with pytest.raises(Refusal) as refused:
        objects.require_room()
    assert refused.value.code is Code.OUT_OF_RESOURCES
