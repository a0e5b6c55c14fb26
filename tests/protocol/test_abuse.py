"""Does a load or a bad peer hurt the others?"""

import socket
import struct
import threading
import time
from contextlib import suppress

import pytest
from pynetdicom.sop_class import Verification

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def until(fact, seconds=30):
    """Wait for a fact."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


def raw(device):
    return device.association.dul.socket.socket


def pdv(context, control, data):
    return struct.pack(">IBB", len(data) + 2, context, control) + data


def pdu(*values):
    body = b"".join(values)
    return b"\x04\x00" + struct.pack(">I", len(body)) + body


def element(number, value):
    return struct.pack("<HHI", 0, number, len(value)) + value + b"\0" * (len(value) % 2)


def request(field, sop_class, *more, data=True):
    """A command set; the padding of UIDs counts."""
    named = sop_class.encode()
    named += b"\0" * (len(named) % 2)
    body = element(0x0002, named) + element(0x0100, struct.pack("<H", field))
    body += element(0x0110, b"\x07\x00") + element(0x0700, b"\x00\x00")
    body += element(0x0800, b"\x00\x00" if data else b"\x01\x01") + b"".join(more)
    return element(0x0000, struct.pack("<I", len(body))) + body


def open_raw(port, associate, contexts):
    """An association whose socket is the test's alone: the library's threads have stopped."""
    from pynetdicom.pdu import A_ASSOCIATE_RQ
    from pynetdicom.pdu_primitives import (
        A_ASSOCIATE,
        ImplementationClassUIDNotification,
        MaximumLengthNotification,
    )
    from pynetdicom.presentation import build_context

    ask = A_ASSOCIATE()
    ask.calling_ae_title, ask.called_ae_title = "EAST_CT", "TELEREAD"
    ask.application_context_name = "1.2.840.10008.3.1.1.1"
    most, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    most.maximum_length_received = 16384
    implementation.implementation_class_uid = "1.2.3"
    ask.user_information = [most, implementation]
    proposed = [build_context(name, list(syntaxes)) for name, syntaxes in contexts]
    for number, one in enumerate(proposed):
        one.context_id = 2 * number + 1
    ask.presentation_context_definition_list = proposed
    whole = A_ASSOCIATE_RQ()
    whole.from_primitive(ask)
    peer = socket.create_connection(("127.0.0.1", port))
    peer.settimeout(30)
    peer.sendall(whole.encode())
    kind, _ = answer(peer)
    assert kind == 2
    return peer


def exactly(peer, size):
    found = b""
    while len(found) < size:
        part = peer.recv(size - len(found))
        assert part, "closed"
        found += part
    return found


def answer(peer):
    kind, length = struct.unpack(">BxI", exactly(peer, 6))
    return kind, exactly(peer, length)


def status(body):
    at = body.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
    return int.from_bytes(body[at : at + 2], "little")


@pytest.fixture
def works(associate, image):
    """A function: an honest device verifies and stores."""

    def check(gateway):
        contexts = ((CT, (EXPLICIT,)), (str(Verification), (IMPLICIT,)))
        with associate(gateway.port, ae_title="WEST_CT", contexts=contexts) as device:
            assert device.association.send_c_echo().Status == 0x0000
            assert device.store(image()) == 0x0000

    return check


def test_five_hundred_idle_connections(gateway, works):
    idle = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(500)]
    try:
        until(lambda: gateway.edge.waiting == 500)
        threads = threading.active_count()
        works(gateway)
        assert threads < 60, "an idle connection costs no thread"
    finally:
        for one in idle:
            one.close()
    until(lambda: gateway.edge.waiting == 0)


def test_two_thousand_that_connect_and_close(gateway, works):
    for _ in range(2000):
        socket.create_connection(("127.0.0.1", gateway.port)).close()
    works(gateway)
    until(lambda: gateway.edge.waiting == 0 and gateway.edge.associations == 0)


def test_half_a_request_keeps_nobody_out(new_gateway, limits, works):
    gateway = new_gateway(limits=limits(asking=8, request_seconds=5))
    half = []
    try:
        for _ in range(40):
            half.append(socket.create_connection(("127.0.0.1", gateway.port)))
            half[-1].sendall(b"\x01\x00\x00\x00\x01\x00\x00\x01")
        works(gateway)
    finally:
        for one in half:
            one.close()
    until(lambda: gateway.edge.waiting == 0)


def test_two_hundred_clients_at_once(gateway, works, associate):
    peers = [
        open_raw(gateway.port, associate, [(str(Verification), [IMPLICIT])]) for _ in range(200)
    ]
    echo = pdu(pdv(1, 3, request(0x0030, str(Verification), data=False)))
    for one in peers:
        one.sendall(echo)
    assert [status(answer(one)[1]) for one in peers] == [0x0000] * 200
    assert gateway.edge.associations == 200
    works(gateway)
    for one in peers:
        one.close()
    until(lambda: gateway.edge.associations == 0)
    works(gateway)


def test_a_slow_sender_that_moves_on_is_never_reaped(new_gateway, limits, associate, image, encode):
    """Windows of 0.2 s, 1,000 bytes a second: it sends four times that, over many windows."""
    gateway = new_gateway(limits=limits(window_seconds=0.2, slowest=1000))
    dataset = image(PixelData=bytes(6000))
    whole = encode(dataset)
    named = element(0x1000, str(dataset.SOPInstanceUID).encode().ljust(64, b"\0"))
    with open_raw(gateway.port, associate, [(CT, [EXPLICIT])]) as peer:
        peer.sendall(pdu(pdv(1, 3, request(0x0001, CT, named))))
        message = pdu(pdv(1, 2, whole))
        pause = threading.Event()
        for at in range(0, len(message), 200):
            peer.sendall(message[at : at + 200])
            pause.wait(0.05)  # this is the slow line
        assert status(answer(peer)[1]) == 0x0000


@pytest.mark.parametrize("piece", [b"", b"\x00"])
def test_a_sender_that_does_not_move_on_is(new_gateway, limits, associate, lines, piece):
    gateway = new_gateway(limits=limits(window_seconds=0.3, slowest=1000))
    with open_raw(gateway.port, associate, [(CT, [EXPLICIT])]) as peer:
        named = element(0x1000, b"1.2.3.4.")
        begun = b"\x04\x00\x00\x00\x01\x00" + struct.pack(">IBB", 250, 1, 2)
        peer.sendall(pdu(pdv(1, 3, request(0x0001, CT, named))) + begun)
        with suppress(OSError):
            while gateway.edge.associations:  # one byte at a time is no progress
                peer.sendall(piece)
                threading.Event().wait(0.01)
    until(lambda: any("slow" in line or "silent" in line for line in lines()))
    assert gateway.files() == []


def test_one_byte_fragments(gateway, associate, image, encode):
    dataset = image()
    whole = encode(dataset)
    named = element(0x1000, str(dataset.SOPInstanceUID).encode().ljust(64, b"\0"))
    command = request(0x0001, CT, named)
    with open_raw(gateway.port, associate, [(CT, [EXPLICIT])]) as peer:
        said = b"".join(
            pdu(pdv(1, 1 | 2 * (at == len(command) - 1), command[at : at + 1]))
            for at in range(len(command))
        )
        said += b"".join(pdu(pdv(1, 0, whole[at : at + 1])) for at in range(len(whole)))
        said += pdu(pdv(1, 2, b""))  # an empty last one is allowed
        peer.sendall(said)
        assert status(answer(peer)[1]) == 0x0000
    assert bytes(gateway.kept(gateway.versions(dataset.SOPInstanceUID)[0])) == whole


def test_all_contexts_there_can_be(gateway, call):
    contexts = [(f"1.2.840.113619.4.{number}", (EXPLICIT,)) for number in range(128)]
    with call(contexts=contexts) as device:
        assert len(device.association.accepted_contexts) == 128


@pytest.mark.parametrize(
    ("field", "sop_class", "said"),
    [
        (0x0021, str(Verification), 0x0211),  # C-MOVE is no operation of Verification
        (0x0110, str(Verification), 0x0211),  # N-GET is offered nowhere
        (0x0030, CT, 0x0122),  # not the class of the context
    ],
)
def test_what_is_not_offered_is_refused_and_the_association_goes_on(
    gateway, associate, field, sop_class, said
):
    with open_raw(gateway.port, associate, [(str(Verification), [IMPLICIT])]) as peer:
        more = element(0x0600, b"SOMEWHERE ")
        peer.sendall(
            pdu(pdv(1, 3, request(field, sop_class, more)), pdv(1, 2, b"\x08\0\x05\0\0\0\0\0"))
        )
        assert status(answer(peer)[1]) == said
        peer.sendall(pdu(pdv(1, 3, request(0x0030, str(Verification), data=False))))
        assert status(answer(peer)[1]) == 0x0000


def test_a_query_without_end_is_not_collected(gateway, associate, lines):
    with open_raw(gateway.port, associate, [(FIND, [IMPLICIT])]) as peer:
        peer.sendall(pdu(pdv(1, 3, request(0x0020, FIND))))
        with suppress(OSError):
            for _ in range(64):
                peer.sendall(pdu(pdv(1, 0, bytes(1 << 16))))
        until(lambda: gateway.edge.associations == 0)
    assert any("larger than anybody asks" in line for line in lines())


def test_an_instance_that_is_larger_than_memory_streams(gateway, call, image, encode):
    dataset = image(PixelData=bytes(range(256)) * (40 << 12))  # 40 MiB
    with call() as device:
        assert device.store(dataset) == 0x0000
        assert gateway.edge._pool.lent <= gateway.edge.limits.memory_bytes
    (row,) = gateway.versions(dataset.SOPInstanceUID)
    assert bytes(gateway.kept(row)) == encode(dataset)
    until(lambda: gateway.edge._pool.lent == 0)


def test_without_memory_to_spare_instances_still_come_in(new_gateway, limits, associate, image):
    gateway = new_gateway(limits=limits(memory_bytes=0))
    with associate(gateway.port) as device:
        assert device.store(image(PixelData=bytes(1 << 20))) == 0x0000
