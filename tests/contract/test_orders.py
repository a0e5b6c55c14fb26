"""Are orders and procedure steps kept as they are, on every engine?"""

import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from storage.ingest import Ingest, Received
from storage.orders import Waiting
from tests.protocol.conftest import an_image, encoded
from worklist import arrival, procedure
from worklist import order as orders
from worklist.errors import Code, Refusal
from worklist.order import Asked, Numbers, OrderState, ProcedureCode
from worklist.person import Caller, Role
from worklist.policy import Policy
from worklist.priority import Priority
from worklist.procedure import ProcedureStep, Scheduled, StepState

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
SU = Caller("su", frozenset({Role.DOCTOR}), "east", frozenset({"east"}))
HAI = Caller("hai", frozenset({Role.DOCTOR}), "west", frozenset({"west"}))
SECOND = timedelta(seconds=1)


def asked(**changes):
    given = {
        "name": "丁^秀英",
        "patient_id": "P-1",
        "modality": "CT",
        "procedure": "胸部平扫",
        "scheduled_at": NOW,
        "name_latin": "Ding^Xiuying",
        "name_phonetic": None,
        "sex": "F",
        "birth_date": date(1962, 8, 14),
        "phone": "13800000000",
        "station": None,
        "code": ProcedureCode("CT1", "99X", "Thorax"),
        "priority": Priority.URGENT,
        "requester": "苏婉",
        "question": "Zeile 1\nZeile 2",
    }
    return Asked(**{**given, **changes})


def place(index, who=SU, request="r1", numbers=None, **changes):
    with index.unit() as unit:
        return orders.place(
            unit, who, who.site, ZONE, asked(**changes), numbers or Numbers(), request, NOW
        )


def a_step(order, uid="1.2.3", **changes):
    step = ProcedureStep(
        id=f"{abs(hash(uid)):032x}"[:32],
        site="east",
        sop_uid=uid,
        state=StepState.IN_PROGRESS,
        station="EAST_CT",
        modality="CT",
        scheduled=(Scheduled(order.study_uid, order.accession),),
        started_at=NOW,
        created_at=NOW,
        changed_at=NOW,
        attributes={"00400253": {"vr": "SH", "Value": ["S1"]}},
    )
    return replace(step, **changes)


def begin(index, step, sites=frozenset({"east"})):
    with index.unit() as unit:
        return procedure.begin(unit, step, sites, "EAST_CT")


def end(index, step, instances=frozenset({"1.2.3.4"}), state=StepState.COMPLETED):
    with index.unit() as unit:
        before = unit.procedure_steps.lock("east", step.sop_uid)
        after = before.changed(
            state, NOW, attributes={}, instances=instances, ended_at=NOW, why=None
        )
        procedure.keep(unit, after, "EAST_CT", NOW)
    return after


def test_an_order_is_read_as_it_was_written(house):
    order = place(house)
    with house.view() as unit:
        assert unit.orders.get(order.id) == order
        assert unit.orders.of_accession("east", order.accession) == order
        assert unit.orders.of_accession("west", order.accession) is None
        assert unit.orders.of_study_uid(order.study_uid) == order
        assert unit.orders.of_request("su", "r1") == order
        assert unit.orders.get("nothing") is None


def test_sites_number_by_themselves_and_at_once(house):
    made, failed = [], []

    def some(who, name):
        try:
            made.extend(place(house, who, f"{name}-{n}") for n in range(5))
        except Exception as error:
            failed.append(error)

    threads = [
        threading.Thread(target=some, args=(who, f"{who.name}{n}"))
        for who in (SU, HAI)
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    for site in ("east", "west"):
        numbers = sorted(order.number for order in made if order.site == site)
        assert numbers == list(range(1, 16))
    assert len({order.study_uid for order in made}) == 30


def test_an_accession_number_may_be_there_once_for_each_site(house):
    place(house, numbers=Numbers(accession="A1"))
    assert place(house, HAI, numbers=Numbers(accession="A1")).accession == "A1"
    with pytest.raises(Refusal) as refused:
        place(house, request="r2", numbers=Numbers(accession="A1"))
    assert refused.value.code is Code.ALREADY_EXISTS


def test_what_waits_comes_by_time_and_by_page(house):
    made = [
        place(house, request=f"r{n}", scheduled_at=NOW + (n // 2) * timedelta(hours=1))
        for n in range(7)
    ]
    with house.unit() as unit:
        orders.cancel(unit, SU, made[3].id, 1, "weg", NOW)
    expected = sorted((one.asked.scheduled_at, one.id) for one in made if one is not made[3])
    seen, after = [], None
    with house.view() as unit:
        while page := unit.orders.waiting(["east", "west"], Waiting(), after, 2):
            seen += [(one.asked.scheduled_at, one.id) for one in page]
            after = seen[-1]
        assert seen == expected
        assert unit.orders.waiting(["west"], Waiting(), None, 9) == []
        listed = unit.orders.listed(["east"], [], None, 9)
        assert [(o.asked.scheduled_at, o.id) for o in listed[:1]] == [max(expected)]
        (gone,) = unit.orders.listed(["east"], ["cancelled"], None, 9)
        assert gone.reason == "weg"


def test_what_waits_is_limited(house):
    with house.unit() as unit:
        unit.people.add_device(
            site="east",
            ae_title="EAST_CT",
            called=None,
            host=None,
            port=None,
            modality=None,
            one_per_image=False,
        )
    anywhere = place(house, request="r1", modality="DX")
    there = place(house, request="r2", station="EAST_CT", patient_id="P-2")
    cases = [
        (Waiting(), {anywhere.id, there.id}),
        (Waiting(station="EAST_CT"), {anywhere.id, there.id}),
        (Waiting(station="OTHER"), {anywhere.id}),
        (Waiting(modality="CT"), {there.id}),
        (Waiting(patient_id="P-2"), {there.id}),
        (Waiting(accession=anywhere.accession), {anywhere.id}),
        (Waiting(study_uid=there.study_uid), {there.id}),
        (Waiting(first=NOW, last=NOW), {anywhere.id, there.id}),
        (Waiting(first=NOW + SECOND), set()),
        (Waiting(last=NOW - SECOND), set()),
    ]
    with house.view() as unit:
        for wanted, expected in cases:
            found = unit.orders.waiting(["east"], wanted, None, 9)
            assert {one.id for one in found} == expected, wanted


def test_a_step_is_read_as_it_was_written_and_moves_its_order(house):
    order = place(house)
    begun = begin(house, a_step(order))
    with house.view() as unit:
        assert unit.procedure_steps.get("east", "1.2.3") == begun
        assert unit.procedure_steps.get("west", "1.2.3") is None
        assert unit.procedure_steps.of_order(order.id) == [begun]
        assert unit.orders.get(order.id).state is OrderState.IN_PROGRESS
    after = end(house, begun)
    with house.view() as unit:
        assert unit.procedure_steps.by_id(begun.id) == after
        assert unit.orders.get(order.id).state is OrderState.COMPLETED


def test_a_uid_is_one_step_of_a_site(house):
    order = place(house)
    begin(house, a_step(order))
    with pytest.raises(Refusal) as refused:
        begin(house, a_step(order))
    assert refused.value.code is Code.ALREADY_EXISTS
    other = a_step(order, id="f" * 32, site="west")
    assert begin(house, other, frozenset({"west"})).order_ids == []


def test_nothing_of_a_refused_step_stays(house):
    """The step, its order's state and the facts stand or fall together."""
    order = place(house)
    begun = begin(house, a_step(order))
    with pytest.raises(RuntimeError), house.unit() as unit:
        after = begun.changed(
            StepState.COMPLETED,
            NOW,
            attributes={},
            instances=frozenset(),
            ended_at=NOW,
            why=None,
        )
        procedure.keep(unit, after, "EAST_CT", NOW)
        raise RuntimeError("the power is gone")
    with house.view() as unit:
        assert unit.orders.get(order.id).state is OrderState.IN_PROGRESS
        assert unit.procedure_steps.get("east", "1.2.3") == begun


# -- settling -------------------------------------------------------------------------------------


@pytest.fixture
def send(house, objects):
    """A function that brings one image of an order's study."""
    with house.unit() as unit:
        unit.people.add_device(
            site="east",
            ae_title="EAST_CT",
            called=None,
            host=None,
            port=None,
            modality=None,
            one_per_image=True,
        )
    door = Ingest(house, objects, Policy(), lambda: NOW)

    def bring(order, uid):
        image = an_image(StudyInstanceUID=order.study_uid, SOPInstanceUID=uid)
        device = door.caller("EAST_CT", "TELEREAD", "127.0.0.1")
        data, syntax = encoded(image), "1.2.840.10008.1.2.1"
        return door.receive(Received(device, "TELEREAD", data, syntax, None, None, "a1"))

    return bring


def look(house, step, now=NOW):
    with house.unit() as unit:
        return procedure.look(unit, step.id, now, Policy())


def settled(house, order, now):
    """What the worker does when something is due now."""
    with house.unit() as unit:
        job = unit.jobs.lease(now, SECOND)
    if job is None or job.kind != "settle":
        return False
    with house.unit() as unit:
        arrival.settle_if_quiet(
            unit, job.payload["study_id"], job.payload.get("released_at"), now, Policy()
        )
    with house.unit() as unit:
        return unit.studies.by_uid("east", order.study_uid).arrival is arrival.Arrival.COMPLETE


def test_a_study_settles_at_once_when_everything_is_here(house, send):
    order = place(house)
    step = begin(house, a_step(order))
    for uid in ("1.2.3.4", "1.2.3.5"):
        send(order, uid)
    step = end(house, step, frozenset({"1.2.3.4", "1.2.3.5"}))
    with house.unit() as unit:
        assert unit.jobs.lease(NOW, SECOND).kind == "expect"
    assert look(house, step) is None
    assert settled(house, order, NOW)


def test_the_last_instance_may_come_after_the_end(house, send):
    order = place(house)
    step = begin(house, a_step(order))
    send(order, "1.2.3.4")
    step = end(house, step, frozenset({"1.2.3.4", "1.2.3.5"}))
    with house.unit() as unit:
        unit.jobs.drop(procedure.expect_key(step.id))
    assert NOW < look(house, step) <= NOW + 15 * SECOND
    assert not settled(house, order, NOW)
    send(order, "1.2.3.5")
    assert look(house, step) is None
    assert settled(house, order, NOW)


def test_nobody_looks_for_ever(house):
    order = place(house)
    step = end(house, begin(house, a_step(order)))
    assert look(house, step, NOW + 10 * SECOND) is not None
    assert look(house, step, NOW + Policy().quiet_alone) is None


def test_what_settles_nothing(house, send):
    order = place(house)
    one, two = begin(house, a_step(order)), begin(house, a_step(order, "1.2.4", id="e" * 32))
    send(order, "1.2.3.4")
    one = end(house, one, frozenset({"1.2.3.4"}))
    assert look(house, one) is None  # the other one is still at it
    two = end(house, two, frozenset())
    with house.unit() as unit:
        for step in (one, two):
            unit.jobs.drop(procedure.expect_key(step.id))
    assert not settled(house, order, NOW)
    assert look(house, two) is None
    assert settled(house, order, NOW)  # now everything that any of them names is here


def test_another_sites_images_do_not_count(house, send):
    order = place(house)
    foreign = replace(a_step(order), site="west", id="d" * 32)
    begin(house, foreign, frozenset({"west"}))
    send(order, "1.2.3.4")
    with house.unit() as unit:
        after = foreign.changed(
            StepState.COMPLETED,
            NOW,
            attributes={},
            instances=frozenset({"1.2.3.4"}),
            ended_at=NOW,
            why=None,
        )
        procedure.keep(unit, after, "WEST_CT", NOW)
        unit.jobs.drop(procedure.expect_key(foreign.id))
    look(house, foreign)
    assert not settled(house, order, NOW)
