"""What does a C-FIND find, and how is it answered?"""

import socket
import subprocess
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from tools.bench.asking import Workstation

# what a device may send is not always what pydicom would write
pytestmark = pytest.mark.filterwarnings("ignore:.*alue.*:UserWarning")

PATIENT = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY = "1.2.840.10008.5.1.4.1.2.2.1"
PATIENT_STUDY = "1.2.840.10008.5.1.4.1.2.3.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
SC = "1.2.840.10008.5.1.4.1.1.7"
IMPLICIT = "1.2.840.10008.1.2"


@contextmanager
def asking(gateway, title="EAST_CT", model=STUDY, syntax=None, extended=None):
    """A function that gives the answers to an identifier: (status, data set) each."""
    ae = AE(title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    ae.requested_contexts = [build_context(model, syntax or IMPLICIT)]
    items = []
    if extended is not None:
        items.append(SOPClassExtendedNegotiation())
        items[0].sop_class_uid = model
        items[0].service_class_application_information = extended
    association = ae.associate("127.0.0.1", gateway.port, ae_title="TELEREAD", ext_neg=items)
    assert association.is_established

    def ask(level, **keys):
        identifier = keys.pop("identifier", Dataset())
        identifier.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
        return [
            (status.Status, found) for status, found in association.send_c_find(identifier, model)
        ]

    ask.association = association
    try:
        yield ask
    finally:
        association.release()


def values(answers, keyword):
    """What the matches hold under a keyword."""
    return [str(found[keyword].value) for _, found in answers if found is not None]


@pytest.fixture
def keep(gateway, associate, image):
    """Store an image at a Site; returns it."""

    def one(title="EAST_CT", **changes):
        made = image(**changes)
        with associate(gateway.port, title, contexts=((CT, ("1.2.840.10008.1.2.1",)),)) as device:
            assert device.store(made) == 0
        return made

    return one


@pytest.fixture
def studies(gateway, associate, image):
    """Six studies of the east, told apart by everything that is matched."""
    rows = {
        "a": ("Ding^Xiuying=丁^秀英", "P-1", "20260101", "080000", "A1", "CT", "Thorax nativ"),
        "b": ("Ding^Wei=丁^伟", "P-2", "20260102", "093000.5", "A2", "MR", "Schädel"),
        "c": ("Müller^Änne", "P-3", "20260103", "1015", "A3", "CT", "Thorax KM"),
        "d": ("Yamada^Tarou=山田^太郎=やまだ^たろう", "p-3", "20260104", "235959", "B1", "US", ""),
        "e": ("O'Neil_100%^Li", "Q*9", "20260105", "", "", "CT", "Abdomen"),
        "f": ("Ding", "P-10", "", "120000", "A10", "DX", "Thorax"),
    }
    made = {}
    with associate(gateway.port, contexts=((CT, ("1.2.840.10008.1.2.1",)),)) as device:
        for key, (name, patient, day, clock, accession, modality, description) in rows.items():
            made[key] = image(
                PatientName=name,
                PatientID=patient,
                StudyDate=day,
                StudyTime=clock,
                AccessionNumber=accession,
                Modality=modality,
                StudyDescription=description,
                StudyID=f"S{key}",
                ReferringPhysicianName="Li^Na=李^娜",
            )
            assert device.store(made[key]) == 0
    return {key: str(one.StudyInstanceUID) for key, one in made.items()}


MATCHES = [
    ({}, "abcdef"),
    ({"PatientName": "ding*"}, "abf"),
    ({"PatientName": "DING^*"}, "abf"),
    ({"PatientName": "Ding^Xiuying"}, "a"),
    ({"PatientName": "Ding^Xiuying^^"}, "a"),
    ({"PatientName": "丁*"}, "ab"),
    ({"PatientName": "丁^秀*"}, "a"),
    ({"PatientName": "*=丁^伟"}, "b"),
    ({"PatientName": "müller*"}, "c"),
    ({"PatientName": "MÜLLER^ä?NE"}, "c"),
    ({"PatientName": "Muller*"}, "c"),
    ({"PatientName": "MULLER^A?NE"}, "c"),
    ({"PatientName": "Díng^Xiuyïng"}, "a"),
    ({"PatientName": "やまだ*"}, "d"),
    ({"PatientName": "やまた*"}, ""),
    ({"PatientName": "山田^太郎"}, "d"),
    ({"PatientName": "o'neil_1*"}, "e"),
    ({"PatientName": "o'neil?100%*"}, "e"),
    ({"PatientName": "oXneil*"}, ""),
    ({"PatientName": "*%*"}, "e"),
    ({"PatientID": "P-3"}, "c"),
    ({"PatientID": "p-3"}, "d"),
    ({"PatientID": "P-*"}, "abcf"),
    ({"PatientID": "P-?"}, "abc"),
    ({"PatientID": "*9"}, "e"),
    ({"PatientID": "*"}, "abcdef"),
    ({"StudyDate": "20260102"}, "b"),
    ({"StudyDate": "20260102-20260104"}, "bcd"),
    ({"StudyDate": "20260104-"}, "de"),
    ({"StudyDate": "-20260102"}, "ab"),
    ({"StudyTime": "080000-101500"}, "abc"),
    ({"StudyTime": "1015"}, "c"),
    ({"StudyTime": "-09"}, "ab"),
    ({"StudyTime": "120000-"}, "df"),
    ({"StudyDate": "20260101-20260103", "StudyTime": "090000-100000"}, "b"),
    ({"AccessionNumber": "A1"}, "a"),
    ({"AccessionNumber": "A1*"}, "af"),
    ({"ModalitiesInStudy": "CT"}, "ace"),
    ({"ModalitiesInStudy": ["MR", "US"]}, "bd"),
    ({"ModalitiesInStudy": "?R"}, "b"),
    ({"StudyDescription": "Thorax*"}, "acf"),
    ({"StudyDescription": "*N*"}, ""),
    ({"StudyDescription": "Sch?del"}, "b"),
    ({"StudyID": "Sd"}, "d"),
    ({"StudyID": "S?"}, "abcdef"),
    ({"ReferringPhysicianName": "李*", "PatientID": "P-1"}, "a"),
    ({"PatientSex": "F", "PatientBirthDate": "19620814"}, "abcdef"),
    ({"PatientBirthDate": "19630101-"}, ""),
    ({"SOPClassesInStudy": CT, "PatientID": "P-1"}, "a"),
    ({"SOPClassesInStudy": SC}, ""),
    ({"StudyInstanceUID": "1.2.3"}, ""),
    ({"ModalitiesInStudy": "CT", "StudyDate": "20260103-"}, "ce"),
]


def test_keys_match(gateway, studies):
    keys_of = {uid: key for key, uid in studies.items()}
    with asking(gateway) as ask:
        for keys, expected in MATCHES:
            asked = Dataset()
            asked.SpecificCharacterSet = "ISO_IR 192"
            asked.StudyInstanceUID = ""
            answers = ask("STUDY", identifier=asked, **keys)
            assert answers[-1] == (0x0000, None), keys
            assert {status for status, _ in answers[:-1]} <= {0xFF00}, keys
            found = sorted(keys_of[uid] for uid in values(answers, "StudyInstanceUID"))
            assert "".join(found) == expected, keys


def test_a_list_of_uids_is_matched_and_values_come_back(gateway, studies):
    with asking(gateway) as ask:
        answers = ask(
            "STUDY",
            StudyInstanceUID=[studies["a"], studies["d"], "1.2.3"],
            PatientName="",
            ModalitiesInStudy="",
            NumberOfStudyRelatedInstances="",
            NumberOfStudyRelatedSeries="",
            SOPClassesInStudy="",
            InstanceAvailability="",
            StudyDate="",
            StudyTime="",
            InstitutionAddress="",
            ReferringPhysicianName="",
        )
    assert len(answers) == 3
    one = next(found for _, found in answers if found and found.StudyInstanceUID == studies["d"])
    assert one.SpecificCharacterSet == "ISO_IR 192"
    assert one.PatientName == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert (one.StudyDate, one.StudyTime) == ("20260104", "235959")
    assert one.ModalitiesInStudy == "US"
    assert (one.NumberOfStudyRelatedInstances, one.NumberOfStudyRelatedSeries) == (1, 1)
    assert one.SOPClassesInStudy == CT
    assert (one.InstanceAvailability, one.RetrieveAETitle) == ("ONLINE", "TELEREAD")
    assert one.QueryRetrieveLevel == "STUDY"
    assert one["InstitutionAddress"].is_empty
    assert one.ReferringPhysicianName == "Li^Na=李^娜"
    assert set(one.dir()) == {
        *("SpecificCharacterSet", "StudyDate", "StudyTime", "QueryRetrieveLevel"),
        *("RetrieveAETitle", "InstanceAvailability", "ModalitiesInStudy", "SOPClassesInStudy"),
        *("InstitutionAddress", "ReferringPhysicianName", "PatientName", "StudyInstanceUID"),
        *("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    }


def test_keys_that_are_not_matched_are_warned_of(gateway, studies):
    item = Dataset()
    item.RequestedProcedureID = "R1"
    with asking(gateway) as ask:
        answers = ask("STUDY", PatientID="P-1", InstitutionName="East", StudyInstanceUID="")
        empty = ask("STUDY", PatientID="P-1", InstitutionName="", RequestAttributesSequence=[])
        hollow = ask("STUDY", PatientID="P-1", RequestAttributesSequence=[Dataset()])
        full = ask("STUDY", PatientID="P-1", RequestAttributesSequence=[item])
    assert [status for status, _ in answers] == [0xFF01, 0x0000]
    assert [status for status, _ in empty] == [0xFF00, 0x0000]
    assert [status for status, _ in hollow] == [0xFF00, 0x0000]
    assert [status for status, _ in full] == [0xFF01, 0x0000]
    assert full[0][1]["RequestAttributesSequence"].is_empty


def test_every_level_and_its_counts(gateway, keep):
    first = keep(PatientID="P-7", SeriesNumber=3)
    together = {"PatientID": "P-7", "StudyInstanceUID": first.StudyInstanceUID}
    keep(**together, SeriesInstanceUID=first.SeriesInstanceUID, InstanceNumber=2)
    keep(**together, Modality="MR", SeriesNumber=4)
    keep(PatientID="P-7")
    keep(PatientID="P-8")
    with asking(gateway, model=PATIENT) as ask:
        patients = ask(
            "PATIENT",
            PatientID="P-7",
            PatientName="",
            NumberOfPatientRelatedStudies="",
            NumberOfPatientRelatedSeries="",
            NumberOfPatientRelatedInstances="",
        )
        everybody = ask("PATIENT", PatientID="")
        studies = ask("STUDY", PatientID="P-7", StudyInstanceUID="")
        series = ask(
            "SERIES",
            **together,
            SeriesInstanceUID="",
            Modality="",
            SeriesNumber="",
            NumberOfSeriesRelatedInstances="",
        )
        of_mr = ask("SERIES", **together, SeriesInstanceUID="", Modality="MR")
        images = ask(
            "IMAGE",
            **together,
            SeriesInstanceUID=first.SeriesInstanceUID,
            SOPInstanceUID="",
            SOPClassUID="",
            InstanceNumber="",
            Rows="",
        )
    (_, patient), _ = patients
    assert patient.PatientName == "Ding^Xiuying=丁^秀英"
    assert patient.NumberOfPatientRelatedStudies == 2
    assert patient.NumberOfPatientRelatedSeries == 3
    assert patient.NumberOfPatientRelatedInstances == 4
    assert sorted(values(everybody, "PatientID")) == ["P-7", "P-8"]
    assert len(studies) == 3
    assert sorted(
        (one.Modality, one.SeriesNumber, one.NumberOfSeriesRelatedInstances)
        for _, one in series[:-1]
    ) == [("CT", 3, 2), ("MR", 4, 1)]
    assert values(of_mr, "Modality") == ["MR"]
    assert [(one.InstanceNumber, one.SOPClassUID, one.Rows) for _, one in images[:-1]] == [
        (1, CT, 8),
        (2, CT, 8),
    ]


@pytest.mark.parametrize(
    ("model", "level", "keys", "status"),
    [
        (STUDY, "PATIENT", {}, 0xA900),
        (STUDY, "FRAME", {}, 0xA900),
        (PATIENT_STUDY, "SERIES", {"PatientID": "P", "StudyInstanceUID": "1.2"}, 0xA900),
        (STUDY, "SERIES", {"SeriesInstanceUID": ""}, 0xA900),
        (STUDY, "SERIES", {"StudyInstanceUID": ["1.2", "1.3"]}, 0xA900),
        (STUDY, "IMAGE", {"StudyInstanceUID": "1.2", "SOPInstanceUID": ""}, 0xA900),
        (PATIENT, "STUDY", {"StudyInstanceUID": ""}, 0xA900),
        (STUDY, "STUDY", {"StudyDate": "20261332"}, 0xC000),
        (STUDY, "STUDY", {"StudyDate": "-"}, 0xC000),
        (STUDY, "STUDY", {"StudyTime": "9999"}, 0xC000),
        (STUDY, "STUDY", {"StudyInstanceUID": "1.2.x"}, 0xC000),
        (STUDY, "STUDY", {"ModalitiesInStudy": [f"A{one}*" for one in range(17)]}, 0xC000),
    ],
)
def test_an_identifier_that_cannot_be_served_is_refused(gateway, model, level, keys, status):
    with asking(gateway, model=model) as ask:
        assert [found for found, _ in ask(level, **keys)] == [status]
        assert ask.association.is_established


def test_relational_queries_are_negotiated(gateway, studies):
    with asking(gateway, extended=b"\1\1\0\0") as ask:
        agreed = ask.association.acceptor.sop_class_extended
        answers = ask("SERIES", SeriesInstanceUID="", Modality="CT")
        together = ask(
            "STUDY",
            StudyInstanceUID="",
            StudyDate="20260101-20260103",
            StudyTime="090000-100000",
        )
    assert agreed == {STUDY: b"\1\1\0\0"}
    assert len(answers) == 4
    # from the first at nine to the third at ten: not only mornings
    assert values(together, "StudyInstanceUID") == [studies["b"]]
    with asking(gateway, extended=b"\1\1\0\0") as ask:
        wider = ask(
            "STUDY", StudyInstanceUID="", StudyDate="20260102-20260104", StudyTime="090000-080000"
        )
    assert sorted(values(wider, "StudyInstanceUID")) == sorted([studies["b"], studies["c"]])


def test_what_another_center_has_does_not_exist(gateway, keep):
    mine = keep(PatientID="SAME")
    theirs = keep("WEST_CT", PatientID="SAME", StudyInstanceUID=mine.StudyInstanceUID)
    keep("WEST_CT", PatientID="OTHER")
    gateway.add_device("hospital", "PACS")
    with asking(gateway) as ask:
        own = ask("STUDY", StudyInstanceUID="", PatientID="")
        named = ask("IMAGE", identifier=_path(theirs), SOPInstanceUID="")
    assert values(own, "StudyInstanceUID") == [str(mine.StudyInstanceUID)]
    assert [status for status, _ in named] == [0x0000]
    with asking(gateway, "PACS") as ask:
        both = ask("STUDY", StudyInstanceUID=str(mine.StudyInstanceUID), PatientID="")
        every = ask("STUDY", StudyInstanceUID="")
    assert values(both, "PatientID") == ["SAME", "SAME"]
    assert len(every) == 4


def _path(one):
    identifier = Dataset()
    identifier.StudyInstanceUID = one.StudyInstanceUID
    identifier.SeriesInstanceUID = one.SeriesInstanceUID
    return identifier


@pytest.mark.parametrize("character_set", ["GB18030", "ISO_IR 192", "ISO 2022 IR 58", None])
def test_the_character_set_of_the_request_is_read_and_answered(gateway, studies, character_set):
    asked = Dataset()
    if character_set:
        asked.SpecificCharacterSet = (
            ["", character_set] if character_set.startswith("ISO 2022") else character_set
        )
    asked.PatientName = "*=丁^秀*" if character_set else "Ding^X*"
    asked.StudyInstanceUID = ""
    with asking(gateway) as ask:
        (_, found), _ = ask("STUDY", identifier=asked)
    assert found.PatientName == "Ding^Xiuying=丁^秀英"
    assert found.SpecificCharacterSet in (character_set, "ISO_IR 192", ["", character_set])
    if character_set == "GB18030":
        assert found.SpecificCharacterSet == "GB18030"


def test_big_endian_is_spoken(gateway, keep):
    one = keep()
    with asking(gateway, syntax=ExplicitVRBigEndian) as ask:
        (_, found), _ = ask("IMAGE", identifier=_path(one), SOPInstanceUID="", Rows=None)
    assert (found.SOPInstanceUID, found.Rows) == (one.SOPInstanceUID, 8)


def test_a_superseded_version_is_not_found_twice(gateway, keep):
    first = keep()
    keep(
        StudyInstanceUID=first.StudyInstanceUID,
        SeriesInstanceUID=first.SeriesInstanceUID,
        SOPInstanceUID=first.SOPInstanceUID,
        InstanceNumber=9,
    )
    with asking(gateway) as ask:
        images = ask("IMAGE", identifier=_path(first), SOPInstanceUID="", InstanceNumber="")
    assert values(images, "InstanceNumber") == ["9"]


def many(gateway, count):
    """Rows of so many studies at once."""
    from sqlalchemy import insert

    from storage.tables import study

    with gateway.parts.new_unit() as unit:
        now = gateway.parts.now()
        row = {
            "site": "east", "kind": "CT", "arrival": "COMPLETE", "priority": "ROUTINE",
            "patient_name": "Ding Xiuying", "description": "Thorax", "received_at": now,
            "last_received_at": now, "modalities": ["CT"], "series_count": 1,
            "instance_count": 1, "newest_instance": 1, "marks": [], "attributes": {},
            "name_alphabetic": "ding xiuying",
        }  # fmt: skip
        unit.connection.execute(
            insert(study),
            [{**row, "study_uid": f"1.2.{n}", "patient_id": f"P{n}"} for n in range(count)],
        )


def test_a_query_is_cancelled(gateway):
    many(gateway, 5000)
    with asking(gateway) as ask:
        identifier = Dataset()
        identifier.QueryRetrieveLevel = "STUDY"
        identifier.StudyInstanceUID = ""
        statuses = []
        responses = ask.association.send_c_find(identifier, STUDY, msg_id=7)
        for status, _ in responses:
            statuses.append(status.Status)
            if len(statuses) == 3:
                ask.association.send_c_cancel(7, query_model=STUDY)
        assert statuses[-1] == 0xFE00
        assert len(statuses) < 5000
        assert len(ask("STUDY", StudyInstanceUID="1.2.3")) == 2


def test_every_one_of_many_is_answered_once(gateway):
    many(gateway, 1203)
    with asking(gateway) as ask:
        answers = ask("STUDY", StudyInstanceUID="", PatientName="ding*")
    found = values(answers, "StudyInstanceUID")
    assert len(found) == len(set(found)) == 1203


def test_answers_are_cut_to_the_pdus_a_device_takes(gateway, studies):
    sizes = []
    ae = AE("EAST_CT")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    ae.requested_contexts = [build_context(STUDY)]
    heard = [(evt.EVT_DATA_RECV, lambda event: sizes.append(len(event.data)))]
    association = ae.associate(
        "127.0.0.1", gateway.port, ae_title="TELEREAD", max_pdu=128, evt_handlers=heard
    )
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.PatientName = identifier.StudyInstanceUID = identifier.StudyDescription = ""
    identifier.ReferringPhysicianName = ""
    answers = [(one.Status, found) for one, found in association.send_c_find(identifier, STUDY)]
    association.release()
    assert sorted(values(answers, "StudyInstanceUID")) == sorted(studies.values())
    assert answers[-1] == (0x0000, None)
    assert len(sizes) > 2 * len(answers)
    assert max(sizes[1:]) <= 128 + 6  # the first one accepts the association


def test_a_device_that_asks_and_does_not_listen_is_left(new_gateway, limits, lines):
    """What it does not take is not kept for it."""
    gateway = new_gateway(limits(window_seconds=0.5))
    many(gateway, 60_000)
    deaf = Workstation(gateway.port, "EAST_CT", "TELEREAD", STUDY)
    deaf._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    tracemalloc.start()
    try:
        deaf.ask({"00100010": "", "0020000D": "", "00081030": ""})
        end = time.monotonic() + 30
        while not any("too slow" in line or "silent" in line for line in lines()):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
        deaf._socket.close()
    with asking(gateway) as ask:
        assert len(ask("STUDY", StudyInstanceUID="1.2.3")) == 2


def a_request(**keys):
    item = Dataset()
    for keyword, value in keys.items():
        setattr(item, keyword, value)
    return item


REQUESTS = [
    ({"ScheduledProcedureStepID": "S1"}, "a"),
    ({"ScheduledProcedureStepID": "S*"}, "ab"),
    ({"ScheduledProcedureStepID": "s1"}, ""),
    ({"RequestedProcedureID": "R2", "ScheduledProcedureStepID": "S2"}, "b"),
    ({"RequestedProcedureID": "R1", "ScheduledProcedureStepID": "S2"}, ""),  # not of one item
    ({"RequestedProcedureID": "R?", "AccessionNumber": "*9"}, "b"),
    ({"RequestedProcedureID": ""}, "abc"),
]


@pytest.mark.parametrize(
    "syntax", [IMPLICIT, str(ExplicitVRLittleEndian), str(ExplicitVRBigEndian)]
)
def test_series_are_found_by_their_request(gateway, keep, syntax):
    one = keep(
        RequestAttributesSequence=[
            a_request(ScheduledProcedureStepID="S1", RequestedProcedureID="R1"),
            a_request(RequestedProcedureID="R9"),
        ]
    )
    request = a_request(
        ScheduledProcedureStepID="S2", RequestedProcedureID="R2", AccessionNumber="A9"
    )
    two = keep(StudyInstanceUID=one.StudyInstanceUID, RequestAttributesSequence=[request])
    three = keep(StudyInstanceUID=one.StudyInstanceUID)
    key_of = {
        str(each.SeriesInstanceUID): key for key, each in zip("abc", (one, two, three), strict=True)
    }
    with asking(gateway, syntax=syntax) as ask:
        for keys, expected in REQUESTS:
            answers = ask(
                "SERIES",
                StudyInstanceUID=one.StudyInstanceUID,
                SeriesInstanceUID="",
                RequestAttributesSequence=[a_request(**keys)],
            )
            assert {status for status, _ in answers[:-1]} <= {0xFF00}
            found = sorted(key_of[uid] for uid in values(answers, "SeriesInstanceUID"))
            assert "".join(found) == expected, keys
        (answer, _) = ask(
            "SERIES",
            StudyInstanceUID=one.StudyInstanceUID,
            SeriesInstanceUID=two.SeriesInstanceUID,
            RequestAttributesSequence=[a_request(ScheduledProcedureStepID="", AccessionNumber="")],
        )
        (item,) = answer[1].RequestAttributesSequence
        assert (item.ScheduledProcedureStepID, item.AccessionNumber) == ("S2", "A9")
        assert "RequestedProcedureID" not in item
        other = a_request(RequestedProcedureID="R2", ScheduledProcedureStepDescription="Thorax")
        answers = ask(
            "SERIES",
            StudyInstanceUID=one.StudyInstanceUID,
            SeriesInstanceUID="",
            RequestAttributesSequence=[other],
        )
        assert [status for status, _ in answers] == [0xFF01, 0x0000]


@pytest.mark.dcmtk
def test_findscu_finds(gateway, keep, storescu):
    one = keep(PatientName="Ding^Xiuying=丁^秀英", PatientID="P-5")
    run = subprocess.run(
        [
            *(
                str(Path(storescu).with_name("findscu")),
                "-S",
                "-aet",
                "EAST_CT",
                "-aec",
                "TELEREAD",
            ),
            *("127.0.0.1", str(gateway.port), "-k", "QueryRetrieveLevel=STUDY"),
            *("-k", "PatientName=DING*", "-k", "StudyInstanceUID", "-k", "PatientID"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert str(one.StudyInstanceUID) in run.stdout + run.stderr
    assert "P-5" in run.stdout + run.stderr
