"""Does the acceptor survive any bytes, and any order of messages?

Valid conversations, changed in places: each ends in answers, a refusal or a close; never in an
error of ours, never in a thread that stays. `TELEREAD_TEST_FUZZ=N` tries N of each.
"""

import logging
import os
import re
import socket
import struct
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.protocol.hostile import (
    ABORT,
    C_ECHO,
    C_FIND,
    C_GET,
    C_MOVE,
    CALLER,
    COMMITMENT,
    CT,
    EXPLICIT,
    FIND,
    GET,
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
    command,
    element,
    im,
    message,
    pdu,
    pdv,
    presentation,
    proposing,
    short,
    store_rq,
    title,
    until,
    user_information,
)

MANY = int(os.environ.get("TELEREAD_TEST_FUZZ", "0"))
BROKEN = re.compile(r"[A-Za-z]+(Error|Exception|Interrupt)\b.* at |A7FF")
ONE = Named()
CONTEXTS = (
    (VERIFICATION, IMPLICIT),
    (CT, EXPLICIT),
    (FIND, IMPLICIT),
    (GET, IMPLICIT),
    (MOVE, IMPLICIT),
    (WORKLIST, IMPLICIT),
    (MPPS, IMPLICIT),
    (COMMITMENT, IMPLICIT),
)
DATA = ONE.encoded()
IDENTIFIER = im(0x00080052, b"STUDY ") + im(0x00100010, b"R*") + im(0x0020000D, b"")
REQUEST = proposing(*CONTEXTS, calling=CALLER.encode())
INSTANCE = element(0x1000, b"1.2.3.4.5")
MESSAGES = [
    message(1, command(C_ECHO, VERIFICATION, data=False)),
    message(3, store_rq(CT, ONE.sop), DATA),
    message(5, command(C_FIND, FIND), IDENTIFIER),
    message(7, command(C_GET, GET), im(0x00080052, b"STUDY ") + im(0x0020000D, b"1.2.3\0")),
    message(
        9,
        command(C_MOVE, MOVE, title(0x0600, b"NOWHERE")),
        im(0x00080052, b"STUDY ") + im(0x0020000D, b"1.2.3\0"),
    ),
    message(11, command(C_FIND, WORKLIST), im(0x00100010, b"*")),
    message(13, command(N_CREATE, MPPS, INSTANCE), im(0x00400252, b"IN PROGRESS ")),
    message(
        13,
        command(N_SET, MPPS, element(0x1001, b"1.2.3.4.5"), at=0x0003),
        im(0x00400252, b"COMPLETED "),
    ),
    message(
        15,
        command(N_ACTION, COMMITMENT, element(0x1001, b"1.2.3"), short(0x1008, 1), at=0x0003),
        im(0x00081195, b"1.2.3.4\0"),
    ),
    message(5, short(0x0100, 0x0FFF) + short(0x0120, 7) + short(0x0800, 0x0101)),
    message(1, command(0x8030, VERIFICATION, short(0x0120, 7), short(0x0900, 0), data=False)),
    pdu(pdv(3, 3, store_rq(CT, ONE.sop))),
    pdu(pdv(3, 0, DATA[:100])),
    pdu(pdv(3, 2, b"")),
    pdu(pdv(1, 1, b"")),
    RELEASE,
    ABORT,
]

# a change: where (in thousandths of the length), what is done there, with what
Change = tuple[int, str, bytes]
CHANGES = st.lists(
    st.tuples(
        st.integers(0, 999),
        st.sampled_from(["put", "insert", "cut", "repeat", "length", "end"]),
        st.one_of(
            st.binary(min_size=1, max_size=12),
            st.sampled_from(
                [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff", b"\x7f\xff\xff\xff", b"\0", b"\x80"]
            ),
        ),
    ),
    min_size=1,
    max_size=4,
)


def changed(raw: bytes, changes: list[Change]) -> bytes:
    """The bytes with these changes."""
    for where, how, what in changes:
        at = len(raw) * where // 1000
        if how == "put":
            raw = raw[:at] + what + raw[at + len(what) :]
        elif how == "insert":
            raw = raw[:at] + what + raw[at:]
        elif how == "cut":
            raw = raw[:at] + raw[at + len(what) :]
        elif how == "repeat":
            raw = raw[:at] + raw[at : at + 64] * (what[0] % 8 + 2) + raw[at + 64 :]
        elif how == "length":  # a number that may be a length, and is more or less now
            old = int.from_bytes(raw[at : at + 2], "little")
            raw = raw[:at] + struct.pack("<H", (old + what[0] - 128) & 0xFFFF) + raw[at + 2 :]
        else:
            raw = raw[:at]
    return raw


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter().format(record))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    one = Place(tmp_path_factory.mktemp("fuzzed") / "data")
    said = Lines()
    log = logging.getLogger("teleread")
    log.addHandler(said)
    log.setLevel(logging.INFO)
    one.said = said.lines
    yield one
    log.removeHandler(said)
    one.close()


def survived(place: Place, raw: bytes) -> None:
    """Say it all, hear it out; then nobody is left and nothing of ours has broken."""
    del place.said[:]
    with Peer(place.port, 20) as peer:
        with suppress(OSError):
            peer.say(raw)
            peer.socket.shutdown(socket.SHUT_WR)
        assert peer.closed(), "neither answered nor closed"
    until(place.has_nobody, 20)
    wrong = [line for line in place.said if BROKEN.search(line) or "Traceback" in line]
    assert not wrong
    assert all(line.isprintable() and "Meilin" not in line for line in place.said)


HOW = settings(
    max_examples=MANY or 60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink)
    if MANY
    else (Phase.explicit, Phase.generate),
    derandomize=not MANY,
    database=None,
)


@HOW
@given(changes=CHANGES)
@example(changes=[(0, "put", b"\x01\0\xff\xff\xff\xff")])
@example(changes=[(150, "put", b"\x20\0\xff\xff")])
def test_a_request_that_was_changed(place, changes):
    survived(place, changed(REQUEST, changes) + MESSAGES[0])


@HOW
@given(
    order=st.lists(st.integers(0, len(MESSAGES) - 1), min_size=1, max_size=6),
    changes=CHANGES,
)
@example(order=[0], changes=[(0, "put", b"\x04\0\0\0\0\x01")])  # a PDU that ends inside a header
def test_messages_that_were_changed(place, order, changes):
    survived(place, REQUEST + changed(b"".join(MESSAGES[one] for one in order), changes))


@HOW
@given(order=st.lists(st.integers(0, len(MESSAGES) - 1), min_size=1, max_size=12))
def test_messages_in_any_order(place, order):
    survived(place, REQUEST + b"".join(MESSAGES[one] for one in order))


@HOW
@given(changes=CHANGES)
def test_a_data_set_that_was_changed(place, changes):
    """And whatever is kept of it can be looked at."""
    one = Named()
    raw = changed(one.encoded(), changes)
    survived(place, REQUEST + message(3, store_rq(CT, one.sop), raw))
    with place.parts.view() as unit:
        rows = unit.studies.versions("c1", one.sop)
        study = unit.studies.by_uid("c1", one.study)
    if rows and study and place.reader.get(f"/dicom-web/studies/{one.study}/series").json():
        with suppress(KeyError):
            listed = place.reader.get(f"/dicom-web/studies/{one.study}/instances").json()
            uids = [(i["00080018"]["Value"][0], i["0020000E"]["Value"][0]) for i in listed]
            for sop, series in uids:
                place.seen(Named(sop, series, one.study))


@HOW
@given(
    items=st.lists(
        st.tuples(st.sampled_from([0x10, 0x20, 0x30, 0x40, 0x50, 0x99]), st.binary(max_size=40)),
        max_size=6,
    ),
    user=st.lists(
        st.tuples(st.integers(0x50, 0x5A), st.binary(max_size=40)),
        max_size=6,
    ),
)
def test_items_of_any_kind(place, items, user):
    from tests.protocol.hostile import item

    made = [item(kind, value) for kind, value in items]
    more = user_information(*[item(kind, value) for kind, value in user])
    echo = presentation(1, VERIFICATION, (IMPLICIT,))
    survived(place, associate_rq(*made, echo, more) + MESSAGES[0])


@HOW
@given(raw=st.binary(max_size=400), kind=st.sampled_from([C_FIND, C_GET, C_MOVE]))
def test_identifiers_of_any_bytes(place, raw, kind):
    context, sop_class = {C_FIND: (5, FIND), C_GET: (7, GET), C_MOVE: (9, MOVE)}[kind]
    more = (title(0x0600, b"NOWHERE"),) if kind == C_MOVE else ()
    survived(place, REQUEST + message(context, command(kind, sop_class, *more), raw))


def test_the_honest_are_served_after_all_that(place):
    place.works()
    with suppress(Closed):
        place.settled()
