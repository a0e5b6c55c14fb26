"""What open pages hear, how soon, and how their streams end."""

import statistics
import time

import pytest

from tests.unit.web_house import PASSWORD, House


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("house") / "data")
    yield made
    made.close()


def test_a_new_ecg_stands_in_the_open_list_within_a_second(house):
    browser = house.browser("chen")
    waits = []
    with browser.live() as heard:
        for _ in range(20):
            dataset = house.ecg()
            stored = time.perf_counter()
            while heard.wait("task")["study"]["uid"] != dataset.StudyInstanceUID:
                pass
            waits.append(time.perf_counter() - stored)
    assert max(waits) < 1, f"median {statistics.median(waits):.3f} s, worst {max(waits):.3f} s"


def test_everyone_sees_the_task_in_an_own_way(house):
    chen, lin = house.browser("chen"), house.browser("lin")
    dataset = house.ecg()
    with chen.live() as mine, lin.live() as theirs:
        case = chen.claim_of(dataset)
        task_id = case["task"]["id"]
        assert mine.wait("task", id=task_id, state="CLAIMED")["mine"] is True
        seen = theirs.wait("task", id=task_id, state="CLAIMED")
        assert seen["mine"] is False
        assert seen["claimed_by"]["display"] == "陈静"
        chen.write(case)
        chen.sign(case)
        assert theirs.wait("task", id=task_id, gone=True)


def test_a_center_hears_of_its_own_studies_only_and_never_of_what_is_not_out(house):
    chen, su, zhou = house.browser("chen"), house.browser("su"), house.browser("zhou")
    with su.live() as east, zhou.live() as west:
        house.ecg(site="c2")
        west.wait("study")
        dataset = house.ecg(site="c1")
        study = east.wait("study")
        signed = chen.report(dataset)
        house.take_effect(signed["report_id"])
        assert east.wait("report", report_id=signed["report_id"])["state"] == "final"
        su.get(f"/api/reports/{signed['report_id']}/pdf")
        east.wait("report", report_id=signed["report_id"])
        house.ecg(site="c2")
        west.wait("study")
    told = east.all + west.all
    assert {name for name, _, _ in told} == {"clock", "study", "report"}
    assert [data for name, data, _ in west.all if name == "report"] == []
    assert study["study_id"] not in {d.get("study_id") for _, d, _ in west.all}
    states = [data["state"] for name, data, _ in east.all if name == "report"]
    assert "signed" not in states


def test_opening_again_does_not_send_pages_round_in_circles(house):
    chen, su = house.browser("chen"), house.browser("su")
    signed = chen.report(house.ecg())
    house.take_effect(signed["report_id"])
    su.get(f"/api/reports/{signed['report_id']}/pdf")
    with su.live() as heard:
        for _ in range(3):
            su.get(f"/api/reports/{signed['report_id']}")
            su.get(f"/api/reports/{signed['report_id']}/pdf")
        house.ecg()
        heard.wait("study")
    assert [name for name, _, _ in heard.all if name == "report"] == []


def test_a_critical_result_is_told_to_center_and_hospital(house):
    chen, su, gao = house.browser("chen"), house.browser("su"), house.browser("gao")
    with su.live() as east, gao.live() as board:
        chen.report(house.ecg(), result="critical", impression="急性下壁心肌梗死")
        east.wait("critical")
        board.wait("critical")


def test_the_reader_hears_of_late_instances_at_once(house):
    import uuid

    from sample_studies.ecg import ecg

    chen = house.browser("chen")
    dataset = house.ecg()
    case = chen.claim_of(dataset)
    with chen.live() as heard:
        late = ecg(house.someone())
        late.StudyInstanceUID, late.PatientID = dataset.StudyInstanceUID, dataset.PatientID
        late.SOPInstanceUID = f"2.25.{uuid.uuid4().int}"
        house.send(late)
        told = heard.wait("late", task_id=case["task"]["id"])
        assert told["sop_uids"] == [late.SOPInstanceUID]


def test_a_stream_that_comes_back_hears_what_it_missed(house):
    chen = house.browser("chen")
    with chen.live() as heard:
        house.ecg()
        heard.wait("task")
        last = next(number for _, _, number in reversed(heard.all) if number)
    missed = house.ecg()
    with chen.live(**{"Last-Event-ID": last}) as heard:
        while heard.wait("task").get("study", {}).get("uid") != missed.StudyInstanceUID:
            pass


def test_a_stream_ends_with_its_session(house, monkeypatch):
    monkeypatch.setattr("gateway.web.live.HEARTBEAT", 0.2)
    chen = house.browser("chen")
    with chen.live() as heard:
        heard.wait("clock")
        chen.post("/api/session/lock")
        assert heard.ended.wait(10)


def criticals(heard):
    return [data for name, data, _ in heard.all if name == "critical"]


def test_a_locked_screen_hears_that_something_waits_and_never_of_whom(house):
    chen, su, gao, lin = (house.browser(name) for name in ("chen", "su", "gao", "lin"))
    zhou = house.browser("zhou")
    locked = (su, gao, lin, zhou)
    for browser in locked:
        browser.post("/api/session/lock")
    first = su.get("/api/session").json()["critical_open"]
    assert su.get("/api/critical").status_code == 423
    with su.live() as east, gao.live() as board, lin.live() as reader, zhou.live() as west:
        assert east.wait("critical") == {"open": first}
        assert reader.wait("critical") == {"open": 0}, "a reader is not rung for"
        others = west.wait("critical")
        dataset = house.ecg(house.someone())
        signed = chen.report(dataset, result="critical", impression="急性下壁心肌梗死")
        assert east.wait("critical") == {"open": first + 1}
        board.wait("critical", open=first + 1 + others["open"])
        chen.post(f"/api/reports/{signed['report_id']}/withdraw", {"reason": "写错"})
        assert east.wait("critical") == {"open": first}
        for heard in (east, board, reader, west):
            told = heard.all + list(heard.events.queue)
            assert {name for name, _, _ in told} == {"clock", "critical"}
            assert {number for _, _, number in told} == {None}
            assert all(set(data) <= {"open", "server_time"} for _, data, _ in told)
        assert criticals(west) == [others], "another center's is not counted"
    for browser in (lin, zhou):
        answer = browser.get("/api/session")
        assert (answer.status_code, answer.json()["critical_open"]) == (423, 0)


def test_a_screen_that_is_just_being_locked_asks_for_the_nameless_stream(house):
    chen, su = house.browser("chen"), house.browser("su")
    with su.live("/api/live?nameless=1", **{"Last-Event-ID": "1"}) as heard:
        heard.wait("critical")
        chen.report(house.ecg(), result="critical", impression="急性下壁心肌梗死")
        heard.wait("critical")
        assert {name for name, _, _ in heard.all} == {"clock", "critical"}


def test_unlocking_brings_the_full_stream_back(house, monkeypatch):
    monkeypatch.setattr("gateway.web.live.HEARTBEAT", 0.2)
    chen = house.browser("chen")
    chen.post("/api/session/lock")
    with chen.live() as heard:
        heard.wait("critical")
        chen.post("/api/session/unlock", {"password": PASSWORD})
        assert heard.ended.wait(10)
    with chen.live() as heard:
        house.ecg()
        heard.wait("task")


def test_a_session_that_has_ended_hears_nothing(house, monkeypatch):
    monkeypatch.setattr("gateway.web.live.HEARTBEAT", 60)
    chen, su = house.browser("chen"), house.browser("su")
    su.post("/api/session/lock")
    same = house.stranger()
    same.cookies.update(su.http.cookies)
    with su.live() as heard:
        heard.wait("critical")
        assert same.delete("/api/session").status_code == 204
        chen.report(house.ecg(), result="critical", impression="急性下壁心肌梗死")
        assert heard.ended.wait(10)
        assert [name for name, _, _ in heard.events.queue] == []
    for path in ("/api/live", "/api/live?nameless=1", "/api/session"):
        answer = su.get(path)
        assert answer.status_code == 401
        assert "critical_open" not in answer.json()


def test_stopping_ends_open_streams_at_once(tmp_path):
    made = House(tmp_path / "data")
    chen, su = made.browser("chen"), made.browser("su")
    with chen.live() as one, su.live() as two:
        began = time.perf_counter()
        made.close()
        assert time.perf_counter() - began < 5
        assert one.ended.wait(5)
        assert two.ended.wait(5)
