"""What does the web edge answer to the odd, the huge, the stale and the too curious?"""

import base64
import json
import threading
import uuid

import pytest

from gateway.web import live
from storage import following
from tests.unit.web_house import House
from worklist.events import Fact, Happened
from worklist.person import Role


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("house") / "data")
    made.person("aijun", "艾军", "c1", Role.ADMIN)
    yield made
    made.close()


def key(*values):
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


# --- wrong input is answered with a sentence ---------------------------------------------------

HUGE = 10**30


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("chen", f"/api/tasks?after={key(HUGE, 1, 'x')}"),
        ("chen", f"/api/tasks?after={key(0, 10**18, 'x')}"),
        ("chen", f"/api/reports?after={key(HUGE, 'x')}"),
        ("su", "/api/center/studies?day=9999-12-31"),
        ("su", "/api/center/studies?day=0001-01-01"),
        ("su", f"/dicom-web/studies?StudyInstanceUID={','.join(map(str, range(1100)))}"),
        ("su", f"/dicom-web/studies?PatientName={'%25a' * 3000}"),
        ("su", f"/dicom-web/studies?AccessionNumber={'*a' * 3000}"),
    ],
)
def test_odd_questions_get_an_answer_or_a_4xx_never_a_500(house, name, path):
    answer = house.browser(name).get(path)
    assert answer.status_code < 500, (answer.status_code, answer.text[:200])


def test_huge_numbers_in_bodies_and_paths_are_refused(house):
    chen, su = house.browser("chen"), house.browser("su")
    case = chen.claim_of(house.ecg())
    task = f"/api/tasks/{case['task']['id']}"
    text = {"findings": "x", "impression": "y", "result": "normal"}
    sign = {"request_id": str(uuid.uuid4()), "study_id": HUGE, "painted": []}
    for answer in (
        chen.put(f"{task}/draft", {**text, "draft_version": HUGE}),
        chen.post(f"{task}/sign", {**sign, "draft_version": HUGE}),
        chen.post(f"/api/notices/{HUGE}/seen"),
        su.post("/api/center/studies/find", {"q": "x", "after": key(1, HUGE)}),
    ):
        assert 400 <= answer.status_code < 500, answer.text


def test_a_window_that_is_no_number_never_reaches_the_draft(house):
    chen = house.browser("chen")
    case = chen.claim_of(house.ecg())
    uid = case["study"]["series"][0]["instances"][0]["uid"]
    draft = {"draft_version": 0, "findings": "x", "impression": "y", "result": "normal"}
    for window in ('{"center": NaN, "width": 1}', '{"center": 1, "width": Infinity}'):
        body = json.dumps(draft)[:-1] + (
            f', "key_image": {{"sop_uid": "{uid}", "frame": 1, "window": {window}}}}}'
        )
        path = f"/api/tasks/{case['task']['id']}/draft"
        headers = {"Content-Type": "application/json"}
        assert chen.http.put(path, content=body, headers=headers).status_code == 422
    assert chen.get(f"/api/tasks/{case['task']['id']}/case").status_code == 200


def test_a_viewport_of_any_size_is_no_error_of_ours(house):
    su, dataset = house.browser("su"), house.ecg()
    path = (
        f"/dicom-web/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
        f"/instances/{dataset.SOPInstanceUID}/rendered?viewport={10**400},1"
    )
    assert su.get(path).status_code < 500


# --- what is not out does not exist for a center -----------------------------------------------


def test_nobody_at_the_center_sees_a_version_that_is_not_out_whatever_the_role(house):
    chen, admin = house.browser("chen"), house.browser("aijun")
    dataset = house.ecg()
    first = chen.report(dataset)["report_id"]
    for path in (f"/api/reports/{first}", f"/api/reports/{first}/pdf"):
        assert admin.get(path).status_code == 404
    chen.post(f"/api/reports/{first}/take-back")
    assert admin.get(f"/api/reports/{first}").status_code == 404
    case = chen.claim_of(dataset)
    chen.write(case)
    second = chen.sign(case).json()["report_id"]
    house.take_effect(second)
    shown = admin.get(f"/api/reports/{second}").json()
    assert [one["id"] for one in shown["versions"]] == [second]
    told = chen.get(f"/api/reports/{second}").json()
    assert {one["id"] for one in told["versions"]} == {first, second}


# --- the signature -----------------------------------------------------------------------------


def test_the_grace_time_that_is_told_is_the_policy_s(house):
    chen = house.browser("chen")
    assert chen.report(house.ecg())["grace_seconds"] == 20
    assert chen.report(house.ecg(), result="critical")["grace_seconds"] == 0


def test_one_request_number_for_two_studies_signs_the_first_only(house):
    chen, number = house.browser("chen"), str(uuid.uuid4())
    first, second = chen.claim_of(house.ecg()), chen.claim_of(house.ecg())
    for case in (first, second):
        chen.write(case)
    assert chen.sign(first, request_id=number).status_code == 200
    answer = chen.sign(second, request_id=number)
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_study")


# --- streams -----------------------------------------------------------------------------------


def busy(house, stop):
    """Something happens all the time."""
    while not stop.wait(0.02):
        with house.parts.new_unit() as unit:
            unit.facts.add(Fact(Happened.STUDY_SETTLED, house.clock(), "c1", study_id=1))


def test_a_stream_ends_with_its_session_however_much_happens(house, monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT", 0.3)
    chen = house.browser("chen")
    stop = threading.Event()
    noise = threading.Thread(target=busy, args=(house, stop), daemon=True)
    with chen.live() as heard:
        noise.start()
        try:
            heard.wait("study")
            heard.wait("clock", seconds=5)  # the heartbeat goes on amid all the news
            other = house.stranger()
            other.cookies.update(chen.http.cookies)
            lock = other.post("/api/session/lock", headers={"X-CSRF-Token": chen.session["csrf"]})
            assert lock.status_code == 204
            assert heard.ended.wait(5)
        finally:
            stop.set()
            noise.join()


def test_a_browser_that_was_away_for_long_hears_the_newest_not_the_oldest(house, monkeypatch):
    for module in (live, following):
        monkeypatch.setattr(module, "MOST", 5)
    su = house.browser("su")
    with su.live(), house.parts.view() as unit:
        before = unit.facts.position()
    for number in range(40, 60):
        with house.parts.new_unit() as unit:
            unit.facts.add(Fact(Happened.STUDY_SETTLED, house.clock(), "c1", study_id=number))
    with house.browser("su").live(), su.live(**{"Last-Event-ID": str(before)}) as heard:
        assert heard.wait("study", study_id="59")
        assert all(data.get("study_id") not in {"40", "41"} for _, data, _ in heard.all)
