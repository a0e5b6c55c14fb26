"""What still works on a full disk, and what is left of what could not be kept?

A small file system of its own is filled by the test, byte by byte as it needs.
"""

import hashlib
import os
import random
import subprocess
import sys

import pytest
from sqlalchemy import select

from storage import tables
from tests.recovery.browser import Person, expect, to_sign
from tests.recovery.device import SUCCESS, Device, ecg_sample
from tests.recovery.house import CART, until

SIZE = 64 << 20
KEPT_FREE = 8 << 20
KIB = 1024
OUT_OF_RESOURCES = range(0xA700, 0xA800)


class Disk:
    """A file system of `SIZE` bytes below a folder."""

    def __init__(self, folder):
        self.folder = folder
        self._filler = folder / "filler"

    @property
    def free(self):
        room = os.statvfs(self.folder)
        return room.f_bavail * room.f_frsize

    def leave(self, size):
        """Fill it until this many bytes are free."""
        self.clear()
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(self.free - size, 1))

    def clear(self):
        """Give everything free."""
        self._filler.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path):
    if sys.platform != "linux":
        pytest.skip("tmpfs is a file system of Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"this account may not mount a file system: {mounted.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def instances(house):
    with house.parts() as parts, parts.view() as unit:
        rows = unit.connection.execute(select(tables.instance)).all()
        for row in rows:
            data = parts.objects.read(row.locator, row.offset, row.length - row.offset)
            assert hashlib.sha256(data).hexdigest() == row.digest
    return {row.sop_uid for row in rows}


def test_a_nearly_full_disk_takes_nothing_new_and_reading_goes_on(disk, new_house):
    house = new_house(disk.folder / "data", min_free_bytes=KEPT_FREE)
    house.start()
    chance = random.Random(5)
    ecg = ecg_sample()
    first, refused, late = (ecg.instance(chance) for _ in range(3))
    with Person(house, "ma") as reader, Device(house.dicom_port, CART) as device:
        assert device.store(first) == SUCCESS
        files = set(house.objects)
        disk.leave(KEPT_FREE // 2)
        assert device.store(refused) == OUT_OF_RESOURCES[0]
        assert set(house.objects) == files
        assert device.store(first) == SUCCESS  # it is here already: nothing is written for it
        assert expect_ready(reader)
        # claim, draft, signature and document, all on the nearly full disk
        (task,) = reader.tasks()
        signed = reader.read_and_sign(task["id"])
        assert reader.get(f"/api/reports/{signed['report_id']}/pdf").content.startswith(b"%PDF")
        disk.clear()
        assert device.store(refused) == SUCCESS
        assert device.store(late) == SUCCESS
        assert len(reader.tasks()) == 2
    assert house.stop().code == 0
    assert instances(house) == {first.uid, refused.uid, late.uid}


def expect_ready(person):
    return person.get("/readyz").status_code == 200


def test_a_full_disk_at_every_stage_of_storing(disk, new_house):
    """From no byte to enough for the object but not for its row: all or nothing each time."""
    house = new_house(disk.folder / "data", min_free_bytes=0)
    house.start()
    chance = random.Random(6)
    ecg = ecg_sample()
    stored, refused = {}, {}
    already = 0
    with Device(house.dicom_port, CART) as device:
        size = len(ecg.instance(chance).raw)
        for left in (0, 4, 16, size // KIB - 4, *range(size // KIB + 4, size // KIB + 160, 12)):
            disk.leave(left * KIB)
            one = ecg.instance(chance)
            status = device.store(one)
            if status == SUCCESS:
                stored[one.uid] = one
            else:
                assert status in OUT_OF_RESOURCES, f"{status:04X} with {left} KiB left"
                refused[one.uid] = one
            assert house.incoming == []
            dicom = [one for one in house.objects if one.startswith("dicom/")]
            assert len(dicom) == len(stored), f"an object without a row, with {left} KiB left"
            said = [line for line in house.log(already).splitlines() if one.uid in line]
            assert len(said) == (status != SUCCESS)
        assert len(refused) >= 4
        # there is room again: the same association goes on as if nothing had been
        disk.clear()
        for one in refused.values():
            assert device.store(one) == SUCCESS
    assert "Traceback" not in house.log()
    with Person(house, "ma") as reader:
        assert len(reader.tasks()) == len(stored) + len(refused)
    assert house.stop().code == 0
    assert instances(house) == set(stored) | set(refused)


def test_a_full_disk_while_reading_and_signing(disk, new_house):
    house = new_house(disk.folder / "data", min_free_bytes=0)
    house.start()
    one = ecg_sample().instance(random.Random(7))
    with Person(house, "ma") as reader:
        with Device(house.dicom_port, CART) as device:
            assert device.store(one) == SUCCESS
        (task,) = reader.tasks()
        case = expect(200, reader.claim(task["id"]))
        draft = expect(200, reader.write(case))
        request = to_sign(case, draft["draft_version"])
        files = set(house.objects)
        disk.leave(0)
        _exhaust(reader, case, draft)
        # what was kept can be seen; what would have to be kept is refused with a sentence
        assert [row["id"] for row in reader.tasks()] == [task["id"]]
        refused = reader.sign(task["id"], request)
        assert refused.status_code == 507, refused.text
        assert set(refused.json()) >= {"code", "message"}
        assert set(house.objects) == files
        disk.clear()
        draft = expect(200, reader.get(f"/api/tasks/{task['id']}/case"))["draft"]
        request["draft_version"] = draft["draft_version"]
        signed = expect(200, reader.sign(task["id"], request))
        assert expect(200, reader.sign(task["id"], request)) == signed
        pdf = reader.get(f"/api/reports/{signed['report_id']}/pdf").content
        assert pdf.startswith(b"%PDF")
        until(
            lambda: reader.get("/readyz").status_code == 200,
            "the gateway to be ready",
        )
    assert house.stop().code == 0


def _exhaust(reader, case, draft):
    """Save drafts until the last page of the index's file is used; the last answer says so."""
    version = draft["draft_version"]
    for _ in range(200):
        case["draft"]["draft_version"] = version
        answer = reader.write(case, findings="长" * 20_000)
        if answer.status_code != 200:
            assert answer.status_code == 507, answer.text
            assert set(answer.json()) >= {"code", "message"}
            return
        version = answer.json()["draft_version"]
    raise AssertionError("the disk did not become full")
