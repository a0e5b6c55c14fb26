"""How fast does the gateway take instances, beside other receivers on the same disk?

In every repetition each receiver gets the same work in turn, so that a ratio compares what was
measured within seconds. Only the gateway syncs both object and index before it answers.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import AE

from tools.bench import large, peers, templates
from tools.bench.asking import STUDY_FIND
from tools.bench.figures import Figure, NotMeasured, one, remark, several
from tools.bench.house import AE_TITLE, CART, PATIENCE, ROOT, SCANNER, House
from tools.bench.peers import Receiver
from tools.bench.sender import Job, Sent, read_sent
from tools.bench.stopwatch import Stopwatch
from tools.bench.usage import Peak, cpu_seconds

TELEREAD, ENCRYPTED = "Teleread", "Teleread over TLS"
SLICES, CARTS, RADIOGRAPHS = 200, 200, 20


@dataclass(frozen=True)
class Work:
    """What is sent: by how many processes, how many studies of how many instances each."""

    title: str
    dataset: Dataset
    template: Path
    calling: str
    senders: int
    studies: int
    count: int

    @property
    def is_bulk(self) -> bool:
        """Whether bytes, not associations, are what takes the time."""
        return self.count > 1


@dataclass(frozen=True)
class Run:
    """What came of one work at one receiver."""

    seconds: float
    instances: int
    megabytes: float
    server_cpu: float
    sender_cpu: float

    @property
    def megabytes_a_second(self) -> float:
        """The data sets' bytes, in 10⁶."""
        return self.megabytes / self.seconds

    @property
    def instances_a_second(self) -> float:
        """Of an ECG cart: associations, too."""
        return self.instances / self.seconds


@dataclass
class _Seen:
    """All runs of one receiver, by work, and the most memory it had."""

    runs: dict[str, list[Run]] = field(default_factory=dict)
    peak: int = 0


def measure(
    folder: Path, furniture: Path, stopwatch: Stopwatch, repetitions: int
) -> Iterator[Figure]:
    """Everything about taking instances in."""
    folder.mkdir()
    works = _works(folder)
    house = House(folder, furniture)
    with ExitStack() as stack:
        stack.enter_context(house.running())
        receivers = [
            Receiver(TELEREAD, house.pid, house.dicom_port),
            Receiver(ENCRYPTED, house.pid, house.tls_port, tls=True),
        ]
        for name in peers.COMMANDS:
            peer = stack.enter_context(peers.running(name, folder))
            receivers += [peer] if peer else []
        seen = _repeated(works, receivers, stopwatch, repetitions)
        biggest = list(large.measure(house, quick=repetitions == 1))
        found = _found(house, works, seen)
    yield found
    for name in peers.COMMANDS.keys() - seen.keys():
        yield remark(f"{name}: {'does not start' if peers.program(name) else 'not installed'}")
    for work in works:
        yield from _speeds(work, seen)
    yield from _costs(works, seen)
    yield from biggest


def _found(house: House, works: Sequence[Work], seen: dict[str, "_Seen"]) -> Figure:
    """Whether everything that was answered with success is found by C-FIND."""
    ours = [seen[name].runs[work.title] for name in (TELEREAD, ENCRYPTED) for work in works]
    sent = sum(run.instances for runs in ours for run in runs) + 1  # and the large one
    found = _counted(house)
    if found != sent:
        raise NotMeasured(f"{sent} instances were answered with success, {found} are found")
    return remark(f"after the last answer all {found:,} instances are found by C-FIND")


def _counted(house: House) -> int:
    """The instances of every study that a C-FIND finds."""
    device = AE(SCANNER)
    device.add_requested_context(STUDY_FIND)
    keys = Dataset()
    keys.QueryRetrieveLevel, keys.StudyInstanceUID = "STUDY", ""
    keys.NumberOfStudyRelatedInstances = None
    asked = device.associate("127.0.0.1", house.dicom_port, ae_title=AE_TITLE)
    if not asked.is_established:
        raise NotMeasured("nobody takes a C-FIND")
    try:
        answers = asked.send_c_find(keys, STUDY_FIND)
        return sum(int(one.NumberOfStudyRelatedInstances) for _, one in answers if one is not None)
    finally:
        asked.release()


def _works(folder: Path) -> list[Work]:
    ct, dx, ecg = templates.ct_slice(), templates.radiograph(), templates.twelve_leads()
    slices, film, leads = (templates.written(one, folder) for one in (ct, dx, ecg))
    size, large_size, small = (one.stat().st_size / 1000 for one in (slices, film, leads))
    what = f"CT {SLICES} × {size:.0f} KB"
    single = f"ECG {small:.0f} KB, one association each"
    return [
        Work(f"{what}, 1 sender", ct, slices, SCANNER, 1, 1, SLICES),
        Work(f"{what}, 8 senders", ct, slices, SCANNER, 8, 1, SLICES // 4),
        Work(f"DX {large_size / 1000:.0f} MB", dx, film, SCANNER, 1, 1, RADIOGRAPHS),
        Work(f"{single}, 1 sender", ecg, leads, CART, 1, CARTS, 1),
        Work(f"{single}, 8 senders", ecg, leads, CART, 8, CARTS // 4, 1),
    ]


def _repeated(
    works: Sequence[Work], receivers: Sequence[Receiver], stopwatch: Stopwatch, repetitions: int
) -> dict[str, _Seen]:
    seen = {receiver.name: _Seen() for receiver in receivers}
    for number in range(repetitions):
        if number and stopwatch.is_late:
            break
        for work in works:
            for receiver in receivers:
                mine = seen[receiver.name]
                with Peak(receiver.pid) as peak:
                    run = _run(work, receiver)
                mine.runs.setdefault(work.title, []).append(run)
                mine.peak = max(mine.peak, peak.bytes)
    return seen


def _run(work: Work, receiver: Receiver) -> Run:
    """One work at one receiver: everybody ready first, then all at once."""
    with ExitStack() as stack:
        senders = [stack.enter_context(_sending(_job(work, receiver))) for _ in range(work.senders)]
        for one_sender in senders:
            _expect_ready(one_sender)
        before = cpu_seconds(receiver.pid)
        for one_sender in senders:
            _tell(one_sender, "go")
        sent = [read_sent(one_sender.communicate(timeout=PATIENCE)[0]) for one_sender in senders]
        used = cpu_seconds(receiver.pid) - before
    return _added_up(receiver, sent, used)


def _added_up(receiver: Receiver, sent: Sequence[Sent], used: float) -> Run:
    wrong = [each.wrong for each in sent if each.wrong]
    if wrong:
        raise NotMeasured(f"{receiver.name}: {wrong[0]}")
    return Run(
        seconds=max(each.ended for each in sent) - min(each.began for each in sent),
        instances=sum(each.instances for each in sent),
        megabytes=sum(each.size for each in sent) / 1e6,
        server_cpu=used,
        sender_cpu=sum(each.cpu_seconds for each in sent),
    )


# --- sending processes -------------------------------------------------------------------------


def _job(work: Work, receiver: Receiver) -> Job:
    return Job(
        template=str(work.template),
        sop_class=str(work.dataset.SOPClassUID),
        port=receiver.port,
        calling=work.calling,
        called=AE_TITLE,
        studies=work.studies,
        count=work.count,
        tls=receiver.tls,
    )


@contextmanager
def _sending(job: Job) -> Iterator[subprocess.Popen[str]]:
    """A process that makes itself ready for the job; it is ended when that takes too long."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.bench.sender"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    last = threading.Timer(PATIENCE, process.kill)
    last.start()
    with process:
        try:
            _tell(process, json.dumps(asdict(job)))
            yield process
        finally:
            last.cancel()
            process.kill()


def _expect_ready(process: subprocess.Popen[str]) -> None:
    if process.stdout is None or process.stdout.readline() != "ready\n":
        raise NotMeasured("a sender did not start")


def _tell(process: subprocess.Popen[str], line: str) -> None:
    if process.stdin is not None:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()


# --- figures -----------------------------------------------------------------------------------


def _speeds(work: Work, seen: dict[str, _Seen]) -> Iterator[Figure]:
    for name, each in seen.items():
        runs = each.runs[work.title]
        if work.is_bulk:
            bytes_a_second = [run.megabytes_a_second for run in runs]
            yield several(f"{work.title}: {name}", "MB/s", bytes_a_second, more=True)
    for name, each in seen.items():
        a_second = [run.instances_a_second for run in each.runs[work.title]]
        unit = "inst/s" if work.is_bulk else "assoc/s"
        yield several(f"{work.title}: {name}", unit, a_second, more=True)
    ours = seen[TELEREAD].runs[work.title]
    encrypted = zip(seen[ENCRYPTED].runs[work.title], ours, strict=True)
    ratios = [a.instances_a_second / b.instances_a_second for a, b in encrypted]
    yield several(f"{work.title}: over TLS ÷ not", "×", ratios, more=True)
    for name, each in seen.items():
        if name not in (TELEREAD, ENCRYPTED):
            pairs = zip(ours, each.runs[work.title], strict=True)
            ratios = [a.instances_a_second / b.instances_a_second for a, b in pairs]
            yield several(f"{work.title}: Teleread ÷ {name}", "×", ratios, more=True)


def _costs(works: Sequence[Work], seen: dict[str, _Seen]) -> Iterator[Figure]:
    bulk = [work.title for work in works if work.dataset.Modality == "CT"]
    single = [work.title for work in works if not work.is_bulk]
    for name, each in seen.items():
        runs = [run for title in bulk for run in each.runs[title]]
        costs = [run.server_cpu / run.megabytes * 1000 for run in runs]
        yield several(f"processor time for a GB of CT: {name}", "s/GB", costs)
    runs = [run for title in bulk for run in seen[TELEREAD].runs[title]]
    sending = [run.sender_cpu / run.megabytes * 1000 for run in runs]
    yield several("  the same of the senders, at Teleread", "s/GB", sending)
    for name, each in seen.items():
        runs = [run for title in single for run in each.runs[title]]
        costs = [run.server_cpu / run.instances * 1000 for run in runs]
        yield several(f"processor time for an ECG's association: {name}", "ms", costs)
    for name, each in seen.items():
        yield one(f"most memory, children included: {name}", "MB", each.peak / 1e6)
