"""Who is let in, who is remembered as turned away, what is said of an association at its end?"""

import socket
import struct
import threading
import time

import pytest
from pynetdicom.sop_class import Verification

from gateway import commands
from gateway.dicom.names import Names
from storage.engineer import Engineer
from storage.refused import MOST_ROWS, RefusedCall, note

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT = "1.2.840.10008.1.2"


def until(fact, seconds=20):
    """Wait for a fact."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


def turned_away(gateway):
    with gateway.parts.view() as unit:
        return Engineer(unit.connection).refused()


def asks(port, calling, called=b"TELEREAD"):
    """An association request with these bytes as titles; the first byte of the answer."""
    item = b"\x10\x00\x00\x151.2.840.10008.3.1.1.1"
    context = b"\x30\x00\x00\x111.2.840.10008.1.1" + b"\x40\x00\x00\x111.2.840.10008.1.2"
    context = b"\x20\x00" + struct.pack(">H", len(context) + 4) + b"\x01\x00\x00\x00" + context
    user = b"\x50\x00\x00\x08\x51\x00\x00\x04\x00\x00\x40\x00"
    body = struct.pack(">H2x16s16s32x", 1, called.ljust(16), calling.ljust(16))
    body += item + context + user
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.settimeout(20)
        peer.sendall(b"\x01\x00" + struct.pack(">I", len(body)) + body)
        return peer.recv(1)


def test_who_is_turned_away_is_remembered_and_let_in_by_a_command(gateway, call):
    for _ in range(3):
        with call(ae_title="NEWCOMER") as device:
            assert device.rejected == (1, 1, 3)
    until(lambda: sum(one.times for one in turned_away(gateway)) == 3)
    (one,) = turned_away(gateway)
    assert (one.calling, one.called, one.address) == ("NEWCOMER", "TELEREAD", "127.0.0.1")
    assert one.why == "unknown_caller"
    shown = commands.run(gateway.parts, "device refused", {})["out"]
    assert "NEWCOMER" in shown
    plain = {"called": None, "host": None, "port": None, "modality": None, "tls": False}
    given = {"site": "east", "ae_title": "NEWCOMER", **plain}
    given |= {"certificate": None, "returns_reports": False}
    assert commands.run(gateway.parts, "device add", given)["code"] == 0
    assert turned_away(gateway) == []
    with call(ae_title="NEWCOMER") as device:
        assert device.association.is_established
    gone = {"site": "east", "ae_title": "NEWCOMER", "called": None, "host": None}
    assert commands.run(gateway.parts, "device remove", gone)["code"] == 0
    with call(ae_title="NEWCOMER") as device:
        assert device.rejected == (1, 1, 3)


def test_the_list_does_not_grow_without_end(gateway):
    now = gateway.parts.now()
    with gateway.parts.new_unit() as unit:
        note(
            unit.connection,
            [
                RefusedCall(f"X{number}", "T", "192.0.2.1", "", "unknown_caller", 1, now, now)
                for number in range(MOST_ROWS + 50)
            ],
        )
        assert Engineer(unit.connection).refused_count() == MOST_ROWS


@pytest.mark.parametrize(
    "title", [b"\xb5\xe7\xcd\xbc", b"EAST_CT\x1b[2J", b"EAST\nCT", b"\xff" * 16, b"", b" " * 16]
)
def test_titles_that_are_not_printable_ascii(gateway, call, lines, title):
    assert asks(gateway.port, title) == b"\x03"
    until(lambda: any("rejected" in line for line in lines()))
    assert all(line.isascii() and line.isprintable() for line in lines())
    until(lambda: turned_away(gateway))
    assert all(one.calling.isprintable() for one in turned_away(gateway))
    with call() as device:
        assert device.association.is_established


def test_a_question_mark_is_not_taken_for_a_byte_nobody_can_read(gateway):
    gateway.add_device("east", "CT?")
    assert asks(gateway.port, b"CT?") == b"\x02"
    assert asks(gateway.port, b"CT\xff") == b"\x03"


def test_a_host_name_is_looked_up_and_remembered():
    asked = []

    def look_up(name):
        asked.append(name)
        return frozenset({"192.0.2.7"})

    names = Names(look_up)
    for _ in range(5):
        assert names.addresses("cart.example") == {"192.0.2.7"}
    assert asked == ["cart.example"]
    assert names.addresses("::ffff:192.0.2.9") == {"192.0.2.9"}


def test_a_name_server_that_does_not_answer_holds_nobody_up_for_long():
    go_on = threading.Event()

    def look_up(_):
        go_on.wait(20)
        raise OSError("gone")

    names = Names(look_up)
    began = time.monotonic()
    assert names.addresses("cart.example") == frozenset()
    assert time.monotonic() - began < 10
    go_on.set()


def test_a_device_registered_by_name(gateway, call):
    gateway.add_device("east", "NAMED", host="localhost")
    gateway.add_device("east", "ELSEWHERE", host="nowhere.invalid")
    with call(ae_title="NAMED") as device:
        assert device.association.is_established
    with call(ae_title="ELSEWHERE") as device:
        assert device.rejected == (1, 1, 3)


def test_an_association_is_one_line_at_its_end(gateway, call, image, lines):
    with call(contexts=((CT, ("1.2.840.10008.1.2.1",)), (str(Verification), (IMPLICIT,)))) as one:
        assert one.store(image()) == 0x0000
        assert one.send(b"", instance="1.2.3").Status != 0x0000
        assert one.association.send_c_echo().Status == 0x0000
        (live,) = gateway.edge.live()
        assert (live.ae_title, live.site, live.instances) == ("EAST_CT", "east", 1)
        assert live.bytes > 100
    until(lambda: any("stored 1, refused 1, 1 C-ECHO" in line for line in lines()))
    (line,) = [line for line in lines() if line.startswith("association")]
    assert "EAST_CT (east) calling 'TELEREAD' from 127.0.0.1" in line
    assert line.endswith("released")
    until(lambda: gateway.edge.live() == [])
    counters = gateway.edge.counters
    assert (counters.accepted, counters.stored, counters.refused) == (1, 1, 1)
    assert counters.services["C-ECHO"] == 1
    assert counters.statuses["success"] == 1
    assert counters.aborted == 0
