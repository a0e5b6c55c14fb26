"""Does every object store keep bytes as they were put, find them, and forget them when told?"""

import hashlib
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.objects import SMALL

LARGE = SMALL + 12345


def some(size):
    return os.urandom(size)


@pytest.mark.parametrize("size", [0, 1, 4096, 130_001, SMALL - 1, SMALL, LARGE])
def test_what_was_put_is_read_back(objects, size):
    data = some(size)
    locator = objects.put("dicom", (data[: size // 3], memoryview(data)[size // 3 :]))
    assert locator.startswith("dicom/")
    assert objects.get(locator) == data
    assert objects.length(locator) == size
    assert list(objects.list()) == [locator]


def test_ranges(objects):
    data = some(10_000)
    locator = objects.put("dicom", [data])
    for start, length in ((0, 10), (9_990, 10), (9_990, 500), (10_000, 5), (20_000, 5), (7, 0)):
        assert objects.read(locator, start, length) == data[start : start + length]


def test_many_objects_lie_apart(objects):
    data = [some(size) for size in (5, 70_000, 5, 300, LARGE, 70_000)]
    locators = [objects.put("dicom", [one]) for one in data]
    assert [objects.get(locator) for locator in locators] == data
    assert sorted(objects.list()) == sorted(locators)
    objects.delete(locators[1])
    assert [objects.get(one) for one in locators if one != locators[1]] == data[:1] + data[2:]


def test_an_object_in_parts_is_there_after_its_commit_and_not_before(objects):
    writing = objects.begin("dicom")
    data = some(LARGE)
    for at in range(0, LARGE, 300_000):
        writing.write(memoryview(data)[at : at + 300_000])
    assert list(objects.list()) == []
    with writing.whole() as descriptor:
        assert os.pread(descriptor, LARGE, 0) == data
    locator = writing.commit()
    writing.abandon()  # nothing any more
    assert objects.get(locator) == data
    assert list(objects.list()) == [locator]


def test_what_was_abandoned_leaves_nothing(objects, tmp_path):
    writing = objects.begin("dicom")
    writing.write(some(100_000))
    writing.abandon()
    writing.abandon()
    assert list(objects.list()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size] == []


@pytest.mark.parametrize("size", [100, LARGE])
def test_what_was_deleted_is_gone(objects, size):
    locator = objects.put("dicom", [some(size)])
    objects.delete(locator)
    objects.delete(locator)
    assert list(objects.list()) == []
    for ask in (objects.get, objects.length, lambda one: objects.read(one, 0, 10)):
        with pytest.raises(FileNotFoundError):
            ask(locator)


@pytest.mark.parametrize(
    "name", ["dicom/segments/../0", "dicom/ab/../../secret", "dicom/segments/x/-1"]
)
def test_a_locator_cannot_lead_out_of_the_store(objects, tmp_path, name):
    (tmp_path / "secret").write_bytes(b"secret")
    with pytest.raises((FileNotFoundError, ValueError)):
        objects.get(name)


def test_a_digest_that_is_handed_in_stands_for_the_last_part(objects):
    right = hashlib.sha256(b"body").digest()
    locator = objects.put("dicom", (b"head", b"body"), digest=right)
    assert objects.get(locator) == b"headbody"
    assert locator in set(objects.list())  # read again, the record proves itself


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.lists(st.binary(max_size=300), max_size=4), st.booleans()), max_size=12)
)
def test_any_objects_in_any_order(objects, given_objects):
    for locator in list(objects.list()):
        objects.delete(locator)
    kept = {}
    for parts, is_deleted in given_objects:
        locator = objects.put("dicom", parts)
        kept[locator] = b"".join(parts)
        if is_deleted:
            objects.delete(locator)
            del kept[locator]
    assert {locator: objects.get(locator) for locator in objects.list()} == kept
