"""Is everything on stable storage before its answer leaves the socket?

A kill proves no fsync: the kernel keeps what a dead process wrote. So the system calls of a real
`teleread serve` are watched, and their order is what is tested.
"""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from storage.ingest import MOST_IN_MEMORY
from tests.recovery.browser import Person
from tests.recovery.device import SUCCESS, Device, ecg_sample, image_sample
from tests.recovery.house import CART, SCANNER

CALLS = (
    "fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,openat,write,pwrite64,pwritev,pwritev2,"
    "writev,sendto,sendmsg"
)
STORED = 7
LARGE_SIDE = 1500  # pixels; such an image is a file of its own

# What strace -f -y -yy -ttt writes: process, time, call. A call that another one interrupts has
# two lines; it counts as begun at the first and as done at the second.
_LINE = re.compile(r"(?P<pid>\d+) +(?P<at>\d+\.\d+) (?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<given>.*)")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
_UNFINISHED = "<unfinished ...>"
_PATH = re.compile(r"\d+<(?P<path>.*?)>[,)]")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Call:
    """One system call: when it began and when it was done, by the number of the line."""

    pid: str
    name: str
    began: int
    done: int
    given: str
    failed: bool

    @property
    def path(self) -> str:
        """Where the first argument's descriptor leads."""
        found = _PATH.match(self.given)
        return found["path"] if found else ""

    @property
    def names(self) -> list[str]:
        """The quoted arguments."""
        return _QUOTED.findall(self.given)


class NotDurable(AssertionError):
    """An answer left before what it says was on stable storage."""


def calls(text: str) -> list[Call]:
    """The calls of a trace in the order in which they were done."""
    found: list[Call] = []
    open_ones: dict[str, tuple[int, str]] = {}

    def add(pid: str, began: int, done: int, text: str) -> None:
        call = _CALL.fullmatch(text)
        if call is not None:
            failed = " = -1 " in text
            found.append(Call(pid, call["name"], began, done, call["given"], failed))

    for number, line in enumerate(text.splitlines()):
        matched = _LINE.fullmatch(line)
        if matched is None:
            continue
        pid, rest = matched["pid"], matched["rest"]
        resumed = _RESUMED.fullmatch(rest)
        if resumed:
            began, head = open_ones.pop(pid, (number, f"{resumed['name']}("))
            rest = head + resumed["rest"]
        elif rest.endswith(_UNFINISHED):
            open_ones[pid] = (number, rest.removesuffix(_UNFINISHED).rstrip())
            continue
        else:
            began = number
        add(pid, began, number, rest)
    for pid, (began, rest) in open_ones.items():  # still under way when the trace ended
        add(pid, began, 1 << 60, rest)
    return found


def answers(trace: list[Call], port: int, beginning: str) -> list[Call]:
    """What was sent from this port and begins with these bytes (as strace writes them)."""
    sent = (one for one in trace if one.name in ("sendto", "sendmsg", "write", "writev"))
    return [
        one
        for one in sent
        if f":{port}->" in one.path and one.names and one.names[0].startswith(beginning)
    ]


def require_durable(trace: list[Call], kind: str, after: int, answer: Call) -> None:
    """Between line `after` and the answer: object, its folder and the index were synced in order.

    Raises:
        NotDurable: with what is missing.
    """
    before = [one for one in trace if after < one.began and one.done < answer.began]
    kept = [*_kept_in_segments(trace, before, kind), *_kept_in_files(before, kind)]
    if not kept:
        raise NotDurable("no object was kept")
    last = max(kept, key=lambda one: one.done)
    writes = [
        one
        for one in before
        if one.name == "pwrite64" and one.path.endswith("-wal") and one.began > last.done
    ]
    # the thread that kept the object commits, or another one that commits for both
    own = [one for one in writes if one.pid == last.pid] or writes[:1]
    if not own:
        raise NotDurable("nothing was written to the index after the object was kept")
    if not any(one.began > own[-1].done for one in _synced(before, is_index)):
        raise NotDurable("the index was not synced after it was written")


def _kept_in_segments(trace: list[Call], before: list[Call], kind: str) -> list[Call]:
    """The syncs of the segments that were appended to, all in order."""
    written = [one for one in before if f"/objects/{kind}/segments/" in one.path]
    appended = {one.path: one for one in written if one.name.startswith("pwrite")}
    kept = []
    for path, last in appended.items():
        syncs = [one for one in _synced(before, path.__eq__) if one.began > last.done]
        if not syncs:
            raise NotDurable("the object was not synced after its last byte")
        folder = path.rpartition("/")[0]
        made = [one for one in trace if one.name == "openat" and path in one.names]
        begun = next(one for one in made if "O_CREAT" in one.given)
        names = [one for one in _synced(trace, folder.__eq__) if one.began > begun.done]
        if not any(one.done < syncs[0].began for one in names):
            raise NotDurable("the folder was not synced after the segment got its name")
        _require_folders([one for one in trace if one.done < syncs[0].began], folder)
        kept.append(syncs[0])
    return kept


def _kept_in_files(before: list[Call], kind: str) -> list[Call]:
    """The renames of objects that are files of their own, all in order."""
    renames = [one for one in before if one.name.startswith("rename") and not one.failed]
    kept = [one for one in renames if f"/objects/{kind}/" in one.names[-1]]
    for rename in kept:
        incoming, final = rename.names[0], rename.names[-1]
        file = _synced(before, incoming.__eq__)
        if not any(one.done < rename.began for one in file):
            raise NotDurable("the object was not synced before it got its name")
        folder = final.rpartition("/")[0]
        if not any(one.began > rename.done for one in _synced(before, folder.__eq__)):
            raise NotDurable("the folder was not synced after the object got its name")
        _require_folders(before, folder)
    return kept


def is_large_object(path: str) -> bool:
    return "/objects/incoming/" in path


def is_segment(path: str) -> bool:
    return "/segments/" in path


def is_folder(path: str) -> bool:
    return "/objects/" in path and not is_large_object(path) and not is_segment(path)


def is_index(path: str) -> bool:
    return path.endswith("/index.sqlite-wal")


def _require_folders(before: list[Call], folder: str) -> None:
    """A folder that was made for the object is synced into the one above it."""
    for made in (one for one in before if one.name.startswith("mkdir") and not one.failed):
        parent = made.names[-1].rpartition("/")[0]
        inside = f"{folder}/".startswith(f"{made.names[-1]}/")
        if inside and not any(one.began > made.done for one in _synced(before, parent.__eq__)):
            raise NotDurable("a new folder was not synced into the one above it")


def _synced(trace: list[Call], is_it: Callable[[str], bool]) -> list[Call]:
    return [
        one
        for one in trace
        if one.name in ("fsync", "fdatasync") and not one.failed and is_it(one.path)
    ]


def every_answer(trace: list[Call], dicom_port: int, web_port: int) -> Iterator[str]:
    """Check each answer that promises something; yields what it promised."""
    last = 0
    for answer in answers(trace, dicom_port, r"\4\0"):
        require_durable(trace, "dicom", last, answer)
        last = answer.began
        yield "instance"
    # nothing was asked on the web after the signature
    *_, draft, signed = answers(trace, web_port, "HTTP/1.1 200 OK")
    require_durable(trace, "report", draft.began, signed)
    yield "report"


def test_a_call_that_is_interrupted_is_read_like_any_other():
    interrupted = calls(
        "7 1.0 fsync(23</data/objects/dicom> <unfinished ...>\n"
        "8 1.1 fsync(24</data/index.sqlite-wal>) = 0\n"
        "7 1.2 <... fsync resumed>) = 0\n"
    )
    assert [(one.path, one.began, one.done) for one in interrupted] == [
        ("/data/index.sqlite-wal", 1, 1),
        ("/data/objects/dicom", 0, 2),
    ]


@pytest.mark.strace
def test_sync_comes_before_the_answer(new_house, tmp_path):
    house = new_house()
    file = tmp_path / "trace"
    house.start(
        *("strace", "-f", "--seccomp-bpf", "-ttt", "-yy", "-s", "32"),
        *("-e", f"trace={CALLS}", "-o", str(file)),
    )
    _store_and_sign(house)
    assert house.stop().code == 0
    trace = calls(file.read_text())
    promised = list(every_answer(trace, house.dicom_port, house.web_port))
    assert promised == ["instance"] * STORED + ["report"]
    # and the test would see it: the same trace without one kind of sync does not pass
    for which in (is_large_object, is_segment, is_folder, is_index):
        left = [one for one in trace if "sync" not in one.name or not which(one.path)]
        with pytest.raises(NotDurable):
            list(every_answer(left, house.dicom_port, house.web_port))


def _store_and_sign(house):
    chance = random.Random(1)
    image, ecg = image_sample(), ecg_sample()
    with Person(house, "ma") as reader:
        with Device(house.dicom_port, SCANNER) as device:
            first = image.instance(chance)
            for one in (
                first,
                *(image.instance(chance, first.study, first.series) for _ in range(STORED - 3)),
            ):
                assert device.store(one) == SUCCESS
            large = image_sample(LARGE_SIDE).instance(chance)
            assert len(large.raw) > MOST_IN_MEMORY
            assert device.store(large) == SUCCESS
            device.release()
        with Device(house.dicom_port, CART) as device:
            assert device.store(ecg.instance(chance)) == SUCCESS
            device.release()
        (task,) = reader.tasks("ecg")
        reader.read_and_sign(task["id"])
