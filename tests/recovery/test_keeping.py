"""Do check, backup and restore keep their word beside a gateway that works, and after it died?"""

import random
import signal
import threading
from contextlib import contextmanager

import pytest
from sqlalchemy import select

from storage import tables
from tests.recovery.browser import Person
from tests.recovery.device import SUCCESS, Device, HungUp, ecg_sample, image_sample
from tests.recovery.house import CART, SCANNER, House, until

pytestmark = pytest.mark.timeout(600)
POLICY = """
grace_seconds = 1
quiet_after_release_seconds = 1
quiet_alone_seconds = 2
"""


class Sending(threading.Thread):
    """A device that stores without a pause, and remembers what was answered with success."""

    def __init__(self, house, title, sample, seed):
        super().__init__(daemon=True)
        self._house, self._title, self._sample = house, title, sample
        self._chance = random.Random(seed)
        self.stored = {}
        self.over = threading.Event()
        self.broken = ""

    def run(self):
        try:
            while not self.over.is_set():
                with Device(self._house.dicom_port, self._title) as device:
                    first = self._sample.instance(self._chance)
                    for _ in range(3):
                        one = self._sample.instance(self._chance, first.study, first.series)
                        status = device.store(one)
                        assert status == SUCCESS, f"{status:04X}"
                        self.stored[one.uid] = one
                    device.release()
        except HungUp:
            return  # killed
        except BaseException as error:
            self.broken = repr(error)


@contextmanager
def sending(house):
    """Two devices at work."""
    devices = [
        Sending(house, CART, ecg_sample(), 1),
        Sending(house, SCANNER, image_sample(64), 2),
    ]
    for one in devices:
        one.start()
    yield devices
    for one in devices:
        one.over.set()
    for one in devices:
        one.join(60)
        assert not one.broken, one.broken


@pytest.fixture
def settings(tmp_path):
    policy, word = tmp_path / "policy.toml", tmp_path / "passphrase"
    policy.write_text(POLICY)
    word.write_text("eleven cups of tea")
    word.chmod(0o600)
    return {"policy": policy, "backup_passphrase_file": word}


def stored(devices):
    return {uid: one for each in devices for uid, one in list(each.stored.items())}


def ok(done):
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done


def require_all(house, acknowledged):
    """Every acknowledged instance is there, byte for byte."""
    with house.parts() as parts, parts.view() as unit:
        rows = unit.connection.execute(select(tables.instance)).all()
        there = {row.sop_uid: row for row in rows}
        for uid, one in acknowledged.items():
            row = there[uid]
            assert row.digest == one.digest
            assert parts.objects.get(row.locator)[row.offset :] == one.raw
    return there


def work_a_little(house, devices):
    """Until enough has been stored and a report is final; the report's answer."""
    until(lambda: len(stored(devices)) > 60, "some instances")
    with Person(house, "zhou") as reader:
        until(lambda: any(one["state"] == "OPEN" for one in reader.tasks("ecg")), "a task")
        task = next(one for one in reader.tasks("ecg") if one["state"] == "OPEN")
        report = reader.read_and_sign(task["id"])
    return report


def elsewhere(tmp_path, settings):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return House(folder, **settings)


def test_a_backup_beside_a_gateway_at_work_brings_everything_back(new_house, settings, tmp_path):
    house = new_house(**settings)
    house.start()
    folder = tmp_path / "copy"
    with sending(house) as devices:
        report = work_a_little(house, devices)
        ok(house.teleread("backup", str(folder)))
        more = len(stored(devices))
        until(lambda: len(stored(devices)) > more + 30, "more instances")
        before = stored(devices)
        ok(house.teleread("backup", str(folder)))
        checked = house.teleread("check")
        assert (checked.returncode, checked.stdout) == (0, ""), (checked.stdout, checked.stderr)
    refused = house.teleread("restore", str(folder), "--replace")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.count("\n") == 1
    assert "Another process is using" in refused.stderr
    assert house.teleread("rebuild-index", "--replace").returncode == 1
    house.stop()
    other = elsewhere(tmp_path, settings)
    try:
        ok(other.teleread("restore", str(folder), "--verify"))
        assert ok(other.teleread("check")).stdout == ""
        there = require_all(other, before)
        assert len(there) >= len(before)
        other.start()
        with Person(other, "zhou") as reader:  # the same accounts and passwords
            (task, *_) = [one for one in reader.tasks("ecg") if one["state"] == "OPEN"]
            reader.read_and_sign(task["id"])  # and keys: the authority signs again
        pdf = _pdf(other, report)
        path = tmp_path / "report.pdf"
        path.write_bytes(pdf)
        assert ok(other.teleread("report", "verify", str(path))).stdout
        other.stop()
    finally:
        other.close()


def _pdf(house, report):
    """The document of a report, as the store keeps it and its page gives it."""
    with Person(house, "zhou") as reader:
        found = reader.get(f"/api/reports/{report['report_id']}/pdf")
    assert found.status_code == 200, found.text
    return found.content


def test_after_a_kill_check_mends_what_was_broken_off_and_loses_nothing(new_house, settings):
    house = new_house(**settings)
    acknowledged = {}
    for _ in range(3):
        house.start()
        with sending(house) as devices:
            until(lambda: len(stored(devices)) > 20, "some instances")
            house.kill()
        acknowledged |= stored(devices)
    ok(house.teleread("check", "--repair"))
    assert ok(house.teleread("check")).stdout == ""
    require_all(house, acknowledged)


def test_check_repair_beside_a_gateway_at_work_deletes_nothing_that_was_promised(
    new_house, settings
):
    house = new_house(**settings)
    with house.parts() as parts:
        orphan = parts.objects.put("dicom", (b"meta", b"nobody was promised this"))
    house.start()
    with sending(house) as devices:
        until(lambda: len(stored(devices)) > 20, "some instances")
        done = ok(house.teleread("check", "--repair"))
        assert done.stdout == f"orphan\t{orphan}\tmended\n"
        before = stored(devices)
    house.stop(signal.SIGTERM)
    require_all(house, before)
    assert orphan not in house.objects


def test_the_scrub_finds_a_changed_byte_by_itself(new_house, settings):
    house = new_house(**settings, scrub_bytes_per_second=100_000_000)
    house.start()
    with sending(house) as devices:
        until(lambda: len(stored(devices)) > 10, "some instances")
    house.stop()
    with house.parts() as parts, parts.view() as unit:
        row = unit.connection.execute(select(tables.instance).limit(1)).one()
    name, _, at = row.locator.rpartition("/")
    path = house.data / "objects" / name
    with path.open("r+b") as file:
        file.seek(int(at) + 32 + row.length - 1)
        byte = file.read(1)[0]
        file.seek(int(at) + 32 + row.length - 1)
        file.write(bytes((byte ^ 1,)))
    house.start()
    house.wait_for_line(f"scrub: instance {row.id} of study {row.study_id}: corrupt")
    house.stop()
    with house.parts() as parts, parts.view() as unit:
        (fault,) = unit.upkeep.faults()
        assert fault.locator == row.locator
