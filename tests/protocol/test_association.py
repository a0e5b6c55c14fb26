"""Who gets in, with what, how many, and how do bad peers leave?"""

import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress

import pytest
from pynetdicom.sop_class import Verification

from tests.protocol.hostile import (
    C_FIND,
    C_GET,
    C_MOVE,
    C_STORE,
    COMMITMENT,
    FIND,
    MOVE,
    RELEASE,
    VERIFICATION,
    Named,
    Peer,
    associate_rq,
    associated,
    command,
    element,
    item,
    message,
    presentation,
    proposing,
    user_information,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
US_MULTI = "1.2.840.10008.5.1.4.1.1.3.1"
RETIRED_US = "1.2.840.10008.5.1.4.1.1.6"
PRIVATE = "1.2.840.113619.4.27"
PRINT = "1.2.840.10008.5.1.1.9"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG = "1.2.840.10008.1.2.4.50"
JPIP = "1.2.840.10008.1.2.4.94"


def until(fact, seconds=10):
    """Wait for a fact."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


def test_a_registered_device_verifies(call):
    with call(contexts=((str(Verification), (IMPLICIT,)),)) as device:
        assert device.association.send_c_echo().Status == 0x0000


@pytest.mark.parametrize(
    ("title", "called", "reason"),
    [("NOBODY", "TELEREAD", 3), ("EAST_CT", "ELSEWHERE", 7), ("NOBODY", "ELSEWHERE", 3)],
)
def test_strangers_are_rejected(call, lines, title, called, reason):
    with call(ae_title=title, called=called) as device:
        assert device.rejected == (1, 1, reason)
    assert len(lines()) == 1
    assert "rejected" in lines()[0]


def test_one_title_of_two_sites_is_ambiguous(gateway, call, lines):
    # each is narrowed by something, and this call fits both
    gateway.add_device("east", "CART", called=gateway.parts.settings.ae_title)
    gateway.add_device("west", "CART", host="127.0.0.1")
    with call(ae_title="CART") as device:
        assert device.rejected == (1, 1, 3)
    assert "ambiguous_caller" in lines()[0]


def test_a_called_alias_tells_two_sites_apart(gateway, call, image):
    gateway.add_device("east", "CART", called="READ_EAST")
    gateway.add_device("west", "CART", called="READ_WEST")
    for site in ("east", "west"):
        dataset = image()
        with call(ae_title="CART", called=f"READ_{site.upper()}") as device:
            assert device.store(dataset) == 0x0000
        assert gateway.study(dataset.StudyInstanceUID, site) is not None
    with call(ae_title="CART") as device:
        assert device.rejected == (1, 1, 3)


def test_a_device_registered_for_another_address_is_rejected(gateway, call):
    gateway.add_device("east", "FAR", host="192.0.2.7")
    gateway.add_device("east", "NEAR", host="127.0.0.1")
    with call(ae_title="FAR") as device:
        assert device.rejected == (1, 1, 3)
    with call(ae_title="NEAR") as device:
        assert device.association.is_established


def test_negotiation(call):
    proposed = (
        (CT, (IMPLICIT, BIG_ENDIAN, EXPLICIT)),
        (US_MULTI, (JPEG, EXPLICIT)),
        (RETIRED_US, (IMPLICIT,)),
        (PRIVATE, (EXPLICIT,)),
        (PRINT, (IMPLICIT,)),
        ("1.2.840.10008.5.1.4.1.1.4", (JPIP,)),
        ("1.2.840.10008.5.1.4.1.1.7", (JPIP, "1.2.826.0.1.3680043.1.2.3", IMPLICIT)),
    )
    with call(contexts=proposed) as device:
        accepted = {
            str(c.abstract_syntax): str(c.transfer_syntax[0])
            for c in device.association.accepted_contexts
        }
        rejected = {str(c.abstract_syntax): c.result for c in device.association.rejected_contexts}
    assert accepted == {
        CT: EXPLICIT,
        US_MULTI: JPEG,  # as the device prefers: no need to unpack a loop for a slow line
        RETIRED_US: IMPLICIT,
        PRIVATE: EXPLICIT,
        "1.2.840.10008.5.1.4.1.1.7": IMPLICIT,
    }
    assert rejected == {PRINT: 3, "1.2.840.10008.5.1.4.1.1.4": 4}


def test_one_class_in_several_contexts(call):
    """Proposing each syntax in a context of its own is common; each is decided by itself."""
    with call(contexts=[(CT, (syntax,)) for syntax in (EXPLICIT, JPEG, JPIP)]) as device:
        accepted = device.association.accepted_contexts
        assert [str(context.transfer_syntax[0]) for context in accepted] == [EXPLICIT, JPEG]


@pytest.mark.parametrize(
    "extra",
    [item(0x5F, b"new"), item(0x58, b"\x09\x01\x00\x04user\x00\x00"), item(0x53, b"\0\5\0\5")],
)
def test_items_that_nobody_knows_are_ignored(gateway, extra):
    proposed = presentation(1, VERIFICATION, (IMPLICIT,))
    items = (item(0x6F, b"new"), proposed, user_information(extra))
    with Peer(gateway.port) as peer:
        peer.say(associate_rq(*items, calling=b"EAST_CT"))
        kind, accepted = peer.hear()
        assert kind == 2
        assert item(0x21, b"\1\0\0\0" + item(0x40, IMPLICIT.encode())) in accepted
        peer.say(RELEASE)
        assert peer.hear()[0] == 6


def test_every_class_with_a_patient_is_stored(call):
    """Retired ones and performed protocols too; protocols that are a device's own are not."""
    hardcopy = tuple(f"1.2.840.10008.5.1.1.{last}" for last in (27, 29, 30))
    performed = tuple(f"1.2.840.10008.5.1.4.1.1.200.{last}" for last in (2, 8))
    planned = "1.2.840.10008.5.1.4.1.1.200.1"
    wanted = (*hardcopy, *performed)
    with call(contexts=[(name, (EXPLICIT,)) for name in (*wanted, planned)]) as device:
        assert set(device.contexts()) == set(wanted)


@pytest.mark.parametrize(
    ("agreed", "kind"),
    [
        (VERIFICATION, C_STORE),
        (FIND, C_STORE),
        (FIND, C_MOVE),
        (MOVE, C_FIND),
        (MOVE, C_GET),
        (COMMITMENT, C_FIND),
    ],
)
def test_an_operation_that_is_not_of_its_sop_class_is_refused(gateway, agreed, kind):
    named = Named(sop_class=agreed)
    more = (element(0x0600, b"ANYBODY"),) if kind == C_MOVE else ()
    if kind == C_STORE:
        more = (element(0x1000, named.sop.encode()),)
    with associated(gateway.port, (agreed, EXPLICIT), calling="EAST_CT") as peer:
        peer.say(message(1, command(kind, agreed, *more), named.encoded()))
        assert peer.status() == 0x0211
        peer.say(RELEASE)
        assert peer.hear()[0] == 6
    assert not gateway.versions(named.sop)
    assert not gateway.files()


def test_two_hundred_that_ask_slowly_are_all_heard(gateway):
    """A long line: the second half of each request is on its way while all others begin."""
    request = proposing((VERIFICATION, IMPLICIT), calling=b"EAST_CT")
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(gateway.port)) for _ in range(200)]
        for peer in peers:
            peer.say(request[:100])
        until(lambda: gateway.edge.waiting == 200)
        for peer in peers:
            peer.say(request[100:])
        assert [peer.hear()[0] for peer in peers] == [2] * 200


def test_limit_for_each_device(new_gateway, limits, associate):
    gateway = new_gateway(limits=limits(per_device=2))
    with associate(gateway.port), associate(gateway.port), associate(gateway.port) as third:
        assert third.rejected == (2, 3, 2)
        with associate(gateway.port, ae_title="WEST_CT") as other:
            assert other.association.is_established
    until(lambda: gateway.edge.associations == 0)
    with associate(gateway.port) as again:
        assert again.association.is_established


def test_silent_connections_keep_nobody_out(new_gateway, limits, associate):
    gateway = new_gateway(limits=limits(waiting=3, request_seconds=0.5))
    silent = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(12)]
    try:
        with associate(gateway.port) as device:
            assert device.association.is_established
        for one in silent:  # each is closed, the oldest at once, the others by their time
            one.settimeout(10)
            while one.recv(64):
                pass
    finally:
        for one in silent:
            one.close()


def test_a_device_that_falls_silent_in_a_message_is_dropped(new_gateway, limits, associate):
    gateway = new_gateway(limits=limits(window_seconds=0.5))
    with associate(gateway.port) as device:
        device.association.dul.socket.socket.sendall(b"\x04\x00\x00\x00\x10\x00\x00")
        until(lambda: gateway.edge.associations == 0)


def test_a_sleeping_association_ends(new_gateway, limits, associate, lines):
    gateway = new_gateway(limits=limits(idle_seconds=0.3))
    with associate(gateway.port) as device:
        until(lambda: gateway.edge.associations == 0)
        until(lambda: device.association.is_aborted)
    assert "idle" in lines()[0]


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\x01\x00\x7f\xff\xff\xff",
        b"\x01\x00\x00\x00\x00\x10" + bytes(16),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x04\x00\x00\x00\x00\x00",
    ],
)
def test_junk_ends_its_own_connection(gateway, call, lines, junk):
    with socket.create_connection(("127.0.0.1", gateway.port)) as peer:
        peer.sendall(junk)
        peer.settimeout(10)
        try:
            while peer.recv(4096):
                pass
        except ConnectionResetError:
            pass
    until(lambda: len(lines()) == 1)
    with call() as device:
        assert device.association.is_established


@pytest.mark.parametrize(
    "pdv",
    [
        struct.pack(">IBB", 0xFFFF, 1, 3) + bytes(8),  # longer than its PDU
        struct.pack(">IBB", 10, 1, 2) + bytes(8),  # data without a command
        struct.pack(">IBB", 10, 1, 3) + b"\x08\x00\x18\x00\xff\xff\xff\x7f",  # not a command
    ],
)
def test_broken_messages_end_their_association(gateway, call, lines, pdv):
    with call() as device, call() as bystander:
        peer = device.association.dul.socket.socket
        peer.sendall(b"\x04\x00" + struct.pack(">I", len(pdv)) + pdv)
        until(lambda: device.association.is_aborted)
        assert bystander.association.is_established
        assert len(lines()) == 1


def test_an_object_without_end_is_not_collected(new_gateway, limits, associate, image, lines):
    gateway = new_gateway(limits=limits(object_bytes=100_000))
    dataset = image(PixelData=bytes(400_000))
    with associate(gateway.port) as device:
        with suppress(AttributeError):  # the association has gone before the response
            device.store(dataset)
        until(lambda: gateway.edge.associations == 0)
    assert "larger than" in lines()[0]
    assert gateway.files() == []


def test_stop_lets_the_object_in_flight_finish(new_gateway, associate, image, encode):
    gateway = new_gateway()
    entered, go_on = threading.Event(), threading.Event()
    receive = gateway.parts.ingest.receive

    def slowly(received):
        entered.set()
        assert go_on.wait(10)
        return receive(received)

    gateway.parts.ingest.receive = slowly
    dataset, statuses = image(), []
    with associate(gateway.port) as device, associate(gateway.port) as idle:
        sending = threading.Thread(target=lambda: statuses.append(device.store(dataset)))
        sending.start()
        assert entered.wait(10)
        stopping = threading.Thread(target=gateway.edge.stop, args=(8,))
        stopping.start()
        until(lambda: idle.association.is_aborted)
        go_on.set()
        sending.join(10)
        stopping.join(10)
        assert not stopping.is_alive()
    assert statuses == [0x0000]
    assert len(gateway.versions(dataset.SOPInstanceUID)) == 1


def test_stop_does_not_wait_for_ever(new_gateway, associate):
    gateway = new_gateway()
    with associate(gateway.port) as device:
        device.association.dul.socket.socket.sendall(b"\x04\x00\x00\x00")  # a PDU that never ends
        started = time.monotonic()
        gateway.edge.stop(2)
        assert time.monotonic() - started < 4
        until(lambda: not gateway.edge.associations)
