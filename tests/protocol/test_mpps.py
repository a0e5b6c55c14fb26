"""Is what a device tells of its procedure steps kept, and does it move what it should?"""

import time
import uuid
from contextlib import contextmanager

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE

from gateway.worker import Worker
from tests.protocol.conftest import an_image, calling
from tests.protocol.test_worklist import placed
from worklist.arrival import Arrival
from worklist.order import OrderState
from worklist.procedure import StepState

MPPS = "1.2.840.10008.3.1.2.3.3"
CT = "1.2.840.10008.5.1.4.1.1.2"
START = ("20261123", "101500")


@contextmanager
def a_device(gateway, ae_title="EAST_CT"):
    ae = AE(ae_title)
    ae.add_requested_context(MPPS)
    association = ae.associate("127.0.0.1", gateway.port, ae_title="TELEREAD")
    assert association.is_established
    try:
        yield association
    finally:
        association.release()


def scheduled(order=None, **changes):
    item = Dataset()
    item.StudyInstanceUID = order.study_uid if order else generate_uid()
    item.AccessionNumber = order.accession if order else ""
    for keyword, value in changes.items():
        setattr(item, keyword, value)
    return item


def begun(*items, without=(), **changes):
    """What a device sends when it begins."""
    made = Dataset()
    made.SpecificCharacterSet = "GB18030"
    made.ScheduledStepAttributesSequence = list(items)
    made.PatientName = "Ding^Xiuying=丁^秀英"
    made.PatientID = "P-1"
    made.PerformedProcedureStepID = "S1"
    made.PerformedStationAETitle = "EAST_CT"
    made.PerformedProcedureStepStartDate, made.PerformedProcedureStepStartTime = START
    made.PerformedProcedureStepStatus = "IN PROGRESS"
    made.PerformedProcedureStepEndDate = made.PerformedProcedureStepEndTime = ""
    made.Modality = "CT"
    made.PerformedSeriesSequence = []
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    for keyword in without:
        delattr(made, keyword)
    return made


def ended(state="COMPLETED", instances=("1.2.3.4",), without=(), **changes):
    """What a device sends when it has ended."""
    series = Dataset()
    series.SeriesInstanceUID = "1.2.3"
    series.ProtocolName = "Thorax"
    series.ReferencedImageSequence = [_reference(uid) for uid in instances]
    made = Dataset()
    made.PerformedProcedureStepStatus = state
    made.PerformedProcedureStepEndDate = "20261123"
    made.PerformedProcedureStepEndTime = "102000"
    made.PerformedSeriesSequence = [series]
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    for keyword in without:
        delattr(made, keyword)
    return made


def _reference(uid):
    item = Dataset()
    item.ReferencedSOPClassUID = CT
    item.ReferencedSOPInstanceUID = uid
    return item


def begin(gateway, dataset, uid=None, ae_title="EAST_CT"):
    uid = uid or generate_uid()
    with a_device(gateway, ae_title) as association:
        status, _ = association.send_n_create(dataset, MPPS, uid)
    return status, uid


def change(gateway, dataset, uid, ae_title="EAST_CT"):
    with a_device(gateway, ae_title) as association:
        status, _ = association.send_n_set(dataset, MPPS, uid)
    return status


def step(gateway, uid, site="east"):
    with gateway.parts.view() as unit:
        return unit.procedure_steps.get(site, uid)


def state(gateway, order):
    with gateway.parts.view() as unit:
        return unit.orders.get(order.id).state


def told(gateway):
    with gateway.parts.view() as unit:
        facts = unit.facts.after(0, frozenset({"east", "west", "hospital"}))
    return [fact.what for fact in facts if fact.what.startswith("Procedure")]


def test_a_step_begins_goes_on_and_ends_and_its_order_with_it(gateway):
    order = placed(gateway)
    status, uid = begin(gateway, begun(scheduled(order)))
    assert status.Status == 0x0000
    kept = step(gateway, uid)
    assert (kept.state, kept.station, kept.modality) == (StepState.IN_PROGRESS, "EAST_CT", "CT")
    assert kept.started_at.isoformat() == "2026-11-23T02:15:00+00:00"
    assert kept.order_ids == [order.id]
    assert kept.attributes["00100010"]["Value"] == [
        {"Alphabetic": "Ding^Xiuying", "Ideographic": "丁^秀英"}
    ]
    assert state(gateway, order) is OrderState.IN_PROGRESS
    note = Dataset()
    note.CommentsOnThePerformedProcedureStep = "langsam"
    assert change(gateway, note, uid).Status == 0x0000
    assert step(gateway, uid).state is StepState.IN_PROGRESS
    assert change(gateway, ended(instances=("1.2.3.4", "1.2.3.5")), uid).Status == 0x0000
    kept = step(gateway, uid)
    assert kept.state is StepState.COMPLETED
    assert kept.ended_at.isoformat() == "2026-11-23T02:20:00+00:00"
    assert kept.instances == {"1.2.3.4", "1.2.3.5"}
    assert kept.attributes["00400280"]["Value"] == ["langsam"]
    assert state(gateway, order) is OrderState.COMPLETED
    assert told(gateway) == ["ProcedureStarted", "ProcedureCompleted"]


def test_a_uid_is_made_where_the_device_names_none(gateway):
    with a_device(gateway) as association:
        status, _ = association.send_n_create(begun(scheduled()), MPPS, None)
    assert status.Status == 0x0000
    with gateway.parts.view() as unit:
        rows = unit.connection.exec_driver_sql("SELECT sop_uid FROM procedure_step").all()
    assert [row[0].startswith("2.25.") for row in rows] == [True]


@pytest.mark.parametrize("items", [[], [scheduled()]])
def test_what_nobody_scheduled_is_kept_too(gateway, items):
    status, uid = begin(gateway, begun(*items))
    assert status.Status == 0x0000
    assert step(gateway, uid).order_ids == []
    assert change(gateway, ended(), uid).Status == 0x0000
    assert told(gateway) == ["ProcedureStarted", "ProcedureCompleted"]


def test_the_accession_number_tells_the_order_where_the_uid_does_not(gateway):
    order = placed(gateway, number="A1")
    begin(gateway, begun(scheduled(order, StudyInstanceUID=generate_uid())))
    assert state(gateway, order) is OrderState.IN_PROGRESS


def test_a_discontinued_step_may_have_made_nothing(gateway):
    order = placed(gateway)
    _, uid = begin(gateway, begun(scheduled(order)))
    over = ended("DISCONTINUED", without=["PerformedSeriesSequence"])
    assert change(gateway, over, uid).Status == 0x0000
    assert state(gateway, order) is OrderState.DISCONTINUED


def test_the_wrong_entry_picked_leaves_the_order_on_the_worklist(gateway):
    order = placed(gateway)
    _, uid = begin(gateway, begun(scheduled(order)))
    why = Dataset()
    why.CodeValue, why.CodingSchemeDesignator, why.CodeMeaning = "110514", "DCM", "Wrong entry"
    over = ended("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=[why])
    assert change(gateway, over, uid).Status == 0x0000
    assert state(gateway, order) is OrderState.SCHEDULED


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("without", "changes", "status"),
    [
        (["ScheduledStepAttributesSequence"], {}, 0x0120),
        (["PerformedProcedureStepStatus"], {}, 0x0120),
        (["PerformedProcedureStepID"], {}, 0x0120),
        (["PerformedStationAETitle"], {}, 0x0120),
        (["PerformedProcedureStepStartDate"], {}, 0x0120),
        (["Modality"], {}, 0x0120),
        ([], {"Modality": ""}, 0x0121),
        ([], {"PerformedProcedureStepStatus": "COMPLETED"}, 0x0106),
        ([], {"PerformedProcedureStepStatus": "BUSY"}, 0x0106),
        ([], {"PerformedProcedureStepStartDate": "20261399"}, 0x0106),
        ([], {"PerformedProcedureStepStartTime": "morgen"}, 0x0106),
        ([], {"ScheduledStepAttributesSequence": [Dataset()]}, 0x0120),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value")
def test_a_step_that_begins_wrongly_is_refused(gateway, without, changes, status):
    order = placed(gateway)
    answer, uid = begin(gateway, begun(scheduled(order), without=without, **changes))
    assert answer.Status == status
    assert step(gateway, uid) is None
    assert state(gateway, order) is OrderState.SCHEDULED
    assert told(gateway) == []


@pytest.mark.parametrize(
    ("without", "changes", "status"),
    [
        (["PerformedSeriesSequence"], {}, 0x0121),
        (["PerformedProcedureStepEndDate"], {}, 0x0121),
        (["PerformedProcedureStepEndTime"], {}, 0x0121),
        ([], {"PerformedProcedureStepEndDate": "2026"}, 0x0106),
        ([], {"PerformedProcedureStepStatus": "OVER"}, 0x0106),
        ([], {"PerformedSeriesSequence": [Dataset()]}, 0x0120),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value")
def test_a_step_that_ends_wrongly_goes_on(gateway, without, changes, status):
    order = placed(gateway)
    _, uid = begin(gateway, begun(scheduled(order)))
    before = step(gateway, uid)
    assert change(gateway, ended(without=without, **changes), uid).Status == status
    assert step(gateway, uid) == before
    assert state(gateway, order) is OrderState.IN_PROGRESS


def test_what_is_there_already_and_what_is_not(gateway):
    status, uid = begin(gateway, begun(scheduled()))
    again, _ = begin(gateway, begun(scheduled()), uid)
    assert (status.Status, again.Status) == (0x0000, 0x0111)
    assert change(gateway, ended(), generate_uid()).Status == 0x0112


@pytest.mark.parametrize("first", ["COMPLETED", "DISCONTINUED"])
@pytest.mark.parametrize("second", ["IN PROGRESS", "COMPLETED", "DISCONTINUED"])
def test_what_has_ended_may_no_longer_be_updated(gateway, first, second):
    order = placed(gateway)
    _, uid = begin(gateway, begun(scheduled(order)))
    change(gateway, ended(first), uid)
    before = step(gateway, uid)
    status = change(gateway, ended(second), uid)
    assert (status.Status, status.ErrorID) == (0x0110, 0xA710)
    assert step(gateway, uid) == before


def test_what_belongs_to_the_beginning_does_not_change(gateway):
    order = placed(gateway)
    _, uid = begin(gateway, begun(scheduled(order)))
    again = ended(
        PatientID="P-2",
        PerformedStationAETitle="OTHER",
        ScheduledStepAttributesSequence=[scheduled()],
    )
    assert change(gateway, again, uid).Status == 0x0000
    kept = step(gateway, uid)
    assert kept.attributes["00100020"]["Value"] == ["P-1"]
    assert kept.station == "EAST_CT"
    assert kept.order_ids == [order.id]


# -- isolation ------------------------------------------------------------------------------------


def test_another_sites_steps_and_orders_do_not_exist(gateway):
    order = placed(gateway, number="A1")
    _, uid = begin(gateway, begun(scheduled(order)))
    assert change(gateway, ended(), uid, "WEST_CT").Status == 0x0112
    assert step(gateway, uid).state is StepState.IN_PROGRESS
    other = placed(gateway, number="A2")
    status, foreign = begin(gateway, begun(scheduled(other)), ae_title="WEST_CT")
    assert status.Status == 0x0000
    assert step(gateway, foreign, "west").order_ids == []
    assert state(gateway, other) is OrderState.SCHEDULED
    same, _ = begin(gateway, begun(scheduled()), uid, "WEST_CT")
    assert same.Status == 0x0000  # a UID is one step within its Site


def test_a_hospitals_device_does_what_its_center_ordered(gateway):
    gateway.add_device("hospital", "HOSP_CT")
    order = placed(gateway)
    _, uid = begin(gateway, begun(scheduled(order)), ae_title="HOSP_CT")
    assert state(gateway, order) is OrderState.IN_PROGRESS
    assert step(gateway, uid, "hospital").order_ids == [order.id]


def test_no_value_reaches_the_log(gateway, lines):
    begin(gateway, begun(scheduled(), PatientName="Mi^Mi", without=["Modality"]))
    (line,) = [one for one in lines() if "0120" in one]
    assert "(0008,0060)" in line
    assert not [one for one in lines() if "Mi^Mi" in one or "P-1" in one]


# -- settling -------------------------------------------------------------------------------------


@pytest.fixture
def worker(gateway):
    running = Worker(gateway.parts)
    running.start()
    yield running
    running.stop(10)


def settles_within(gateway, order, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = gateway.study(order.study_uid)
        if found is not None and found.arrival is Arrival.COMPLETE:
            return True
        time.sleep(0.05)
    return False


def test_a_study_is_whole_as_soon_as_its_step_says_so(gateway, worker):
    """The device still holds its association: without the step the study would wait a minute."""
    order = placed(gateway)
    _, uid = begin(gateway, begun(scheduled(order)))
    images = [an_image(StudyInstanceUID=order.study_uid) for _ in range(3)]
    names = [str(image.SOPInstanceUID) for image in images]
    with calling(gateway.port) as device:
        for image in images[:2]:
            assert device.store(image) == 0x0000
        assert change(gateway, ended(instances=names), uid).Status == 0x0000
        assert gateway.study(order.study_uid).arrival is Arrival.RECEIVING
        assert device.store(images[2]) == 0x0000
        assert settles_within(gateway, order, 30)
    with gateway.parts.view() as unit:
        (task,) = unit.tasks.of_study(gateway.study(order.study_uid).id)
    assert task.id


def test_large_steps_are_taken(gateway):
    order = placed(gateway)
    _, uid = begin(gateway, begun(scheduled(order)))
    names = [f"2.25.{uuid.uuid4().int}" for _ in range(2000)]
    assert change(gateway, ended(instances=names), uid).Status == 0x0000
    assert step(gateway, uid).instances == set(names)
