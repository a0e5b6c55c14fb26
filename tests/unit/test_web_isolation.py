"""Does anything of one center exist for another? Every address of the document is tried."""

import re

import pytest

from tests.unit.web_house import House, painted

# what a request may hold, by the name of the placeholder
WORDS = {"reason": "x", "reason_code": "noise", "password": "correct-horse", "name": "zhou"}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("house") / "data")
    made.person("far", "远", "h2", *_reader())
    yield made
    made.close()


def _reader():
    from worklist.person import Role

    return (Role.READER, Role.COORDINATOR)


def _device_of(house, site):
    with house.parts.view() as unit:
        return next(one.id for one in unit.people.devices() if one.site == site)


@pytest.fixture(scope="module")
def theirs(house):
    """Everything that the first center has, by the names of the placeholders."""
    chen = house.browser("chen")
    patient = house.someone(name="Mi^Mi=秘^密人")
    dataset = house.ecg(patient)
    signed = chen.report(dataset, result="critical", impression="绝密结论")
    open_case = chen.claim_of(house.ecg(patient))
    (critical,) = house.browser("su").get("/api/critical").json()["open"]
    return {
        "task_id": open_case["task"]["id"],
        "report_id": signed["report_id"],
        "study_id": open_case["study"]["id"],
        "critical_id": critical["id"],
        "notice_id": "1",
        "device_id": _device_of(house, "c1"),
        "refused_id": "0" * 32,
        "transmission_id": "0" * 32,
        "verify_id": signed["verify_path"].rpartition("/")[2],
        "order_id": _order(house, patient),
        "site": "c1",
        "study": dataset.StudyInstanceUID,
        "study_uid": dataset.StudyInstanceUID,
        "series": dataset.SeriesInstanceUID,
        "series_uid": dataset.SeriesInstanceUID,
        "instance": dataset.SOPInstanceUID,
        "sop_uid": dataset.SOPInstanceUID,
        "uid": dataset.SOPInstanceUID,
        "path": "54000100",
        "listed": "1",
        "frames": "1",
        "frame": "1",
        "number": "1",
        "painted": painted(open_case),
        "v": painted(open_case)[0]["v"],
        "secrets": ("密人", "Mi Mi", patient.patient_id, "绝密", dataset.AccessionNumber, "ECG_c1"),
    }


def _order(house, patient):
    given = {
        "request_id": "00000000-0000-4000-8000-000000000001",
        "patient": {"id": patient.patient_id, "name": "秘密人", "name_latin": "Mi^Mi"},
        "modality": "DX",
        "procedure": "绝密检查",
    }
    return house.browser("su").post("/api/orders", given).json()["id"]


@pytest.mark.parametrize("name", ["zhou", "far"])
def test_nothing_of_the_first_center_is_seen(house, theirs, name):
    browser = house.browser(name)
    document = browser.get("/api/openapi.json").json()
    tried = 0
    for path, methods in document["paths"].items():
        if path in ("/api/live", "/api/session", "/api/session/lock"):
            continue
        missing = set(re.findall(r"{(\w+)", path)) - set(theirs)
        assert not missing, f"{path}: say what {missing} may be"
        address = re.sub(r"{(\w+)(:\w+)?}", lambda found: str(theirs[found[1]]), path)
        for method in methods:
            body = None if method == "get" else body_for(theirs)
            answer = browser.http.request(method, address, json=body)
            tried += 1
            where = f"{method} {path}: {answer.status_code}"
            assert answer.status_code < 500, where
            for secret in theirs["secrets"]:
                assert secret not in answer.text, where
            if "{" in path and "verify" not in path:
                assert answer.status_code >= 400, where
    assert tried > 25


def body_for(theirs):
    return {
        **WORDS,
        "request_id": "00000000-0000-4000-8000-000000000000",
        "study_id": theirs["study_id"],
        "draft_version": 0,
        "findings": "x",
        "impression": "x",
        "painted": theirs["painted"],
        "sop_uids": [one["sop_uid"] for one in theirs["painted"]],
        "last_four": "0000",
        "finding": "x",
        "patient_is": "here",
        "q": theirs["secrets"][0],
    }


def test_lists_show_the_own_side_only(house, theirs):
    far, zhou = house.browser("far"), house.browser("zhou")
    assert far.get("/api/tasks").json()["tasks"] == []
    assert [one["key"] for one in far.get("/api/tasks").json()["sites"]] == ["c3"]
    assert far.get("/api/board").json()["figures"]["open"] == 0
    for browser in (far, zhou):
        assert browser.get("/api/center/studies").json()["studies"] == []
        assert browser.get("/api/critical").json()["open"] == []


def test_what_lies_outside_does_not_exist(house, theirs):
    far = house.browser("far")
    for path in (
        f"/api/tasks/{theirs['task_id']}",
        f"/api/tasks/{theirs['task_id']}/case",
        f"/api/reports/{theirs['report_id']}",
        f"/api/reports/{theirs['report_id']}/pdf",
    ):
        assert far.get(path).status_code == 404, path
    assert far.post(f"/api/tasks/{theirs['task_id']}/claim").status_code == 404


def test_a_draft_is_its_author_s_alone(house, theirs):
    chen, lin = house.browser("chen"), house.browser("lin")
    case = chen.get(f"/api/tasks/{theirs['task_id']}/case").json()
    chen.write(case, findings="noch nicht fertig")
    assert "noch nicht" not in lin.get(f"/api/tasks/{theirs['task_id']}/case").text
