"""What do many, slow and silent peers cost a running gateway, and whom do they keep out?

`teleread serve` as a process of its own, so that memory, threads and descriptors can be counted.
"""

import os
import queue
import random
import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from gateway.dicom.limits import Limits
from tests.protocol.hostile import (
    C_ECHO,
    C_FIND,
    CT,
    DEFLATED,
    EXPLICIT,
    FIND,
    IMPLICIT,
    RELEASE,
    VERIFICATION,
    Closed,
    Named,
    Peer,
    Place,
    associate_rq,
    associated,
    command,
    descriptors,
    el,
    identifier,
    im,
    memory,
    message,
    pdu,
    pdv,
    proposing,
    store_rq,
    threads,
    until,
)
from tests.protocol.test_abuse_data import bomb
from tests.recovery.house import CART, OTHER_SCANNER, SCANNER, House
from worklist.site import Site, SiteKind

MOST_GROWTH = 100 << 20
POOLS = 130  # descriptors of a gateway whose pools (readers of the index, segments) are full
ECHO = message(1, command(C_ECHO, VERIFICATION, data=False))


class Running:
    """The process, and what a test asks of it."""

    def __init__(self, folder):
        self.house = House(folder)
        with self.house.parts() as parts, parts.new_unit() as unit:
            east = Site("east", "east", "east", SiteKind.CENTER, "Asia/Shanghai", None)
            unit.people.save_site(east, parts.now())
            for title in (CART, SCANNER, OTHER_SCANNER):
                unit.people.add_device(
                    site="east",
                    ae_title=title,
                    called=None,
                    host=None,
                    port=None,
                    modality=None,
                    one_per_image=False,
                )
        self.house.start()
        self.port = self.house.dicom_port
        self.pid = self.house.pid
        self.works()  # what is loaded and opened once is no growth

    def works(self, one=None):
        """An honest device verifies, stores and finds."""
        one = one or Named()
        contexts = ((VERIFICATION, IMPLICIT), (CT, EXPLICIT), (FIND, IMPLICIT))
        with associated(self.port, *contexts, calling=OTHER_SCANNER) as peer:
            peer.say(ECHO)
            assert peer.status() == 0
            peer.say(message(3, store_rq(CT, one.sop), one.encoded()))
            assert peer.status() == 0
            peer.say(message(5, command(C_FIND, FIND), identifier("IMAGE", one)))
            assert peer.statuses() == [0xFF00, 0x0000]
            peer.say(RELEASE)
            assert peer.hear()[0] == 6

    def counts(self):
        return descriptors(self.pid), threads(self.pid)

    def peak(self):
        """Let the most there ever was begin anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return memory(self.pid)


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    one = Running(tmp_path_factory.mktemp("served"))
    yield one
    ended = one.house.stop()
    said = one.house.log()
    assert ended.code == 0
    assert "Traceback" not in said
    assert not any(word in said for word in ("Meilin", "PID-7731"))
    assert all(line.isprintable() for line in said.splitlines())


@pytest.fixture
def running(process):
    """After each test: threads and descriptors are as before, little memory was taken, nothing
    lies outside the data folder, and an honest device is served."""
    before, grown_from = process.counts(), process.peak()
    yield process
    process.works()
    until(lambda: process.counts()[1] <= before[1] + 2)
    until(lambda: process.counts()[0] <= max(before[0] + 8, POOLS))
    growth = memory(process.pid) - grown_from
    assert growth < MOST_GROWTH
    folder = process.house.folder
    assert {one.name for one in folder.iterdir()} <= {"data", "stderr.log"}
    assert not process.house.incoming


def many(number, one):
    """So many threads that do this."""
    crowd = [threading.Thread(target=one, args=(at,)) for at in range(number)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join(120)
        assert not each.is_alive()


def test_five_hundred_idle_ones(running):
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(Peer(running.port))
        running.works()
        assert running.counts()[1] < 80


def test_two_thousand_that_come_and_go(running):
    for _ in range(2000):
        socket.create_connection(("127.0.0.1", running.port)).close()
    running.works()


def test_two_hundred_honest_ones_at_once(running):
    """Each stores and finds what it stored."""
    failed = []

    def one(at):
        try:
            with associated(
                running.port, (CT, EXPLICIT), (FIND, IMPLICIT), calling=(SCANNER, CART)[at % 2]
            ) as peer:
                named = Named()
                peer.say(message(1, store_rq(CT, named.sop), named.encoded()))
                assert peer.status() == 0
                peer.say(message(3, command(C_FIND, FIND), identifier("IMAGE", named)))
                assert peer.statuses()[-1] == 0
                peer.say(RELEASE)
                assert peer.hear()[0] == 6
        except (AssertionError, Closed, OSError) as error:
            failed.append(error)

    many(200, one)
    assert not failed


def test_half_open_ones_and_junk_keep_nobody_out(running):
    """Three hundred begin to ask and stop, junk comes all the time; the honest are served."""
    stop = threading.Event()

    def junk():
        noise = random.Random(1)
        while not stop.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", running.port)) as peer:
                peer.sendall(noise.randbytes(noise.randrange(1, 4000)))

    noisy = [threading.Thread(target=junk) for _ in range(3)]
    for one in noisy:
        one.start()
    try:
        with ExitStack() as stack:
            for _ in range(300):
                peer = stack.enter_context(Peer(running.port))
                with suppress(OSError):
                    peer.say(b"\x01\0\0\0\1\0\0\1")
            for _ in range(10):
                running.works()
    finally:
        stop.set()
        for one in noisy:
            one.join(20)


def test_claims_of_a_megabyte_that_never_come(running):
    """A place is made for what has come, not for what was claimed."""
    with ExitStack() as stack:
        for _ in range(64):
            peer = stack.enter_context(Peer(running.port))
            peer.say(associate_rq(length=1 << 20))
        running.works()


def test_claims_of_large_fragments(running):
    """A PDU of 64 MB, of which a little comes: from a hundred senders."""
    with ExitStack() as stack:
        for _ in range(100):
            peer = stack.enter_context(associated(running.port, (CT, EXPLICIT), calling=SCANNER))
            peer.say(pdu(pdv(1, 3, store_rq(CT, Named().sop))))
            size = 60 << 20
            peer.say(struct.pack(">BxI", 4, size + 6), pdv(1, 2, bytes(70_000), size + 2))
        running.works()


def test_deflate_bombs(running):
    one = Named()
    raw = bomb(one, 2000 if os.environ.get("TELEREAD_TEST_FUZZ") else 500)

    def send(_):
        with associated(running.port, (CT, DEFLATED), calling=SCANNER) as peer:
            peer.say(message(1, store_rq(CT, one.sop), raw))
            assert peer.status() == 0xC000

    many(2, send)


def test_objects_of_nothing_but_small_elements(running):
    """32 MB of elements of 8 bytes, plain and in items."""
    one = Named()
    flat = b"".join(el(0x00110000 | n, b"LO", b"") for n in range(0x1000, 0xFFFF)) * 64
    raw = one.encoded(x00111000=flat)
    with associated(running.port, (CT, EXPLICIT), calling=SCANNER) as peer:
        peer.say(message(1, store_rq(CT, one.sop), raw))
        assert peer.status() in (0, 0xC000)


def test_a_large_object_in_small_pieces(running):
    """60 MB: its length is known at its end only."""
    one = Named()
    raw = one.encoded(x7FE00010=el(0x7FE00010, b"OW", bytes(60 << 20)))
    with associated(running.port, (CT, EXPLICIT), calling=SCANNER) as peer:
        peer.say(message(1, store_rq(CT, one.sop), raw))
        assert peer.status() == 0


def test_queries_whose_answers_nobody_reads(running):
    with associated(running.port, (CT, EXPLICIT), calling=SCANNER) as peer:
        for _ in range(50):
            one = Named()
            peer.say(message(1, store_rq(CT, one.sop), one.encoded()))
            assert peer.status() == 0
    keys = b"".join(im(0x00110000 | n, b"") for n in range(0x1000, 0x4E00))
    asked = message(1, command(C_FIND, FIND), im(0x00080052, b"STUDY ") + keys)
    with ExitStack() as stack:
        for _ in range(6):
            peer = stack.enter_context(Peer(running.port))
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.say(proposing((FIND, IMPLICIT), calling=SCANNER.encode()))
            assert peer.hear()[0] == 2
            peer.say(asked)
        running.works()


# --- slow lines ----------------------------------------------------------------------------------


class SlowLine:
    """A relay that carries so many bytes a second, so late, and stalls where a segment is lost."""

    def __init__(self, port, rate, delay, loss, stall):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._to = port
        self._rate, self._delay, self._loss, self._stall = rate, delay, loss, stall
        self._chance = random.Random(2)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        client, _ = self._listener.accept()
        there = socket.create_connection(("127.0.0.1", self._to))
        for one, other in ((client, there), (there, client)):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one, other):
        """Segments of 1,400 bytes; a clock of its own says when each is due at the other end."""
        on_the_way = queue.Queue(24)
        deliver = threading.Thread(target=self._deliver, args=(other, on_the_way), daemon=True)
        deliver.start()
        due = time.monotonic()
        with suppress(OSError):
            while segment := one.recv(1400):
                due = max(due, time.monotonic()) + len(segment) / self._rate
                if self._chance.random() < self._loss:
                    due += self._stall
                on_the_way.put((due + self._delay, segment))
        on_the_way.put((due + self._delay, b""))
        deliver.join()
        one.close()

    def _deliver(self, other, on_the_way):
        while True:
            due, segment = on_the_way.get()
            time.sleep(max(due - time.monotonic(), 0))  # this is the slow line
            with suppress(OSError):
                if not segment:
                    other.shutdown(socket.SHUT_WR)
                    return
                other.sendall(segment)

    def close(self):
        self._listener.close()


@pytest.fixture
def hurried(tmp_path):
    """Windows of two seconds in place of sixty; the limit of speed is the real one."""
    one = Place(tmp_path / "data", Limits(window_seconds=2.0))
    yield one
    one.close()


def test_a_line_of_a_third_of_a_megabit(hurried):
    """0.3 Mbit/s, 300 ms there and back, 2 % of the segments late by a retransmission."""
    line = SlowLine(hurried.port, 37_500, 0.15, 0.02, 0.6)
    one = Named()
    kilobytes = 4096 if os.environ.get("TELEREAD_TEST_FUZZ") else 120
    raw = one.encoded(x7FE00010=el(0x7FE00010, b"OW", bytes(kilobytes << 10)))
    try:
        with associated(line.port, (CT, EXPLICIT)) as peer:
            peer.socket.settimeout(300)
            peer.say(message(1, store_rq(CT, one.sop), raw))
            assert peer.status() == 0
            peer.say(RELEASE)
            assert peer.hear()[0] == 6
    finally:
        line.close()
    hurried.seen(one)


@pytest.mark.parametrize(("rate", "lives"), [(2048, True), (600, False)])
def test_two_kilobytes_a_second_live_and_less_do_not(hurried, rate, lives):
    """Over several windows."""
    one = Named()
    raw = one.encoded(x7FE00010=el(0x7FE00010, b"OW", bytes(11_000)))
    whole = message(1, store_rq(CT, one.sop), raw)
    pause = threading.Event()
    with associated(hurried.port, (CT, EXPLICIT)) as peer:
        try:
            for at in range(0, len(whole), rate // 8):
                peer.say(whole[at : at + rate // 8])
                pause.wait(0.125)  # this is the slow line
                if not lives and not hurried.dicom.associations:
                    break
            assert (peer.status() == 0) == lives
        except (Closed, OSError):
            assert not lives
    hurried.settled()
    hurried.works()
