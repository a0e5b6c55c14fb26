"""How does the gateway end when it is told to, and what may one do beside it?"""

import random
import signal
import time

import pytest
from sqlalchemy import select

from storage import tables
from tests.recovery.browser import Person, expect
from tests.recovery.device import SUCCESS, Device, HungUp, ecg_sample, image_sample
from tests.recovery.house import (
    CART,
    CENTER,
    HOSPITAL,
    PASSWORD,
    user_command,
)

WITHIN = 10.0
PAGES = 5
HALF = 30_000


def rows_of(house, uid):
    with house.parts() as parts, parts.view() as unit:
        found = select(tables.instance).where(tables.instance.c.sop_uid == uid)
        return unit.connection.execute(found).all()


# --- told to stop ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_in_time_with_pages_and_associations_open(new_house, number):
    house = new_house()
    house.start()
    chance = random.Random(2)
    ecg = ecg_sample()
    done, finishes, never = (ecg.instance(chance) for _ in range(3))
    with (
        Person(house, "ma") as reader,
        Person(house, "su") as doctor,
        Device(house.dicom_port, CART) as idle,
        Device(house.dicom_port, CART) as last,
        Device(house.dicom_port, CART) as stuck,
    ):
        pages = [(reader, doctor)[number % 2].live() for number in range(PAGES)]
        assert [page.status for page in pages] == [200] * PAGES
        assert idle.store(done) == SUCCESS
        last.begin(finishes, HALF)
        stuck.begin(never, HALF)
        already = len(house.log())
        began = time.monotonic()
        house.tell(number)
        house.wait_for_line(" stopping", already)
        # the object in flight is still taken, and still durable before it is answered
        last.finish(finishes, HALF)
        assert last.answer() == SUCCESS
        assert last.ended
        assert idle.ended
        assert all(page.ended() for page in pages)
        ended = house.wait(began)
        assert stuck.ended
        for page in pages:
            page.close()
    assert ended.code == 0
    assert ended.seconds < WITHIN
    print(f"\n{number.name}: ended after {ended.seconds:.1f} s")
    assert "Traceback" not in house.log()
    assert house.incoming == []
    assert len(house.objects) == 2
    assert len(rows_of(house, done.uid)) == len(rows_of(house, finishes.uid)) == 1
    assert rows_of(house, never.uid) == []


def test_ends_at_once_when_nothing_is_open(new_house):
    house = new_house()
    house.start()
    ended = house.stop()
    assert ended.code == 0
    assert ended.seconds < WITHIN
    assert not (house.data / "control").exists()


# --- a second one ------------------------------------------------------------------------------


def test_a_second_one_on_the_same_folder_is_refused(new_house):
    house = new_house()
    house.start()
    second = house.teleread("serve")
    assert second.returncode == 1
    assert second.stdout == ""
    (line,) = second.stderr.splitlines()
    assert line.startswith("teleread: Another process is using ")
    with Person(house, "ma") as reader:  # the first one has not noticed
        assert reader.tasks() == []
    assert house.stop().code == 0


def test_a_taken_port_is_refused_with_the_name_of_the_setting(new_house):
    first, second = new_house(), new_house()
    first.start()
    for name, port in (("WEB", first.web_port), ("DICOM", first.dicom_port)):
        second.environment[f"TELEREAD_{name}_PORT"] = str(port)
        refused = second.teleread("serve")
        assert refused.returncode == 1
        assert f"TELEREAD_{name}_PORT" in refused.stderr.splitlines()[-1]
        assert "Traceback" not in refused.stderr
        second.environment[f"TELEREAD_{name}_PORT"] = str(
            second.web_port if name == "WEB" else second.dicom_port
        )


# --- commands beside it ------------------------------------------------------------------------


def test_commands_work_beside_it(new_house):
    house = new_house()
    house.start()

    def said(*words, given=""):
        done = house.teleread(*words, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said("site", "add", "new", "--name", "新镇卫生院", "--read-by", HOSPITAL)
    assert "新镇卫生院" in said("site", "list")
    said("device", "add", "new", "NEW_CT")
    assert "new\tNEW_CT" in said("device", "list")
    words, given = user_command("wang", "reader", HOSPITAL)
    said(*words, given=given)
    token = said("token", "add", "program", "--role", "reader", "--site", HOSPITAL).strip()
    again = house.teleread("token", "revoke", "nobody")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    # the running gateway knows all of it at once
    one = image_sample().instance(random.Random(3))
    with Device(house.dicom_port, "NEW_CT") as device:
        assert device.store(one) == SUCCESS
    with Person(house, "wang") as reader:
        assert reader.session["signing_until"]
        bearer = {"Authorization": f"Bearer {token}", "Cookie": ""}
        assert expect(200, reader.get("/api/tasks", headers=bearer))["as_of"]
        said("token", "revoke", "program")
        expect(401, reader.get("/api/tasks", headers=bearer))
    # a new password ends the sessions of the old one
    with Person(house, "zhou") as reader:
        said("user", "password", "zhou", "--password-stdin", given="another long password\n")
        expect(401, reader.get("/api/session"))
        again = reader.post("/api/session", {"name": "zhou", "password": PASSWORD})
        assert again.status_code == 401
    with Person(house, "zhou", password="another long password") as reader:
        assert reader.session["signing_until"]
    assert house.stop().code == 0


# --- killed ------------------------------------------------------------------------------------


def test_comes_back_by_itself_after_a_kill(new_house):
    house = new_house()
    house.start()
    chance = random.Random(4)
    ecg = ecg_sample()
    kept, half = ecg.instance(chance), ecg.instance(chance)
    with Person(house, "ma") as reader, Device(house.dicom_port, CART) as device:
        assert device.store(kept) == SUCCESS
        device.begin(half, HALF)
        (task,) = reader.tasks()
        case = expect(200, reader.claim(task["id"]))
        expect(200, reader.write(case, impression="写到一半"))
        house.kill()
        with pytest.raises(HungUp):
            device.answer()
        # lock, socket and half-written files of the dead process are in nobody's way
        house.start()
        assert house.incoming == []
        assert house.teleread("site", "list").returncode == 0
        case = expect(200, reader.get(f"/api/tasks/{task['id']}/case"))
        assert case["editable"]
        assert case["draft"]["impression"] == "写到一半"
        with Device(house.dicom_port, CART) as again:
            assert again.store(kept) == SUCCESS  # the device never knows: it sends once more
            assert again.store(half) == SUCCESS
        assert len(reader.tasks()) == 2
    assert house.stop().code == 0
    assert len(rows_of(house, kept.uid)) == len(rows_of(house, half.uid)) == 1
    assert rows_of(house, kept.uid)[0].site == CENTER
