"""Do the rules of orders, and of the steps that answer them, hold in every sequence of events?"""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from worklist import order as orders
from worklist import procedure
from worklist.errors import Code, Refusal
from worklist.events import Happened
from worklist.order import Asked, Numbers, OrderState, ProcedureCode, after_steps
from worklist.person import Caller, Role
from worklist.priority import Priority, from_dicom, to_dicom
from worklist.procedure import WRONG_ENTRY, ProcedureStep, Scheduled, StepState

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
DOCTOR = Caller("su", frozenset({Role.DOCTOR}), "east", frozenset({"east"}))
COORDINATOR = Caller(
    "li", frozenset({Role.COORDINATOR}), "hospital", frozenset({"hospital", "east", "west"})
)


def asked(**changes):
    given = {
        "name": "丁^秀英",
        "name_latin": "Ding^Xiuying",
        "patient_id": "P-1",
        "modality": "DX",
        "procedure": "胸部正位",
        "scheduled_at": NOW,
    }
    return Asked(**{**given, **changes})


class Rows:
    """Orders, steps, facts and jobs of one transaction, in memory."""

    def __init__(self):
        self.kept, self.steps, self.told, self.due = {}, {}, [], []
        self.orders = SimpleNamespace(
            lock=self.kept.__getitem__,
            add=self._keep,
            save=self._keep,
            of_request=lambda who, request: self._first(created_by=who, request_id=request),
            of_accession=lambda site, number: self._first(site=site, accession=number),
            of_study_uid=lambda uid: self._first(study_uid=uid),
            next_number=lambda site: 1 + sum(o.number is not None for o in self.kept.values()),
            stations=lambda site: frozenset({"EAST_DX"}),
        )
        self.procedure_steps = SimpleNamespace(
            get=lambda site, uid: self.steps.get(uid),
            add=self._keep_step,
            save=self._keep_step,
            of_order=lambda key: [s for s in self.steps.values() if key in s.order_ids],
        )
        self.facts = SimpleNamespace(add=self.told.append)
        self.jobs = SimpleNamespace(put=lambda *job: self.due.append(job))

    def _keep(self, order):
        self.kept[order.id] = order

    def _keep_step(self, step):
        self.steps[step.sop_uid] = step

    def _first(self, **wanted):
        for one in self.kept.values():
            if all(getattr(one, name) == value for name, value in wanted.items()):
                return one
        return None


def placed(unit, who=DOCTOR, site="east", numbers=None, request="r1", **changes):
    return orders.place(unit, who, site, ZONE, asked(**changes), numbers or Numbers(), request, NOW)


def a_step(number, order, site="east"):
    return ProcedureStep(
        id=f"{number:032x}",
        site=site,
        sop_uid=f"1.2.{number}",
        state=StepState.IN_PROGRESS,
        station="EAST_DX",
        modality="DX",
        scheduled=(Scheduled(order.study_uid, None),),
        started_at=NOW,
        created_at=NOW,
        changed_at=NOW,
    )


def ended(step, state, why=None):
    return step.changed(
        state, NOW, attributes={}, instances=frozenset({"1.2.3"}), ended_at=NOW, why=why
    )


class Life(RuleBasedStateMachine):
    """Orders are placed, changed and cancelled; devices begin, complete and discontinue steps."""

    orders = Bundle("orders")
    steps = Bundle("steps")

    def __init__(self):
        super().__init__()
        self.unit = Rows()
        self.count = 0
        self.versions = {}

    @rule(target=orders)
    def place(self):
        self.count += 1
        return placed(self.unit, request=f"r{self.count}").id

    @rule(key=orders, name=st.sampled_from(["李明", "王^芳", "Abel^Ann"]))
    def change(self, key, name):
        before = self.unit.kept[key]
        try:
            after = orders.change(
                self.unit, DOCTOR, key, before.version, asked(name=name), Numbers(), NOW
            )
        except Refusal as refusal:
            assert refusal.code is Code.WRONG_STATE
            assert before.state is not OrderState.SCHEDULED
            assert self.unit.kept[key] == before
        else:
            assert after.asked.name == name
            assert (after.accession, after.study_uid) == (before.accession, before.study_uid)

    @rule(key=orders, who=st.sampled_from([DOCTOR, COORDINATOR]))
    def cancel(self, key, who):
        before = self.unit.kept[key]
        try:
            after = orders.cancel(self.unit, who, key, before.version, "doppelt", NOW)
        except Refusal as refusal:
            begun = before.state is not OrderState.SCHEDULED
            refused = Code.NOT_ALLOWED if who is DOCTOR else Code.WRONG_STATE
            assert begun and refusal.code is refused
        else:
            assert after.state is OrderState.CANCELLED

    @rule(target=steps, key=orders)
    def begin(self, key):
        self.count += 1
        step = a_step(self.count, self.unit.kept[key])
        procedure.begin(self.unit, step, frozenset({"east"}), "EAST_DX")
        return step.sop_uid

    @rule(uid=steps, state=st.sampled_from(list(StepState)), wrong=st.booleans())
    def tell(self, uid, state, wrong):
        before = self.unit.steps[uid]
        why = WRONG_ENTRY if wrong and state is StepState.DISCONTINUED else None
        try:
            after = ended(before, state, why)
        except Refusal as refusal:
            assert refusal.code is Code.WRONG_STATE
            assert not before.open
            return
        procedure.keep(self.unit, after, "EAST_DX", NOW)

    @invariant()
    def orders_follow_their_steps(self):
        for key, order in self.unit.kept.items():
            if order.state is OrderState.CANCELLED:
                continue
            said = [
                OrderState[step.state.name]
                for step in self.unit.steps.values()
                if key in step.order_ids and step.why != WRONG_ENTRY
            ]
            assert order.state is after_steps(said)

    @invariant()
    def versions_only_grow_and_every_change_is_told(self):
        for key, order in self.unit.kept.items():
            assert order.version >= self.versions.get(key, 1)
            self.versions[key] = order.version
        expected = [step for step in self.unit.steps.values() if not step.open]
        assert len(expected) == len([job for job in self.unit.due if job[0] == "expect"])


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


# -- placing --------------------------------------------------------------------------------------


def test_numbers_are_issued_by_day_and_site_and_a_brought_one_is_passed_over():
    unit = Rows()
    first = placed(unit)
    assert first.accession == "26112300001"
    assert first.step_id == first.requested_procedure_id == first.accession
    assert first.study_uid.startswith("2.25.")
    brought = placed(unit, numbers=Numbers(accession="26112300002"), request="r2")
    assert brought.number is None
    assert placed(unit, request="r3").accession == "26112300003"


def test_the_day_of_a_number_is_that_of_the_site():
    unit = Rows()
    late = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)  # one o'clock in the morning there
    order = orders.place(unit, DOCTOR, "east", ZONE, asked(), Numbers(), "r", late)
    assert order.accession.startswith("261123")


def test_the_same_request_gives_the_first_result():
    unit = Rows()
    first = placed(unit)
    assert placed(unit, name="Anders^Wie") == first
    assert len(unit.kept) == 1
    assert [fact.what for fact in unit.told] == [Happened.ORDER_PLACED]


def test_an_accession_number_is_one_order():
    unit = Rows()
    placed(unit, numbers=Numbers(accession="A1"))
    with pytest.raises(Refusal) as refused:
        placed(unit, numbers=Numbers(accession="A1"), request="r2")
    assert refused.value.code is Code.ALREADY_EXISTS
    assert refused.value.details == {"field": "accession"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "  "),
        ("name", "^^"),
        ("name", "丁=秀英"),
        ("name_latin", "D*"),
        ("name", "a\\b"),
        ("patient_id", ""),
        ("patient_id", "P?"),
        ("patient_id", "x" * 65),
        ("patient_id", "P\n1"),
        ("modality", "x-ray"),
        ("modality", ""),
        ("procedure", ""),
        ("procedure", "x" * 65),
        ("sex", "W"),
        ("birth_date", date(2026, 11, 26)),
        ("birth_date", date(1850, 1, 1)),
        ("phone", "1" * 17),
        ("station", "WEST_CT"),
        ("scheduled_at", NOW + timedelta(days=9000)),
        ("question", "x\x00"),
    ],
)
def test_what_cannot_be_is_refused_by_field(field, value):
    with pytest.raises(Refusal) as refused:
        placed(Rows(), **{field: value})
    assert refused.value.code is Code.INVALID
    assert refused.value.details == {"field": field}
    assert str(value).strip() == "" or str(value) not in refused.value.message


def test_a_code_needs_all_three():
    with pytest.raises(Refusal) as refused:
        placed(Rows(), code=ProcedureCode("X", "", "Thorax"))
    assert refused.value.details == {"field": "code.scheme"}


def test_who_may_order_for_whom():
    reader = replace(DOCTOR, roles=frozenset({Role.READER}))
    cases = [
        (DOCTOR, "west", Code.NOT_FOUND),
        (reader, "east", Code.NOT_ALLOWED),
        (replace(COORDINATOR, roles=frozenset({Role.DOCTOR})), "east", Code.NOT_ALLOWED),
    ]
    for who, site, code in cases:
        with pytest.raises(Refusal) as refused:
            placed(Rows(), who=who, site=site)
        assert refused.value.code is code
    assert placed(Rows(), who=COORDINATOR, site="west").site == "west"


# -- changing -------------------------------------------------------------------------------------


def test_a_change_repeated_changes_nothing_and_one_on_an_old_version_is_refused():
    unit = Rows()
    order = placed(unit)
    changed = orders.change(unit, DOCTOR, order.id, 1, asked(name="李^明"), Numbers(), NOW)
    again = orders.change(unit, DOCTOR, order.id, 1, asked(name="李^明"), Numbers(), NOW)
    assert again == changed
    with pytest.raises(Refusal) as refused:
        orders.change(unit, DOCTOR, order.id, 1, asked(name="王^芳"), Numbers(), NOW)
    assert refused.value.code is Code.ORDER_CHANGED
    assert refused.value.details == {"version": 2}
    assert [fact.what for fact in unit.told].count(Happened.ORDER_CHANGED) == 1


def test_an_order_keeps_its_numbers():
    unit = Rows()
    order = placed(unit)
    same = Numbers(accession=order.accession)
    orders.change(unit, DOCTOR, order.id, 1, asked(name="李^明"), same, NOW)
    with pytest.raises(Refusal) as refused:
        orders.change(unit, DOCTOR, order.id, 2, asked(), Numbers(step_id="other"), NOW)
    assert refused.value.details == {"field": "step_id"}


def test_a_station_that_was_taken_out_of_use_does_not_stand_in_the_way_of_other_changes():
    unit = Rows()
    order = placed(unit, station="EAST_DX")
    unit.orders.stations = lambda site: frozenset()
    kept = asked(station="EAST_DX", name="李^明")
    changed = orders.change(unit, DOCTOR, order.id, 1, kept, Numbers(), NOW)
    assert changed.asked.name == "李^明"


def test_cancelling_needs_a_reason_and_again_is_no_error():
    unit = Rows()
    order = placed(unit)
    with pytest.raises(Refusal) as refused:
        orders.cancel(unit, DOCTOR, order.id, 1, "  ", NOW)
    assert refused.value.code is Code.REASON_MISSING
    first = orders.cancel(unit, DOCTOR, order.id, 1, "doppelt", NOW)
    assert orders.cancel(unit, DOCTOR, order.id, 1, "doppelt", NOW) == first


# -- steps ----------------------------------------------------------------------------------------


def test_a_step_of_another_site_moves_nothing_of_this_one():
    unit = Rows()
    order = placed(unit, numbers=Numbers(accession="A1"))
    step = replace(a_step(1, order, "west"), scheduled=(Scheduled(order.study_uid, "A1"),))
    begun = procedure.begin(unit, step, frozenset({"west"}), "WEST_DX")
    assert begun.order_ids == []
    assert unit.kept[order.id].state is OrderState.SCHEDULED
    assert {fact.site for fact in unit.told if fact.what is Happened.PROCEDURE_STARTED} == {"west"}


def test_without_our_study_uid_the_accession_number_tells_the_order():
    unit = Rows()
    order = placed(unit, numbers=Numbers(accession="A1"))
    step = replace(a_step(1, order), scheduled=(Scheduled("1.2.3.4", "A1"),))
    procedure.begin(unit, step, frozenset({"east"}), "EAST_DX")
    assert unit.kept[order.id].state is OrderState.IN_PROGRESS


def test_one_step_may_answer_several_orders():
    unit = Rows()
    one, two = placed(unit), placed(unit, request="r2")
    both = tuple(Scheduled(order.study_uid, None) for order in (one, two))
    step = procedure.begin(
        unit, replace(a_step(1, one), scheduled=both), frozenset({"east"}), "EAST_DX"
    )
    procedure.keep(unit, ended(step, StepState.COMPLETED), "EAST_DX", NOW)
    assert {order.state for order in unit.kept.values()} == {OrderState.COMPLETED}


def test_the_wrong_entry_picked_at_the_device_leaves_the_order_waiting():
    unit = Rows()
    order = placed(unit)
    step = procedure.begin(unit, a_step(1, order), frozenset({"east"}), "EAST_DX")
    procedure.keep(unit, ended(step, StepState.DISCONTINUED, WRONG_ENTRY), "EAST_DX", NOW)
    assert unit.kept[order.id].state is OrderState.SCHEDULED


# -- names and words ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "groups", "shown"),
    [
        ({"name": "丁^秀英"}, ("Ding^Xiuying", "丁^秀英", ""), "丁秀英"),
        ({"name": "丁秀英", "name_latin": None}, ("丁秀英", "", ""), "丁秀英"),
        ({"name": "Ann Abel", "name_latin": None}, ("Ann^Abel", "", ""), "Ann Abel"),
        (
            {"name": "van der Berg^Jan", "name_latin": None},
            ("van der Berg^Jan", "", ""),
            "van der Berg Jan",
        ),
        (
            {"name": "山田^太郎", "name_latin": "Yamada^Tarou", "name_phonetic": "やまだ^たろう"},
            ("Yamada^Tarou", "山田^太郎", "やまだ^たろう"),
            "山田太郎",
        ),
    ],
)
def test_names_in_their_groups_and_as_they_are_read(given, groups, shown):
    one = asked(**given)
    assert one.name_groups == groups
    assert one.patient.name == shown


def test_priorities_there_and_back():
    assert [to_dicom(one) for one in Priority] == ["STAT", "HIGH", "ROUTINE"]
    assert all(from_dicom(to_dicom(one)) is one for one in Priority)
