"""The center's side: what comes back, critical results, notices, the board, the public check."""

import hashlib
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.verify import verify_document
from gateway.web.verify import QUESTIONS
from storage.jobs import MAX_ATTEMPTS
from tests.unit.web_house import House
from worklist.critical import last_four
from worklist.person import Role


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("house") / "data")
    yield made
    made.close()


@pytest.fixture(scope="module")
def chen(house):
    return house.browser("chen")


@pytest.fixture(scope="module")
def su(house):
    return house.browser("su")


@pytest.fixture(scope="module")
def zhou(house):
    return house.browser("zhou")


def row_of(browser, dataset):
    studies = browser.get("/api/center/studies").json()["studies"]
    reports = [one for one in studies if one["task_id"]]
    found = browser.post("/api/center/studies/find", {"q": dataset.PatientID}).json()["studies"]
    assert {one["study_id"] for one in found} <= {one["study_id"] for one in reports}
    return found[0]


def test_a_study_walks_its_five_steps(house, chen, su):
    dataset = house.ecg(house.someone())
    assert (row_of(su, dataset)["step"], row_of(su, dataset)["state"]) == (2, "waiting")
    case = chen.claim_of(dataset)
    assert row_of(su, dataset)["state"] == "reading"
    assert row_of(su, dataset)["reader"] == "陈静"
    chen.write(case)
    signed = chen.sign(case).json()
    within_grace = row_of(su, dataset)
    assert (within_grace["state"], within_grace["report"]) == ("reading", None)
    report = f"/api/reports/{signed['report_id']}"
    assert su.get(report).status_code == 404
    assert su.get(f"{report}/pdf").status_code == 404
    house.take_effect(signed["report_id"])
    ready = row_of(su, dataset)
    assert (ready["step"], ready["state"]) == (4, "report_ready")
    assert ready["report"]["impression"] == "正常心电图"
    assert su.post(f"{report}/acknowledge").json()["code"] == "wrong_state"
    pdf = su.get(f"{report}/pdf")
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.headers["content-disposition"].startswith("inline")
    assert row_of(su, dataset)["state"] == "opened"
    assert row_of(su, dataset)["delivery"]["opened_by"] == "苏婉"
    confirmed = su.post(f"{report}/acknowledge").json()
    assert (confirmed["step"], confirmed["state"]) == (5, "confirmed")
    assert confirmed["delivery"]["acknowledged_by"] == "苏婉"
    assert chen.get(report).json()["acknowledged_at"] is not None


def test_a_return_says_what_to_repeat(house, chen, su):
    dataset = house.ecg(house.someone())
    case = chen.claim_of(dataset)
    chen.post(f"/api/tasks/{case['task']['id']}/return", {"reason_code": "noise", "note": "II"})
    row = row_of(su, dataset)
    assert row["state"] == "please_repeat"
    assert row["repeat"] == {"reason_code": "noise", "note": "II"}


def test_opening_a_report_is_a_fact_and_the_first_opening_counts(house, chen, su):
    signed = chen.report(house.ecg(house.someone()))
    house.take_effect(signed["report_id"])
    report = f"/api/reports/{signed['report_id']}"
    assert su.get(report).json()["opened_at"] is None, "the text alone is not the document"
    for _ in range(2):
        su.get(f"{report}/pdf")
    first = su.get(report).json()["opened_at"]
    assert first is not None
    with house.parts.view() as unit:
        kept = unit.reports.get(signed["report_id"])
        facts = unit.facts.of_study(kept.study_id)
    opened = [one for one in facts if one.what == "ReportOpened"]
    assert [one.data for one in opened] == [{}, {"first": True}, {}, {}]
    assert {one.who for one in opened} == {"su"}


def test_whoever_opened_it_is_told_that_it_no_longer_holds(house, chen, su, zhou):
    signed = chen.report(house.ecg(house.someone()))
    house.take_effect(signed["report_id"])
    su.get(f"/api/reports/{signed['report_id']}/pdf")
    chen.post(f"/api/reports/{signed['report_id']}/withdraw", {"reason": "写错"})
    (notice,) = [
        one
        for one in su.get("/api/notices").json()["notices"]
        if one["report_id"] == signed["report_id"]
    ]
    assert (notice["what"], notice["reason"]) == ("withdrawn", "写错")
    assert notice["patient"]["name"] == "丁样例"
    assert zhou.get("/api/notices").json()["notices"] == []
    assert zhou.post(f"/api/notices/{notice['id']}/seen").status_code == 404
    assert su.post(f"/api/notices/{notice['id']}/seen").status_code == 204
    ids = [one["id"] for one in su.get("/api/notices").json()["notices"]]
    assert notice["id"] not in ids


def test_a_critical_result_stands_until_a_named_person_reads_it_back(house, chen, su, zhou):
    patient = house.someone()
    signed = chen.report(
        house.ecg(patient), result="critical", impression="急性下壁心肌梗死\n请转院"
    )
    (here,) = su.get("/api/critical").json()["open"]
    assert here["report_id"] == signed["report_id"]
    assert here["call"] == {"name": "陈静", "phone": "138-chen"}
    assert here["choices"].count("急性下壁心肌梗死") == 1
    assert len(set(here["choices"])) == 3
    assert here["ecg_study_id"]
    (there,) = chen.get("/api/critical").json()["open"]
    assert there["call"] == {"name": "东街中心", "phone": "2c1"}
    assert zhou.get("/api/critical").json()["open"] == []
    assert house.browser("gao").get("/api/board").json()["figures"]["critical_open"] == 1
    path = f"/api/critical/{here['id']}/confirm"
    right = {
        "last_four": last_four(patient.patient_id),
        "finding": "急性下壁心肌梗死",
        "patient_is": "here",
    }
    wrong = su.post(path, {**right, "last_four": "0000x"})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "read_back_wrong")
    assert wrong.json()["field"] == "last_four"
    other = next(one for one in here["choices"] if one != right["finding"])
    assert su.post(path, {**right, "finding": other}).json()["field"] == "finding"
    assert su.post(path, {**right, "patient_is": "somewhere"}).status_code == 422
    assert zhou.post(path, right).status_code == 404
    assert chen.post(path, right).status_code == 403
    assert su.post(path, right).json()["confirmed_by"] == "苏婉"
    assert su.get("/api/critical").json()["open"] == []


def test_the_board_says_what_needs_someone(house, chen):
    gao = house.browser("gao")
    late, held = house.ecg(house.someone()), house.ecg(house.someone())
    chen.claim_of(held)
    unopened = chen.report(house.ecg(house.someone()))
    house.take_effect(unopened["report_id"])
    house.clock.move(minutes=45)
    try:
        gao = house.browser("gao")
        board = gao.get("/api/board").json()
    finally:
        house.clock.move(minutes=-45)
    assert board["figures"]["late"] >= 2
    assert board["figures"]["readers_active"] == 1
    kinds = {}
    for one in board["attention"]:
        kinds.setdefault(one["kind"], []).append(one)
    assert late.PatientID in {one["patient"]["id"] for one in kinds["late"]}
    owners = {one["patient"]["id"]: one["owner"] for one in kinds["late"]}
    assert owners[held.PatientID] == "陈静"
    assert unopened["report_id"] in {one["report_id"] for one in kinds["unopened"]}
    readers = {one["name"]: one for one in board["readers"]}
    assert readers["chen"]["reading"]["kind"] == "ECG"
    assert readers["lin"]["reading"] is None


def give_up(house, kind, payload):
    """What the worker does when a job has failed for the last time."""
    with house.parts.new_unit() as unit:
        unit.jobs.put(
            kind, f"{kind}:{uuid.uuid4().hex}", house.clock() - timedelta(days=9), payload
        )
        leased = unit.jobs.lease(house.clock(), timedelta(minutes=1))
        last = replace(leased, attempts=MAX_ATTEMPTS)
        assert unit.jobs.failed(last, "a reason", house.clock())


def test_the_board_shows_jobs_that_were_given_up(house, chen):
    house.person("hu", "胡敏", "h2", Role.COORDINATOR)
    gao, hu = house.browser("gao"), house.browser("hu")
    signed = chen.report(house.ecg(house.someone()))
    for _ in range(2):
        give_up(house, "deliver", {"report_id": signed["report_id"]})
    give_up(house, "settle", {"study_id": -1})
    board = gao.get("/api/board").json()["attention"]
    lines = {one["job"]: one for one in board if one["kind"] == "job"}
    assert {job: one["count"] for job, one in lines.items()} == {"deliver": 2, "settle": 1}
    assert lines["deliver"]["site"]["key"] == "h1"
    named = [lines["deliver"][name] for name in ("patient", "task_id", "report_id", "phone")]
    assert named == [None] * 4
    others = [one["job"] for one in hu.get("/api/board").json()["attention"]]
    assert others == ["settle"], "the other hospital's reports are not its matter"


def test_doctors_have_no_worklist_and_no_board(su):
    for path in ("/api/tasks", "/api/board"):
        assert su.get(path).status_code == 403


# -- verify ----------------------------------------------------------------------------------------


@pytest.fixture
def signed(house, chen):
    made = chen.report(house.ecg(house.someone()))
    house.take_effect(made["report_id"])
    made["pdf"] = chen.get(f"/api/reports/{made['report_id']}/pdf").content
    return made


def test_anyone_may_check_a_report(house, chen, signed):
    stranger = house.stranger()
    path = "/api" + signed["verify_path"]
    found = stranger.get(path).json()
    assert found["state"] == "genuine"
    assert found["patient_masked"] == "丁**"
    assert (found["signed_by"], found["licence_number"]) == ("陈静", "L-chen")
    assert "丁样例" not in str(found)
    assert stranger.post(path, content=signed["pdf"]).json()["matches"] is True
    changed = bytearray(signed["pdf"])
    changed[len(changed) // 2] ^= 1
    for bad in (bytes(changed), signed["pdf"] + b"\n", signed["pdf"][:-1], b"", b"%PDF-1.7"):
        answer = stranger.post(path, content=bad).json()
        assert answer["matches"] is False
        assert answer["why"]
    printed = signed["verify_path"].rpartition("/")[2].upper()
    assert stranger.get(f"/api/verify/{printed[:4]}-{printed[4:]}").json()["state"] == "genuine"
    assert stranger.get("/api/verify/aaaabbbbccccddddeeeeffff").json()["state"] == "unknown"


def test_another_report_does_not_pass_for_this_one(house, chen, signed):
    other = chen.report(house.ecg(house.someone()))
    answer = house.stranger().post("/api" + other["verify_path"], content=signed["pdf"])
    assert answer.json()["matches"] is False


def test_a_withdrawn_report_is_genuine_and_says_so(house, chen, signed):
    chen.post(f"/api/reports/{signed['report_id']}/withdraw", {"reason": "错"})
    answer = house.stranger().post("/api" + signed["verify_path"], content=signed["pdf"]).json()
    assert (answer["matches"], answer["state"]) == (True, "withdrawn")
    assert "withdrawn" in verify_document(house.parts, signed["pdf"]).text()


def test_a_version_that_was_taken_back_is_unknown(house, chen):
    made = chen.report(house.ecg(house.someone()))
    chen.post(f"/api/reports/{made['report_id']}/take-back")
    assert house.stranger().get("/api" + made["verify_path"]).json()["state"] == "unknown"


def test_the_document_holds_after_its_certificate_has_ended(house, chen, signed):
    from gateway import people

    people.set_password(house.parts, "lin", "another-horse")
    house.person("li", "李", "h1", *chen_roles())
    li = house.browser("li")
    made = li.report(house.ecg(house.someone()))
    pdf = li.get(f"/api/reports/{made['report_id']}/pdf").content
    people.set_password(house.parts, "li", "another-horse")
    assert verify_document(house.parts, pdf).matches, "revoked since"
    house.clock.move(days=5 * 365)
    try:
        assert verify_document(house.parts, pdf).matches, "expired since"
    finally:
        house.clock.move(days=-5 * 365)


def chen_roles():
    from worklist.person import Role

    return (Role.READER,)


def test_the_check_is_limited_in_size_and_rate(house):
    stranger = house.stranger()
    big = stranger.post("/api/verify/x", content=b"x" * (20 * 1024 * 1024 + 1))
    assert big.status_code == 413
    answers = [stranger.get("/api/verify/x").status_code for _ in range(QUESTIONS + 1)]
    assert answers[-1] == 429
    house.clock.move(minutes=2)
    assert stranger.get("/api/verify/x").status_code == 200


def test_what_the_register_keeps_is_the_digest_of_the_file(house, chen, signed):
    with house.parts.view() as unit:
        report = unit.reports.get(signed["report_id"])
    assert report.pdf_digest == hashlib.sha256(signed["pdf"]).hexdigest()
