"""Does the engineer's page show what is so, change what may be changed, and nothing else?"""

import json
import re
from contextlib import contextmanager

import pytest
from pynetdicom import AE

from gateway import people
from gateway.worker import Worker
from tests.recovery.house import metric, until
from tests.unit.web_house import House
from worklist import returning
from worklist.person import Role

VERIFICATION = "1.2.840.10008.1.1"
FINGERPRINT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
LOOKS = ("/api/devices", "/api/refused-callers", "/api/associations", "/api/transmissions")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("house") / "data", dicom=True)
    made.person("adam", "亚当", "h1", Role.ADMIN)
    made.person("hera", "赫拉", "h2", Role.ADMIN)
    made.person("carl", "卡尔", "c1", Role.ADMIN)
    yield made
    made.close()


@pytest.fixture
def adam(house):
    return house.browser("adam")


def device(ae_title, **more):
    return {"site": "c1", "ae_title": ae_title, **more}


def added(browser, ae_title, **more):
    answer = browser.post("/api/devices", device(ae_title, **more))
    assert answer.status_code == 201, answer.text
    return answer.json()


def listed(browser):
    return {one["id"]: one for one in browser.get("/api/devices").json()["devices"]}


def facts(house, site="c1"):
    """What was administered at a Site, as (who, data)."""
    with house.parts.view() as unit:
        rows = unit.facts.after(0, frozenset({site}), 10_000)
    return [(row.who, row.data) for row in rows if row.what == "Administered"]


@contextmanager
def calling(house, title, called="TELEREAD"):
    """An association of a device with the gateway; not established when it was turned away."""
    ae = AE(ae_title=title)
    ae.add_requested_context(VERIFICATION)
    association = ae.associate("127.0.0.1", house.dicom.port, ae_title=called)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def refused(browser, calling_title):
    """The row of a caller, once it is there."""
    found = []

    def there():
        rows = browser.get("/api/refused-callers").json()["refused"]
        found[:] = [row for row in rows if row["calling"] == calling_title]
        return found

    until(there, f"{calling_title} among the refused callers", 20)
    return found[0]


# --- devices ------------------------------------------------------------------------------------


def test_a_device_is_registered_changed_and_removed(house, adam):
    one = added(adam, " CT_1 ", called="ALIAS", host="127.0.0.1", port=104, modality="ct")
    assert one["ae_title"] == "CT_1"
    assert one["modality"] == "CT"
    assert one["site"] == {"key": "c1", "name": "东街中心", "name_en": "Center c1"}
    assert one["last_seen_at"] is None
    assert listed(adam)[one["id"]] == one

    given = device("CT_1", site="c2", host="::0001", tls=True, certificate=spelled(FINGERPRINT))
    changed = adam.put(f"/api/devices/{one['id']}", given)
    assert changed.status_code == 200, changed.text
    assert changed.json()["host"] == "::1"
    assert changed.json()["certificate"] == FINGERPRINT
    assert changed.json()["called"] is None
    assert listed(adam)[one["id"]] == changed.json()

    assert adam.http.delete(f"/api/devices/{one['id']}").status_code == 204
    assert one["id"] not in listed(adam)
    assert adam.put(f"/api/devices/{one['id']}", given).status_code == 404

    assert ("adam", {"device_added": one["id"], "ae_title": "CT_1"}) in facts(house)
    for site in ("c1", "c2"):  # both have something to do with it
        assert ("adam", {"device_changed": one["id"]}) in facts(house, site)
    assert ("adam", {"device_removed": one["id"], "ae_title": "CT_1"}) in facts(house, "c2")


def spelled(fingerprint):
    """As openssl prints it."""
    return ":".join(fingerprint.upper()[i : i + 2] for i in range(0, 64, 2))


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("site", {"site": "c3"}),
        ("site", {"site": "nowhere"}),
        ("ae_title", {"ae_title": ""}),
        ("ae_title", {"ae_title": "back\\slash"}),
        ("ae_title", {"ae_title": "中文"}),
        ("ae_title", {"ae_title": "SEVENTEEN_LETTERS"}),
        ("called", {"called": "x" * 17}),
        ("host", {"host": "a b"}),
        ("host", {"host": "-h"}),
        ("host", {"port": 104}),
        ("port", {"host": "h", "port": 0}),
        ("port", {"host": "h", "port": 65536}),
        ("port", {"host": "h", "returns_reports": True}),
        ("modality", {"modality": "心电"}),
        ("certificate", {"certificate": "abc", "tls": True}),
        ("tls", {"certificate": FINGERPRINT}),
    ],
)
def test_what_is_wrong_is_said_of_the_field_and_nothing_is_written(adam, field, given):
    before = listed(adam)
    answer = adam.post("/api/devices", {**device("WRONG"), **given})
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field
    assert listed(adam) == before


def test_two_sites_may_share_a_title_only_where_something_tells_them_apart(adam):
    added(adam, "SHARED", host="127.0.0.1")
    for site in ("c1", "c2"):
        answer = adam.post("/api/devices", device("SHARED", site=site, host="127.0.0.1"))
        assert (answer.status_code, answer.json()["code"]) == (409, "already_exists")
    other = added(adam, "SHARED", site="c2", host="127.0.0.2")
    back = adam.put(f"/api/devices/{other['id']}", device("SHARED", site="c2", host="127.0.0.1"))
    assert back.status_code == 409
    again = adam.put(f"/api/devices/{other['id']}", device("SHARED", site="c2", host="127.0.0.2"))
    assert again.status_code == 200  # it is not in its own way


def test_today_counts_what_came_from_the_device(house, adam):
    def today():
        found = [one for one in listed(adam).values() if one["ae_title"] == "ECG_c2"]
        return [(one["studies_today"], one["instances_today"]) for one in found]

    ((studies, instances),) = today()
    house.ecg(site="c2")
    house.ecg(site="c2")
    house.ecg(site="c1")
    assert today() == [(studies + 2, instances + 2)]


def test_a_device_that_has_sent_studies_may_be_removed_and_they_stay(house, adam):
    one = added(adam, "LEAVES")
    dataset = house.ecg()
    assert adam.http.delete(f"/api/devices/{one['id']}").status_code == 204
    tasks = house.browser("chen").get("/api/tasks?limit=200").json()["tasks"]
    assert dataset.StudyInstanceUID in {task["study"]["uid"] for task in tasks}


# --- who may ------------------------------------------------------------------------------------


def test_a_coordinator_looks_and_changes_nothing(house, adam):
    one = added(adam, "LOOKED_AT")
    gao = house.browser("gao")
    page = gao.get("/api/devices").json()
    assert page["may_change"] is False
    assert adam.get("/api/devices").json()["may_change"] is True
    assert one["id"] in {row["id"] for row in page["devices"]}
    for path in LOOKS:
        assert gao.get(path).status_code == 200, path
    path = f"/api/devices/{one['id']}"
    for answer in (
        gao.post("/api/devices", device("X")),
        gao.put(path, device("X")),
        gao.http.delete(path),
        gao.post(f"{path}/test"),
        gao.post(f"/api/refused-callers/{'0' * 32}/admit", device("X")),
        gao.http.delete(f"/api/refused-callers/{'0' * 32}"),
        gao.post(f"/api/transmissions/{'0' * 32}/again"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")


@pytest.mark.parametrize("name", ["chen", "su"])
def test_readers_and_doctors_do_not_see_devices(house, name):
    browser = house.browser(name)
    for path in LOOKS:
        assert browser.get(path).status_code == 403, path


def test_another_hospitals_devices_do_not_exist(house, adam):
    one = added(adam, "NOT_HERS", host="127.0.0.9", port=104)
    hera = house.browser("hera")
    page = hera.get("/api/devices").json()
    assert {row["site"]["key"] for row in page["devices"]} <= {"h2", "c3"}
    assert {row["key"] for row in page["sites"]} == {"h2", "c3"}
    path = f"/api/devices/{one['id']}"
    for answer in (
        hera.put(path, device("NOT_HERS", site="c3")),
        hera.http.delete(path),
        hera.post(f"{path}/test"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    # and hers cannot be put where she does not see
    mine = added(hera, "HERS", site="c3")
    assert hera.put(f"/api/devices/{mine['id']}", device("HERS", site="c1")).status_code == 422
    assert listed(adam)[one["id"]] == one


def test_a_change_needs_the_pages_own_token_and_a_person(house, adam):
    token = people.add_token(house.parts, "robot", "h1", frozenset({Role.ADMIN}), None)
    robot = house.stranger()
    robot.headers["Authorization"] = f"Bearer {token}"
    assert robot.get("/api/devices").json()["may_change"] is False
    assert robot.post("/api/devices", json=device("X")).status_code == 403
    del adam.http.headers["X-CSRF-Token"]
    answer = adam.post("/api/devices", device("X"))
    assert (answer.status_code, answer.json()["code"]) == (403, "forged_request")


def test_a_page_left_open_is_no_sign_of_a_person(house, adam):
    for _ in range(8):
        house.clock.move(minutes=3)
        answers = {adam.get(path).status_code for path in LOOKS}
    assert answers == {423}


# --- refused callers ----------------------------------------------------------------------------


def test_a_refused_caller_is_admitted_and_comes_in(house, adam):
    with calling(house, "NEWCOMER") as association:
        assert not association.is_established
    one = refused(adam, "NEWCOMER")
    assert (one["called"], one["address"], one["certificate"]) == ("TELEREAD", "127.0.0.1", None)
    assert one["times"] >= 1
    assert one["known_at"] == []

    path = f"/api/refused-callers/{one['id']}"
    wrong = adam.post(f"{path}/admit", device("SOMEBODY_ELSE"))
    assert wrong.json()["field"] == "ae_title"
    admitted = adam.post(f"{path}/admit", device("NEWCOMER", host="127.0.0.1"))
    assert admitted.status_code == 201, admitted.text
    assert listed(adam)[admitted.json()["id"]]["host"] == "127.0.0.1"
    rows = adam.get("/api/refused-callers").json()["refused"]
    assert one["id"] not in {row["id"] for row in rows}
    with calling(house, "NEWCOMER") as association:
        assert association.is_established
        assert association.send_c_echo().Status == 0
    assert adam.post(f"{path}/admit", device("NEWCOMER")).status_code == 404


def test_admitting_what_is_wrong_admits_nobody_and_keeps_the_line(house, adam):
    with calling(house, "STAYS_OUT"):
        pass
    one = refused(adam, "STAYS_OUT")
    answer = adam.post(f"/api/refused-callers/{one['id']}/admit", device("STAYS_OUT", port=1))
    assert answer.json()["field"] == "host"
    assert refused(adam, "STAYS_OUT")["id"] == one["id"]
    with calling(house, "STAYS_OUT") as association:
        assert not association.is_established


def test_an_ignored_caller_stands_there_again_when_it_calls_again(house, adam):
    with calling(house, "KNOCKS"):
        pass
    one = refused(adam, "KNOCKS")
    assert adam.http.delete(f"/api/refused-callers/{one['id']}").status_code == 204
    assert adam.http.delete(f"/api/refused-callers/{one['id']}").status_code == 404
    with calling(house, "KNOCKS"):
        pass
    assert refused(adam, "KNOCKS")["id"] == one["id"]


def test_a_title_that_is_known_says_where(house, adam):
    added(adam, "KNOWN", host="192.0.2.7")
    with calling(house, "KNOWN"):
        pass
    assert [site["key"] for site in refused(adam, "KNOWN")["known_at"]] == ["c1"]
    hera = house.browser("hera")
    assert refused(hera, "KNOWN")["known_at"] == []  # whose it is, is not hers to know


def test_strangers_are_not_a_centers_matter(house, adam):
    with calling(house, "AT_THE_DOOR"):
        pass
    one = refused(adam, "AT_THE_DOOR")
    carl = house.browser("carl")
    assert carl.get("/api/refused-callers").json() == {"refused": []}
    assert carl.http.delete(f"/api/refused-callers/{one['id']}").status_code == 404
    answer = carl.post(f"/api/refused-callers/{one['id']}/admit", device("AT_THE_DOOR"))
    assert answer.status_code == 404
    assert carl.get("/api/associations").json()["counters"] is None


# --- open associations --------------------------------------------------------------------------


def test_who_is_on_the_line_is_seen_by_those_who_may(house, adam):
    def lines(browser):
        rows = browser.get("/api/associations").json()["associations"]
        return [row for row in rows if row["ae_title"] == "ECG_c1"]

    before = adam.get("/api/associations").json()["counters"]
    with calling(house, "ECG_c1") as association:
        association.send_c_echo()
        ((one),) = lines(adam)
        assert one["site"]["key"] == "c1"
        assert (one["address"], one["tls"], one["instances"]) == ("127.0.0.1", False, 0)
        assert one["device_id"] in listed(adam)
        assert len(lines(house.browser("gao"))) == 1
        assert lines(house.browser("hera")) == []
    until(lambda: not lines(adam), "the line to be gone", 20)
    after = adam.get("/api/associations").json()
    assert after["here"] is True
    assert after["counters"]["accepted"] == before["accepted"] + 1


def test_without_dicom_in_this_process_that_is_said(tmp_path):
    made = House(tmp_path / "data")
    try:
        made.person("adam", "亚当", "h1", Role.ADMIN)
        answer = made.browser("adam").get("/api/associations").json()
        assert answer == {"here": False, "associations": [], "counters": None}
        assert "teleread_dicom_refused_callers 0.0" in made.stranger().get("/metrics").text
    finally:
        made.close()


def test_a_device_that_only_echoes_was_seen_too(house, adam):
    def seen():
        (one,) = (one for one in listed(adam).values() if one["ae_title"] == "ECG_c2")
        return one["last_seen_at"]

    before = seen() or ""
    with calling(house, "ECG_c2") as association:
        association.send_c_echo()
    until(lambda: (seen() or "") > before, "the device to be seen", 20)


# --- outgoing -----------------------------------------------------------------------------------


@pytest.fixture
def unreachable(house, adam, unused_tcp_port):
    """A device that signed reports of c1 go to, and that is switched off."""
    title = f"OFF_{unused_tcp_port}"
    one = added(adam, title, host="127.0.0.1", port=unused_tcp_port, returns_reports=True)
    yield one
    adam.http.delete(f"/api/devices/{one['id']}")


@pytest.fixture
def unused_tcp_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def outgoing(browser, title):
    rows = browser.get("/api/transmissions").json()["transmissions"]
    return [row for row in rows if row["device"] and row["device"]["ae_title"] == title]


def test_a_report_that_does_not_arrive_is_shown_and_tried_again(house, adam, unreachable):
    title = unreachable["ae_title"]
    signed = house.browser("chen").report(house.ecg())
    house.take_effect(signed["report_id"])
    (one,) = outgoing(adam, title)
    assert (one["kind"], one["state"], one["attempts"]) == ("report", "waiting", 0)
    worker = Worker(house.parts)
    while worker.once():
        pass
    (one,) = outgoing(adam, title)
    assert (one["state"], one["attempts"]) == ("waiting", 1)
    assert "cannot be reached" in one["reason"]
    assert one["due_at"] > adam.get("/api/devices").json()["as_of"]

    with house.parts.new_unit() as unit:
        returning.not_sent(unit, one["id"], "cannot be reached", house.clock(), last=True)
        unit.jobs.drop(f"send:{one['id']}")
    (given_up,) = outgoing(adam, title)
    assert (given_up["state"], given_up["due_at"]) == ("failed", None)
    assert house.browser("hera").get("/api/transmissions").json() == {"transmissions": []}
    hera = house.browser("hera").post(f"/api/transmissions/{one['id']}/again")
    assert hera.status_code == 404

    assert adam.post(f"/api/transmissions/{one['id']}/again").status_code == 204
    (again,) = outgoing(adam, title)
    assert again["state"] == "waiting"
    assert Worker(house.parts).once()  # it is due now
    assert outgoing(adam, title)[0]["attempts"] == given_up["attempts"] + 1
    assert ("adam", {"sent_again": one["id"], "kind": "report"}) in facts(house)


def test_nothing_waits_for_a_device_that_was_removed(house, adam, unreachable):
    signed = house.browser("chen").report(house.ecg())
    house.take_effect(signed["report_id"])
    assert outgoing(adam, unreachable["ae_title"])
    adam.http.delete(f"/api/devices/{unreachable['id']}")
    # SQLite gives its number to the next one
    heir = added(adam, "HEIR", host="127.0.0.1", port=9, returns_reports=True)
    assert outgoing(adam, "HEIR") == []
    adam.http.delete(f"/api/devices/{heir['id']}")


# --- a test of a device -------------------------------------------------------------------------


def test_a_device_is_tested_line_by_line(house, adam):
    one = added(adam, "TESTED")
    with adam.http.stream("POST", f"/api/devices/{one['id']}/test") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in answer.iter_lines()]
    assert all(line.keys() == {"step", "ok", "text"} for line in lines)
    told = {line["step"]: line["ok"] for line in lines}
    assert told["echo"] is None  # it has no address
    assert told["our echo"] is True
    assert adam.post("/api/devices/999999/test").status_code == 404


def test_a_switched_off_device_has_a_red_line(adam, unreachable):
    answer = adam.post(f"/api/devices/{unreachable['id']}/test")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    (echo,) = [line for line in lines if line["step"] == "echo"]
    assert echo["ok"] is False
    assert "cannot be reached" in echo["text"]


# --- figures ------------------------------------------------------------------------------------


def test_prometheus_is_told_without_titles_of_strangers(house, adam):
    stranger = house.stranger()
    with calling(house, "NOT_A_LABEL"), calling(house, "ECG_c1") as association:
        association.send_c_echo()
        refused(adam, "NOT_A_LABEL")
        text = stranger.get("/metrics").text
        assert metric(text, "teleread_dicom_associations_open") == 1
    echoes = re.compile(r'^teleread_dicom_requests_total\{service="C-ECHO"\} [1-9]', re.MULTILINE)
    until(lambda: echoes.search(stranger.get("/metrics").text), "the echo to be counted", 20)
    text = stranger.get("/metrics").text
    rejected = r'teleread_dicom_associations_rejected_total\{reason="unknown_caller"\}'
    assert metric(text, rejected) >= 1
    assert metric(text, "teleread_dicom_associations_accepted_total") >= 1
    assert metric(text, "teleread_dicom_received_bytes_total") > 0
    assert metric(text, "teleread_dicom_refused_callers") >= 1
    assert "NOT_A_LABEL" not in text
    assert "ECG_c1" not in text


def test_every_name_of_a_figure_follows_the_conventions(house):
    text = house.stranger().get("/metrics").text
    kinds = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    ours = {name: kind for name, kind in kinds.items() if name.startswith("teleread_dicom_")}
    assert ours
    for name, kind in ours.items():
        assert name.endswith("_total") == (kind == "counter"), name
