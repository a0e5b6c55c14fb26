"""Does a reader hear at once of what arrives: new, late, or after the report?

Over the running gateway: real associations, real sessions, the page's own event stream. Times are
printed, not asserted; what is asserted is that everything comes, in the right order, once.
"""

import random
import statistics
import threading
import time

import pytest

from tests.recovery.browser import Person, expect, to_sign
from tests.recovery.device import SUCCESS, Device, ecg_sample, image_sample
from tests.recovery.house import (
    CART,
    HOSPITAL,
    SCANNER,
    House,
    furnished,
    until,
    user_command,
)

MEASURED = 20
CLAIMERS = 16
POLICY = """
grace_seconds = 1
quiet_after_release_seconds = 0.2
quiet_alone_seconds = 2
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("late")
    names = [f"reader{number}" for number in range(CLAIMERS)]
    furnished(folder, [user_command(name, "reader", HOSPITAL) for name in names])
    policy = folder / "policy.toml"
    policy.write_text(POLICY)
    running = House(folder, policy=policy)
    running.start()
    yield running
    running.close()


@pytest.fixture
def reader(house):
    with Person(house, "ma") as person:
        yield person


@pytest.fixture
def live(reader):
    with reader.live() as stream:
        stream.next("clock")
        yield stream


@pytest.fixture
def send(house):
    """Send instances in one association."""

    def store(title, *instances):
        with Device(house.dicom_port, title) as device:
            assert [device.store(one) for one in instances] == [SUCCESS] * len(instances)
            device.release()

    return store


@pytest.fixture(scope="module")
def chance():
    return random.Random(8)


@pytest.fixture(scope="module")
def ecg():
    return ecg_sample()


@pytest.fixture(scope="module")
def image():
    return image_sample()


def row_of(reader, study_uid):
    return next((one for one in reader.tasks() if one["study"]["uid"] == study_uid), None)


# --- new ---------------------------------------------------------------------------------------


def test_an_ecg_stands_in_the_open_worklist_at_once(house, reader, live, ecg, chance):
    heard, listed = [], []
    with Device(house.dicom_port, CART) as device:
        for _ in range(MEASURED):
            one = ecg.instance(chance)
            assert device.store(one) == SUCCESS
            answered = time.perf_counter()
            # nothing waits for a settled study: the row is there when the device has its answer
            row = row_of(reader, one.study)
            listed.append(time.perf_counter() - answered)
            assert row["state"] == "OPEN"
            while (event := live.next("task"))["study"]["uid"] != one.study:
                pass
            heard.append(time.perf_counter() - answered)
            assert event == {**row, "version": event["version"]}
    for name, times in (("event on the page", heard), ("row of the worklist", listed)):
        median, worst = statistics.median(times) * 1000, max(times) * 1000
        print(f"\nECG answer → {name}: median {median:.0f} ms, worst {worst:.0f} ms of {MEASURED}")


def test_a_page_that_was_away_hears_what_it_missed(house, reader, live, ecg, chance, send):
    first, second = ecg.instance(chance), ecg.instance(chance)
    send(CART, first)
    while live.next("task")["study"]["uid"] != first.study:
        pass
    last = live.last_id
    live.close()
    send(CART, second)
    with reader.live(last) as again:
        assert again.next("task")["study"]["uid"] == second.study


def test_images_enter_when_the_study_has_settled(reader, live, image, chance, send):
    first = image.instance(chance)
    more = [image.instance(chance, first.study, first.series) for _ in range(4)]
    send(SCANNER, first, *more)
    while (event := live.next("task"))["study"]["uid"] != first.study:
        pass
    assert event["study"]["instance_count"] == 5
    assert event["specialty"] == "images"


# --- late --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ecg", "image"])
def test_what_comes_late_must_be_seen_before_signing(request, kind, reader, live, chance, send):
    sample = request.getfixturevalue(kind)
    title = CART if kind == "ecg" else SCANNER
    first = sample.instance(chance)
    late = sample.instance(chance, first.study, first.series)
    send(title, first)
    until(lambda: row_of(reader, first.study), "the study on the worklist")
    task_id = row_of(reader, first.study)["id"]
    case = expect(200, reader.claim(task_id))
    draft = expect(200, reader.write(case))
    request_of = to_sign(case, draft["draft_version"])

    send(title, late)
    assert live.until("late", task_id=task_id)["sop_uids"] == [late.uid]
    assert "late_instances" in row_of(reader, first.study)["marks"]
    refused = expect(409, reader.sign(task_id, request_of))
    assert (refused["code"], refused["unseen"]) == ("study_changed", [late.uid])
    # seen, but not on the screen yet
    assert expect(200, reader.post(f"/api/tasks/{task_id}/seen", {"sop_uids": []})) == [late.uid]
    assert expect(200, reader.post(f"/api/tasks/{task_id}/seen", {"sop_uids": [late.uid]})) == []
    refused = expect(409, reader.sign(task_id, request_of))
    assert (refused["code"], refused["missing"]) == ("not_painted", [late.uid])
    now = expect(200, reader.get(f"/api/tasks/{task_id}/case"))
    request_of["painted"] = to_sign(now, 0)["painted"]
    signed = expect(200, reader.sign(task_id, request_of))
    live.until("task", id=task_id, gone=True)
    live.until("report", report_id=signed["report_id"], state="final")


@pytest.mark.parametrize("kind", ["ecg", "image"])
def test_what_comes_after_the_report_is_a_task_of_its_own(
    request, kind, house, reader, live, chance, send
):
    sample = request.getfixturevalue(kind)
    title = CART if kind == "ecg" else SCANNER
    first = sample.instance(chance)
    send(title, first)
    until(lambda: row_of(reader, first.study), "the study on the worklist")
    task_id = row_of(reader, first.study)["id"]
    report_id = reader.read_and_sign(task_id)["report_id"]
    live.until("report", report_id=report_id, state="final")
    assert not expect(200, reader.get(f"/api/reports/{report_id}"))["study_newer"]
    assert row_of(reader, first.study) is None

    after = sample.instance(chance, first.study, first.series)
    send(title, after)
    until(lambda: row_of(reader, first.study), "the study on the worklist again")
    live.until("report", report_id=report_id)
    report = expect(200, reader.get(f"/api/reports/{report_id}"))
    assert (report["study_newer"], report["state"]) == (True, "final")
    again = row_of(reader, first.study)
    assert again["follows"] == {"task_id": task_id, "report_id": report_id}
    assert again["study"]["instance_count"] == 2
    with Person(house, "su") as doctor:
        rows = expect(200, doctor.get("/api/center/studies"))["studies"]
        row = next(one for one in rows if one["study_id"] == again["study"]["id"])
        assert row["report"]["study_newer"]
    # the second report takes the place of the first
    second = reader.read_and_sign(again["id"], impression="补充后重新判读。")["report_id"]
    live.until("report", report_id=second, state="final")
    assert expect(200, reader.get(f"/api/reports/{report_id}"))["replaced_by"] == second


def test_what_comes_in_the_grace_time_makes_the_report_older_than_its_study(
    reader, live, ecg, chance, send
):
    first = ecg.instance(chance)
    send(CART, first)
    task_id = row_of(reader, first.study)["id"]
    signed = reader.read_and_sign(task_id)
    send(CART, ecg.instance(chance, first.study, first.series))
    live.until("report", report_id=signed["report_id"], state="final")
    assert expect(200, reader.get(f"/api/reports/{signed['report_id']}"))["study_newer"]
    assert row_of(reader, first.study)["follows"]["task_id"] == task_id


# --- sixteen at once ---------------------------------------------------------------------------


def test_of_sixteen_who_claim_at_once_one_wins(house, ecg, chance, send):
    one = ecg.instance(chance)
    send(CART, one)
    people = [Person(house, f"reader{number}") for number in range(CLAIMERS)]
    task_id = row_of(people[0], one.study)["id"]
    ready = threading.Barrier(CLAIMERS)
    answers = {}

    def claim(person):
        ready.wait()
        answers[person.name] = person.claim(task_id)

    threads = [threading.Thread(target=claim, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [name for name, answer in answers.items() if answer.status_code == 200]
    for name, answer in answers.items():
        if name == winner:
            assert answer.json()["task"]["claimed_by"]["name"] == winner
            continue
        told = expect(409, answer)
        assert told["code"] == "already_claimed"
        assert (told["who"], told["who_en"]) == (f"{winner}医生", f"Dr {winner}")
        assert told["since"].endswith("Z")
    for person in people:
        row = row_of(person, one.study)
        assert (row["claimed_by"]["name"], row["mine"]) == (winner, person.name == winner)
        person.http.close()
