"""Does an instance that is larger than memory should hold come in like any other?"""

import hashlib
import os
import struct

import pytest
from sqlalchemy import select

from storage.ingest import MOST_IN_MEMORY, Ingest, Received
from storage.tables import instance
from tests.contract.conftest import NOW
from tests.contract.test_review_arrival import CT, EXPLICIT, encoded
from worklist.errors import Code, Refusal
from worklist.policy import Policy

JPEG = "1.2.840.10008.1.2.4.50"


@pytest.fixture
def door(house, objects):
    with house.unit() as unit:
        unit.people.add_device(site="east", ae_title="EAST", called=None, host=None, port=None)
    return Ingest(house, objects, Policy(), lambda: NOW)


def native(size, sop="1.1.1", **changes):
    """A data set that ends with this many bytes of pixels."""
    head = encoded("1.1", "1.1.0", sop, **changes)
    return head + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, size) + os.urandom(size)


def encapsulated(fragments, size, sop="1.1.1"):
    """A data set with compressed pixels in so many fragments."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, size)
    return b"".join(
        (
            encoded("1.1", "1.1.0", sop),
            struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF),
            struct.pack("<HHI", 0xFFFE, 0xE000, 0),
            (item + os.urandom(size)) * fragments,
            struct.pack("<HHI", 0xFFFE, 0xE0DD, 0),
        )
    )


def opened(door, data, *, sop="1.1.1", syntax=EXPLICIT, piece=262_144):
    device = door.caller("EAST", "TELEREAD", "127.0.0.1")
    received = Received(device, "TELEREAD", data[:MOST_IN_MEMORY], syntax, CT, sop, "a")
    incoming = door.open(received)
    for at in range(MOST_IN_MEMORY, len(data), piece):
        incoming.write(memoryview(data)[at : at + piece])
    return incoming


def sha(data):
    return hashlib.sha256(data).digest()


def left(objects, tmp_path):
    """Objects, and files with bytes in them that nobody knows."""
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
    return list(objects.list()), [path for path in files if "incoming" in path.parts]


@pytest.mark.parametrize(
    ("data", "syntax"),
    [
        (native(MOST_IN_MEMORY + 100_000), EXPLICIT),
        (encapsulated(3000, 2000), JPEG),
        (native(10), EXPLICIT),  # large is what the edge says, small does no harm
    ],
)
def test_what_came_in_parts_is_kept_as_it_came(door, house, objects, tmp_path, data, syntax):
    stored = opened(door, data, syntax=syntax).keep(sha(data))
    assert stored.what == "new"
    with house.view() as unit:
        (row,) = unit.connection.execute(select(instance)).all()
        assert unit.studies.get(stored.study_id).instance_count == 1
    assert row.digest == hashlib.sha256(data).hexdigest()
    assert objects.length(row.locator) == row.length
    assert objects.read(row.locator, row.offset, row.length) == data
    assert left(objects, tmp_path) == ([row.locator], [])


def test_the_same_again_changes_nothing_and_another_content_is_a_version(door, objects, tmp_path):
    data = native(MOST_IN_MEMORY)
    assert opened(door, data).keep(sha(data)).what == "new"
    kept = left(objects, tmp_path)
    assert opened(door, data).keep(sha(data)).what == "same"
    assert left(objects, tmp_path) == kept
    other = native(MOST_IN_MEMORY)
    assert opened(door, other).keep(sha(other)).what == "version"


def test_what_is_abandoned_or_refused_leaves_nothing(door, objects, tmp_path):
    data = native(MOST_IN_MEMORY + 500_000)
    incoming = opened(door, data)
    incoming.abandon()
    incoming.abandon()
    refusals = []
    for broken, sop in (
        (data[:-1], "1.1.1"),  # cut
        (data, "1.1.2"),  # the command names another one
        (os.urandom(len(data)), "1.1.1"),  # noise
    ):
        with pytest.raises(Refusal) as refused:
            opened(door, broken, sop=sop).keep(sha(broken))
        refusals.append(refused.value.code)
    assert refusals[:2] == [Code.TRUNCATED, Code.COMMAND_DISAGREES]
    assert left(objects, tmp_path) == ([], [])


@pytest.mark.parametrize(
    ("sop", "syntax", "code"),
    [
        ("", EXPLICIT, Code.MISSING_UID),
        ("../../etc", EXPLICIT, Code.INVALID_UID),
        ("1.1.1", "1.2.3", Code.UNREADABLE),
    ],
)
def test_a_command_that_names_nothing_is_refused_at_once(
    door, objects, tmp_path, sop, syntax, code
):
    with pytest.raises(Refusal) as refused:
        opened(door, native(MOST_IN_MEMORY), sop=sop, syntax=syntax)
    assert refused.value.code is code
    assert left(objects, tmp_path) == ([], [])


def test_a_disk_that_fills_on_the_way_is_a_refusal_that_leaves_nothing(
    door, objects, tmp_path, monkeypatch
):
    data = native(3 * MOST_IN_MEMORY)
    incoming = opened(door, data[: MOST_IN_MEMORY + 1000])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(Refusal) as refused:
            incoming.write(data[MOST_IN_MEMORY + 1000 :])
    assert refused.value.code is Code.OUT_OF_RESOURCES
    incoming.abandon()
    assert left(objects, tmp_path) == ([], [])
