"""What becomes of data sets that no honest device makes, and of those of other projects?

Each is refused, or kept so that no later query, list or viewer breaks on it.
"""

import io
import logging
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from sqlalchemy import text

from gateway.logs import _SILENT
from storage import scan
from storage.header import read_header
from tests.protocol.hostile import (
    BIG,
    C_GET,
    CALLER,
    CT,
    DEFLATED,
    ECG,
    EXPLICIT,
    GET,
    HONEST,
    IMPLICIT,
    JPEG,
    RLE,
    Closed,
    Named,
    Place,
    as_named,
    associated,
    command,
    el,
    even,
    file_of,
    identifier,
    im,
    message,
    pdu,
    pdv,
    store,
    store_rq,
)

ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
ENDLESS = b"\xff\xff\xff\xff"
NOTHING = bytes(4)
REFUSED = {0xA900, 0xC000, 0xC001, 0xC002, 0xC003}


class Lines(logging.Handler):
    """Everything that was logged."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        if record.name.split(".")[0] in _SILENT:  # see test_what_libraries_say_is_not_logged
            return
        self.lines.append(logging.Formatter().format(record))


@pytest.fixture(scope="module")
def logged():
    lines = Lines()
    logging.getLogger().addHandler(lines)
    logging.getLogger("teleread").setLevel(logging.INFO)
    yield lines.lines
    logging.getLogger().removeHandler(lines)


@pytest.fixture(scope="module")
def place(tmp_path_factory, logged):
    one = Place(tmp_path_factory.mktemp("hostile") / "data")
    yield one
    one.close()


@pytest.fixture(autouse=True)
def nothing_is_told(logged):
    """No traceback, and nobody's name or number, in any line."""
    del logged[:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, about what is read; they are errors elsewhere
        yield
    said = "\n".join(logged)
    assert "Traceback" not in said
    assert not any(word in said for word in ("Ruan", "Meilin", "PID-7731")), said


def items(*values: bytes) -> bytes:
    return b"".join(ITEM + struct.pack("<I", len(one)) + one for one in values)


def nested(depth: int, *, defined: bool, explicit: bool = True) -> bytes:
    """Sequences in sequences."""
    head = struct.pack("<HH", 0x0040, 0xA730) + (b"SQ\0\0" if explicit else b"")
    if not defined:
        return (head + ENDLESS + ITEM + ENDLESS) * depth + (
            ITEM_END + NOTHING + SEQUENCE_END + NOTHING
        ) * depth
    step = len(head) + 4 + 8
    return b"".join(
        head
        + struct.pack("<I", step * (depth - at - 1) + 8)
        + ITEM
        + struct.pack("<I", step * (depth - at - 1))
        for at in range(depth)
    )


def deflated(raw: bytes) -> bytes:
    made = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return made.compress(raw) + made.flush()


def bomb(one: Named, megabytes: int) -> bytes:
    """A deflated image whose pixels are so many megabytes of nothing."""
    made = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    raw = made.compress(one.encoded(x7FE00010=None))
    raw += made.compress(struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OW", megabytes << 20))
    piece = bytes(1 << 20)
    for _ in range(megabytes):
        raw += made.compress(piece)
    return raw + made.flush()


def fragments(*parts: bytes, end: bool = True) -> bytes:
    return (
        struct.pack("<HH2s2x", 0x7FE0, 0x0010, b"OB")
        + ENDLESS
        + items(*parts)
        + (SEQUENCE_END + NOTHING if end else b"")
    )


def us(tag: int, value: int) -> bytes:
    return el(tag, b"US", struct.pack("<H", value))


def many_escapes(number: int) -> bytes:
    return b"\x1b$B0!\x1b(B^" * number


# name → what is changed in a small image; REFUSED, 0 for kept, None where either is right
CHANGES = {
    "odd length": ({"x00081030": el(0x00081030, b"LO", b"abc")}, None),
    "VR garbage": ({"x00081030": el(0x00081030, b"\x01\xff", b"abcd")}, None),
    "VR of question marks": ({"x00081030": el(0x00081030, b"??", b"abcd")}, None),
    "short VR that claims 65534": ({"x00081030": el(0x00081030, b"LO", b"ab", 65534)}, REFUSED),
    "4 GB element": ({"x00091001": el(0x00091001, b"OB", b"ab", 0xFFFFFFFE)}, REFUSED),
    "4 GB item": (
        {"x00081110": el(0x00081110, b"SQ", ITEM + b"\xfe\xff\xff\xff", 0xFFFFFFFF)},
        REFUSED,
    ),
    "4 GB item in a known length": (
        {"x00081110": el(0x00081110, b"SQ", ITEM + b"\xfe\xff\xff\xff")},
        None,
    ),
    "4 GB fragment": (
        {"x7FE00010": fragments(b"", end=False) + ITEM + b"\xfe\xff\xff\xff"},
        REFUSED,
    ),
    "fragment of unknown length": (
        {"x7FE00010": fragments(b"", end=False) + ITEM + ENDLESS},
        REFUSED,
    ),
    "fragments without end": ({"x7FE00010": fragments(b"", b"ab", end=False)}, REFUSED),
    "fragments in a native syntax": ({"x7FE00010": fragments(b"", b"ab")}, None),
    "10,000 deep": ({"x0040A730": nested(10_000, defined=False)}, REFUSED),
    "10,000 deep, lengths given": ({"x0040A730": nested(10_000, defined=True)}, REFUSED),
    "60 deep": ({"x0040A730": nested(60, defined=False)}, None),
    "60 deep, lengths given": ({"x0040A730": nested(60, defined=True)}, None),
    "10,000 deep in UN": (
        {"x00091001": el(0x00091001, b"UN", items(nested(10_000, defined=False, explicit=False)))},
        REFUSED,
    ),
    "10,000 deep in private UN of unknown length": (
        {
            "x00091001": el(
                0x00091001,
                b"UN",
                ITEM
                + ENDLESS
                + nested(10_000, defined=False, explicit=False)
                + ITEM_END
                + NOTHING
                + SEQUENCE_END
                + NOTHING,
                0xFFFFFFFF,
            )
        },
        REFUSED,
    ),
    "pixels that are not there": (
        {"x00280010": us(0x00280010, 65535), "x00280011": us(0x00280011, 65535)},
        None,
    ),
    "no rows": ({"x00280010": us(0x00280010, 0)}, None),
    "rows of two values": ({"x00280010": el(0x00280010, b"US", b"\x08\0\x08\0")}, None),
    "rows as text": ({"x00280010": el(0x00280010, b"LO", b"eight ")}, None),
    "300 bits": ({"x00280100": us(0x00280100, 300)}, None),
    "0 bits": ({"x00280100": us(0x00280100, 0)}, None),
    "40 samples": ({"x00280002": us(0x00280002, 40)}, None),
    "a million frames": ({"x00280008": el(0x00280008, b"IS", b"1000000 ")}, None),
    "frames beyond numbers": ({"x00280008": el(0x00280008, b"IS", b"9" * 400)}, None),
    "frames below zero": ({"x00280008": el(0x00280008, b"IS", b"-5")}, None),
    "frames nan": ({"x00280008": el(0x00280008, b"IS", b"nan ")}, None),
    "numbers beyond": (
        {
            "x00200011": el(0x00200011, b"IS", b"99999999999999"),
            "x00200013": el(0x00200013, b"IS", b"1e300 "),
            "x00101030": el(0x00101030, b"DS", b"inf "),
        },
        None,
    ),
    "palette without palette": ({"x00280004": el(0x00280004, b"CS", b"PALETTE COLOR ")}, None),
    "unknown photometric": ({"x00280004": el(0x00280004, b"CS", b"%n%n%s%s")}, None),
    "date of year 1": (
        {
            "x00080020": el(0x00080020, b"DA", b"00010101"),
            "x00080030": el(0x00080030, b"TM", b"000000"),
        },
        0,
    ),
    "date of year 9999": (
        {
            "x00080020": el(0x00080020, b"DA", b"99991231"),
            "x00080030": el(0x00080030, b"TM", b"235959"),
            "x00080201": el(0x00080201, b"SH", b"-1200 "),
            "x00100030": el(0x00100030, b"DA", b"99991231"),
        },
        0,
    ),
    "dates that are none": (
        {
            "x00080020": el(0x00080020, b"DA", b"20261399"),
            "x00080030": el(0x00080030, b"TM", b"';drop"),
            "x00100030": el(0x00100030, b"DA", b"$(id)   "),
        },
        0,
    ),
    "NUL and control characters": (
        {
            "x00100010": el(0x00100010, b"PN", b"Ru\0an\r\n\x1b[31m^%n%s"),
            "x00081030": el(0x00081030, b"LO", b"a\0b\r\nSet-Cookie: x\x7f"),
            "x00080060": el(0x00080060, b"CS", b"C\0T\r\n\x1b["),
        },
        None,
    ),
    "SQL, shell, format, path, markup": (
        {
            "x00100020": el(0x00100020, b"LO", b"'; DROP TABLE study;--"),
            "x00081030": el(0x00081030, b"LO", even(b"<script>alert(1)</script>${jndi:x}")),
            "x0008103E": el(0x0008103E, b"LO", b"../../../etc/passwd%00"),
            "x00080050": el(0x00080050, b"SH", b"`id`;$(id)|x"),
            "x00180015": el(0x00180015, b"CS", b"%n%s%x"),
            "x00080060": el(0x00080060, b"CS", b"../../x "),
        },
        0,
    ),
    "modality of signs that grow": (
        {"x00080060": el(0x00080060, b"CS", even("ΐ".encode() * 16))},
        0,
    ),
    "no name, no id": ({"x00100010": None, "x00100020": None}, 0),
    "name of bytes that are no text": (
        {"x00100010": el(0x00100010, b"PN", bytes(range(128, 256)))},
        0,
    ),
    "charset nobody knows": ({"x00080005": el(0x00080005, b"CS", b"../../x ")}, None),
    "charset of a thousand terms": (
        {"x00080005": el(0x00080005, b"CS", even(b"\\".join([b"ISO 2022 IR 87"] * 1000)))},
        None,
    ),
    "ten thousand escapes": (
        {
            "x00080005": el(0x00080005, b"CS", b"\\ISO 2022 IR 87\\ISO 2022 IR 159 "),
            "x00100010": el(0x00100010, b"PN", even(many_escapes(6000))),
            "x00102000": el(0x00102000, b"LO", even(many_escapes(6000))),
        },
        None,
    ),
    "thousands of values": (
        {
            "x00080008": el(0x00080008, b"CS", even(b"\\".join([b"A"] * 30_000))),
            "x00081060": el(0x00081060, b"PN", even(b"\\".join([b"A^B"] * 15_000))),
        },
        None,
    ),
    "10 MB in one name": (
        {"x00101005": el(0x00101005, b"UN", "阮".encode() * (10 << 20 >> 2))},
        None,
    ),
    "element twice, with two values": (
        {"x00100021": el(0x00100021, b"LO", b"ab") + el(0x00100021, b"LO", b"cd")},
        REFUSED,
    ),
    "study twice": (
        {
            "x0020000D": el(0x0020000D, b"UI", b"1.2.3.4\0") + el(0x0020000D, b"UI", b"1.2.3.5\0"),
        },
        REFUSED,
    ),
    "a group of commands": ({"x00000100": el(0x00000100, b"US", b"\x01\0")}, REFUSED),
    "file meta inside": ({"x00020010": el(0x00020010, b"UI", b"1.2.3.4\0")}, REFUSED),
    "rubbish behind": ({"xFFFEE00D": b"rubbish that is no element"}, REFUSED),
    "zeros behind": ({"xFFFEE00D": bytes(64)}, 0),
    "private of 8 MB": ({"x00091001": el(0x00091001, b"OB", bytes(8 << 20))}, 0),
    "sequence that holds none": ({"x00081110": el(0x00081110, b"SQ", b"garbage!")}, None),
    "study time as sequence": (
        {"x00080030": el(0x00080030, b"SQ", items(el(0x00080020, b"DA", b"20200101")))},
        None,
    ),
    "name as sequence": ({"x00100010": el(0x00100010, b"SQ", items(b""))}, None),
    "name as numbers": ({"x00100010": el(0x00100010, b"FD", bytes(range(8)))}, None),
    "no class": ({"x00080016": None}, REFUSED),
    "another class": ({"x00080016": el(0x00080016, b"UI", even(ECG.encode(), b"\0"))}, REFUSED),
    "no instance": ({"x00080018": None}, REFUSED),
    "another instance": ({"x00080018": el(0x00080018, b"UI", b"1.2.3.4\0")}, REFUSED),
    "no study": ({"x0020000D": None}, REFUSED),
    "no series": ({"x0020000E": None}, REFUSED),
} | {
    f"study {uid!r}": ({"x0020000D": el(0x0020000D, b"UI", even(uid, b"\0"))}, said)
    for uid, said in (
        (b"", REFUSED),
        (b"../../x", REFUSED),
        (b"/etc/passwd", REFUSED),
        (b"1.2.3;rm -rf .", REFUSED),
        (b"1.2.%n%s", REFUSED),
        (b"1.2.3\0../../x", REFUSED),
        (b"1.2.3' OR '1'='1", REFUSED),
        (b"1.2.\xe9", REFUSED),
        (b"1..2", REFUSED),
        (b".1.2", REFUSED),
        (b"1.2.", REFUSED),
        (b"1.2.3\\1.2.4", REFUSED),
        (b"1." + b"2" * 63, REFUSED),
        (b"1.2\n3", REFUSED),
        (b"1.2.003", 0),
    )
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_a_hostile_element(place, name):
    changes, said = CHANGES[name]
    one = Named()
    began = time.monotonic()
    status = store(place.port, one.encoded(**changes), EXPLICIT, CT, one.sop)
    assert time.monotonic() - began < 20
    if said is not None:
        assert status in (said if isinstance(said, set) else {said}), f"{status:04X}"
    else:
        assert status in REFUSED | {0}, f"{status:04X}"
    if status == 0:
        with place.parts.view() as unit:
            (row,) = unit.studies.versions("c1", one.sop)
            uids = unit.connection.execute(
                text(
                    "SELECT study.study_uid, series.series_uid FROM series JOIN study"
                    " ON study.id = series.study_id WHERE series.id = :id"
                ),
                {"id": row.series_id},
            ).one()
        place.seen(Named(one.sop, uids[1], uids[0]))
    else:
        with place.parts.view() as unit:
            assert not unit.studies.versions("c1", one.sop)


ONE = Named()
WHOLE = ONE.encoded()
AS_IMPLICIT = b"".join(
    value[:4] + struct.pack("<I", len(value) - head) + value[head:]
    for _, value in sorted(ONE.elements().items())
    for head in (12 if value[4:6] == b"OW" else 8,)
)
RAW = {
    "nothing at all": (b"", EXPLICIT, REFUSED),
    "one byte": (b"\x08", EXPLICIT, REFUSED),
    "zeros": (bytes(4096), EXPLICIT, REFUSED),
    "a group's length alone": (el(0x00080000, b"UL", b"\x10\0\0\0"), EXPLICIT, REFUSED),
    "a file with its preamble": (file_of(ONE), EXPLICIT, REFUSED),
    "implicit sent as explicit": (AS_IMPLICIT, EXPLICIT, None),  # each element says how it is read
    "explicit sent as implicit": (WHOLE, IMPLICIT, REFUSED),
    "little sent as big": (WHOLE, BIG, REFUSED),
    "big sent as little": (
        b"".join(
            el(tag, b"UI", even(uid.encode(), b"\0"), order=">")
            for tag, uid in ((0x00080016, CT), (0x00080018, ONE.sop))
        ),
        EXPLICIT,
        REFUSED,
    ),
    "plain sent as deflated": (WHOLE, DEFLATED, REFUSED),
    "deflated sent as plain": (deflated(WHOLE), EXPLICIT, REFUSED),
    "deflated, cut": (deflated(WHOLE)[:-20], DEFLATED, REFUSED),
    "deflated nothing": (deflated(b""), DEFLATED, REFUSED),
    "native sent as JPEG": (WHOLE, JPEG, None),
    "native sent as RLE": (WHOLE, RLE, None),
    "HTML": (b"<html><body>hello</body></html>", EXPLICIT, REFUSED),
    "ELF": (b"\x7fELF\x02\x01\x01" + bytes(256), EXPLICIT, REFUSED),
}


@pytest.mark.parametrize("name", list(RAW))
def test_bytes_that_are_not_what_was_agreed_on(place, name):
    raw, syntax, said = RAW[name]
    status = store(place.port, raw, syntax, CT, ONE.sop)
    assert status in (said or REFUSED | {0}), f"{status:04X}"
    if status == 0:
        place.seen(ONE)


FRAMES = {
    "nothing in it": fragments(),
    "an offset table alone": fragments(b"\0\0\0\0"),
    "a table that points far away": fragments(b"\0\0\0\0\xff\xff\xff\x7f", b"\xff\xd8\xff\xd9"),
    "a table of odd length": fragments(b"\0\0\0", b"\xff\xd8\xff\xd9"),
    "not one JPEG sign": fragments(b"", b"rubbish!" * 64),
    "only the beginning of a JPEG": fragments(b"", b"\xff\xd8\xff\xe0\0\x10JFIF\0"),
    "ten thousand empty ones": fragments(b"", *[b""] * 10_000),
    "a JPEG that claims 65,535 squared": fragments(
        b"", b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\x01\x01\x11\0\xff\xd9"
    ),
}


@pytest.mark.parametrize("syntax", [JPEG, RLE])
@pytest.mark.parametrize("name", list(FRAMES))
def test_fragments_that_lie(place, name, syntax):
    one = Named()
    status = store(place.port, one.encoded(x7FE00010=FRAMES[name]), syntax, CT, one.sop)
    assert status == 0
    place.seen(one)
    with associated(place.port, (GET, IMPLICIT), (CT, EXPLICIT), calling=HONEST) as peer:
        peer.say(message(1, command(C_GET, GET), identifier("IMAGE", one)))
        said = peer.statuses()[-1]  # it cannot be sent in a syntax it cannot be put into
        assert said in (0xA702, 0xB000), f"{said:04X}"


def waveform(*changes: tuple[int, bytes]) -> bytes:
    """A multiplex group of an ECG, with elements changed."""
    whole = {
        0x003A0004: el(0x003A0004, b"CS", b"ORIGINAL"),
        0x003A0005: us(0x003A0005, 1),
        0x003A0010: el(0x003A0010, b"UL", struct.pack("<I", 100)),
        0x003A001A: el(0x003A001A, b"DS", b"500 "),
        0x003A0200: el(
            0x003A0200,
            b"SQ",
            items(
                el(0x003A0208, b"SQ", items(el(0x00080100, b"SH", b"2:1 ")))
                + el(0x003A0210, b"DS", b"1 ")
                + us(0x003A021A, 16)
            ),
        ),
        0x54001004: us(0x54001004, 16),
        0x54001006: el(0x54001006, b"CS", b"SS"),
        0x54001010: el(0x54001010, b"OW", bytes(200)),
    } | dict(changes)
    return el(0x54000100, b"SQ", items(b"".join(one for _, one in sorted(whole.items()))))


WAVES = {
    "as it should be": waveform(),
    "no group": el(0x54000100, b"SQ", b""),
    "4 billion samples": waveform((0x003A0010, el(0x003A0010, b"UL", ENDLESS))),
    "65,535 channels": waveform((0x003A0005, us(0x003A0005, 65535))),
    "0 Hz": waveform((0x003A001A, el(0x003A001A, b"DS", b"0 "))),
    "nan Hz": waveform((0x003A001A, el(0x003A001A, b"DS", b"nan "))),
    "1e300 Hz": waveform((0x003A001A, el(0x003A001A, b"DS", b"1e300 "))),
    "Hz that are none": waveform((0x003A001A, el(0x003A001A, b"DS", b"$(id)."))),
    "300 bits": waveform((0x54001004, us(0x54001004, 300))),
    "no data": waveform((0x54001010, el(0x54001010, b"OW", b""))),
    "unknown format": waveform((0x54001006, el(0x54001006, b"CS", b"%n"))),
    "no channels described": waveform((0x003A0200, el(0x003A0200, b"SQ", b""))),
}


@pytest.mark.parametrize("name", list(WAVES))
def test_an_ecg_that_lies(place, name):
    one = Named(sop_class=ECG)
    raw = one.encoded(x7FE00010=None, x00280010=None, x00280011=None, x54000100=WAVES[name])
    assert store(place.port, raw, EXPLICIT, ECG, one.sop) == 0
    place.seen(one)


def test_a_document_that_is_none(place):
    for body in (b"", b"no PDF", b"%PDF-1.7\n" + bytes(64), b"MZ\x90\0"):
        one = Named(sop_class="1.2.840.10008.5.1.4.1.1.104.1")
        raw = one.encoded(
            x7FE00010=None,
            x00280010=None,
            x00420011=el(0x00420011, b"OB", even(body, b"\0")),
            x00420012=el(0x00420012, b"LO", b"text/html; <script>"[:18]),
        )
        assert store(place.port, raw, EXPLICIT, one.sop_class, one.sop) == 0
        place.seen(one)


def test_the_honest_are_served_after_all_that(place):
    place.works()
    place.settled()


# --- what is large without being large -----------------------------------------------------------


def test_a_deflated_set_that_is_just_let_in_breaks_no_view(place):
    """60 MB of pixels in 60 KB; what inflates further is refused (see the crowd)."""
    one = Named()
    raw = bomb(one, 60)
    assert store(place.port, raw, DEFLATED, CT, one.sop) == 0
    place.seen(one)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_a_hundred_thousand_elements_are_no_instance(place, syntax):
    """Each costs a sender 8 bytes, and a reader far more."""
    tags = [
        group | number for group in (0x00110000, 0x00130000) for number in range(0x1000, 0xFFFF)
    ]
    if syntax == EXPLICIT:
        raw = ONE.encoded(x00111000=b"".join(el(tag, b"LO", b"") for tag in tags))
    else:
        cut = AS_IMPLICIT.index(struct.pack("<HH", 0x0020, 0x000D))
        raw = AS_IMPLICIT[:cut] + b"".join(im(tag, b"") for tag in tags) + AS_IMPLICIT[cut:]
    assert store(place.port, raw, syntax, CT, ONE.sop) == 0xC000


def test_ten_megabytes_of_one_name_take_no_time():
    one = Named()
    raw = one.encoded(x00100010=el(0x00100010, b"UN", "阮".encode() * ((10 << 20) // 3 // 2 * 2)))
    began = time.monotonic()
    header = read_header(raw, EXPLICIT)
    assert time.monotonic() - began < 5
    assert len(header.patient.name) < 1 << 16


def test_the_walk_of_many_small_items_is_not_held_in_memory():
    one = Named()
    inside = items(*[el(0x00081150, b"UI", b"1.2.3.4\0")] * 50_000)
    raw = one.encoded(x00081140=el(0x00081140, b"SQ", inside))
    assert len(scan.scan(raw, EXPLICIT).elements) == 19


# --- what comes out again ------------------------------------------------------------------------

PREAMBLES = {
    "ELF": b"\x7fELF\x02\x01\x01",
    "PE": b"MZ\x90\0\x03\0",
    "HTML": b"<html><script>alert(1)</script>",
    "script": b"#!/bin/sh\nid\n",
    "TIFF": b"II*\0\x08\0\0\0",
}


@pytest.mark.parametrize("name", list(PREAMBLES))
def test_a_preamble_that_can_be_run_does_not_come_out_again(place, name):
    one = Named()
    answer = _stow(place, file_of(one, PREAMBLES[name]))
    assert answer.status_code == 200, answer.text
    place.seen(one)  # looks at the preamble of what WADO gives
    for path in place.folder.rglob("*"):
        if path.is_file() and "objects" in path.parts:
            raw = path.read_bytes()
            assert PREAMBLES[name].ljust(128, b"\0") not in raw


def _stow(place, body: bytes, content: str | None = None, **headers: str):
    boundary = "xyz"
    whole = (
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        + body
        + f"\r\n--{boundary}--\r\n".encode()
    )
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return place.doctor.http.post(
        "/dicom-web/studies", content=whole, headers={"Content-Type": content or kind, **headers}
    )


def test_the_same_changes_through_the_web(place):
    for name, (changes, said) in CHANGES.items():
        one = Named()
        answer = _stow(place, file_of(one, **changes))
        assert answer.status_code < 500, (name, answer.text)
        if isinstance(said, set) and said == REFUSED and "another" not in name:
            assert answer.status_code in (400, 409), (name, answer.status_code)


STOW = {
    "no boundary": ({"content": "multipart/related; type=application/dicom"}, 422),
    "another boundary": (
        {"content": 'multipart/related; type="application/dicom"; boundary=other'},
        None,
    ),
    "a boundary of 10,000": (
        {"content": f'multipart/related; type="application/dicom"; boundary={"b" * 10_000}'},
        None,
    ),
    "gzip": ({"headers": {"Content-Encoding": "gzip"}}, 415),
    "JSON": ({"content": "application/dicom+json"}, 415),
}


@pytest.mark.parametrize("name", list(STOW))
def test_bodies_that_lie(place, name):
    how, said = STOW[name]
    answer = _stow(place, file_of(Named()), how.get("content"), **how.get("headers", {}))
    assert 400 <= answer.status_code < 500, answer.text
    assert said in (None, answer.status_code)


def test_headers_of_a_part_have_an_end(place):
    body = b"--x\r\n" + b"A: " + b"b" * (4 << 20)
    answer = place.doctor.http.post(
        "/dicom-web/studies",
        content=body,
        headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'},
    )
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize("length", ["-1", "99999999999999999999", "1e3", "7, 9"])
def test_lengths_of_bodies_that_lie(place, length):
    with socket.create_connection(("127.0.0.1", place.edge.port), timeout=20) as peer:
        peer.sendall(
            b"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Length: "
            + length.encode()
            + b"\r\n\r\n--x"
        )
        peer.shutdown(socket.SHUT_WR)
        said = b""
        while part := peer.recv(65536):
            said += part
    assert not said or int(said.split(b" ", 2)[1]) < 500
    place.reader.get("/api/session")


def test_what_libraries_say_is_not_logged():
    """Their messages and tracebacks quote what was sent."""
    program = (
        "import logging, warnings\n"
        "from gateway.logs import configure_logging\n"
        "configure_logging('INFO')\n"
        "for name in ('pydicom', 'pydicom.pixels.decoders.base', 'pynetdicom.utils'):\n"
        "    logging.getLogger(name).error('Meilin')\n"
        "warnings.simplefilter('always')\n"
        "warnings.warn('Meilin', UserWarning)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "Meilin" not in done.stdout + done.stderr
    assert "UserWarning at <string>:7" in done.stderr


# --- files of other projects ---------------------------------------------------------------------


def through_the_door(place: Place, path: Path) -> str:
    """Send a file as it is, in its own transfer syntax, and look at it; what was answered."""
    raw = path.read_bytes()
    found = pydicom.dcmread(io.BytesIO(raw), force=True, stop_before_pixels=True)
    meta = getattr(found, "file_meta", {})
    syntax = str(meta.get("TransferSyntaxUID", ""))
    if raw[128:132] != b"DICM" or not syntax:
        return "no file"
    start = _data_set_at(raw)
    sop_class = str(found.get("SOPClassUID", "") or CT).strip()
    sop_uid = str(found.get("SOPInstanceUID", "") or "1.2.3.4").strip()
    try:
        status = store(place.port, raw[start:], syntax, sop_class, sop_uid)
    except (Closed, KeyError) as error:
        raise AssertionError(f"{path.name}: the association broke") from error
    except AssertionError:
        return "context refused"
    if status != 0:
        assert status in REFUSED, f"{path.name}: {status:04X}"
        identified = all(
            str(found.get(keyword, "") or "").strip(" \0")
            for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID")
        )
        return f"{status:04X}{'' if identified else ' without identity'}"
    place.seen(as_named(found))
    return "stored"


def _data_set_at(raw: bytes) -> int:
    from gateway.web.stow import read_file

    return len(raw) - len(read_file(raw).data)


PACKAGED = Path(get_testdata_file("CT_small.dcm", download=False)).parent


@pytest.mark.parametrize("name", sorted(path.name for path in PACKAGED.glob("[a-mA-M]*.dcm")))
def test_files_of_pydicom(place, name):
    """Stored and shown, or refused with the status that says why."""
    said = through_the_door(place, PACKAGED / name)
    known = ("C000", "C001", "C002", "C003")
    assert said in ("stored", "no file") or said[:4] in known, said


def test_a_reader_goes_on_while_hostile_sets_come(place):
    """The web answers while ten senders send what takes longest to refuse."""
    deep = nested(10_000, defined=False) * 40

    def send() -> None:
        for _ in range(3):
            one = Named()
            store(place.port, one.encoded(x0040A730=deep), EXPLICIT, CT, one.sop)

    crowd = [threading.Thread(target=send) for _ in range(10)]
    for one in crowd:
        one.start()
    assert place.reader.get("/dicom-web/studies?limit=1").status_code == 200
    for one in crowd:
        one.join(60)
    place.works()


def test_one_byte_in_each_value_and_one_in_each_segment(place):
    one = Named()
    raw, said = one.encoded(), store_rq(CT, one.sop)
    whole = b"".join(pdu(pdv(1, 1, said[at : at + 1])) for at in range(len(said) - 1))
    whole += pdu(pdv(1, 3, said[-1:]))
    whole += b"".join(pdu(pdv(1, 0, raw[at : at + 1])) for at in range(len(raw))) + pdu(
        pdv(1, 2, b"")
    )
    with associated(place.port, (CT, EXPLICIT), calling=CALLER) as peer:
        for at in range(len(whole)):
            peer.say(whole[at : at + 1])
        assert peer.status() == 0
    place.seen(one)
