"""What becomes of a peer that breaks PS3.7 and PS3.8, in whatever way?

A proper refusal or a clean close, at once; no error of ours; and the next device is served.
"""

import logging
import os
import random
import re
import socket
import struct
import threading
import time

import pytest

from gateway.dicom.limits import Limits
from tests.protocol.hostile import (
    ABORT,
    C_ECHO,
    C_FIND,
    C_GET,
    C_MOVE,
    C_STORE,
    COMMITMENT,
    COMMITMENT_INSTANCE,
    CT,
    EXPLICIT,
    FIND,
    GET,
    HONEST,
    IMPLICIT,
    MOVE,
    MPPS,
    N_ACTION,
    N_CREATE,
    N_SET,
    RELEASE,
    VERIFICATION,
    WORKLIST,
    Closed,
    Named,
    Peer,
    Place,
    associate_rq,
    associated,
    command,
    el,
    element,
    even,
    im,
    item,
    message,
    pdu,
    pdv,
    presentation,
    proposing,
    short,
    store_rq,
    until,
    user_information,
)
from tests.protocol.hostile import title as ae_title

BROKEN = re.compile(r"[A-Za-z]+(Error|Exception|Interrupt)\b.* at ")
ECHO = message(1, command(C_ECHO, VERIFICATION, data=False))


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    one = Place(tmp_path_factory.mktemp("hostile") / "data")
    yield one
    one.close()


@pytest.fixture
def place(house, caplog):
    """After each test nobody is left, no line tells of an error of ours, and an honest device is
    served."""
    caplog.set_level(logging.INFO)
    yield house
    house.settled()
    said = [one.getMessage() for one in caplog.records if one.name == "teleread.dicom"]
    assert not [one for one in caplog.records if one.name.startswith(("pynetdicom", "pydicom"))]
    assert not [line for line in said if BROKEN.search(line)]
    assert all(line.isprintable() for line in said)
    house.greets()


def answered(port, *said, then=True):
    """Say it, and how it ended: "accepted", "rejected", "aborted", "closed"; silence fails."""
    with Peer(port) as peer:
        try:
            peer.say(*said)
        except OSError:
            return "closed"
        if then:
            peer.socket.shutdown(socket.SHUT_WR)
        try:
            kind, _ = peer.hear()
        except Closed:
            return "closed"
        return {2: "accepted", 3: "rejected"}[kind]


# --- what is no DICOM ----------------------------------------------------------------------------

OTHERS = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(193),
    "SSH": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "SMB": bytes.fromhex("00000085ff534d4272000000001853c8"),
    "RDP": bytes.fromhex("0300002b26e00000000000436f6f6b69"),
    "HL7": b"\x0bMSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.3\r\x1c\r",
    "nulls": bytes(65536),
    "0xff": b"\xff" * 65536,
    "random": random.Random(7).randbytes(65536),
    "one byte": b"\x01",
    "an answer": b"\x02\0\0\0\0\x04abcd",
    "an abort": ABORT,
    "a release": RELEASE,
    "data": ECHO,
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_another_protocol_on_the_port(place, name):
    assert answered(place.port, OTHERS[name]) == "closed"


# --- association requests ------------------------------------------------------------------------

ECHOING = presentation(1, VERIFICATION, (IMPLICIT,))
INFO = user_information()
UID = VERIFICATION.encode()


def role(uid=UID, roles=b"\1\1", length=None):
    return item(0x54, struct.pack(">H", len(uid) if length is None else length) + uid + roles)


def identity(kind, primary, secondary=b"", length=None):
    size = len(primary) if length is None else length
    return item(
        0x58,
        struct.pack(">BBH", kind, 1, size)
        + primary
        + struct.pack(">H", len(secondary))
        + secondary,
    )


REQUESTS = {
    "255 contexts": (
        associate_rq(
            *[presentation(n, f"1.2.840.113619.4.{n}", (EXPLICIT,)) for n in range(1, 256, 2)],
            INFO,
        ),
        "accepted",
    ),
    "every number, even and zero": (
        associate_rq(*[presentation(n, VERIFICATION, (IMPLICIT,)) for n in range(256)], INFO),
        None,
    ),
    "one number for all": (
        associate_rq(*[presentation(1, f"1.2.3.{n}", (EXPLICIT,)) for n in range(200)], INFO),
        None,
    ),
    "no context": (associate_rq(INFO), None),
    "a context without syntaxes": (associate_rq(presentation(1, VERIFICATION, ()), INFO), None),
    "a context without abstract syntax": (
        associate_rq(presentation(1, None, (IMPLICIT,)), INFO),
        None,
    ),
    "a context of nothing": (associate_rq(item(0x20, b""), INFO), None),
    "200 syntaxes": (
        associate_rq(
            presentation(1, VERIFICATION, (*(f"1.2.3.{n}" for n in range(200)), IMPLICIT)), INFO
        ),
        "accepted",
    ),
    "a syntax of 60,000 characters": (
        associate_rq(presentation(1, VERIFICATION, ("1." + "2" * 60_000,)), INFO),
        None,
    ),
    "an abstract syntax that is a path": (
        associate_rq(presentation(1, "../../x\0;rm", (IMPLICIT,)), INFO),
        None,
    ),
    "syntaxes that are no ASCII": (
        associate_rq(item(0x20, b"\1\0\0\0" + item(0x30, b"\xff\xfe") + item(0x40, b"\xe9")), INFO),
        None,
    ),
    "no user information": (associate_rq(ECHOING), None),
    "empty user information": (associate_rq(ECHOING, item(0x50, b"")), None),
    "user information twice": (associate_rq(ECHOING, INFO, INFO), None),
    "an item nobody knows": (associate_rq(ECHOING, INFO, item(0x99, b"abc")), None),
    "a sub-item nobody knows": (associate_rq(ECHOING, user_information(item(0x7F, b"x"))), None),
    "an item longer than the request": (
        associate_rq(ECHOING, item(0x50, b"abcd", 0xFFFF)),
        None,
    ),
    "a sub-item longer than its item": (
        associate_rq(ECHOING, user_information(item(0x53, b"ab", 0xFFFF))),
        None,
    ),
    "maximum length of 1 byte": (
        associate_rq(ECHOING, item(0x50, item(0x51, b"\x01") + item(0x52, b"1.2.3"))),
        None,
    ),
    "no implementation class": (
        associate_rq(ECHOING, item(0x50, item(0x51, b"\0\0\x40\0"))),
        None,
    ),
    "asynchronous without limit": (
        associate_rq(ECHOING, user_information(item(0x53, bytes(4)))),
        "accepted",
    ),
    "asynchronous of 3 bytes": (
        associate_rq(ECHOING, user_information(item(0x53, bytes(3)))),
        None,
    ),
    "roles for everything": (
        associate_rq(
            ECHOING,
            user_information(*[role(f"1.2.3.{n}".encode()) for n in range(1000)]),
        ),
        "accepted",
    ),
    "roles of 255": (associate_rq(ECHOING, user_information(role(roles=b"\xff\xff"))), None),
    "a role longer than its item": (
        associate_rq(ECHOING, user_information(role(length=0xFFFF))),
        None,
    ),
    "the same role twice": (
        associate_rq(ECHOING, user_information(role(), role(roles=b"\0\0"))),
        None,
    ),
    "extended negotiation of garbage": (
        associate_rq(
            ECHOING,
            user_information(
                item(0x56, struct.pack(">H", len(UID)) + UID + os.urandom(60_000)),
            ),
        ),
        None,
    ),
    "extended negotiation longer than it is": (
        associate_rq(ECHOING, user_information(item(0x56, b"\xff\xff1.2"))),
        None,
    ),
    "common extended negotiation of garbage": (
        associate_rq(ECHOING, user_information(item(0x57, os.urandom(4000)))),
        None,
    ),
    "an identity of 64 KB": (
        associate_rq(ECHOING, user_information(identity(2, b"u" * 32_000, b"p" * 32_000))),
        None,
    ),
    "an identity of no kind": (
        associate_rq(ECHOING, user_information(identity(99, b"\xff\0'; DROP"))),
        None,
    ),
    "an identity that lies": (
        associate_rq(ECHOING, user_information(identity(1, b"ab", length=0xFFFF))),
        None,
    ),
    "an implementation version of 60,000": (
        associate_rq(ECHOING, user_information(item(0x55, b"V" * 60_000))),
        None,
    ),
    "another application context": (
        associate_rq(ECHOING, INFO, name=b"1.2.3.4"),
        "rejected",
    ),
    "no application context": (associate_rq(ECHOING, INFO, name=b""), None),
    "an application context of path": (associate_rq(ECHOING, INFO, name=b"../../x\0\xff"), None),
    "version 0": (associate_rq(ECHOING, INFO, version=0), "rejected"),
    "version 65535": (associate_rq(ECHOING, INFO, version=65535), "accepted"),
    "a request of 0 bytes": (pdu(kind=1), "closed"),
    "a request of 60 bytes": (pdu(bytes(60), kind=1), "closed"),
    "4 GB claimed": (associate_rq(ECHOING, INFO, length=0xFFFFFFFF), "closed"),
    "1 MB claimed": (associate_rq(ECHOING, INFO, length=1 << 20), "closed"),
    "1 MB of contexts": (
        associate_rq(*[presentation(1, "1.2.3.4", (EXPLICIT,))] * 24_000, INFO),
        None,
    ),
    "shorter than it is": (associate_rq(ECHOING, INFO, length=80), None),
}


@pytest.mark.parametrize("name", list(REQUESTS))
def test_an_absurd_request(place, name):
    raw, said = REQUESTS[name]
    began = time.monotonic()
    assert answered(place.port, raw) in ((said,) if said else ("accepted", "rejected", "closed"))
    assert time.monotonic() - began < 8


def test_what_is_remembered_of_requests_has_an_end(place):
    """Of each a thousand objects are made: bytes are counted, not requests."""
    for number in range(50):
        syntaxes = tuple(f"1.2.{number}.{n}" for n in range(60))
        contexts = [presentation(n, f"1.2.3.{n}", syntaxes) for n in range(1, 60, 2)]
        assert answered(place.port, associate_rq(*contexts, INFO)) == "accepted"
    known = place.dicom._negotiator._known
    assert len(known) > 20
    assert sum(map(len, known)) <= 1 << 20


@pytest.mark.parametrize("most", [0, 1, 7, 128, 4095, 2**31, 2**32 - 1])
def test_an_absurd_size_of_pdus(place, most):
    contexts = ((VERIFICATION, IMPLICIT), (CT, EXPLICIT))
    with associated(place.port, *contexts, most=most) as peer:
        one = Named()
        peer.say(ECHO, message(3, store_rq(CT, one.sop), one.encoded()), RELEASE)
        assert peer.status() == 0
        assert peer.status() == 0
        assert peer.hear()[0] == 6


TITLES = {
    "control characters": b"A\r\nINFO x\x07",
    "ANSI": b"\x1b[31mRED\x1b[0m",
    "quotes": b"'\"`;--",
    "formats": b"%s%n%d{0}",
    "UTF-8": "心电".encode(),
    "GBK": "心电图".encode("gbk"),
    "Latin-1": b"\xe9\xff\xfe",
    "nulls": bytes(16),
    "spaces": b" " * 16,
    "path": b"../../etc/passwd",
    "backslash": b"A\\B\\C",
    "markup": b"<script>x</scrip",
}


@pytest.mark.parametrize("name", list(TITLES))
@pytest.mark.parametrize("which", ["calling", "called"])
def test_a_hostile_title(place, caplog, name, which):
    """Rejected; the log line and the list of refused callers show it harmless."""
    del caplog.records[:]
    assert answered(place.port, associate_rq(ECHOING, INFO, **{which: TITLES[name]})) == "rejected"
    until(lambda: any("rejected" in one.getMessage() for one in caplog.records))
    for one in caplog.records:
        if one.name == "teleread.dicom":
            assert one.getMessage().isascii()
            assert one.getMessage().isprintable()


# --- after the association stands ----------------------------------------------------------------

ONE = Named()
STORE = store_rq(CT, ONE.sop)
DATA = ONE.encoded()
CONTEXTS = ((VERIFICATION, IMPLICIT), (CT, EXPLICIT), (FIND, IMPLICIT))

BREAKS = {
    "a PDU of 0 bytes": pdu(kind=4),
    "a PDU of 1 byte": pdu(b"\0"),
    "a PDU of 4 GB": pdu(b"", length=0xFFFFFFFF),
    "a PDU of 65 MB": pdu(b"", length=65 << 20),
    "a PDU type nobody knows": pdu(bytes(16), kind=0x55),
    "a second request": associate_rq(ECHOING, INFO),
    "an answer": pdu(bytes(16), kind=2),
    "a PDV of 0 bytes": pdu(pdv(1, 3, b"", length=0)),
    "a PDV of 1 byte": pdu(pdv(1, 3, b"", length=1)),
    "a PDV of 4 GB": pdu(pdv(1, 3, b"", length=0xFFFFFFFF)),
    "a PDV longer than its PDU": pdu(pdv(1, 3, b"abcd", length=100)),
    "a PDV shorter than its PDU": pdu(pdv(1, 3, b"abcdefgh", length=4)),
    "data without a command": pdu(pdv(3, 2, DATA)),
    "a command inside of data": pdu(pdv(3, 3, STORE)) + pdu(pdv(3, 0, DATA[:9]), pdv(3, 3, STORE)),
    "data in another context": pdu(pdv(3, 3, STORE)) + pdu(pdv(1, 2, DATA)),
    "a command in a context nobody accepted": pdu(pdv(99, 3, STORE)),
    "a command in context 0": pdu(pdv(0, 3, STORE)),
    "a command of rubbish": pdu(pdv(1, 3, b"rubbish that is no command at all")),
    "a command of another group": pdu(pdv(1, 3, el(0x00080018, b"UI", b"1.2.3.4\0"))),
    "a command that was cut": pdu(pdv(1, 3, STORE[:-3])),
    "an element of 4 GB in a command": pdu(
        pdv(1, 3, struct.pack("<HHI", 0, 0x0100, 0xFFFFFFFF) + b"ab")
    ),
    "a command without end": b"".join(pdu(pdv(1, 1, bytes(16_000))) for _ in range(6)),
    "five requests at once": message(5, command(C_FIND, FIND), im(0x00080052, b"STUDY ")) * 40
    + pdu(kind=4),
}


@pytest.mark.parametrize("name", list(BREAKS))
def test_what_breaks_the_protocol_ends_the_association(place, name):
    with associated(place.port, *CONTEXTS) as peer:
        try:
            peer.say(BREAKS[name])
        except OSError:
            return
        assert peer.closed()


BEARABLE = {
    "control bits nobody knows": pdu(pdv(1, 0xFF, command(C_ECHO, VERIFICATION, data=False))),
    "a group length that lies": pdu(
        pdv(
            1,
            3,
            element(0, b"\xff\xff\xff\xff") + command(C_ECHO, VERIFICATION, data=False)[12:],
        )
    ),
    "no group length": pdu(pdv(1, 3, command(C_ECHO, VERIFICATION, data=False)[12:])),
    "elements twice": pdu(pdv(1, 3, command(C_ECHO, VERIFICATION, short(0x0110, 9), data=False))),
    "an empty first fragment": pdu(pdv(1, 1, b"")) + ECHO,
    "empty fragments": pdu(*[pdv(1, 1, b"")] * 1000) + ECHO,
}


@pytest.mark.parametrize("name", list(BEARABLE))
def test_what_can_be_borne_is_answered(place, name):
    with associated(place.port, *CONTEXTS) as peer:
        peer.say(BEARABLE[name])
        assert peer.status() == 0
        peer.say(RELEASE)
        assert peer.hear()[0] == 6


def lacking(number: int, kind: int = C_STORE, value: bytes | None = None) -> bytes:
    """A C-STORE-RQ without an element, or with another value of it."""
    whole = {
        0x0002: element(0x0002, CT.encode()),
        0x0100: short(0x0100, kind),
        0x0110: short(0x0110, 7),
        0x0700: short(0x0700, 0),
        0x0800: short(0x0800, 0),
        0x1000: element(0x1000, ONE.sop.encode()),
    }
    del whole[number]
    if value is not None:
        whole[number] = value
    return b"".join(one for _, one in sorted(whole.items()))


ODD = b"\x00\x00\x10\x01\x01\x00\x00\x00\x07"  # Message ID of one byte
STORES = {
    "no class": lacking(0x0002),
    "no message id": lacking(0x0110),
    "no priority": lacking(0x0700),
    "no data set type": lacking(0x0800),
    "no instance": lacking(0x1000),
    "an instance of path": lacking(0x1000, value=element(0x1000, b"../../../etc/passwd")),
    "an instance of 60,000": lacking(0x1000, value=element(0x1000, b"1" * 60_000)),
    "an instance of NULs": lacking(0x1000, value=element(0x1000, bytes(64))),
    "an instance of formats": lacking(0x1000, value=element(0x1000, b"%n%s%x\r\n\x1b[31m")),
    "a class of path": lacking(0x0002, value=element(0x0002, b"../../x")),
    "a class that is another": lacking(0x0002, value=element(0x0002, VERIFICATION.encode())),
    "a long message id": lacking(0x0110, value=element(0x0110, bytes(4))),
    "an odd message id": lacking(0x0110, value=ODD),
}


@pytest.mark.parametrize("name", list(STORES))
def test_a_store_whose_command_lies(place, name):
    """Whatever the command lacks: an answer, with the data set heard out; the next one is good."""
    with associated(place.port, *CONTEXTS) as peer:
        peer.say(message(3, STORES[name], DATA), ECHO)
        said = [peer.status(), peer.status()]
        assert said[0] in (0x0000, 0xA900, 0xC002, 0xC003), f"{said[0]:04X}"
        assert said[1] == 0


def test_a_request_with_a_thousand_elements_more_is_refused(place):
    more = [short(0x2000 + number, number) for number in range(1000)]
    with associated(place.port, *CONTEXTS) as peer:
        peer.say(message(1, command(C_ECHO, VERIFICATION, *more, data=False)), ECHO)
        assert peer.status() in (0, 0xC000)
        assert peer.status() == 0


KINDS = [0, 2, 0x00FF, 0x0FFE, 0x0030 | 0x4000, 0x7FFF, 0x0010, 0x0100, 0x0110, 0x0150]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [True, False])
def test_a_request_nobody_serves(place, kind, data):
    with associated(place.port, *CONTEXTS) as peer:
        peer.say(message(1, command(kind, VERIFICATION, data=data), DATA if data else None))
        assert peer.status() in (0x0211, 0xC000, 0x0115, 0x0122, 0x0118)
        peer.say(ECHO)
        assert peer.status() == 0


@pytest.mark.parametrize("kind", [0x8001, 0x8020, 0x8030, 0xFFFF, 0x8100])
def test_answers_to_what_was_never_asked_are_passed_over(place, kind):
    with associated(place.port, *CONTEXTS) as peer:
        answer = command(kind, VERIFICATION, short(0x0120, 7), short(0x0900, 0), data=False)
        try:
            peer.say(message(1, answer) * 20, ECHO)
            assert peer.status() == 0
        except (Closed, OSError):
            assert kind == 0xFFFF  # no kind of answer at all


def test_a_cancel_of_nothing(place):
    with associated(place.port, *CONTEXTS) as peer:
        cancel = short(0x0100, 0x0FFF) + short(0x0120, 7) + short(0x0800, 0x0101)
        peer.say(message(5, cancel) * 100, ECHO)
        assert peer.status() == 0


def test_a_release_inside_of_a_data_set_keeps_nothing(place):
    one = Named()
    with associated(place.port, *CONTEXTS) as peer:
        peer.say(pdu(pdv(3, 3, store_rq(CT, one.sop))), pdu(pdv(3, 0, one.encoded())), RELEASE)
        assert peer.hear()[0] == 6
    with place.parts.view() as unit:
        assert not unit.studies.versions("c1", one.sop)


@pytest.mark.parametrize("last", [ABORT, pdu(b"", kind=7), RELEASE[:3], ABORT[:7]])
def test_an_end_anywhere(place, last):
    conversation = message(3, STORE, DATA)
    for cut in range(0, len(conversation), 397):
        with associated(place.port, *CONTEXTS) as peer:
            peer.say(conversation[:cut], last)


def conversation() -> bytes:
    one = Named()
    return b"".join(
        (
            proposing(*CONTEXTS),
            ECHO,
            message(3, store_rq(CT, one.sop), one.encoded()),
            message(5, command(C_FIND, FIND), im(0x00080052, b"STUDY ")),
        )
    )


def test_a_conversation_cut_anywhere(place):
    """Every byte with TELEREAD_TEST_FUZZ, some of them without; by a close, and by a reset."""
    whole = conversation()
    step = 1 if os.environ.get("TELEREAD_TEST_FUZZ") else 37
    for cut in range(0, len(whole), step):
        with Peer(place.port) as peer:
            peer.say(whole[:cut])
            if cut % 2:
                peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_conversation_in_segments_of_one_byte(place):
    with Peer(place.port) as peer:
        for byte in conversation():
            peer.say(bytes((byte,)))
        assert peer.hear()[0] == 2
        assert [peer.status(), peer.status()] == [0, 0]
        assert peer.statuses()[-1] == 0
        peer.say(RELEASE)
        assert peer.hear()[0] == 6


# --- hostile identifiers -------------------------------------------------------------------------

STUDY_LEVEL = im(0x00080052, b"STUDY ")


def with_level(*keys: bytes, level: bytes = STUDY_LEVEL) -> bytes:
    return level + b"".join(keys)


def nested_identifier(depth: int, width: int = 1) -> bytes:
    raw = im(0x00080100, b"")
    for _ in range(depth):
        one = struct.pack("<HHI", 0xFFFE, 0xE000, len(raw)) + raw
        raw = im(0x00400275, one * width)
    return raw


QUERIES = {
    "nothing": b"",
    "rubbish": b"rubbish that is no identifier",
    "zeros": bytes(1024),
    "no level": im(0x00100010, b""),
    "a level nobody knows": im(0x00080052, b"'; DROP "),
    "a level twice": STUDY_LEVEL + im(0x00080052, b"IMAGE "),
    "4 GB": with_level(im(0x00100010, b"ab", 0xFFFFFFFE)),
    "10,000 UIDs": with_level(im(0x0020000D, b"\\".join(b"1.%d" % n for n in range(10_000)))),
    "32,768 UIDs of one digit": with_level(im(0x0020000D, b"\\".join([b"1"] * 32_768))),
    "more UIDs than a statement holds": with_level(
        im(0x00080062, even(b"\\".join(b"%d" % n for n in range(11_000)))),
        im(0x0020000D, even(b"\\".join(b"%d" % n for n in range(11_000)))),
        im(0x00080050, even(b"\\".join(b"%d" % n for n in range(11_000)))),
    ),
    "10,000 stars": with_level(im(0x00100010, b"*" * 10_000)),
    "10,000 stars with letters": with_level(im(0x00100010, b"*a" * 5_000)),
    "10,000 marks": with_level(im(0x00100010, b"?" * 10_000)),
    "60,000 stars and marks": with_level(im(0x00081030, b"*?" * 30_000)),
    "letters between stars": with_level(im(0x00081030, b"*e" * 30_000)),
    "letters between stars in each": with_level(
        *[im(tag, b"*e" * 20_000) for tag in (0x00080050, 0x00081030, 0x00100010)],
        im(0x00100020, b"*e" * 20_000),
    ),
    "SQL": with_level(
        im(0x00100010, b"%_\\'; DROP TABLE study; --"), im(0x00100020, b"' OR 1=1 --")
    ),
    "wildcards of SQL": with_level(im(0x00100020, b"%_\\%")),
    "NULs": with_level(im(0x00100010, b"Ru\0an\0"), im(0x00100020, b"\0" * 64)),
    "ranges reversed": with_level(im(0x00080020, b"20261231-20260101 ")),
    "dates that are none": with_level(im(0x00080020, b"20261399")),
    "a date of words": with_level(im(0x00080020, b"'; DROP ")),
    "a range without ends": with_level(im(0x00080020, b"- ")),
    "date of year 0": with_level(im(0x00080020, b"00000000-99999999 ")),
    "times that are none": with_level(im(0x00080030, b"256199-9 ")),
    "a UID that is none": with_level(im(0x0020000D, b"../../x ")),
    "a number that is none": with_level(im(0x00200011, b"1e400 "), level=im(0x00080052, b"SERIES")),
    "sixty deep": with_level(nested_identifier(60)),
    "thousands deep": with_level(nested_identifier(3_000)),
    "broad": with_level(nested_identifier(3, 20)),
    "broad and deep": with_level(nested_identifier(9, 3)),
    "ten thousand keys": with_level(*[im(0x00110000 | n, b"") for n in range(0x1000, 0x3710)]),
    "a hundred thousand keys": with_level(
        *[im(g | n, b"") for g in (0x00110000, 0x00130000) for n in range(0x1000, 0xD350)]
    ),
    "1 MB of one name": with_level(im(0x00100010, b"a" * (1 << 20))),
    "a thousand escapes": im(0x00080005, b"\\ISO 2022 IR 87 ")
    + with_level(im(0x00100010, b"\x1b$B0!\x1b(B^" * 1000)),
    "a character set nobody knows": im(0x00080005, b"../../x ") + STUDY_LEVEL,
}


@pytest.mark.parametrize("sop_class", [FIND, WORKLIST])
@pytest.mark.parametrize("name", list(QUERIES))
def test_a_hostile_query(place, sop_class, name):
    """An answer with a status, in time; and the association goes on."""
    with associated(place.port, (VERIFICATION, IMPLICIT), (sop_class, IMPLICIT)) as peer:
        began = time.monotonic()
        peer.say(message(3, command(C_FIND, sop_class), QUERIES[name]))
        assert peer.statuses()[-1] in (0x0000, 0xA700, 0xA900, 0xC000)
        assert time.monotonic() - began < 10
        peer.say(ECHO)
        assert peer.status() == 0


@pytest.mark.parametrize("name", list(QUERIES))
def test_a_hostile_retrieval(place, name):
    with associated(place.port, (GET, IMPLICIT), (MOVE, IMPLICIT)) as peer:
        peer.say(message(1, command(C_GET, GET), QUERIES[name]))
        assert peer.statuses()[-1] in (0x0000, 0xA700, 0xA701, 0xA702, 0xA900, 0xC000)
        to = ae_title(0x0600, b"NOWHERE")
        peer.say(message(3, command(C_MOVE, MOVE, to), QUERIES[name]))
        assert peer.statuses()[-1] == 0xA801


TO = [b"", b" " * 16, b"../../x", b"CART", b"*", b"%", b"' OR 1=1 --", b"\xff\xfe", b"X" * 5000]


@pytest.mark.parametrize("to", TO)
def test_a_move_to_nobody(place, to):
    """Neither to itself: the device has no address."""
    with associated(place.port, (VERIFICATION, IMPLICIT), (MOVE, IMPLICIT)) as peer:
        identifier = with_level(im(0x0020000D, b"1.2.3.4\0"))
        peer.say(message(3, command(C_MOVE, MOVE, ae_title(0x0600, to)), identifier))
        assert peer.statuses()[-1] in (0xA801, 0xC000)
        peer.say(ECHO)
        assert peer.status() == 0


def destination(place, answer):
    """Register a device at a port of this test's; `answer` gets each connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)
    title = f"TO_{random.Random().randrange(1 << 24):06X}"
    with place.parts.new_unit() as unit:
        unit.people.add_device(
            site="c1",
            ae_title=title,
            called=None,
            host="127.0.0.1",
            port=listener.getsockname()[1],
            modality=None,
            one_per_image=False,
        )

    def serve():
        try:
            while True:
                client, _ = listener.accept()
                with client:
                    client.settimeout(5)
                    answer(client)
        except OSError:
            return

    threading.Thread(target=serve, daemon=True).start()
    return title, listener


@pytest.mark.parametrize(
    "lie",
    [
        lambda client: None,
        lambda client: client.sendall(b"HTTP/1.1 200 OK\r\n\r\n"),
        lambda client: client.sendall(bytes(4096)),
        lambda client: client.sendall(pdu(bytes(4), kind=2)),
        lambda client: (client.recv(9999), client.sendall(ABORT)),
        lambda client: client.sendall(b"\x02\0\xff\xff\xff\xff"),
    ],
    ids=["hangs up", "HTTP", "zeros", "a short answer", "aborts", "4 GB"],
)
def test_a_move_to_somebody_who_lies(place, lie):
    one = Named()
    name, listener = destination(place, lie)
    with (
        listener,
        associated(place.port, (CT, EXPLICIT), (MOVE, IMPLICIT), calling=HONEST) as peer,
    ):
        peer.say(message(1, store_rq(CT, one.sop), one.encoded()))
        assert peer.status() == 0
        to = ae_title(0x0600, name.encode())
        identifier = with_level(im(0x0020000D, even(one.study.encode(), b"\0")))
        peer.say(message(3, command(C_MOVE, MOVE, to), identifier))
        assert peer.statuses()[-1] in (0xA702, 0xB000)
        listener.shutdown(socket.SHUT_RDWR)


def test_a_move_to_the_gateway_itself_ends(place):
    """It calls under its own title, which is no device: nothing goes in a circle."""
    with place.parts.new_unit() as unit:
        unit.people.add_device(
            site="c1",
            ae_title="MYSELF",
            called=None,
            host="127.0.0.1",
            port=place.port,
            modality=None,
            one_per_image=False,
        )
    one = Named()
    with associated(place.port, (CT, EXPLICIT), (MOVE, IMPLICIT), calling=HONEST) as peer:
        peer.say(message(1, store_rq(CT, one.sop), one.encoded()))
        assert peer.status() == 0
        identifier = with_level(im(0x0020000D, even(one.study.encode(), b"\0")))
        peer.say(message(3, command(C_MOVE, MOVE, ae_title(0x0600, b"MYSELF")), identifier))
        assert peer.statuses()[-1] in (0x0000, 0xA702)


# --- N-services ----------------------------------------------------------------------------------


def garbage() -> dict[str, bytes | None]:
    return {
        "no data set": None,
        "nothing": b"",
        "rubbish": b"rubbish that is no data set",
        "zeros": bytes(4096),
        "random": random.Random(3).randbytes(60_000),
        "deep": nested_identifier(3_000),
        "an item of 4 GB": im(0x00081199, struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFE) + b"ab"),
        "a transaction of path": im(0x00081195, b"../../etc/passwd"),
        "a hundred thousand references": im(0x00081195, b"1.2.3.4\0")
        + im(
            0x00081199,
            b"".join(
                struct.pack("<HHI", 0xFFFE, 0xE000, len(one)) + one
                for one in [im(0x00081150, b"1.2\0") + im(0x00081155, b"1.3\0")] * 40_000
            ),
        ),
        "states that are none": im(0x00400252, b"'; DROP ") + im(0x00400244, b"99999999"),
    }


@pytest.mark.parametrize("name", list(garbage()))
@pytest.mark.parametrize("kind", [N_ACTION, N_CREATE, N_SET])
def test_garbage_for_n_services(place, kind, name):
    data = garbage()[name]
    sop_class = COMMITMENT if kind == N_ACTION else MPPS
    uids = (
        element(0x1000, b"1.2.3.4.5")
        if kind == N_CREATE
        else element(0x1001, COMMITMENT_INSTANCE.encode())
    )
    more = (uids, short(0x1008, 1)) if kind == N_ACTION else (uids,)
    said = command(
        kind, sop_class, *more, data=data is not None, at=0x0002 if kind == N_CREATE else 0x0003
    )
    with associated(place.port, (VERIFICATION, IMPLICIT), (sop_class, IMPLICIT)) as peer:
        began = time.monotonic()
        peer.say(message(3, said, data))
        assert peer.status() != 0 or name == "a hundred thousand references"
        assert time.monotonic() - began < 15
        peer.say(ECHO)
        heard = peer.command()
        while heard[0x0100] == b"\x00\x01":  # the report of a commitment may come first
            heard = peer.command()
        assert heard[0x0900] == b"\0\0"


# --- answers that nobody reads -------------------------------------------------------------------


def test_who_asks_for_all_and_reads_nothing_is_let_go(tmp_path):
    """Sending to it ends after a window; what was made for it is not kept."""
    place = Place(tmp_path / "data", Limits(window_seconds=0.5))
    try:
        with associated(place.port, (CT, EXPLICIT), calling=HONEST) as peer:
            for _ in range(30):
                one = Named()
                peer.say(message(1, store_rq(CT, one.sop), one.encoded()))
                assert peer.status() == 0
        keys = [im(0x00110000 | number, b"") for number in range(0x1000, 0x4E00)]
        asked = message(1, command(C_FIND, FIND), with_level(*keys))
        crowd = []
        for _ in range(3):
            peer = Peer(place.port)
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.say(proposing((FIND, IMPLICIT)))
            assert peer.hear()[0] == 2
            peer.say(asked * 4)
            crowd.append(peer)
        until(lambda: place.dicom.associations == 0)
        for one in crowd:
            one.socket.close()
        place.works()
    finally:
        place.close()


@pytest.mark.parametrize("end", ["cancel", "abort", "close", "release"])
def test_a_flood_of_queries_and_then(place, end):
    asked = message(5, command(C_FIND, FIND), STUDY_LEVEL)
    cancel = short(0x0100, 0x0FFF) + short(0x0120, 7) + short(0x0800, 0x0101)
    for _ in range(10):
        with associated(place.port, *CONTEXTS) as peer:
            peer.say(asked * 3)
            if end == "cancel":
                peer.say(message(5, cancel), RELEASE)
                assert peer.closed()
            elif end == "abort":
                peer.say(ABORT)
            elif end == "release":
                peer.say(RELEASE)
                assert peer.closed()


def test_the_honest_are_served_after_all_that(place):
    place.works()
