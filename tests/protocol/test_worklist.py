"""Does a device find its orders, and no others, on the Modality Worklist?"""

import subprocess
import uuid
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE

from tests.conftest import dcmtk
from tests.recovery.house import until
from worklist import order as orders
from worklist.order import Asked, Numbers, ProcedureCode
from worklist.person import Caller, Role
from worklist.priority import Priority

MWL = "1.2.840.10008.5.1.4.31"
ZONE = ZoneInfo("Asia/Shanghai")
DAY = datetime.now(ZONE).replace(hour=10, minute=15, second=0, microsecond=0)

STEP_KEYS = """\
(0040,0100) SQ
(fffe,e000) -
(0008,0060) CS {modality}
(0040,0001) AE {station}
(0040,0002) DA {date}
(0040,0003) TM {time}
(0040,0006) PN {performer}
(0040,0007) LO
(0040,0009) SH {step}
(fffe,e00d) -
(fffe,e0dd) -
"""
QUERY = """\
{charset}(0008,0050) SH {accession}
(0008,0090) PN
(0010,0010) PN {name}
(0010,0020) LO {patient}
(0010,0030) DA {born}
(0010,0040) CS {sex}
(0020,000d) UI {study}
(0032,1032) PN
(0032,1060) LO
{steps}(0040,1001) SH {requested}
(0040,1003) SH
(0040,1400) LT
"""


def placed(gateway, site="east", number=None, **changes):
    given = {
        "name": "丁^秀英",
        "name_latin": "Ding^Xiuying",
        "patient_id": "P-1",
        "sex": "F",
        "birth_date": date(1962, 8, 14),
        "modality": "CT",
        "procedure": "胸部平扫",
        "scheduled_at": DAY.astimezone(UTC),
    }
    who = Caller("su", frozenset({Role.DOCTOR}), site, frozenset({site}))
    with gateway.parts.new_unit() as unit:
        return orders.place(
            unit,
            who,
            site,
            ZONE,
            Asked(**{**given, **changes}),
            Numbers(accession=number),
            uuid.uuid4().hex,
            datetime.now(UTC),
        )


@pytest.fixture
def findscu(gateway, tmp_path):
    """A function that asks as a device does, with DCMTK; the answers."""
    program, dump2dcm = dcmtk("findscu"), dcmtk("dump2dcm")

    def ask(caller="EAST_CT", encoding="utf-8", charset="ISO_IR 192", steps=True, more="", **keys):
        folder = tmp_path / uuid.uuid4().hex
        folder.mkdir()
        names = ["accession", "name", "patient", "born", "sex", "study", "requested"]
        inside = ["modality", "station", "date", "time", "performer", "step"]
        value = {name: f"[{keys[name]}]" if keys.get(name) else "" for name in names + inside}
        label = f"(0008,0005) CS [{charset}]\n" if charset else ""
        text = QUERY.format(
            charset=label, steps=STEP_KEYS.format(**value) if steps else "", **value
        )
        (folder / "query.dump").write_bytes((text + more).encode(encoding))
        subprocess.run(
            [dump2dcm, folder / "query.dump", folder / "query.dcm"],
            check=True,
            capture_output=True,
            timeout=30,
        )
        command = [program, "-v", "-W", "-aet", caller, "-aec", "TELEREAD", "-X", "-od", folder]
        target = ["127.0.0.1", str(gateway.port), folder / "query.dcm"]
        ran = subprocess.run([*command, *target], capture_output=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr
        return [dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]

    return ask


def numbers(answers):
    return sorted(one.AccessionNumber for one in answers)


pytestmark = pytest.mark.dcmtk


def test_an_order_is_found_with_everything_a_device_needs(gateway, findscu):
    order = placed(
        gateway,
        number="A1",
        priority=Priority.EMERGENCY,
        requester="苏婉",
        question="咳嗽三周\n有无结节",
        phone="13800000000",
        code=ProcedureCode("CT1", "99X", "胸部CT"),
    )
    more = (
        "(0008,1110) SQ\n(fffe,e0dd) -\n(0032,1064) SQ\n(fffe,e0dd) -\n"
        "(0038,0010) LO\n(0040,1002) LO\n(0010,2154) SH\n"
    )
    (answer,) = findscu(more=more)
    assert answer.SpecificCharacterSet == "ISO_IR 192"
    assert str(answer.PatientName) == "Ding^Xiuying=丁^秀英"
    assert (answer.PatientID, answer.PatientSex) == ("P-1", "F")
    assert answer.PatientBirthDate == "19620814"
    assert answer.StudyInstanceUID == order.study_uid
    assert answer.AccessionNumber == answer.RequestedProcedureID == "A1"
    assert answer.RequestedProcedurePriority == "STAT"
    assert answer.RequestedProcedureDescription == "胸部平扫"
    assert answer.RequestedProcedureComments.split() == ["咳嗽三周", "有无结节"]
    assert answer.ReasonForTheRequestedProcedure == "咳嗽三周 有无结节"
    assert str(answer.RequestingPhysician) == str(answer.ReferringPhysicianName) == "苏婉"
    assert answer.PatientTelephoneNumbers == "13800000000"
    assert answer.AdmissionID == ""
    assert answer.ReferencedStudySequence[0].ReferencedSOPInstanceUID == order.study_uid
    code = answer.RequestedProcedureCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == (
        "CT1",
        "99X",
        "胸部CT",
    )
    (step,) = answer.ScheduledProcedureStepSequence
    assert step.Modality == "CT"
    assert step.ScheduledStationAETitle == "EAST_CT"
    assert step.ScheduledProcedureStepStartDate == f"{DAY:%Y%m%d}"
    assert step.ScheduledProcedureStepStartTime == "101500"
    assert step.ScheduledProcedureStepID == "A1"
    assert step.ScheduledProcedureStepDescription == "胸部平扫"


def test_what_was_not_asked_for_stays_away_and_what_must_come_comes(gateway):
    placed(gateway)
    asked = Dataset()
    asked.PatientSex = ""
    (answer,) = [one for _, one in ask_plainly(gateway, asked) if one]
    assert [element.keyword for element in answer] == [
        *("SpecificCharacterSet", "PatientName", "PatientID", "PatientSex", "StudyInstanceUID"),
        *(
            "RequestedProcedureDescription",
            "ScheduledProcedureStepSequence",
            "RequestedProcedureID",
        ),
    ]
    assert [element.keyword for element in answer.ScheduledProcedureStepSequence[0]] == [
        *("Modality", "ScheduledStationAETitle", "ScheduledProcedureStepStartDate"),
        *("ScheduledProcedureStepStartTime", "ScheduledProcedureStepDescription"),
        "ScheduledProcedureStepID",
    ]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ({}, ["A1", "A2"]),
        ({"modality": "CT"}, ["A1"]),
        ({"modality": "ct"}, ["A1"]),
        ({"modality": "MR"}, []),
        ({"station": "EAST_CT"}, ["A1", "A2"]),
        ({"station": "EAST_DX"}, ["A1"]),
        ({"station": "EAST*"}, ["A1", "A2"]),
        ({"name": "Ding*"}, ["A1"]),
        ({"name": "dInG^xIu*"}, ["A1"]),
        ({"name": "DING^XIUYING"}, ["A1"]),
        ({"name": "丁*"}, ["A1"]),
        ({"name": "丁秀英"}, ["A1"]),
        ({"name": "*秀*"}, ["A1"]),
        ({"name": "Ding*=丁*"}, ["A1"]),
        ({"name": "D?ng*"}, ["A1"]),
        ({"name": "müller*"}, ["A2"]),
        ({"name": "MÜLLER^ÄNNE"}, ["A2"]),
        ({"name": "Xiu*"}, []),
        ({"name": "*"}, ["A1", "A2"]),
        ({"patient": "P-1"}, ["A1"]),
        ({"patient": "P-?"}, ["A1", "A2"]),
        ({"patient": "p-1"}, []),
        ({"accession": "A2"}, ["A2"]),
        ({"requested": "A2"}, ["A2"]),
        ({"step": "A1"}, ["A1"]),
        ({"sex": "M"}, ["A2"]),
        ({"born": "19620814"}, ["A1"]),
        ({"born": "19600101-19621231"}, ["A1"]),
        ({"performer": "Wang*"}, ["A1", "A2"]),  # nobody in particular is to do it
        ({"study": "1.2.3"}, []),
        ({"patient": "P-1", "name": "müller*"}, []),
    ],
)
def test_every_key_matches_as_it_should(gateway, findscu, key, found):
    gateway.add_device("east", "EAST_DX")
    placed(gateway, number="A1")
    placed(
        gateway,
        number="A2",
        name="Müller^Änne",
        name_latin=None,
        patient_id="P-2",
        sex="M",
        birth_date=None,
        modality="DX",
        station="EAST_CT",
    )
    assert numbers(findscu(**key)) == found


def day(offset):
    return f"{DAY + timedelta(days=offset):%Y%m%d}"


@pytest.mark.parametrize(
    ("date_key", "time_key", "found"),
    [
        (day(0), "", ["A0"]),
        (day(1), "", ["A1"]),
        (f"{day(0)}-{day(1)}", "", ["A0", "A1"]),
        (f"-{day(0)}", "", ["A0"]),
        (f"{day(1)}-", "", ["A1", "A2"]),
        ("", "1015", ["A0", "A2"]),
        ("", "10", ["A0", "A2"]),
        ("", "101500", ["A0", "A2"]),
        ("", "1000-1200", ["A0", "A2"]),
        ("", "-0900", ["A1"]),
        (day(0), "1000-1200", ["A0"]),
        (day(0), "1100-1200", []),
        # date and time together: from the first moment to the last
        (f"{day(0)}-{day(1)}", "1100-0830", ["A1"]),
        (f"{day(0)}-{day(1)}", "1000-0700", ["A0"]),
        (f"{day(0)}-{day(2)}", "1016-1015", ["A1", "A2"]),
        (f"{day(1)}-", "0830-", ["A2"]),
    ],
)
def test_dates_and_times(gateway, findscu, date_key, time_key, found):
    placed(gateway, number="A0")
    early = (DAY + timedelta(days=1)).replace(hour=8, minute=0)
    placed(gateway, number="A1", scheduled_at=early.astimezone(UTC))
    placed(gateway, number="A2", scheduled_at=(DAY + timedelta(days=2)).astimezone(UTC))
    assert numbers(findscu(date=date_key, time=time_key)) == found


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [("GB18030", "gb18030"), ("GBK", "gbk"), ("ISO_IR 192", "utf-8")],
)
def test_the_character_set_of_the_query_is_that_of_the_answer(gateway, findscu, charset, encoding):
    placed(gateway, name="丁^秀英", name_latin="Ding^Xiuying")
    (answer,) = findscu(charset=charset, encoding=encoding, name="丁*")
    assert answer.SpecificCharacterSet == charset
    raw = answer.get_item("PatientName").value
    assert "丁".encode(encoding) in (raw if isinstance(raw, bytes) else raw.original_string)
    assert str(answer.PatientName) == "Ding^Xiuying=丁^秀英"


def test_what_a_set_cannot_write_comes_as_unicode(gateway, findscu):
    placed(gateway)
    for charset in ("ISO_IR 100", ""):
        (answer,) = findscu(charset=charset, encoding="latin-1")
        assert answer.SpecificCharacterSet == "ISO_IR 192"
        assert str(answer.PatientName) == "Ding^Xiuying=丁^秀英"


def test_chinese_bytes_without_a_label_are_understood(gateway, findscu):
    placed(gateway)
    assert len(findscu(charset="", encoding="gb18030", name="丁秀英")) == 1


def test_other_sites_orders_do_not_exist(gateway, findscu):
    placed(gateway, "east", "A1")
    placed(gateway, "west", "A2", patient_id="P-1")
    gateway.add_device("hospital", "HOSP_CT")
    assert numbers(findscu("EAST_CT")) == ["A1"]
    assert numbers(findscu("WEST_CT")) == ["A2"]
    assert numbers(findscu("EAST_CT", accession="A2", charset="ISO_IR 192")) == []
    assert numbers(findscu("HOSP_CT")) == ["A1", "A2"]


def test_what_is_over_is_not_on_the_list(gateway, findscu):
    order = placed(gateway)
    assert len(findscu()) == 1
    who = Caller("su", frozenset({Role.DOCTOR}), "east", frozenset({"east"}))
    with gateway.parts.new_unit() as unit:
        orders.cancel(unit, who, order.id, 1, "doppelt", datetime.now(UTC))
    assert findscu() == []


# -- what a program of its own asks ---------------------------------------------------------------


def ask_plainly(gateway, identifier, cancel_after=None, syntax="1.2.840.10008.1.2"):
    """Statuses and answers of one C-FIND by pynetdicom."""
    ae = AE("EAST_CT")
    ae.add_requested_context(MWL, syntax)
    association = ae.associate("127.0.0.1", gateway.port, ae_title="TELEREAD")
    assert association.is_established
    try:
        found = []
        for status, answer in association.send_c_find(identifier, MWL, msg_id=7):
            found.append((status.Status, answer))
            if cancel_after is not None and len(found) == cancel_after:
                association.send_c_cancel(7, query_model=MWL)
        return found
    finally:
        association.release()


def in_step(**keys):
    step = Dataset()
    for keyword, value in keys.items():
        setattr(step, keyword, value)
    asked = Dataset()
    asked.PatientName = ""
    asked.ScheduledProcedureStepSequence = [step]
    return asked


def read(value):
    """Text as pydicom reads it, which leaves the escape sequence of GB2312 in it."""
    return str(value).replace("\x1b$)A", "")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
@pytest.mark.parametrize(
    ("terms", "name", "written"),
    [
        (["", "ISO 2022 IR 58"], "丁^秀英", b"\x1b$)A\xb6\xa1"),
        (["", "ISO 2022 IR 87"], "山田^太郎", b"\x1b$B;3ED"),
        (["", "ISO 2022 IR 149"], "김^희중", b"\x1b$)C\xb1\xe8"),
        (["ISO_IR 100"], "Müller^Änne", b"M\xfcller"),
    ],
)
def test_every_syntax_and_other_scripts(gateway, syntax, terms, name, written):
    order = placed(gateway, name=name, name_latin="Abc^De", procedure=name[:1])
    asked = in_step(ScheduledProcedureStepDescription="")
    asked.SpecificCharacterSet = terms
    ((status, answer), _) = ask_plainly(gateway, asked, syntax=syntax)
    assert status == 0xFF00
    assert answer.StudyInstanceUID == order.study_uid
    assert list(terms) in (answer.SpecificCharacterSet, [answer.SpecificCharacterSet])
    raw = answer.get_item("PatientName").value
    assert written in (raw if isinstance(raw, bytes) else raw.original_string)
    assert read(answer.PatientName) == f"Abc^De={name}"
    (step,) = answer.ScheduledProcedureStepSequence
    assert read(step.ScheduledProcedureStepDescription) == name[:1]
    assert step.ScheduledProcedureStepStartTime == "101500"


def test_a_key_nobody_knows_is_a_warning_and_no_filter(gateway):
    placed(gateway)
    asked = Dataset()
    asked.PatientName = ""
    asked.AdmissionID = "X"
    assert [status for status, _ in ask_plainly(gateway, asked)] == [0xFF01, 0x0000]
    asked.AdmissionID = ""
    assert [status for status, _ in ask_plainly(gateway, asked)] == [0xFF00, 0x0000]
    inside = in_step(ScheduledStationName="Room 1")
    assert [status for status, _ in ask_plainly(gateway, inside)] == [0xFF01, 0x0000]


def test_a_sequence_without_item_is_the_whole_sequence(gateway):
    placed(gateway)
    asked = Dataset()
    asked.ScheduledProcedureStepSequence = []
    ((_, answer), _) = ask_plainly(gateway, asked)
    assert answer.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus == "SCHEDULED"
    asked.ScheduledProcedureStepSequence = [Dataset()]
    ((_, answer), _) = ask_plainly(gateway, asked)
    assert answer.ScheduledProcedureStepSequence[0].Modality == "CT"


def test_the_code_of_a_procedure_matches_in_its_sequence(gateway):
    placed(gateway, code=ProcedureCode("CT1", "99X", "Thorax"))
    placed(gateway)
    for value, count in (("CT1", 1), ("CT2", 0), ("*", 2)):
        asked, item = Dataset(), Dataset()
        item.CodeValue = value
        asked.RequestedProcedureCodeSequence = [item]
        assert len([one for _, one in ask_plainly(gateway, asked) if one]) == count, value


@pytest.mark.parametrize(
    "keys",
    [
        {"ScheduledProcedureStepStartDate": "20261399"},
        {"ScheduledProcedureStepStartDate": "soon"},
        {"ScheduledProcedureStepStartDate": "-"},
        {"ScheduledProcedureStepStartTime": "2561"},
        {"ScheduledProcedureStepStartDate": "2026-", "ScheduledProcedureStepStartTime": "10-"},
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value")
def test_a_value_that_cannot_be_is_refused(gateway, keys):
    placed(gateway)
    ((status, answer),) = ask_plainly(gateway, in_step(**keys))
    assert (status, answer) == (0xC000, None)


def test_a_long_list_comes_whole_and_can_be_cancelled(gateway):
    for number in range(450):
        placed(gateway, number=f"N{number:04d}")
    asked = Dataset()
    asked.AccessionNumber = ""
    found = ask_plainly(gateway, asked)
    assert len({answer.AccessionNumber for _, answer in found if answer}) == 450
    cancelled = ask_plainly(gateway, asked, cancel_after=1)
    assert cancelled[-1][0] == 0xFE00
    assert len(cancelled) < 450


@pytest.mark.filterwarnings("ignore:Invalid value")
def test_no_name_reaches_the_log(gateway, lines):
    placed(gateway)
    asked = in_step(ScheduledProcedureStepStartDate="soon")
    asked.PatientName = "Ding*"
    assert ask_plainly(gateway, asked) == [(0xC000, None)]
    until(lines, "a line")  # the association's own line comes at its end
    assert not [line for line in lines() if "Ding" in line or "soon" in line]
