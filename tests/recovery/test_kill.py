"""Is everything that was acknowledged still there after SIGKILL, and nothing of it twice?

Devices store and readers sign while the gateway is killed again and again at random moments. What
was answered with success is remembered by the test and asked for at the end.
"""

import hashlib
import os
import random
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest
from sqlalchemy import func, select

from gateway.verify import verify_document
from storage import tables
from tests.recovery.browser import Json, Person, expect, to_sign
from tests.recovery.device import (
    SUCCESS,
    Device,
    HungUp,
    Instance,
    Sample,
    ecg_sample,
    image_sample,
)
from tests.recovery.house import (
    CART,
    CENTER,
    OTHER_CENTER,
    OTHER_SCANNER,
    PATIENCE,
    READERS,
    SCANNER,
    House,
    until,
)
from worklist.report import ReportState

PER_ROUND = 50
WADO = 'multipart/related; type="application/dicom"; transfer-syntax=*'
pytestmark = pytest.mark.timeout(600)
POLICY = """
grace_seconds = 1
quiet_after_release_seconds = 1
quiet_alone_seconds = 2
"""


@dataclass
class Signature:
    """One press of the reader's key, and what came back if anything did."""

    task_id: str
    request: Json
    answer: Json | None = None


@dataclass
class Day:
    """What the clients of the gateway know. Guarded by `changed`."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    up: bool = False
    over: bool = False
    parked: int = 0
    round: int = 0
    stored: dict[str, tuple[str, Instance]] = field(default_factory=dict)  # Site, what was sent
    signatures: list[Signature] = field(default_factory=list)
    signing: int = 0
    acknowledged: Counter[int] = field(default_factory=Counter)
    unanswered: Counter[tuple[int, str]] = field(default_factory=Counter)
    repeated: int = 0
    broken: list[str] = field(default_factory=list)

    def wait_for(self, holds: Callable[[], object], what: str) -> None:
        """Until this holds; at once when a client has found a fault."""
        with self.changed:
            met = self.changed.wait_for(lambda: holds() or self.broken, PATIENCE)
        assert not self.broken, self.broken[0]
        assert met, f"waited for {what}"

    def set(self, **values: object) -> None:
        with self.changed:
            for name, value in values.items():
                setattr(self, name, value)
            self.changed.notify_all()

    def has_no_answer(self, what: str) -> None:
        with self.changed:
            self.unanswered[self.round, what] += 1

    def wait_until_up(self) -> bool:
        """Stand aside while the gateway is down. False when the day is over."""
        with self.changed:
            self.parked += 1
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.up or self.over)
            self.parked -= 1
            return not self.over


class Client(threading.Thread):
    """Somebody who uses the gateway while it runs and waits while it does not."""

    def __init__(self, day: Day) -> None:
        super().__init__(daemon=True)
        self.day = day

    def run(self) -> None:
        try:
            while self.day.wait_until_up():
                self.work()
        except BaseException as error:
            self.day.set(broken=[*self.day.broken, f"{type(self).__name__}: {error!r}"])

    def work(self) -> None:
        """Until the gateway is gone."""
        raise NotImplementedError


class Sender(Client):
    """A device: one association for each study, its instances one after another."""

    def __init__(
        self, day: Day, house: House, title: str, sample: Sample, count: int, seed: int
    ) -> None:
        super().__init__(day)
        self._house, self._title, self._sample, self._count = house, title, sample, count
        self._chance = random.Random(seed)

    def work(self) -> None:
        try:
            while self.day.up:
                self._study()
        except HungUp as gone:
            if gone.asked:
                self.day.has_no_answer("store")

    def _study(self) -> None:
        first = self._sample.instance(self._chance)
        more = [
            self._sample.instance(self._chance, first.study, first.series)
            for _ in range(1, self._count)
        ]
        with Device(self._house.dicom_port, self._title) as device:
            for one in (first, *more):
                status = device.store(one)
                assert status == SUCCESS, f"status {status:04X}"
                day = self.day
                with day.changed:
                    site = OTHER_CENTER if self._title == OTHER_SCANNER else CENTER
                    day.stored[one.uid] = (site, one)
                    day.acknowledged[day.round] += 1
                    day.changed.notify_all()
            device.release()


class Reader(Client):
    """A reader with one session all day: the cookie is as good after a kill as before."""

    def __init__(self, day: Day, person: Person, seed: int) -> None:
        super().__init__(day)
        self.person = person
        self.mine: list[Signature] = []
        self._chance = random.Random(seed)

    def work(self) -> None:
        try:
            self._repeat()
            while self.day.up:
                self._read_one()
        except httpx.ConnectError:
            return
        except httpx.TransportError as gone:
            signing = gone.request.url.path.endswith("/sign")
            self.day.has_no_answer("sign" if signing else "other request")

    def _repeat(self) -> None:
        """Send every signature once more: its first result comes back, or it is made now."""
        for one in self.mine:
            again = expect(200, self.person.sign(one.task_id, one.request))
            assert one.answer in (None, again), f"{one.answer} was answered before, now {again}"
            self._keep(one, again)
            self.day.repeated += 1

    def _read_one(self) -> None:
        tasks = self.person.tasks("ecg")
        open_ones = [one for one in tasks if one["state"] == "OPEN" or one["mine"]]
        if not open_ones:
            return
        claimed = self.person.claim(self._chance.choice(open_ones)["id"])
        if claimed.status_code == 409:
            return
        case = expect(200, claimed)
        draft = expect(200, self.person.write(case))
        one = Signature(case["task"]["id"], to_sign(case, draft["draft_version"]))
        self.mine.append(one)
        with self.day.changed:
            self.day.signing += 1
            self.day.changed.notify_all()
        try:
            self._keep(one, expect(200, self.person.sign(one.task_id, one.request)))
        finally:
            with self.day.changed:
                self.day.signing -= 1

    def _keep(self, one: Signature, answer: Json) -> None:
        if one.answer is None:
            one.answer = answer
            with self.day.changed:
                self.day.signatures.append(one)


def test_ten_kills(new_house, tmp_path):
    _kill_and_look(new_house, tmp_path, rounds=10)


def test_kills_over_postgres_and_s3(new_far_house, tmp_path):
    _kill_and_look(new_far_house, tmp_path, rounds=3)


def _kill_and_look(new_house, tmp_path, rounds):
    seed = int(os.environ.get("KILL_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"\nKILL_SEED={seed}")
    chance = random.Random(seed)
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    house = new_house(policy=policy)
    day = Day()
    house.start()
    readers = [Reader(day, Person(house, name), chance.randrange(1 << 32)) for name in READERS]
    house.kill()
    clients = [*_senders(day, house, chance), *readers]
    for client in clients:
        client.start()
    try:
        _kill_again_and_again(house, day, clients, chance, rounds)
        _come_back(house, day, clients, readers, rounds)
    finally:
        day.set(up=False, over=True)
        for reader in readers:
            reader.person.http.close()
    assert house.stop().code == 0
    _everything_is_there(house, day, rounds * PER_ROUND)
    _say(day)


def _senders(day: Day, house: House, chance: random.Random) -> list[Client]:
    ecg, image = ecg_sample(), image_sample()
    return [
        Sender(day, house, CART, ecg, 1, chance.randrange(1 << 32)),
        *(
            Sender(day, house, title, image, 5, chance.randrange(1 << 32))
            for title in (SCANNER, SCANNER, OTHER_SCANNER)
        ),
    ]


def _kill_again_and_again(
    house: House, day: Day, clients: list[Client], chance: random.Random, rounds: int
) -> None:
    for number in range(rounds):
        house.start()
        assert house.incoming == [], "temporary files of before the kill"
        day.set(round=number, up=True)
        wanted = chance.randrange(PER_ROUND, 2 * PER_ROUND)
        day.wait_for(
            lambda n=number, w=wanted: day.acknowledged[n] >= w and day.signing,
            "instances and a signature under way",
        )
        time.sleep(chance.uniform(0, 0.1))  # any phase of storing and signing
        house.kill()
        day.set(up=False)
        day.wait_for(lambda: day.parked == len(clients), "everybody to notice")
        assert any(one[0] == number for one in day.unanswered), "nothing was in flight"


def waiting(figures):
    """The kinds of jobs that wait; the scrub always does."""
    found = re.findall(
        r'^teleread_jobs{kind="(\w+)",state="waiting"} (\S+)$', figures, re.MULTILINE
    )
    return {kind for kind, count in found if float(count) and kind != "scrub"}


def _come_back(
    house: House, day: Day, clients: list[Client], readers: list[Reader], rounds: int
) -> None:
    """The last start: no new work, only what was promised."""
    day.set(round=rounds, over=True)
    for client in clients:
        client.join(PATIENCE)
    assert not day.broken, day.broken[0]
    house.start()
    assert house.incoming == []
    for reader in readers:
        reader._repeat()
        for task in reader.person.tasks("mine"):  # claims whose answer was lost
            expect(204, reader.person.post(f"/api/tasks/{task['id']}/release"))
    person = readers[0].person
    until(lambda: not waiting(person.get("/metrics").text), "no jobs")
    for site, one in day.stored.values():  # as a viewer gets it
        path = (
            f"/dicom-web/sites/{site}/studies/{one.study}/series/{one.series}/instances/{one.uid}"
        )
        answer = person.get(path, headers={"Accept": WADO})
        assert answer.status_code == 200, answer.text
        assert one.raw in answer.content, one.uid


def _everything_is_there(house: House, day: Day, enough: int) -> None:
    assert len(day.stored) >= enough
    with house.parts() as parts, parts.view() as unit:
        rows = unit.connection.execute(select(tables.instance)).all()
        for row in rows:  # acknowledged or not: no row without all of its bytes
            data = parts.objects.read(row.locator, row.offset, row.length - row.offset)
            assert hashlib.sha256(data).hexdigest() == row.digest
            assert parts.objects.length(row.locator) == row.length
        found = {row.sop_uid: (row.digest, row.site) for row in rows}
        for uid, (site, one) in day.stored.items():
            assert found.get(uid) == (one.digest, site), uid
        _every_study_is_a_task(unit)
        _every_report_is_there_once(parts, unit, day)
        left = unit.connection.execute(select(tables.job.c.kind)).scalars()
        assert set(left) <= {"scrub"}  # which is never done
        owned = {row.locator for row in rows} | set(_pdfs(unit))
        orphans = set(parts.objects.list()) - owned
    # at most what was in flight
    assert len(orphans) <= sum(day.unanswered.values())


def _every_study_is_a_task(unit) -> None:
    study, task = tables.study, tables.task
    without = select(study.c.id).where(study.c.id.not_in(select(task.c.study_id)))
    assert unit.connection.execute(without).all() == []
    assert set(unit.connection.execute(select(study.c.arrival)).scalars()) == {"COMPLETE"}


def _every_report_is_there_once(parts, unit, day: Day) -> None:
    report = tables.report
    rows = {row.id: row for row in unit.connection.execute(select(report))}
    assert {one.answer["report_id"] for one in day.signatures} <= set(rows)
    assert {row.state for row in rows.values()} == {ReportState.FINAL}
    twice = select(report.c.task_id).group_by(report.c.task_id).having(func.count() > 1)
    assert unit.connection.execute(twice).all() == []
    for one in day.signatures:
        row = rows[one.answer["report_id"]]
        assert (row.task_id, uuid.UUID(row.request_id)) == (
            one.task_id,
            uuid.UUID(one.request["request_id"]),
        )
    for row in rows.values():
        pdf = parts.objects.get(row.pdf)
        assert hashlib.sha256(pdf).hexdigest() == row.pdf_digest
        assert verify_document(parts, pdf, row.verify_id).matches


def _pdfs(unit) -> list[str]:
    return list(unit.connection.execute(select(tables.report.c.pdf)).scalars())


def _say(day: Day) -> None:
    lost = Counter()
    for (_, what), count in day.unanswered.items():
        lost[what] += count
    print(
        f"{len(day.stored)} instances acknowledged, {len(day.signatures)} reports signed, "
        f"{day.repeated} signatures repeated; in flight at the kills: {dict(lost)}"
    )
