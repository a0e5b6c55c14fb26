"""Does an instance reach the study it belongs to, whatever UIDs and words a device sends?"""

import threading
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from storage.index import IndexUnit
from storage.ingest import Ingest, Received
from tests.contract.conftest import NOW
from worklist.arrival import Arrival, settle_if_quiet
from worklist.policy import Policy

EXPLICIT = "1.2.840.10008.1.2.1"
CT, SC = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"


class Door:
    """The door with one device before it."""

    def __init__(self, index, objects):
        with index.unit() as unit:
            unit.people.add_device(site="east", ae_title="EAST", called=None, host=None, port=None)
        self.index = index
        self.objects = objects
        self.now = NOW
        self.ingest = Ingest(index, self.objects, Policy(), lambda: self.now)
        self.device = self.ingest.caller("EAST", "TELEREAD", "127.0.0.1")

    def receive(self, study, sop, series=None, association="a", **changes):
        self.now += timedelta(seconds=1)
        data = encoded(study, series or f"{study}.1", sop, **changes)
        return self.ingest.receive(
            Received(self.device, "TELEREAD", data, EXPLICIT, None, None, association)
        )

    def ended(self, association="a"):
        self.ingest.association_ended(self.device, association)

    def view(self):
        return self.index.view()


def encoded(study, series, sop, **changes):
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CT, sop
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
    ds.Modality = "CT"
    ds.PatientID, ds.PatientName = "P1", "Ding^Jianguo"
    for name, value in changes.items():
        setattr(ds, name, value)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, ds)
    return buffer.getvalue()


@pytest.fixture
def door(house, objects):
    return Door(house, objects)


def shown(door, study_id):
    with door.view() as unit:
        return [one.sop_uid for one in unit.studies.instances(study_id)]


def counts(door, study_id):
    """(instances of the study, instances of its series by UID)."""
    with door.view() as unit:
        series = {row.series_uid: row.instance_count for row in unit.studies.series_rows(study_id)}
        return unit.studies.get(study_id).instance_count, series


def kind(door, study_id):
    with door.view() as unit:
        return unit.studies.get(study_id).kind


# --- UIDs that come twice ----------------------------------------------------------------------


def test_an_instance_uid_used_again_in_another_study_hides_nothing_of_the_first(door):
    first = door.receive("1.1", "1.9", PatientID="P1")
    second = door.receive("1.2", "1.9", PatientID="P2")
    assert second.what == "version"
    assert shown(door, first.study_id) == ["1.9"]
    assert shown(door, second.study_id) == ["1.9"]
    assert counts(door, second.study_id) == (1, {"1.2.1": 1})
    with door.view() as unit:
        assert "uid_conflict" in unit.studies.get(second.study_id).marks


def test_an_instance_that_comes_anew_in_another_series_is_counted_there(door):
    stored = door.receive("1.1", "1.9", series="1.1.1")
    door.receive("1.1", "1.9", series="1.1.2")
    assert shown(door, stored.study_id) == ["1.9"]
    assert counts(door, stored.study_id) == (1, {"1.1.1": 0, "1.1.2": 1})


def test_content_that_is_here_already_changes_nothing_even_after_another_content_came(door):
    stored = door.receive("1.1", "1.9", InstanceNumber="1")
    assert door.receive("1.1", "1.9", InstanceNumber="2").what == "version"
    assert door.receive("1.1", "1.9", InstanceNumber="1").what == "same"
    with door.view() as unit:
        (row,) = unit.studies.instance_rows(stored.study_id)
        assert (row.version, row.number) == (2, 2)
    assert len(list(door.objects.list())) == 2


def test_two_associations_that_bring_the_same_first_instance_make_one_study_and_one_object(
    door, monkeypatch
):
    data = encoded("1.1", "1.1.1", "1.9")
    received = [
        Received(door.device, "TELEREAD", data, EXPLICIT, None, None, name) for name in ("a", "b")
    ]
    # both have looked before either has written
    monkeypatch.setattr(Ingest, "_versions", lambda *_: ())
    first, second = (door.ingest.receive(one) for one in received)
    assert (first.what, second.what) == ("new", "same")
    assert len(list(door.objects.list())) == 1


def test_an_instance_that_cannot_be_entered_leaves_no_object(door, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(IndexUnit, "__init__", fails)
    with pytest.raises(RuntimeError):
        door.ingest.receive(
            Received(
                door.device, "TELEREAD", encoded("1.1", "1.1.1", "1.9"), EXPLICIT, None, None, "a"
            )
        )
    assert list(door.objects.list()) == []


def test_many_associations_that_bring_new_studies_of_one_patient_at_once_lose_nothing(door):
    received = [
        Received(
            door.device,
            "TELEREAD",
            encoded(f"1.{study}", f"1.{study}.1", f"1.{study}.9.{number}", InstanceNumber=number),
            EXPLICIT,
            None,
            None,
            f"a{number}",
        )
        for number in range(8)
        for study in range(1, 5)
    ]
    begin, stored, broken = threading.Barrier(len(received)), [], []

    def run(one):
        begin.wait()
        try:
            stored.append(door.ingest.receive(one))
        except Exception as error:
            broken.append(repr(error))

    threads = [threading.Thread(target=run, args=(one,)) for one in received]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []
    studies = {one.study_id for one in stored}
    assert len(studies) == 4
    for study_id in studies:
        assert sorted(counts(door, study_id)[1].values()) == [8]
        with door.view() as unit:
            rows = unit.studies.instance_rows(study_id)
            assert [row.number_in_study for row in rows] == list(range(1, 9))
    assert len(list(door.objects.list())) == 32


# --- what kind of study it is ------------------------------------------------------------------


def test_a_picture_with_the_word_ecg_does_not_turn_a_ct_into_an_ecg(door):
    words = {"StudyDescription": "Coronary CTA, ECG gated"}
    ct = door.receive("1.1", "1.8", **words)
    door.receive("1.1", "1.9", SOPClassUID=SC, Modality="OT", **words)
    assert kind(door, ct.study_id) == "CT"
    with door.view() as unit:
        assert unit.tasks.of_study(ct.study_id) == []


def test_a_study_whose_first_object_says_nothing_takes_the_kind_of_what_comes_next(door):
    study = door.receive("1.1", "1.8", SOPClassUID=SC, Modality="SR")
    assert kind(door, study.study_id) == "OT"
    door.receive("1.1", "1.9")
    assert kind(door, study.study_id) == "CT"


def test_an_ecg_wrapped_as_pdf_is_a_task_at_once(door):
    pdf = door.receive(
        "1.1", "1.9", SOPClassUID=PDF, Modality="OT", DocumentTitle="12-lead ECG report"
    )
    with door.view() as unit:
        assert [one.kind for one in unit.tasks.of_study(pdf.study_id)] == ["ECG"]


# --- how devices work --------------------------------------------------------------------------


def test_a_device_that_sends_one_missing_image_later_is_not_thought_to_send_one_by_one(door):
    door.receive("1.1", "1.1.1")
    door.receive("1.1", "1.1.2")
    door.ended()
    door.receive("1.1", "1.1.3", association="b")
    door.ended("b")
    with door.index.unit() as unit:  # alone: it cannot be told yet
        due = unit.jobs.earliest()
        job = unit.jobs.lease(due, timedelta(minutes=1))
        again = settle_if_quiet(unit, **job.payload, now=due, policy=Policy())
        assert again == door.now + Policy().quiet_alone
        unit.jobs.put_off(job, again)
    whole = door.receive("1.2", "1.2.8", association="c")
    door.receive("1.2", "1.2.9", association="c")
    door.device = replace(door.device, one_per_image=True)  # as learned before
    door.ended("c")
    assert whole.what == "new"
    with door.view() as unit:
        assert unit.people.devices()[0].one_per_image is False


def settled(door, seconds):
    """Do what is due so many seconds after the last instance; the arrival of study 1.1."""
    now = door.now + timedelta(seconds=seconds)
    with door.index.unit() as unit:
        while (job := unit.jobs.lease(now, timedelta(minutes=1))) is not None:
            released_at = job.payload.get("released_at")
            again = settle_if_quiet(unit, job.payload["study_id"], released_at, now, Policy())
            if again is None:
                unit.jobs.done(job)
            else:
                assert again > now
                unit.jobs.put_off(job, again)
        return unit.studies.by_uid("east", "1.1").arrival


def test_a_study_settles_five_seconds_after_the_release_though_its_first_image_was_long_before(
    door,
):
    door.receive("1.1", "1.1.1")
    for number in range(2, 90):  # a second each: longer than the quiet time alone
        door.receive("1.1", f"1.1.{number}")
    assert settled(door, 0) is Arrival.RECEIVING
    door.ended()
    with door.view() as unit:
        assert unit.jobs.earliest() == door.now + timedelta(seconds=5)
    assert settled(door, 5) is Arrival.COMPLETE


def test_an_image_after_the_release_makes_the_study_wait_again(door):
    for number in range(1, 4):
        door.receive("1.1", f"1.1.{number}")
    door.ended()
    door.receive("1.1", "1.1.4", association="b")
    assert settled(door, 5) is Arrival.RECEIVING
    assert settled(door, 59) is Arrival.RECEIVING
    assert settled(door, 60) is Arrival.COMPLETE


def test_an_image_after_the_quiet_time_is_looked_at_as_a_whole(door):
    """Its study may have settled in this very moment, or its job been given up."""
    door.receive("1.1", "1.1.1")
    with door.index.unit() as unit:
        unit.jobs.drop("settle:1")
    door.now += timedelta(seconds=60)
    stored = door.receive("1.1", "1.1.2")
    assert counts(door, stored.study_id) == (2, {"1.1.1": 2})
    assert settled(door, 60) is Arrival.COMPLETE


def test_what_differs_from_the_images_before_is_entered_like_a_first_one(door):
    first = door.receive("1.1", "1.1.1")
    door.receive("1.1", "1.1.2", Modality="PT")
    door.receive("1.1", "1.1.3", PatientName="Ma^Xiulan")
    door.receive("1.1", "1.1.4", series="1.1.7", PatientName="Ma^Xiulan")
    door.receive("1.1", "1.1.1", InstanceNumber="7")
    door.receive("1.1", "1.1.5")
    with door.view() as unit:
        study = unit.studies.get(first.study_id)
    assert study.modalities == {"CT", "PT"}
    assert study.marks == {"identity_conflict", "uid_conflict"}
    assert (study.series_count, study.instance_count, study.newest_instance) == (2, 5, 6)
    assert counts(door, first.study_id) == (5, {"1.1.1": 4, "1.1.7": 1})
    assert shown(door, first.study_id) == ["1.1.2", "1.1.3", "1.1.4", "1.1.1", "1.1.5"]


def test_two_sites_cannot_register_a_title_that_nothing_tells_apart(door):
    from worklist.errors import Code, Refusal

    with door.index.unit() as unit:
        with pytest.raises(Refusal) as refused:
            unit.people.add_device(site="west", ae_title="EAST", called=None, host=None, port=None)
        unit.people.add_device(
            site="west", ae_title="EAST", called=None, host="10.0.0.7", port=None
        )
    assert refused.value.code is Code.ALREADY_EXISTS
    assert door.ingest.caller("EAST", "TELEREAD", "127.0.0.1").site == "east"
    assert door.ingest.caller("EAST", "TELEREAD", "10.0.0.7").site == "west"


def test_uuids_are_not_needed_to_be_told_apart(door):
    """A hundred instances in any order: each once, each counted."""
    names = [f"1.1.{uuid.uuid4().int % 10**12}" for _ in range(20)]
    for name in names + names:
        stored = door.receive("1.1", name)
    assert sorted(shown(door, stored.study_id)) == sorted(names)
    assert counts(door, stored.study_id) == (20, {"1.1.1": 20})
