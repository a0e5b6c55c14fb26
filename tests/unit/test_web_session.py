"""The door: who gets in, what a request must carry, when it closes."""

import uuid

import httpx
import pytest

from gateway.web.errors import STATUS
from tests.unit.web_house import PASSWORD, Browser, House
from worklist.errors import Code


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("house") / "data")
    yield made
    made.close()


def test_every_refusal_has_a_status():
    assert set(STATUS) == set(Code)


def test_a_reader_signs_in_and_out(house):
    browser = Browser(house.stranger())
    answer = browser.sign_in("chen")
    assert answer.status_code == 200
    assert answer.json()["user"] == {
        "name": "chen",
        "display": "陈静",
        "display_en": "Chen",
        "roles": ["reader"],
        "licence_number": "L-chen",
        "phone": "138-chen",
    }
    assert answer.json()["site"]["kind"] == "hospital"
    assert answer.json()["signing_until"] is not None
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie
    assert browser.get("/api/session").json()["csrf"] == browser.session["csrf"]
    assert browser.http.delete("/api/session").status_code == 204
    assert browser.get("/api/session").status_code == 401


def test_the_cookie_is_secure_where_people_come_over_tls(tmp_path):
    made = House(tmp_path / "data", public_url="https://read.example")
    try:
        answer = httpx.post(f"{made.base}/api/session", json={"name": "su", "password": PASSWORD})
        assert "secure" in answer.headers["set-cookie"].lower()
        assert "max-age" in answer.headers["strict-transport-security"]
        named = httpx.get(f"{made.base}/healthz", headers={"Host": "read.example"})
        assert named.status_code == 200
    finally:
        made.close()


def test_without_a_session_nothing_is_told(house):
    stranger = house.stranger()
    for path in ("/api/session", "/api/tasks", "/api/live", "/api/critical", "/api/board"):
        answer = stranger.get(path)
        assert answer.status_code == 401, path
        assert answer.json()["code"] == "not_signed_in"
    forged = cookie_of(house, "00" * 32)
    assert forged.status_code == 401
    assert cookie_of(house, "x").status_code == 401


def test_a_change_needs_the_token_of_the_page(house):
    browser = house.browser("chen")
    token = browser.http.headers.pop("X-CSRF-Token")
    assert browser.post("/api/session/lock").json()["code"] == "forged_request"
    browser.http.headers["X-CSRF-Token"] = token[:-1] + "?"
    assert browser.post("/api/session/lock").status_code == 403
    browser.http.headers["X-CSRF-Token"] = token
    foreign = browser.http.post("/api/session/lock", headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    own = browser.http.post("/api/session/lock", headers={"Origin": house.base})
    assert own.status_code == 204


def test_locking_hides_everything_until_the_same_person_is_back(house):
    browser = house.browser("chen")
    assert browser.post("/api/session/lock").status_code == 204
    answer = browser.get("/api/tasks")
    assert answer.status_code == 423
    assert answer.json()["user"]["display"] == "陈静"
    assert browser.post("/api/session/unlock", {"password": "wrong-horse"}).status_code == 401
    # a page that was loaded anew under the lock does not know its token
    browser.http.headers.pop("X-CSRF-Token")
    back = browser.post("/api/session/unlock", {"password": PASSWORD})
    assert back.status_code == 200
    assert back.json()["signing_until"] is not None
    assert browser.get("/api/tasks").status_code == 200


def test_after_the_lock_signing_needs_the_password(house):
    browser = house.browser("chen")
    dataset = house.ecg()
    case = browser.claim_of(dataset)
    browser.write(case)
    with house.parts.new_unit() as unit:  # the unlock has run out
        unit.people.change_session(_digest(browser), signing_until=house.clock(), signing_key=None)
    refused = browser.sign(case)
    assert (refused.status_code, refused.json()["code"]) == (403, "signing_locked")
    assert browser.get("/api/session").json()["signing_until"] is None
    opened = browser.post("/api/session/signing", {"password": PASSWORD})
    assert opened.json()["signing_until"] is not None
    assert browser.sign(case).status_code == 200


def test_a_second_person_takes_the_seat(house):
    browser = house.browser("chen")
    cookie = browser.http.cookies["teleread_session"]
    assert browser.sign_in("lin").status_code == 200
    assert browser.get("/api/session").json()["user"]["name"] == "lin"
    old = cookie_of(house, cookie)
    assert old.status_code == 401


def test_wrong_passwords_are_told_like_wrong_names_and_slowed_down(house):
    name = f"nobody-{uuid.uuid4().hex[:6]}"
    browser = Browser(house.stranger())
    answers = [browser.sign_in(name, "wrong-horse") for _ in range(6)]
    assert [one.status_code for one in answers] == [401] * 5 + [429]
    assert answers[-1].json()["code"] == "too_many_attempts"
    assert int(answers[-1].headers["Retry-After"]) == answers[-1].json()["retry_after_seconds"] == 1
    assert answers[0].json() == browser.sign_in("gao", "wrong-horse").json()


def test_a_program_reads_with_its_token_but_never_acts_as_a_person(house):
    from gateway import people
    from worklist.person import Role

    roles = frozenset({Role.READER})
    bearer = people.add_token(house.parts, "robot", "h1", roles, None)
    program = house.stranger()
    program.headers["Authorization"] = f"Bearer {bearer}"
    assert program.get("/api/tasks").status_code == 200
    refused = program.post("/api/tasks/whatever/claim", json={})
    assert refused.status_code == 403
    program.headers["Authorization"] = "Bearer " + "00" * 32
    assert program.get("/api/tasks").status_code == 401


def test_only_names_of_this_server_are_answered(house):
    stranger = house.stranger()
    rebound = stranger.get("/api/session", headers={"Host": "evil.example"})
    assert rebound.status_code == 421
    assert stranger.get("/healthz", headers={"Host": "localhost:8080"}).status_code == 200


def test_wrong_input_is_answered_with_a_sentence_and_never_repeated(house):
    stranger = house.stranger()
    secret = "丁样例-secret"
    for answer in (
        stranger.post("/api/session", json={"name": [secret]}),
        stranger.post("/api/session", content=b"{" + secret.encode()),
        stranger.post("/api/session", json={"name": secret, "password": "x" * 1000}),
        stranger.get(f"/api/{secret}"),
        stranger.get("/api/verify/" + "x" * 3000),
        stranger.put("/api/session", json={}),
        stranger.post("/api/session", content=b"x" * (2 << 20)),
    ):
        assert 400 <= answer.status_code < 500 or answer.json()["state"] == "unknown"
        assert secret not in answer.text
        assert "Traceback" not in answer.text
        if answer.status_code != 200:
            assert set(answer.json()) >= {"code", "message"}
    big = stranger.post("/api/session", content=iter([b"x" * 65536] * 32))
    assert big.status_code == 413


def test_answers_carry_the_headers_that_keep_a_browser_safe(house):
    answer = house.stranger().get("/api/session")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert "server" not in answer.headers


def test_unknown_errors_are_noted_once_and_told_without_details(house, caplog, monkeypatch):
    def broken(*_):
        raise RuntimeError("丁样例")

    browser = house.browser("gao")
    monkeypatch.setattr("gateway.web.board._board", broken)
    answer = browser.get("/api/board")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "丁样例" not in answer.text
    assert [one.name for one in caplog.records if one.levelname == "ERROR"] == ["teleread.web"]


def test_health_and_figures(house):
    stranger = house.stranger()
    assert stranger.get("/healthz").text == "ok\n"
    assert stranger.get("/readyz").text == "ready\n"
    house.browser("chen").get("/api/tasks/nothing-like-it")
    figures = stranger.get("/metrics").text
    assert 'route="/api/tasks/{task_id}",status="404"' in figures
    assert "nothing-like-it" not in figures
    assert "teleread_jobs_dead 0.0" in figures


def test_openapi_describes_every_address(house):
    document = house.stranger().get("/api/openapi.json").json()
    assert {"/api/tasks", "/api/tasks/{task_id}/sign", "/api/verify/{verify_id}"} <= set(
        document["paths"]
    )
    assert house.stranger().get("/docs").status_code != 200 or "swagger" not in (
        house.stranger().get("/docs").text.lower()
    )


def cookie_of(house, cookie):
    stranger = house.stranger()
    stranger.cookies.set("teleread_session", cookie)
    return stranger.get("/api/session")


def _digest(browser):
    from gateway.people import digest_of, secret_of

    return digest_of(secret_of(browser.http.cookies["teleread_session"]))
