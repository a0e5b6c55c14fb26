"""A reader's way over HTTP: worklist, claim, draft, signature, take back, withdraw, replace."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from sample_studies.ecg import ecg
from tests.unit.web_house import House, painted


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("house") / "data")
    made.person("reviewer", "审核", "h1", *_roles("reviewer"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def chen(house):
    return house.browser("chen")


@pytest.fixture(scope="module")
def lin(house):
    return house.browser("lin")


def _roles(*names):
    from worklist.person import roles_of

    return roles_of(names)


def task_of(browser, dataset):
    tasks = browser.get("/api/tasks?limit=200").json()["tasks"]
    return next(t for t in tasks if t["study"]["uid"] == dataset.StudyInstanceUID)


def test_the_worklist_has_what_the_reader_needs(house, chen):
    task = task_of(chen, house.ecg())
    assert task["kind"] == "ECG"
    assert task["specialty"] == "ecg"
    assert task["state"] == "OPEN"
    assert task["mine"] is False
    assert task["target_seconds"] == 1800
    assert task["patient"]["name"] == "丁样例"
    assert task["patient"]["age"] == "63Y"
    assert task["site"] == {"key": "c1", "name": "东街中心", "name_en": "Center c1"}
    assert task["study"]["modalities"] == ["ECG"]
    page = chen.get("/api/tasks").json()
    assert set(page["counts"]) == {"all", "ecg", "images", "mine"}
    assert [one["key"] for one in page["sites"]] == ["c1", "c2"]


def test_the_list_is_paged_by_key_and_narrowed(house, chen):
    for site in ("c1", "c2", "c1"):
        house.ecg(site=site)
    first = chen.get("/api/tasks?limit=2").json()
    assert first["next"]
    rest = chen.get("/api/tasks", params={"limit": 200, "after": first["next"]}).json()
    ids = [one["id"] for one in first["tasks"] + rest["tasks"]]
    whole = chen.get("/api/tasks?limit=200").json()
    assert ids == [one["id"] for one in whole["tasks"]]
    assert whole["next"] is None
    west = chen.get("/api/tasks?site=c2").json()["tasks"]
    assert {one["site"]["key"] for one in west} == {"c2"}
    assert chen.get("/api/tasks?tab=images").json()["tasks"] == []
    assert chen.get("/api/tasks?priority=emergency").json()["tasks"] == []
    assert chen.get("/api/tasks?after=rubbish").status_code == 422
    assert chen.get("/api/tasks?tab=nothing").status_code == 422


def test_a_patient_is_found_by_name_initials_or_number_asked_in_a_body(house, chen):
    patient = house.someone(name="Wei^Xiangxiang=魏^想想")
    dataset = house.ecg(patient)
    for words in ("魏想", "wei", "wx", patient.patient_id.lower(), dataset.AccessionNumber):
        found = chen.post("/api/tasks/find", {"q": words}).json()["tasks"]
        assert [one["study"]["uid"] for one in found] == [dataset.StudyInstanceUID], words
    assert chen.post("/api/tasks/find", {"q": "100%"}).json()["tasks"] == []


def test_of_sixteen_who_click_at_once_one_wins(house):
    browsers = [house.browser(name) for name in ("chen", "lin", "reviewer")]
    task = task_of(browsers[0], house.ecg())
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda at: browsers[at % 3].post(f"/api/tasks/{task['id']}/claim"), range(16))
        )
    winners = {a.json()["reader"]["name"] for a in answers if a.status_code == 200}
    assert len(winners) == 1
    lost = [a.json() for a in answers if a.status_code != 200]
    assert lost
    assert {one["code"] for one in lost} == {"already_claimed"}
    assert {one["who"] for one in lost} <= {"陈静", "林涛", "审核"}
    assert all(one["since"].endswith("Z") for one in lost)


def test_the_draft_saves_itself_and_two_windows_do_not_mix(house, chen):
    case = chen.claim_of(house.ecg())
    path = f"/api/tasks/{case['task']['id']}/draft"
    given = {"draft_version": 0, "findings": "一", "impression": "", "result": None}
    first = chen.put(path, given)
    assert first.json()["draft_version"] == 1
    assert chen.put(path, given).json() == {**first.json()}, "a repeat is the same success"
    conflict = chen.put(path, {**given, "findings": "二"})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "draft_conflict")
    assert conflict.json()["draft"]["findings"] == "一"
    again = chen.get(f"/api/tasks/{case['task']['id']}/case").json()
    assert again["draft"]["findings"] == "一"
    assert task_of_id(chen, case)["draft_saved_at"] is not None


def task_of_id(browser, case):
    return browser.get(f"/api/tasks/{case['task']['id']}").json()


def test_a_lost_lease_keeps_the_draft_for_its_author(house, chen, lin):
    case = chen.claim_of(house.ecg())
    chen.write(case, findings="meins")
    house.clock.move(minutes=11)
    try:
        taken = lin.post(f"/api/tasks/{case['task']['id']}/claim").json()
        assert taken["draft"]["findings"] == ""
        lost = chen.put(
            f"/api/tasks/{case['task']['id']}/draft",
            {"draft_version": 1, "findings": "x", "impression": ""},
        )
        assert (lost.status_code, lost.json()["code"]) == (409, "lease_lost")
        assert lost.json()["who"] == "林涛"
        assert chen.post(f"/api/tasks/{case['task']['id']}/extend").status_code == 409
        lin.post(f"/api/tasks/{case['task']['id']}/release")
        assert chen.claim_of_id(case)["draft"]["findings"] == "meins"
    finally:
        house.clock.move(minutes=-11)


def test_signing_refuses_what_is_not_on_the_screen(house, chen):
    case = chen.claim_of(house.ecg())
    chen.write(case, result=None)
    incomplete = chen.sign(case)
    assert incomplete.json()["code"] == "report_incomplete"
    assert incomplete.json()["fields"] == ["result"]
    chen.write(case)
    unpainted = chen.sign(case, painted=[])
    assert (unpainted.status_code, unpainted.json()["code"]) == (409, "not_painted")
    assert unpainted.json()["missing"] == [one["sop_uid"] for one in painted(case)]
    former = [{**one, "v": "0" * 16} for one in painted(case)]
    assert chen.sign(case, painted=former).json()["code"] == "not_painted"
    many = [{"sop_uid": f"1.2.{n:060d}", "v": "0" * 16} for n in range(50_000)]
    assert chen.sign(case, painted=many).json()["code"] == "not_painted"
    for no_version in ("", "0" * 15, "0" * 64):
        wrong = [{**one, "v": no_version} for one in painted(case)]
        assert chen.sign(case, painted=wrong).status_code == 422
    assert chen.sign(case, draft_version=1).json()["code"] == "draft_changed"
    other = chen.claim_of(house.ecg())
    assert chen.sign(case, study_id=other["study"]["id"]).json()["code"] == "wrong_study"
    chen.write(case, findings="\u202eright to left")
    unprintable = chen.sign(case)
    assert unprintable.json()["code"] == "not_printable"
    assert unprintable.json()["field"] == "findings"
    assert reports_kept(house) == reports_known(house), "a refusal leaves no document behind"


def reports_kept(house):
    return {one for one in house.parts.objects.list() if one.startswith("report/")}


def reports_known(house):
    from sqlalchemy import select

    from storage.tables import report

    with house.parts.view() as unit:
        return set(unit.connection.execute(select(report.c.pdf)).scalars())


def test_a_held_key_never_signs_twice(house, chen):
    case = chen.claim_of(house.ecg())
    chen.write(case)
    request = str(uuid.uuid4())
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: chen.sign(case, request_id=request), range(4)))
    assert {one.status_code for one in answers} == {200}
    assert len({one.text for one in answers}) == 1
    assert chen.sign(case).status_code == 409, "another press finds the task done"
    assert reports_kept(house) == reports_known(house)
    signed = answers[0].json()
    assert signed["grace_seconds"] == 20
    assert signed["verify_path"].startswith("/verify/")


def test_what_came_late_must_be_seen_before_signing(house, chen):
    dataset = house.ecg()
    case = chen.claim_of(dataset)
    chen.write(case)
    late = ecg(house.someone())
    late.StudyInstanceUID, late.PatientID = dataset.StudyInstanceUID, dataset.PatientID
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = f"2.25.{uuid.uuid4().int}"
    house.send(late)
    refused = chen.sign(case)
    assert refused.json()["code"] == "study_changed"
    assert refused.json()["unseen"] == [late.SOPInstanceUID]
    now = chen.get(f"/api/tasks/{case['task']['id']}/case").json()
    assert now["late"] == [late.SOPInstanceUID]
    seen = chen.post(f"/api/tasks/{case['task']['id']}/seen", {"sop_uids": [late.SOPInstanceUID]})
    assert seen.json() == []
    assert chen.sign({**now, "draft": case["draft"]}).status_code == 200


def test_one_key_takes_it_back_within_the_grace_time(house, chen):
    dataset = house.ecg()
    signed = chen.report(dataset)
    task_id = chen.post(f"/api/reports/{signed['report_id']}/take-back").json()["task_id"]
    case = chen.get(f"/api/tasks/{task_id}/case").json()
    assert case["editable"]
    assert case["draft"]["impression"] == "正常心电图"
    again = chen.sign(case)
    assert again.status_code == 200
    house.clock.move(seconds=21)
    try:
        over = chen.post(f"/api/reports/{again.json()['report_id']}/take-back")
        assert (over.status_code, over.json()["code"]) == (409, "grace_over")
    finally:
        house.clock.move(seconds=-21)


def test_a_critical_report_goes_out_at_once(house, chen):
    signed = chen.report(house.ecg(), result="critical", impression="急性下壁心肌梗死")
    assert signed["grace_seconds"] == 0
    assert chen.get(f"/api/reports/{signed['report_id']}").json()["state"] == "final"


def test_withdrawing_needs_a_reason(house, chen):
    signed = chen.report(house.ecg())
    house.take_effect(signed["report_id"])
    path = f"/api/reports/{signed['report_id']}/withdraw"
    assert chen.post(path, {"reason": "  "}).json()["code"] == "reason_missing"
    assert chen.post(path, {"reason": "写错患者"}).json()["state"] == "withdrawn"
    assert chen.get(f"/api/reports/{signed['report_id']}").json()["reason"] == "写错患者"


def test_a_correction_replaces_the_report_when_it_takes_effect(house, chen):
    dataset = house.ecg()
    signed = chen.report(dataset)
    house.take_effect(signed["report_id"])
    opened = chen.post(f"/api/reports/{signed['report_id']}/replace", {"reason": "漏写"}).json()
    case = chen.get(f"/api/tasks/{opened['task_id']}/case").json()
    assert case["task"]["follows"]["report_id"] == signed["report_id"]
    assert case["draft"]["impression"] == "正常心电图"
    chen.write(case, impression="偶发室性早搏", result="abnormal")
    new = chen.sign(case).json()
    assert new["version"] == 2
    assert chen.get(f"/api/reports/{signed['report_id']}").json()["state"] == "final"
    house.take_effect(new["report_id"])
    old = chen.get(f"/api/reports/{signed['report_id']}").json()
    assert (old["state"], old["replaced_by"]) == ("replaced", new["report_id"])
    assert [one["version"] for one in old["versions"]] == [1, 2]
    page = chen.get(f"/api/reports/{new['report_id']}/pdf").content
    assert page.startswith(b"%PDF-")


def test_a_study_goes_back_for_a_repeat(house, chen):
    case = chen.claim_of(house.ecg())
    path = f"/api/tasks/{case['task']['id']}/return"
    assert chen.post(path, {"reason_code": "boredom"}).status_code == 422
    assert chen.post(path, {"reason_code": "electrodes", "note": "V1"}).status_code == 204
    assert task_of_id(chen, case)["state"] == "RETURNED"


def test_the_coordinator_frees_a_case_and_reads_it_without_writing(house, chen):
    gao = house.browser("gao")
    case = chen.claim_of(house.ecg())
    seen = gao.get(f"/api/tasks/{case['task']['id']}/case").json()
    assert seen["editable"] is False
    assert gao.post(f"/api/tasks/{case['task']['id']}/claim").status_code == 403
    assert gao.post(f"/api/tasks/{case['task']['id']}/release").status_code == 204
    assert task_of_id(gao, case)["state"] == "OPEN"


def test_earlier_studies_of_the_same_patient_stand_beside(house, chen):
    patient = house.someone()
    first = house.ecg(patient)
    signed = chen.report(first)
    house.take_effect(signed["report_id"])
    case = chen.claim_of(house.ecg(patient))
    (earlier,) = case["earlier"]
    assert earlier["report_id"] == signed["report_id"]
    assert earlier["impression"] == "正常心电图"
    elsewhere = house.ecg(patient, site="c2")
    assert chen.claim_of(elsewhere)["earlier"] == [], "the other center's patient of that ID"


def test_the_story_of_a_task(house, chen):
    dataset = house.ecg()
    case = chen.claim_of(dataset)
    chen.write(case)
    story = task_of_id(chen, case)["timeline"]
    assert [one["what"] for one in story] == [
        "acquired",
        "received",
        "queued",
        "claimed",
        "draft_saved",
    ]
    assert story[3]["who"] == "陈静"
    assert task_of_id(chen, case)["preview"] == {"kind": "ecg"}


def test_my_reports_newest_first_and_paged(house, chen):
    made = [chen.report(house.ecg())["report_id"] for _ in range(3)]
    page = chen.get("/api/reports?mine=1&limit=2").json()
    assert [one["id"] for one in page["reports"]] == made[:0:-1]
    more = chen.get("/api/reports", params={"mine": 1, "after": page["next"]}).json()
    assert more["reports"][0]["id"] == made[0]
    row = page["reports"][0]
    assert row["author"] == "陈静"
    assert row["state"] == "signed"
    assert house.clock() - timedelta(minutes=5) < house.clock()
