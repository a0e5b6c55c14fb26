"""What is taken from a data set, in which characters, and what is refused?"""

import json
import struct
import warnings
from dataclasses import fields
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import encode_string
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from storage import header as module
from storage.header import read_header
from worklist.errors import Code, Refusal

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
SHANGHAI = ZoneInfo("Asia/Shanghai")
ROOT = "1.2.840.10008.5.1.4.1.1."


def item(**values):
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def a_set(**changes):
    values = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": f"{ROOT}2",
        "SOPInstanceUID": "1.2.3.1",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.0",
        "Modality": "CT",
        "PatientName": "Wang^XiaoDong=王^小东",
        "PatientID": "P1",
    } | changes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return item(**{key: value for key, value in values.items() if value is not None})


def encoded(dataset, *, implicit=False, little=True):
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = little, implicit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_dataset(stream, dataset)
    return stream.getvalue()


def header(**changes):
    return read_header(encoded(a_set(**changes)), EXPLICIT)


def with_text(label, text, keyword="PatientName"):
    """The header of a set in which the bytes of a name stand under a label, right or wrong."""
    raw = encoded(a_set(**{"SpecificCharacterSet": label, keyword: "PLACEHOLDER "}))
    text += b" " * (len(text) % 2)
    sent = raw.replace(struct.pack("<H", 12) + b"PLACEHOLDER ", struct.pack("<H", len(text)) + text)
    assert sent != raw
    return read_header(sent, EXPLICIT)


# --- identifiers -------------------------------------------------------------------------------

UIDS = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]


@pytest.mark.parametrize("keyword", UIDS)
@pytest.mark.parametrize("value", [None, ""])
def test_missing_uids(keyword, value):
    with pytest.raises(Refusal) as caught:
        header(**{keyword: value})
    assert caught.value.code == Code.MISSING_UID


@pytest.mark.parametrize("keyword", UIDS)
@pytest.mark.parametrize("value", ["1.2.x", "1..2", ".1", "1.", "1" * 65, "../x", "1.2 3", "1,2"])
def test_invalid_uids(keyword, value):
    with pytest.raises(Refusal) as caught:
        header(**{keyword: value})
    assert caught.value.code == Code.INVALID_UID


def test_padded_uids():
    raw = encoded(a_set(StudyInstanceUID="1.2.345"))
    for padding in (b"\0", b" "):
        assert read_header(raw.replace(b"1.2.345\0", b"1.2.345" + padding), EXPLICIT).study_uid == (
            "1.2.345"
        )


def test_refusals_name_no_value():
    with pytest.raises(Refusal) as caught:
        header(StudyInstanceUID="Wang XiaoDong")
    assert "Wang" not in caught.value.message


def test_an_image_without_pixels_was_cut():
    image = {"Rows": 2, "Columns": 2, "BitsAllocated": 8, "PixelRepresentation": 0}
    assert header(**image, PixelData=b"1234").kind == "image"
    with pytest.raises(Refusal) as caught:
        header(**image)
    assert caught.value.code == Code.TRUNCATED


# --- characters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown", "latin"),
    [
        ("chrX1.dcm", "王小東", "Wang XiaoDong"),
        ("chrX2.dcm", "王小东", "Wang XiaoDong"),
        ("chrH31.dcm", "山田太郎", "Yamada Tarou"),
        ("chrH32.dcm", "山田太郎", "ﾔﾏﾀﾞ ﾀﾛｳ"),
        ("chrI2.dcm", "洪吉洞", "Hong Gildong"),
        ("chrGerm.dcm", "Äneas Rüdiger", None),
        ("chrFren.dcm", "Buc Jérôme", None),
        ("chrFrenMulti.dcm", "Buc Jérôme", None),
        ("chrRuss.dcm", "Люкceмбypг", None),
        ("chrGreek.dcm", "Διονυσιος", None),
        ("chrArab.dcm", "قباني لنزار", None),
        ("chrHbrw.dcm", "שרון דבורה", None),
    ],
)
def test_labelled_character_sets(name, shown, latin):
    dataset = pydicom.dcmread(get_charset_files(name)[0])
    implicit = dataset.file_meta.TransferSyntaxUID == IMPLICIT
    found = read_header(encoded(dataset, implicit=implicit), IMPLICIT if implicit else EXPLICIT)
    assert (found.patient.name, found.patient.name_latin) == (shown, latin)
    assert not found.charset_guessed


def test_chinese_by_code_extension():
    """PS3.5 annex K: ISO 2022 IR 58 with escape sequences."""
    name = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab="
    found = with_text(["", "ISO 2022 IR 58"], name)
    assert (found.patient.name, found.charset_guessed) == ("张小东", False)
    without_escapes = with_text(["", "ISO 2022 IR 58"], "张^小东".encode("gb2312"))
    assert (without_escapes.patient.name, without_escapes.charset_guessed) == ("张小东", True)


@pytest.mark.parametrize("label", [None, "", "ISO_IR 6", "ISO_IR 100", "ISO_IR 999", "nonsense"])
@pytest.mark.parametrize("codec", ["gb18030", "utf-8"])
@pytest.mark.parametrize(
    "name",
    ["王^小东", "欧阳^修", "张^玥", "李^喆", "Wang^XiaoDong=王^小东", "刘^洋=刘^洋", "買買提·艾力"],
)
def test_chinese_under_a_wrong_label(label, codec, name):
    found = with_text(label, name.encode(codec))
    plain = name.rpartition("=")[2].replace("^", "")
    assert (found.patient.name, found.charset_guessed) == (plain, True)
    assert found.character_set == ({"gb18030": "GB18030", "utf-8": "ISO_IR 192"}[codec],)


@pytest.mark.parametrize("text", ["CT胸部平扫", "X线 胸片", "心电图", "腹部CT（平扫＋增强）"])
@pytest.mark.parametrize("label", [None, "ISO_IR 100"])
def test_chinese_descriptions(label, text):
    found = with_text(label, text.encode("gb18030"), "StudyDescription")
    assert (found.study_description, found.charset_guessed) == (text, True)


@pytest.mark.parametrize(
    "name",
    ["Müller^Jürgen", "Conceição^Assunção", "Öçalan", "Lefèvre^Hélène", "Ñandú^José", "Åse^Bjørk"],
)
def test_accents_stay_accents(name):
    shown = name.replace("^", " ")
    labelled = with_text("ISO_IR 100", name.encode("latin-1"))
    assert (labelled.patient.name, labelled.charset_guessed) == (shown, False)


@pytest.mark.parametrize("name", ["Müller^Jürgen", "Lefèvre^Hélène"])
def test_accents_without_a_label(name):
    found = with_text(None, name.encode("latin-1"))
    assert (found.patient.name, found.charset_guessed) == (name.replace("^", " "), True)
    assert found.character_set == ("ISO_IR 100",)


@pytest.mark.parametrize("label", ["iso-ir 192", "ISO_IR_192", "ISO IR 192", "UTF-8", "utf8"])
def test_misspelt_labels(label):
    found = with_text(label, "王^小东".encode())
    assert (found.patient.name, found.charset_guessed) == ("王小东", False)


def test_label_of_another_chinese_set():
    assert with_text("GBK", "李^喆".encode("gbk")).patient.name == "李喆"
    for wrong, codec in (("ISO_IR 192", "gb18030"), ("GB18030", "utf-8")):
        found = with_text(wrong, "王^小东".encode(codec))
        assert (found.patient.name, found.charset_guessed) == ("王小东", True)


def test_text_in_items_follows_the_data_set():
    request = item(ReasonForTheRequestedProcedure="PLACEHOLDER ", RequestedProcedurePriority="STAT")
    raw = encoded(
        a_set(
            SpecificCharacterSet=None,
            PatientName="A",
            RequestAttributesSequence=Sequence([request]),
        )
    )
    reason = "胸痛三小时".encode("gb18030") + b"  "
    found = read_header(raw.replace(b"PLACEHOLDER ", reason), EXPLICIT)
    assert found.question == "胸痛三小时"
    assert found.priority == "STAT"


@given(st.binary(max_size=60), st.sampled_from([None, "ISO_IR 100", "ISO_IR 192", "GB18030", "x"]))
def test_any_bytes_become_safe_text(name, label):
    found = with_text(label, name.replace(b"PLACEHOLDER", b"x"))
    shown = (found.patient.name, found.patient.name_latin or "")
    assert all(text.isprintable() or not text.isascii() for text in shown)
    assert not any(ord(character) < 32 for text in shown for character in text)
    json.dumps(found.attributes)


@given(
    st.sampled_from(["ISO 2022 IR 87", "ISO 2022 IR 149", "ISO 2022 IR 58"]), st.binary(max_size=40)
)
def test_any_escapes_become_text(term, tail):
    with_text(["", term], b"Yamada=\x1b$B;3\x1b" + tail)


def test_direction_and_control_characters_are_dropped():
    found = header(StudyDescription="one\x07\u202etwo\u200b\r\nthree\x1b[31m")
    assert found.study_description == "onetwo  three[31m"


def test_lengths_are_bounded():
    found = header(StudyDescription="长" * 5000, AdditionalPatientHistory="x" * 90_000)
    assert len(found.study_description) == 256
    assert len(found.question) <= 4096


# --- what it says ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "shown", "latin"),
    [
        ("Wang^XiaoDong=王^小东", "王小东", "Wang XiaoDong"),
        ("王^小东", "王小东", None),
        ("王小东", "王小东", None),
        ("王小东=王小东", "王小东", None),
        ("欧阳^修^^教授", "教授欧阳修", None),
        ("Smith^John^Q^Dr^Jr", "Dr Smith John Q Jr", None),
        ("^", "", None),
        ("=王^小东", "王小东", None),
        ("Anna", "Anna", None),
        ("买买提·艾力", "买买提·艾力", None),
    ],
)
def test_names(sent, shown, latin):
    found = header(PatientName=sent).patient
    assert (found.name, found.name_latin) == (shown, latin)


@pytest.mark.parametrize(
    ("sent", "taken"), [("F", "F"), ("m", "M"), ("O", "O"), ("U", None), ("", None)]
)
def test_sex(sent, taken):
    assert header(PatientSex=sent).patient.sex == taken


@pytest.mark.parametrize("sent", ["", "   ", None])
def test_no_patient_id(sent):
    assert header(PatientID=sent).patient.patient_id is None


def test_birth_date():
    assert header(PatientBirthDate="19620814").patient.birth_date == date(1962, 8, 14)
    assert header(PatientBirthDate="1962.08.14").patient.birth_date == date(1962, 8, 14)
    for wrong in ("19620230", "1962", "00000000", "abc"):
        assert header(PatientBirthDate=wrong).patient.birth_date is None


@pytest.mark.parametrize(
    ("sop_class", "changes", "kind"),
    [
        ("2", {"PixelData": b"12", "BitsAllocated": 8}, "image"),
        ("7", {"Rows": 8, "Columns": 8}, "image"),
        ("9.1.1", {}, "ecg"),
        ("9.1.2", {}, "ecg"),
        ("9.2.1", {}, "other"),
        ("104.1", {}, "pdf"),
        ("88.11", {}, "other"),
        ("66.4", {"PixelData": b"12", "BitsAllocated": 8}, "other"),
    ],
)
def test_kinds(sop_class, changes, kind):
    assert header(SOPClassUID=ROOT + sop_class, **changes).kind == kind


def test_modality():
    assert header(Modality="ct").modality == "CT"
    assert header(Modality=None).modality == "CT"
    assert header(Modality=None, SOPClassUID=f"{ROOT}9.1.1").modality == "ECG"
    assert header(Modality=None, SOPClassUID=f"{ROOT}7").modality == ""


@pytest.mark.parametrize(
    ("keyword", "text", "about"),
    [
        ("StudyDescription", "12导联心电图", True),
        ("SeriesDescription", "rest ECG", True),
        ("ProtocolName", "ecg_12lead", True),
        ("DocumentTitle", "EKG", True),
        ("StudyDescription", "12导ECG报告", True),
        ("StudyDescription", "MRECGO", False),
        ("StudyDescription", "Chest", False),
    ],
)
def test_about_ecg(keyword, text, about):
    assert header(**{keyword: text}).about_ecg is about


def test_frames_and_times_between():
    found = header(NumberOfFrames="48", FrameTime="33.3", Rows=480, Columns=640)
    assert (found.frames, found.frame_time_ms, found.rows, found.columns) == (48, 33.3, 480, 640)
    assert header(CineRate="25").frame_time_ms == 40.0
    assert header(RecommendedDisplayFrameRate="30").frame_time_ms == 33.333
    assert header().frame_time_ms is None
    for wrong in (b"0 ", b"-5", b"  ", b"many", b"99999999999999"):
        value = b"IS" + struct.pack("<H", len(wrong)) + wrong
        raw = encoded(a_set(NumberOfFrames="77")).replace(b"IS\x02\x0077", value)
        assert read_header(raw, EXPLICIT).frames == 1


@pytest.mark.parametrize("syntax", [(IMPLICIT, True, True), ("1.2.840.10008.1.2.2", False, False)])
def test_numbers_in_every_byte_order(syntax):
    name, implicit, little = syntax
    raw = encoded(a_set(Rows=300, Columns=200, SeriesNumber="7"), implicit=implicit, little=little)
    found = read_header(raw, name)
    assert (found.rows, found.columns, found.series_number) == (300, 200, 7)


def test_question_priority_and_requester():
    found = header(
        ReasonForTheRequestedProcedure="chest pain",
        ReasonForStudy="chest pain",
        AdmittingDiagnosesDescription="angina",
        AdditionalPatientHistory="smoker\r\nsince 1990",
        RequestedProcedurePriority="HIGH",
        ReferringPhysicianName="Ma^Li=马^丽",
    )
    assert found.question == "chest pain; angina; smoker  since 1990"
    assert found.priority == "HIGH"
    assert found.requester == "马丽"
    other = header(RequestingPhysician="Su^Hai", StudyPriorityID="MED")
    assert (other.requester, other.priority) == ("Su Hai", "MED")
    nothing = header()
    assert (nothing.question, nothing.priority, nothing.requester) == (None, None, None)


def test_a_description_from_the_procedure():
    assert header(RequestedProcedureDescription="Chest CT").study_description == "Chest CT"
    code = item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning="胸部CT")
    assert header(ProcedureCodeSequence=Sequence([code])).study_description == "胸部CT"


# --- when --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"AcquisitionDateTime": "20261122101500.25"}, (2026, 11, 22, 2, 15, 0, 250_000)),
        ({"AcquisitionDateTime": "20261122101500+0100"}, (2026, 11, 22, 9, 15)),
        ({"AcquisitionDate": "20261122", "AcquisitionTime": "1015"}, (2026, 11, 22, 2, 15)),
        ({"ContentDate": "20261122", "ContentTime": "10"}, (2026, 11, 22, 2, 0)),
        ({"StudyDate": "2026.11.22", "StudyTime": "10:15:30"}, (2026, 11, 22, 2, 15, 30)),
        ({"StudyDate": "20261122", "StudyTime": "101560"}, (2026, 11, 22, 2, 15, 59)),
        (
            {"StudyDate": "20261122", "StudyTime": "101500", "TimezoneOffsetFromUTC": "-0500"},
            (2026, 11, 22, 15, 15),
        ),
        (
            {"StudyDate": "20261122", "StudyTime": "101500", "TimezoneOffsetFromUTC": "nonsense"},
            (2026, 11, 22, 2, 15),
        ),
        (
            {"AcquisitionDate": "20261131", "AcquisitionTime": "1015"}
            | {"StudyDate": "20261122", "StudyTime": "0900"},
            (2026, 11, 22, 1, 0),
        ),
        ({"StudyDate": "20261122"}, None),
        ({"StudyDate": "20261122", "StudyTime": "2515"}, None),
        ({"StudyDate": "00010101", "StudyTime": "0000"}, None),
        ({"AcquisitionDateTime": "2026"}, None),
        ({}, None),
    ],
)
def test_acquired_at(changes, expected):
    instant = header(**changes).acquired_at(SHANGHAI)
    assert instant == (datetime(*expected, tzinfo=UTC) if expected else None)


def test_dates_are_kept_as_received():
    found = header(StudyDate="2026.11.22", StudyTime="10:15")
    assert (found.study_date, found.study_time) == ("2026.11.22", "10:15")


# --- for queries -------------------------------------------------------------------------------


def test_attributes_are_dicom_json():
    found = header(
        StudyID="S 1", ImageType=["ORIGINAL", "PRIMARY"], PatientWeight="70.5", Laterality=""
    )
    assert json.loads(json.dumps(found.attributes)) == {
        "00080008": {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY"]},
        "00100010": {
            "vr": "PN",
            "Value": [{"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小东"}],
        },
        "00101030": {"vr": "DS", "Value": [70.5]},
        "00200010": {"vr": "SH", "Value": ["S 1"]},
        "00200060": {"vr": "CS"},
    }


@pytest.mark.parametrize("name", ["CT_small.dcm", "waveform_ecg.dcm", "examples_palette.dcm"])
def test_the_same_values_as_pydicom(name):
    dataset = pydicom.dcmread(get_testdata_file(name, download=False))
    found = read_header(encoded(dataset), EXPLICIT)
    assert found.study_uid == dataset.StudyInstanceUID
    assert found.sop_uid == dataset.SOPInstanceUID
    assert found.patient.patient_id == dataset.PatientID
    assert found.rows == dataset.get("Rows")
    assert found.manufacturer == dataset.Manufacturer
    assert not found.charset_guessed
    assert all(getattr(found, one.name) != "" for one in fields(found) if one.name != "modality")


def test_encoding_by_pydicom_is_read_back():
    for term, text in (("GB18030", "王^小东"), ("ISO_IR 192", "王^小东"), ("ISO_IR 100", "Jérôme")):
        codec = {"GB18030": "gb18030", "ISO_IR 192": "utf8", "ISO_IR 100": "latin_1"}[term]
        assert with_text(term, encode_string(text, [codec])).patient.name == text.replace("^", "")


# --- the next instance of a series -------------------------------------------------------------

_SERIES_OF = {
    "StudyDate": "20260102",
    "StudyTime": "0910",
    "AcquisitionDate": "20260102",
    "AcquisitionTime": "0911",
    "ContentDate": "20260102",
    "ContentTime": "0912",
    "AcquisitionDateTime": "20260102091300",
    "AccessionNumber": "A1",
    "InstanceNumber": "1",
    "SeriesNumber": "1",
    "SeriesDescription": "Thorax",
    "PatientSex": "M",
    "PatientBirthDate": "19600102",
    "RequestAttributesSequence": Sequence([item(RequestedProcedurePriority="HIGH")]),
    "Rows": 2,
    "Columns": 2,
    "BitsAllocated": 8,
    "PixelRepresentation": 0,
    "NumberOfFrames": "1",
}
_CHANGES = [
    {"SOPInstanceUID": "1.2.3.2"},
    {"InstanceNumber": "2", "AcquisitionTime": "1011", "ContentTime": "1012"},
    {"AcquisitionDateTime": None, "AcquisitionDate": None, "ContentDate": "20260103"},
    {"PatientName": "Li^Na=李^娜"},
    {"PatientID": "P2"},
    {"PatientSex": None},
    {"PatientBirthDate": "19700102"},
    {"SpecificCharacterSet": "GB18030"},
    {"SpecificCharacterSet": None},
    {"StudyInstanceUID": "1.2.4"},
    {"SOPClassUID": f"{ROOT}4"},
    {"Modality": "PT"},
    {"AccessionNumber": "A2"},
    {"SeriesDescription": None},
    {"SeriesDescription": "x" * 9000},
    {"RequestAttributesSequence": Sequence([item(RequestedProcedurePriority="LOW")])},
    {"NumberOfFrames": "7"},
    {"Rows": 3},
    {"OperatorsName": "not read"},
    {"StationName": "CT2"},
    {"Manufacturer": "M"},
]


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("changes", _CHANGES, ids=",".join)
def test_the_next_instance_of_a_series_is_read_as_if_it_were_the_first(changes, implicit):
    syntax = IMPLICIT if implicit else EXPLICIT
    first, second = (
        encoded(a_set(**_SERIES_OF, PixelData=bytes(4)), implicit=implicit),
        encoded(a_set(**(_SERIES_OF | {"PixelData": bytes(4)} | changes)), implicit=implicit),
    )
    module._recent.clear()
    alone = [read_header(one, syntax) for one in (second,)]
    module._recent.clear()
    read_header(first, syntax)
    assert [read_header(second, syntax)] == alone
    assert [read_header(memoryview(bytearray(second)), syntax)] == alone
    module._recent.clear()
    before = read_header(first, syntax)
    read_header(second, syntax)
    assert read_header(first, syntax) == before


def test_a_series_that_loses_its_pixels_is_refused_though_the_one_before_was_whole():
    read_header(encoded(a_set(**_SERIES_OF, PixelData=bytes(4))), EXPLICIT)
    with pytest.raises(Refusal) as refused:
        read_header(encoded(a_set(**_SERIES_OF)), EXPLICIT)
    assert refused.value.code is Code.TRUNCATED


def test_what_is_remembered_of_series_is_bounded_and_holds_no_image():
    for number in range(600):
        read_header(encoded(a_set(SeriesInstanceUID=f"1.2.{number + 1}")), EXPLICIT)
    assert len(module._recent) <= 256
    assert all(len(one.text.scan.data) == 0 for one in module._recent.values())
