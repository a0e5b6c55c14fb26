"""Can orders be placed, changed, cancelled and read by those who may, and by nobody else?"""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from gateway import people
from tests.unit.web_house import House
from worklist.order import OrderState
from worklist.person import Role


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("house") / "data")
    made.person("far", "远", "h2", Role.COORDINATOR)
    made.person("ops", "欧", "c1", Role.ADMIN)
    yield made
    made.close()


@pytest.fixture(scope="module")
def su(house):
    return house.browser("su")


def body(**changes):
    """A new order, as a page sends it."""
    patient = {"id": "P-1", "name": "丁秀英", "name_latin": "Ding^Xiuying", "sex": "F"}
    patient |= changes.pop("patient", {})
    return {
        "request_id": str(uuid.uuid4()),
        "patient": patient,
        "modality": "DX",
        "procedure": "胸部正位",
        **changes,
    }


def changed(order, **changes):
    """The order as it is, changed, as a page sends it back."""
    given = body(**changes)
    del given["request_id"]
    return {"version": order["version"], "scheduled_at": order["scheduled_at"], **given}


def place(browser, **changes):
    answer = browser.post("/api/orders", body(**changes))
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_doctor_orders_for_the_own_center(house, su):
    answer = su.post(
        "/api/orders",
        body(
            priority="emergency",
            question="咳嗽三周",
            requester="苏婉",
            station="ECG_c1",
            code={"value": "DX1", "scheme": "99X", "meaning": "胸片"},
            scheduled_at="2026-11-23T10:15:00",
            patient={"birth_date": "1962-08-14", "phone": "138 0000 0000"},
        ),
    )
    order = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/orders/{order['id']}"
    assert order["state"] == "scheduled"
    assert order["site"]["key"] == "c1"
    assert order["study_uid"].startswith("2.25.")
    assert len(order["accession"]) <= 16
    assert order["scheduled_at"] == "2026-11-23T02:15:00.000Z"  # by the clock of the center
    assert order["patient"]["name"] == "丁秀英"
    assert order["patient"]["name_latin"] == "Ding Xiuying"
    assert order["patient"]["phone"] == "13800000000"
    assert order["patient"]["birth_date"] == "1962-08-14"
    assert (order["priority"], order["station"]) == ("emergency", "ECG_c1")
    assert order["code"] == {"value": "DX1", "scheme": "99X", "meaning": "胸片"}
    assert order["created_by"] == "su"
    assert su.get(f"/api/orders/{order['id']}").json() == order


def test_the_same_request_is_one_order(su):
    given = body()
    first = su.post("/api/orders", given).json()
    assert su.post("/api/orders", given).json() == first


def test_many_at_once_get_numbers_of_their_own(house):
    browsers = [house.browser("su") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(place, browsers * 4))
    assert len({one["accession"] for one in made}) == 16


def test_a_program_orders_for_its_center(house):
    token = people.add_token(house.parts, "his", "c2", frozenset({Role.DOCTOR}), None)
    http = httpx.Client(
        base_url=house.base, headers={"Authorization": f"Bearer {token}"}, timeout=30
    )
    with http:
        answer = http.post("/api/orders", json=body(accession="HIS-1"))
        assert answer.status_code == 201, answer.text
        assert answer.json()["accession"] == "HIS-1"
        assert answer.json()["created_by"] == "token:his"
        assert http.post("/api/orders", json=body(site="c1")).status_code == 404
        again = http.post("/api/orders", json=body(accession="HIS-1"))
        assert again.status_code == 409
        assert again.json()["field"] == "accession"


def test_a_coordinator_orders_for_centers_the_hospital_reads_for(house):
    gao = house.browser("gao")
    assert place(gao, site="c1")["site"]["key"] == "c1"
    assert gao.post("/api/orders", body(site="c3")).status_code == 404
    assert gao.post("/api/orders", body(site="nowhere")).status_code == 404


@pytest.mark.parametrize("name", ["chen", "ops"])
def test_others_may_not_order(house, name):
    answer = house.browser(name).post("/api/orders", body(site="c1"))
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"patient": {"id": ""}}, "patient.id"),
        ({"patient": {"name": "a=b"}}, "patient.name"),
        ({"patient": {"phone": "1" * 20}}, "patient.phone"),
        ({"patient": {"sex": "X"}}, "patient.sex"),
        ({"patient": {"birth_date": "2999-01-01"}}, "patient.birth_date"),
        ({"patient": {"birth_date": "soon"}}, "patient.birth_date"),
        ({"modality": "X-RAY"}, "modality"),
        ({"procedure": " "}, "procedure"),
        ({"station": "ECG_c2"}, "station"),
        ({"priority": "soon"}, "priority"),
        ({"scheduled_at": "0001-01-01T00:00:00"}, "scheduled_at"),
        ({"scheduled_at": "2999-01-01T00:00:00Z"}, "scheduled_at"),
        ({"accession": "A*"}, "accession"),
        ({"accession": "A" * 17}, "accession"),
        ({"code": {"value": "", "scheme": "99X", "meaning": "x"}}, "code.value"),
        ({"modalty": "CT"}, "modalty"),
    ],
)
def test_what_cannot_be_is_refused_by_field(su, given, field):
    answer = su.post("/api/orders", body(**given))
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "invalid_value"
    assert answer.json()["field"] == field


def test_an_order_is_changed_by_the_version_that_was_seen(su):
    order = place(su)
    change = changed(order, procedure="胸部侧位", priority="urgent")
    after = su.put(f"/api/orders/{order['id']}", change).json()
    assert (after["version"], after["procedure"], after["priority"]) == (2, "胸部侧位", "urgent")
    assert after["accession"] == order["accession"]
    assert after["scheduled_at"] == order["scheduled_at"]
    assert su.put(f"/api/orders/{order['id']}", change).json() == after
    stale = su.put(f"/api/orders/{order['id']}", changed(order, procedure="别的"))
    assert stale.status_code == 409
    assert (stale.json()["code"], stale.json()["version"]) == ("order_changed", 2)
    number = su.put(f"/api/orders/{order['id']}", changed(after, accession="OTHER"))
    assert (number.status_code, number.json()["field"]) == (422, "accession")


def test_names_come_back_as_they_were_given(su):
    given = {"name": "van der Berg^Jan", "name_latin": None}
    order = place(su, patient=given)
    assert order["patient"]["name"] == "van der Berg Jan"
    again = {
        "name": order["patient"]["name_as_given"],
        "name_latin": order["patient"]["name_latin_as_given"],
    }
    assert again == given
    after = su.put(f"/api/orders/{order['id']}", changed(order, patient=again)).json()
    assert after["version"] == 1  # nothing has changed


def test_an_order_is_cancelled_with_a_reason(su):
    order = place(su)
    address = f"/api/orders/{order['id']}/cancel"
    silent = su.post(address, {"version": 1, "reason": " "})
    assert (silent.status_code, silent.json()["code"]) == (422, "reason_missing")
    gone = su.post(address, {"version": 1, "reason": "doppelt"})
    assert (gone.json()["state"], gone.json()["reason"]) == ("cancelled", "doppelt")
    assert su.post(address, {"version": 1, "reason": "doppelt"}).json() == gone.json()
    late = su.put(f"/api/orders/{order['id']}", changed(gone.json()))
    assert (late.status_code, late.json()["code"]) == (409, "wrong_state")


def test_once_begun_only_a_coordinator_cancels(house, su):
    order = place(su)
    with house.parts.new_unit() as unit:
        kept = unit.orders.lock(order["id"])
        unit.orders.save(kept.moved(OrderState.IN_PROGRESS, "ECG_c1", datetime.now(UTC)))
    address = f"/api/orders/{order['id']}/cancel"
    assert su.post(address, {"version": 2, "reason": "weg"}).status_code == 403
    assert house.browser("gao").post(address, {"version": 2, "reason": "weg"}).is_success


def test_lists_come_page_by_page(house):
    zhou = house.browser("zhou")
    start = datetime(2027, 1, 1, tzinfo=UTC)
    made = [
        place(zhou, scheduled_at=(start + timedelta(hours=n // 2)).isoformat())["id"]
        for n in range(5)
    ]
    seen, after = [], None
    for _ in range(9):
        query = {"limit": 2, "site": "c2", "state": "scheduled"}
        page = zhou.get("/api/orders", params=query | ({"after": after} if after else {})).json()
        seen += [one["id"] for one in page["orders"]]
        after = page["next"]
        if after is None:
            break
    assert seen[: len(made)] != [] and set(made) <= set(seen)
    assert len(seen) == len(set(seen))
    assert zhou.get("/api/orders", params={"after": "x"}).status_code == 422
    assert zhou.get("/api/orders", params={"state": "completed"}).json()["orders"] == []


def test_other_sites_orders_do_not_exist(house, su):
    order = place(su, patient={"name": "秘密人", "id": "P-geheim"})
    address = f"/api/orders/{order['id']}"
    for name in ("zhou", "far"):
        other = house.browser(name)
        answers = [
            other.get(address),
            other.put(address, changed(order)),
            other.post(f"{address}/cancel", {"version": 1, "reason": "x"}),
        ]
        assert [answer.status_code for answer in answers] == [404, 404, 404]
        listed = other.get("/api/orders", params={"site": "c1"})
        assert listed.json()["orders"] == []
        assert "秘密" not in other.get("/api/orders").text
    assert order["id"] in house.browser("gao").get("/api/orders", params={"site": "c1"}).text


def test_nobody_comes_in_without_a_name(house):
    stranger = house.stranger()
    assert stranger.get("/api/orders").status_code == 401
    assert stranger.post("/api/orders", json=body()).status_code == 401


def test_the_document_describes_the_addresses(su):
    paths = su.get("/api/openapi.json").json()["paths"]
    assert set(paths["/api/orders"]) == {"get", "post"}
    assert set(paths["/api/orders/{order_id}"]) == {"get", "put"}
    assert "/api/orders/{order_id}/cancel" in paths
