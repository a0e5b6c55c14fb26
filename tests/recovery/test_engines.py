"""Do several gateways over one PostgreSQL and one S3 store work as one?"""

import hashlib
import random
import re
import subprocess
import time

import pytest
from sqlalchemy import select

from storage import tables
from storage.s3 import PART
from tests.engines.keeper import free_port
from tests.engines.wire import Wire
from tests.recovery.browser import Person, expect
from tests.recovery.device import (
    KEPT,
    SUCCESS,
    Device,
    Rejected,
    ecg_sample,
    image_sample,
    kept,
)
from tests.recovery.house import AE_TITLE, CART, CENTER, SCANNER, until
from tests.recovery.test_kill import WADO

NO_ROOM = 0xA700
QUICK = 15.0  # seconds; devices wait longer than that
POLICY = "grace_seconds = 1\nquiet_after_release_seconds = 1\nquiet_alone_seconds = 2\n"


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


def stored(house, title, one):
    with Device(house.dicom_port, title) as device:
        assert device.store(one) == SUCCESS
        device.release()


def fetched(person, one):
    """The instance as a viewer gets it."""
    path = f"/dicom-web/sites/{CENTER}/studies/{one.study}/series/{one.series}/instances/{one.uid}"
    return expect_bytes(person.get(path, headers={"Accept": WADO}))


def expect_bytes(answer):
    assert answer.status_code == 200, answer.text
    return answer.content


def test_two_gateways_work_as_one_and_one_may_be_killed(new_far_house, policy):
    chance = random.Random(4)
    one, two = new_far_house(policy=policy), new_far_house(policy=policy)
    one.start()
    two.start()
    ecg = ecg_sample().instance(chance)
    with Person(two, "ma") as reader, Person(one, "su") as doctor:
        with reader.live() as page, doctor.live() as other_page:
            stored(one, CART, ecg)
            task = page.next("task")  # told by the other process
            assert ecg.raw in fetched(reader, ecg)
            signed = reader.read_and_sign(task["id"])
            other_page.until("report", report_id=signed["report_id"], state="final")
        one.kill()
        scan = image_sample().instance(chance)
        stored(two, SCANNER, scan)
        assert scan.raw in fetched(reader, scan)
    one.start()
    with Person(one, "su") as doctor:  # what the other did while this one was away
        report = expect_bytes(doctor.get(f"/api/reports/{signed['report_id']}/pdf"))
        until(lambda: len(doctor_studies(doctor)) == 2, "both studies")
    assert one.stop().code == two.stop().code == 0
    with two.parts() as parts, parts.view() as unit:
        rows = unit.connection.execute(select(tables.report)).all()
        assert [row.pdf_digest for row in rows] == [hashlib.sha256(report).hexdigest()]
        locators = {row.locator for row in unit.connection.execute(select(tables.instance))}
        assert set(parts.objects.list()) == locators | {rows[0].pdf}
    assert not (two.data / "objects").exists()
    assert list((two.data / "spool").iterdir()) == []


def doctor_studies(doctor):
    return expect(200, doctor.get("/api/center/studies"))["studies"]


def large_image(side):
    dataset = kept("ct-one-slice-128")
    dataset.Rows = dataset.Columns = side
    dataset.PixelData = random.Random(side).randbytes(2 * side * side)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.{side}"
    assert len(dataset.PixelData) > 3 * PART
    return dataset


@pytest.mark.dcmtk
def test_storescu_stores_and_all_is_there_after_a_kill(new_far_house, storescu, tmp_path):
    house = new_far_house()
    house.start()
    large = tmp_path / "large.dcm"  # comes in parts, and goes to the store in parts
    large_image(3000).save_as(large)
    files = [large, *sorted(KEPT.glob("*.dcm"))]
    command = [storescu, "-aet", SCANNER, "-aec", AE_TITLE, "-xs", "127.0.0.1"]
    done = subprocess.run(
        [*command, str(house.dicom_port), *map(str, files)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    house.kill()
    house.start()
    assert house.stop().code == 0
    with house.parts() as parts, parts.view() as unit:
        rows = unit.connection.execute(select(tables.instance)).all()
        assert len(rows) == len(files)
        for row in rows:
            data = parts.objects.read(row.locator, row.offset, row.length - row.offset)
            assert hashlib.sha256(data).hexdigest() == row.digest


def wired(house, variable):
    """A wire between the house and the engine that this setting names."""
    url = house.environment[variable]
    port = re.search(r":(\d+)(?=/|$)", url)[1]
    wire = Wire(int(port))
    house.environment[variable] = url.replace(f":{port}", f":{wire.port}")
    return wire


def test_engines_that_are_away_cost_no_instance_and_come_back_by_themselves(new_far_house):
    chance = random.Random(5)
    house = new_far_house()
    store, index = (
        wired(house, name) for name in ("TELEREAD_S3_ENDPOINT", "TELEREAD_DATABASE_URL")
    )
    house.start()
    kept = []

    def sent(device):
        one = ecg_sample().instance(chance)
        began = time.monotonic()
        status = device.store(one)
        if status == SUCCESS:
            kept.append(one)
        else:
            assert status == NO_ROOM, f"{status:04X}"
            assert time.monotonic() - began < QUICK
        return status

    def comes_back(calling):
        def again():
            try:
                with Device(house.dicom_port, calling) as device:
                    return sent(device) == SUCCESS
            except Rejected:
                return False

        until(again, "service to return")

    with Device(house.dicom_port, CART) as device:
        assert sent(device) == SUCCESS
        for wire in (store, index):
            wire.cut()
            assert [sent(device) for _ in range(5)] == [NO_ROOM] * 5
            if wire is index:
                with pytest.raises(Rejected):  # for now, not for good
                    Device(house.dicom_port, CART)
            wire.mend()
            comes_back(CART)
    assert house.stop().code == 0
    with house.parts() as parts, parts.view() as unit:
        rows = unit.connection.execute(select(tables.instance)).all()
        found = {row.sop_uid: row for row in rows}
        assert {one.uid for one in kept} <= set(found)
        for row in rows:
            data = parts.objects.read(row.locator, row.offset, row.length - row.offset)
            assert hashlib.sha256(data).hexdigest() == row.digest
    store.cut()
    index.cut()


# --- what is wrong is said at the start --------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TELEREAD_S3_BUCKET", "no-such-bucket"),
        ("TELEREAD_S3_ENDPOINT", "http://127.0.0.1:{free}"),
        ("TELEREAD_DATABASE_URL", "postgresql://postgres:sesame@127.0.0.1:{free}/x"),
    ],
)
def test_serve_does_not_begin_and_says_which_setting_is_wrong(new_far_house, name, value):
    house = new_far_house()
    house.environment[name] = value.format(free=free_port())
    done = house.teleread("serve")
    assert done.returncode == 1
    assert done.stderr.startswith(f"teleread: {name}: "), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "sesame" not in done.stderr


def test_settings_show_no_secret(new_far_house):
    house = new_far_house()
    secret = house.environment["TELEREAD_S3_SECRET_KEY"]
    url = "postgresql://me:sesame@db/x?password=sesame"
    house.environment["TELEREAD_DATABASE_URL"] = url
    said = house.teleread("settings").stdout
    assert "TELEREAD_S3_SECRET_KEY=" in said
    assert secret not in said
    assert "sesame" not in said
