"""Do we answer for an instance only after we have read it back, and is every answer told?"""

import os
import queue
import socket
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt

from gateway.dicom import commitment
from gateway.dicom.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from gateway.worker import Worker
from worklist.errors import Refusal

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"


class Report:
    """One N-EVENT-REPORT as a device got it."""

    def __init__(self, event):
        self.type = event.event_type
        information = event.event_information
        self.transaction = information.TransactionUID
        self.committed = [
            item.ReferencedSOPInstanceUID for item in information.get("ReferencedSOPSequence", [])
        ]
        self.failed = {
            item.ReferencedSOPInstanceUID: item.FailureReason
            for item in information.get("FailedSOPSequence", [])
        }


class Asking:
    """A device that asks for commitment on its own association."""

    def __init__(self, association, reports):
        self.association = association
        self.reports = reports

    def ask(self, *pairs, transaction=None, action=1, instance=PUSH_MODEL_INSTANCE, **changes):
        """The status of an N-ACTION about (SOP class, SOP instance)."""
        request = Dataset()
        request.TransactionUID = transaction or generate_uid()
        request.ReferencedSOPSequence = [reference(*pair) for pair in pairs]
        for keyword, value in changes.items():
            if value is None:
                delattr(request, keyword)
            else:
                setattr(request, keyword, value)
        answer, _ = self.association.send_n_action(request, action, PUSH_MODEL, instance)
        return answer.get("Status")

    def report(self, seconds=20):
        return self.reports.get(timeout=seconds)


def reference(sop_class, uid):
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item


@contextmanager
def asking(gateway, ae_title="EAST_CT", answer=0x0000):
    """A device on its association."""
    reports = queue.Queue()

    def heard(event):
        reports.put(Report(event))
        return answer, None

    ae = AE(ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
    ae.add_requested_context(PUSH_MODEL)
    ae.add_requested_context("1.2.840.10008.1.1")
    association = ae.associate(
        "127.0.0.1",
        gateway.port,
        ae_title="TELEREAD",
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, heard)],
    )
    assert association.is_established
    try:
        yield Asking(association, reports)
    finally:
        association.release()
        association.join(10)


@contextmanager
def listening(answers=(), role=True):
    """A device with an address: what it was told, and its port."""
    reports, roles = queue.Queue(), []
    answers = list(answers)

    def heard(event):
        reports.put(Report(event))
        return (answers.pop(0) if answers else 0x0000), None

    def accepted(event):
        roles.extend((context.as_scp, context.as_scu) for context in event.assoc.accepted_contexts)

    ae = AE("EAST_PACS")
    ae.add_supported_context(PUSH_MODEL, scu_role=False if role else None, scp_role=role or None)
    server = ae.start_server(
        ("127.0.0.1", 0),
        block=False,
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, heard), (evt.EVT_ESTABLISHED, accepted)],
    )
    try:
        yield server.server_address[1], reports, roles
    finally:
        server.shutdown()


def with_address(gateway, port, site="east", ae_title="EAST_PACS"):
    with gateway.parts.new_unit() as unit:
        unit.people.add_device(
            site=site,
            ae_title=ae_title,
            called=None,
            host="127.0.0.1",
            port=port,
            modality=None,
            one_per_image=False,
        )


def stored(gateway, associate, image, count=1, ae_title="EAST_CT", **changes):
    datasets = [image(**changes) for _ in range(count)]
    with associate(gateway.port, ae_title=ae_title) as device:
        for dataset in datasets:
            assert device.store(dataset) == 0x0000
    return [(CT, str(dataset.SOPInstanceUID)) for dataset in datasets]


def work(gateway):
    worker = Worker(gateway.parts)
    while worker.once():
        pass


def rows(gateway, ae_title="EAST_CT"):
    """Every request of the device, told or not."""
    from sqlalchemy import select

    from storage.tables import commitment as table

    with gateway.parts.view() as unit:
        (device,) = unit.people.callers(ae_title)
        statement = select(table).where(table.c.device_id == device.id)
        return unit.connection.execute(statement.order_by(table.c.requested_at)).all()


# -- what is answered -----------------------------------------------------------------------------


def test_what_was_stored_is_committed_on_the_same_association(gateway, associate, image):
    pairs = stored(gateway, associate, image, 3)
    transaction = generate_uid()
    with asking(gateway) as device:
        assert device.ask(*pairs, transaction=transaction) == 0x0000
        report = device.report()
        assert device.association.send_c_echo().Status == 0x0000, "the association goes on"
    assert (report.type, report.transaction) == (1, transaction)
    assert report.committed == [uid for _, uid in pairs]
    assert report.failed == {}
    (row,) = rows(gateway)
    assert row.reported_at is not None
    with gateway.parts.view() as unit:
        assert [kind for (kind,) in unit.connection.exec_driver_sql("select kind from job")].count(
            "commit"
        ) == 0


def test_failures_are_listed_with_their_reason(gateway, associate, image):
    good, gone, changed, other_class = stored(gateway, associate, image, 4)
    unknown = (CT, str(generate_uid()))
    lose(gateway, gone[1])
    damage(gateway, changed[1])
    with asking(gateway) as device:
        asked = (good, gone, changed, (MR, other_class[1]), unknown)
        assert device.ask(*asked) == 0x0000
        report = device.report()
    assert report.type == 2
    assert report.committed == [good[1]]
    assert report.failed == {
        gone[1]: 0x0110,
        changed[1]: 0x0110,
        other_class[1]: 0x0119,
        unknown[1]: 0x0112,
    }


def path_of(gateway, uid):
    (row,) = gateway.versions(uid)
    return row, gateway.folder / "objects" / row.locator


def lose(gateway, uid):
    row, _ = path_of(gateway, uid)
    gateway.parts.objects.delete(row.locator)


def damage(gateway, uid):
    """One bit of the last byte, behind the back of the store."""
    row, _ = path_of(gateway, uid)
    whole = bytes(gateway.parts.objects.get(row.locator))
    last = whole[-64:]
    for path in [one for one in Path(gateway.folder).rglob("*") if one.is_file()]:
        data = path.read_bytes()
        at = data.find(whole)
        if at >= 0 and path.parent.name != "index":
            with path.open("r+b") as file:
                file.seek(at + len(whole) - len(last))
                file.write(bytes([last[0] ^ 1]) + last[1:])
                os.fsync(file.fileno())
            return
    raise AssertionError("the object's bytes are nowhere")


def test_another_sites_instance_does_not_exist(gateway, associate, image):
    (theirs,) = stored(gateway, associate, image, ae_title="WEST_CT")
    with asking(gateway) as device:
        assert device.ask(theirs) == 0x0000
        report = device.report()
    assert report.failed == {theirs[1]: 0x0112}


def test_the_same_request_again_gets_the_same_answer(gateway, associate, image):
    (pair,) = stored(gateway, associate, image)
    unknown = (CT, str(generate_uid()))
    transaction = generate_uid()
    with asking(gateway) as device:
        reports = []
        for _ in range(2):
            assert device.ask(pair, unknown, transaction=transaction) == 0x0000
            reports.append(device.report())
    first, second = reports
    assert (first.type, first.committed, first.failed) == (
        second.type,
        second.committed,
        second.failed,
    )
    assert len(rows(gateway)) == 1


def test_another_request_under_a_used_transaction_uid_fails(gateway, associate, image):
    one, two = stored(gateway, associate, image, 2)
    transaction = generate_uid()
    with asking(gateway) as device:
        assert device.ask(one, transaction=transaction) == 0x0000
        assert device.report().committed == [one[1]]
        assert device.ask(two, transaction=transaction) == 0x0000
        assert device.report().failed == {two[1]: 0x0131}
    # another device may have come upon the same UID: that is no business of the first one
    gateway.add_device("east", "EAST_MR")
    with asking(gateway, "EAST_MR") as device:
        assert device.ask(two, transaction=transaction) == 0x0000
        assert device.report().committed == [two[1]]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"TransactionUID": None}, 0x0115),
        ({"TransactionUID": "not a uid"}, 0x0115),
        ({"ReferencedSOPSequence": None}, 0x0115),
        ({"ReferencedSOPSequence": []}, 0x0115),
        ({"ReferencedSOPSequence": [Dataset()]}, 0x0115),
        ({"instance": "1.2.3"}, 0x0112),
        ({"action": 2}, 0x0123),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_what_is_no_request_is_refused_and_not_kept(gateway, given, status):
    with asking(gateway) as device:
        assert device.ask((CT, str(generate_uid())), **given) == status
    assert rows(gateway) == []


def test_more_than_anybody_asks_is_refused(gateway, monkeypatch):
    monkeypatch.setattr(commitment, "MOST_INSTANCES", 2)
    with asking(gateway) as device:
        assert device.ask(*((CT, str(generate_uid())) for _ in range(3))) == 0x0213
    assert rows(gateway) == []


# -- how it is told -------------------------------------------------------------------------------


def test_a_device_with_an_address_is_called_and_we_are_scp_there(gateway, associate, image):
    with listening() as (port, reports, roles):
        with_address(gateway, port)
        pairs = stored(gateway, associate, image, 2, ae_title="EAST_PACS")
        with asking(gateway, "EAST_PACS") as device:
            assert device.ask(*pairs) == 0x0000
            work(gateway)
            report = reports.get(timeout=20)
            assert device.reports.empty(), "not on its own association as well"
    assert report.committed == [uid for _, uid in pairs]
    assert roles == [(False, True)], "the device that is called is agreed to be SCU"
    assert rows(gateway, "EAST_PACS")[0].reported_at is not None


def test_a_device_that_ignores_roles_is_told_all_the_same(gateway, associate, image):
    with listening(role=False) as (port, reports, _):
        with_address(gateway, port)
        (pair,) = stored(gateway, associate, image, ae_title="EAST_PACS")
        with asking(gateway, "EAST_PACS") as device:
            assert device.ask(pair) == 0x0000
        work(gateway)
        assert reports.get(timeout=20).committed == [pair[1]]


def test_a_device_that_is_down_is_called_again(gateway, associate, image):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with_address(gateway, port)
    (pair,) = stored(gateway, associate, image, ae_title="EAST_PACS")
    with asking(gateway, "EAST_PACS") as device:
        assert device.ask(pair) == 0x0000
    (row,) = rows(gateway, "EAST_PACS")
    with pytest.raises(Refusal, match="cannot be reached"):
        commitment.commit(gateway.parts, {"commitment_id": row.id}, gateway.parts.now())
    with listening([0x0110]) as (port, reports, _):
        from sqlalchemy import update

        from storage.tables import device as table

        with gateway.parts.new_unit() as unit:
            unit.connection.execute(update(table).where(table.c.port.is_not(None)), {"port": port})
        with pytest.raises(Refusal, match="answers 0110"):
            commitment.commit(gateway.parts, {"commitment_id": row.id}, gateway.parts.now())
        assert rows(gateway, "EAST_PACS")[0].reported_at is None
        commitment.commit(gateway.parts, {"commitment_id": row.id}, gateway.parts.now())
        assert [reports.get(timeout=20).committed for _ in range(2)] == [[pair[1]]] * 2
    assert rows(gateway, "EAST_PACS")[0].reported_at is not None


def test_a_job_that_is_given_up_stands_and_goes_on_when_the_device_asks_again(
    gateway, associate, image
):
    with listening() as (port, reports, _):
        with_address(gateway, port)
        first, second = stored(gateway, associate, image, 2, ae_title="EAST_PACS")
        with asking(gateway, "EAST_PACS") as device:
            assert device.ask(first) == 0x0000
            (row,) = rows(gateway, "EAST_PACS")
            with gateway.parts.new_unit() as unit:
                now = gateway.parts.now()
                for _ in range(12):
                    unit.jobs.put("commit", f"commit:{row.id}", now, {"commitment_id": row.id})
                    unit.connection.exec_driver_sql("update job set attempts = 12")
                    leased = unit.jobs.lease(now + timedelta(seconds=1), timedelta(minutes=1))
                    unit.jobs.failed(leased, "unreachable", now)
                assert [one.kind for one in unit.jobs.dead()] == ["commit"]
            assert device.ask(second) == 0x0000
            work(gateway)
        told = [reports.get(timeout=20).committed for _ in range(2)]
    assert sorted(told) == sorted([[first[1]], [second[1]]])


def test_a_device_that_has_gone_is_told_when_it_is_back(gateway, associate, image):
    (pair,) = stored(gateway, associate, image)
    transaction = generate_uid()
    ask_and_hang_up(gateway, pair, transaction)
    (row,) = rows(gateway)
    if row.reported_at is None:  # it may have been faster than the hang-up
        again = commitment.commit(gateway.parts, {"commitment_id": row.id}, gateway.parts.now())
        assert again == row.expires_at, "kept until the device calls"
        with asking(gateway) as device:
            report = device.report()
        assert (report.transaction, report.committed) == (transaction, [pair[1]])
    assert rows(gateway)[0].reported_at is not None


def ask_and_hang_up(gateway, pair, transaction):
    """As a device that breaks the connection as soon as it has its N-ACTION response."""
    ae = AE("EAST_CT")
    ae.add_requested_context(PUSH_MODEL)
    responded = []

    def heard(event):
        responded.append(event)
        event.assoc.abort()
        return 0x0000, None

    association = ae.associate(
        "127.0.0.1",
        gateway.port,
        ae_title="TELEREAD",
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, heard)],
    )
    request = Dataset()
    request.TransactionUID = transaction
    request.ReferencedSOPSequence = [reference(*pair)]
    answer, _ = association.send_n_action(request, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    assert answer.Status == 0x0000
    association.abort()
    association.join(10)
    end = time.monotonic() + 20
    while gateway.edge.associations:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_answer_nobody_comes_for_expires_visibly(gateway, associate, image, lines):
    (pair,) = stored(gateway, associate, image)
    with gateway.parts.new_unit() as unit:
        (device,) = unit.people.callers("EAST_CT")
        kept = commitment._keep(unit, device, generate_uid(), (pair,), gateway.parts.now())
    payload = {"commitment_id": kept.id}
    assert commitment.commit(gateway.parts, payload, gateway.parts.now()) == kept.expires_at
    assert commitment.commit(gateway.parts, payload, kept.expires_at) is None
    assert rows(gateway)[0].given_up_at is not None
    assert any("never told" in line for line in lines())
    with asking(gateway) as device, pytest.raises(queue.Empty):
        device.report(seconds=0.5)


def test_a_large_list_is_read_back_in_pieces(gateway, associate, image, monkeypatch):
    pairs = stored(gateway, associate, image, 5)
    monkeypatch.setattr(commitment, "_BRIEFLY", 0.0)
    monkeypatch.setattr(commitment, "_AT_LENGTH", 0.0)
    with asking(gateway) as device:
        assert device.ask(*pairs) == 0x0000
        assert len(device.report().committed) == 5
    with gateway.parts.new_unit() as unit:
        (device,) = unit.people.callers("EAST_CT")
        kept = commitment._keep(unit, device, generate_uid(), tuple(pairs), gateway.parts.now())
    now = gateway.parts.now()
    payload = {"commitment_id": kept.id}
    steps = [commitment.commit(gateway.parts, payload, now) for _ in range(5)]
    assert steps == [now] * 4 + [kept.expires_at]


def test_reading_back_needs_little_memory_whatever_the_size(gateway):
    """An object of many blocks is asked for one block at a time."""
    import hashlib
    from types import SimpleNamespace

    size = 64 << 20
    asked = []

    class Large:
        def read(self, locator, start, length):
            asked.append(length)
            return bytes(min(length, size - start))

    digest = hashlib.sha256(bytes(size)).hexdigest()
    row = SimpleNamespace(offset=0, length=size, locator="x", digest=digest, sop_uid="1.2")
    assert commitment._reads_back(Large(), row)
    assert max(asked) <= 1 << 20
