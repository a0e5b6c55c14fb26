"""Does a case go from arrival through one reader's hands to a report, come what may?"""

import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from worklist import arrival, critical, delivery, reading, signing
from worklist.arrival import Arrival, Study
from worklist.errors import Code, Refusal
from worklist.patient import Patient
from worklist.policy import Policy
from worklist.priority import Priority
from worklist.report import Draft, ReportState, Result
from worklist.signing import Sealed, SignRequest
from worklist.task import TaskState

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
POLICY = Policy()


class Refused:
    def __init__(self, code):
        self.code = code

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        assert isinstance(error, Refusal), f"expected a refusal {self.code}, got {error!r}"
        assert error.code is self.code
        self.details = error.details
        return True


def caller(house, name):
    with house.view() as unit:
        person = unit.people.person(name)
        return unit.people.caller(name, sorted(person.roles), person.site)


def shown(*sop_uids, v="0" * 16):
    """What a page says that has painted these instances."""
    return frozenset((one, v) for one in sop_uids)


FIRST = shown("1.2.3")


def arrive(house, study_id=None, kind="CT", sop="1.2.3", now=NOW, digit="0"):
    """One instance comes in, maybe as another content of a known one; returns the study's id."""
    with house.unit() as unit:
        if study_id is None:
            patient = Patient("丁建国", "Ding Jianguo", "ZY-20931", "M", date(1959, 1, 1))
            study = unit.studies.add(
                Study(
                    0,
                    "east",
                    f"1.2.{sop}",
                    kind,
                    patient,
                    Priority.ROUTINE,
                    Arrival.RECEIVING,
                    now,
                    now,
                ),
                None,
                {},
            )
            series = unit.studies.add_series(
                study_id=study.id,
                series_uid=f"1.2.{sop}.1",
                modality=kind,
                instance_count=0,
                attributes={},
            )
        else:
            study = unit.studies.lock(study_id)
            series = unit.studies.series_rows(study_id)[0].id
        number = study.newest_instance + 1
        version = len(unit.studies.versions("east", sop)) + 1
        unit.studies.add_instance(
            series_id=series,
            study_id=study.id,
            site="east",
            sop_uid=sop,
            sop_class="1.2.840.10008.5.1.4.1.1.2",
            version=version,
            current=True,
            number_in_study=number,
            kind="image",
            frames=1,
            transfer_syntax="1.2.840.10008.1.2.1",
            digest=digit * 64,
            locator=f"dicom/{sop}-{version}",
            offset=132,
            length=1000,
            received_at=now,
        )
        study = replace(study, newest_instance=number, instance_count=number, last_received_at=now)
        unit.studies.save(arrival.instance_arrived(unit, study, sop, now, POLICY))
        return study.id


def settled(house, sop="1.2.3", now=NOW):
    """A settled CT with one instance: (study id, task id)."""
    study_id = arrive(house, sop=sop, now=now)
    with house.unit() as unit:
        arrival.settle(unit, study_id, now, POLICY)
        return study_id, unit.tasks.of_study(study_id)[0].id


def tasks(house, study_id):
    with house.view() as unit:
        return unit.tasks.of_study(study_id)


def claim(house, task_id, name="zhou", now=NOW):
    with house.unit() as unit:
        return reading.claim(unit, task_id, caller(house, name), now, POLICY)


def write(house, task_id, name="zhou", now=NOW, result=Result.ABNORMAL, version=0):
    draft = Draft(task_id, name, version, "Nodule.", "Nodule, 6 mm.", result)
    with house.unit() as unit:
        return reading.save_draft(unit, draft, caller(house, name), now, POLICY)[0]


def certificate(house, name="zhou"):
    with house.unit() as unit:
        if unit.people.certificate(name) is None:
            unit.people.add_certificate(
                serial=f"serial-{name}",
                account=name,
                hospital="hospital",
                certificate=b"",
                key=b"",
                issued_at=NOW,
                expires_at=NOW,
            )
    return f"serial-{name}"


def sign(
    house,
    study_id,
    task_id,
    name="zhou",
    now=NOW,
    request="r1",
    version=1,
    painted=FIRST,
):
    who = caller(house, name)
    serial = certificate(house, name)
    asked = SignRequest(request, study_id, version, painted)
    with house.unit() as unit:
        if (first := signing.repeated(unit, who, asked)) is not None:
            return first
        seen = signing.check(unit, task_id, who, asked, now)
    report_id = f"report-{request}"
    sealed = Sealed(f"report/{request}", request * 8, "c" * 64, f"verify-{request}", serial)
    with house.unit() as unit:
        return signing.keep(unit, who, asked, seen, sealed, report_id, now, POLICY)


def due(house):
    with house.view() as unit:
        return unit.jobs.earliest()


def test_an_ecg_is_a_task_at_once_and_images_only_when_settled(house):
    ecg = arrive(house, kind="ECG", sop="1.9")
    assert [one.state for one in tasks(house, ecg)] == [TaskState.OPEN]
    ct = arrive(house)
    assert tasks(house, ct) == []
    assert due(house) == NOW + POLICY.quiet_alone
    with house.unit() as unit:
        arrival.association_released(unit, {ct: 1}, False, NOW, POLICY)
    assert due(house) == NOW + POLICY.quiet_after_release
    with house.unit() as unit:
        arrival.settle(unit, ct, NOW, POLICY)
        arrival.settle(unit, ct, NOW, POLICY)
    assert [one.state for one in tasks(house, ct)] == [TaskState.OPEN]


def test_a_device_that_opens_one_association_per_image_waits_the_quiet_time_alone(house):
    ct = arrive(house)
    with house.unit() as unit:
        arrival.association_released(unit, {ct: 1}, True, NOW, POLICY)
    assert due(house) == NOW + POLICY.quiet_alone
    assert arrival.opens_one_per_image(False, {1: (1, 2)})
    assert not arrival.opens_one_per_image(True, {1: (2, 4)})
    assert arrival.opens_one_per_image(True, {1: (1, 1)})
    assert not arrival.opens_one_per_image(False, {1: (1, 1)})


def test_of_sixteen_who_claim_at_once_one_wins_and_the_others_are_told_who(house):
    _, task_id = settled(house)
    who = {name: caller(house, name) for name in ("zhou", "ma")}
    outcomes = []

    def go(name):
        try:
            with house.unit() as unit:
                reading.claim(unit, task_id, replace(who["zhou"], name=name), NOW, POLICY)
            outcomes.append(("won", name))
        except Refusal as refusal:
            outcomes.append((refusal.code, refusal.details["who"]))

    threads = [threading.Thread(target=go, args=(f"reader-{n}",)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [name for what, name in outcomes if what == "won"]
    assert len(winners) == 1
    assert [one for one in outcomes if one[0] != "won"] == [(Code.ALREADY_CLAIMED, winners[0])] * 15


def test_an_abandoned_claim_ends_by_time_and_keeps_the_draft_for_its_author(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id, now=NOW + 60 * SECOND)
    over = NOW + 60 * SECOND + POLICY.lease
    with house.unit() as unit:
        assert reading.expire(unit, task_id, over - SECOND) == over
        assert reading.expire(unit, task_id, over) is None
    assert tasks(house, study_id)[0].state is TaskState.OPEN
    with Refused(Code.LEASE_LOST) as lost:
        write(house, task_id, now=over, version=1)
    assert lost.details["who"] is None
    claim(house, task_id, "ma", over)
    with Refused(Code.LEASE_LOST) as lost:
        write(house, task_id, now=over, version=1)
    assert lost.details["who"] == "ma"
    with house.view() as unit:
        assert unit.drafts.get(task_id, "zhou").impression == "Nodule, 6 mm."
        assert unit.drafts.get(task_id, "ma") is None


def test_two_windows_cannot_overwrite_each_others_draft(house):
    _, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id)
    with Refused(Code.DRAFT_CONFLICT):
        write(house, task_id)


def test_a_late_instance_blocks_signing_until_it_is_seen(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id)
    arrive(house, study_id, sop="1.2.4", now=NOW + SECOND)
    with Refused(Code.STUDY_CHANGED) as changed:
        sign(house, study_id, task_id, painted=shown("1.2.3", "1.2.4"))
    assert changed.details["unseen"] == ["1.2.4"]
    zhou = caller(house, "zhou")
    with house.unit() as unit:
        assert reading.acknowledge_late(unit, task_id, zhou, frozenset({"1.2.4"}), NOW) == []
    with Refused(Code.NOT_PAINTED) as unpainted:
        sign(house, study_id, task_id)
    assert unpainted.details["missing"] == ["1.2.4"]
    report = sign(house, study_id, task_id, painted=shown("1.2.3", "1.2.4"))
    assert [uid for uid, _ in report.instances] == ["1.2.3", "1.2.4"]


def test_other_content_under_the_same_uid_must_be_painted_anew(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id)
    arrive(house, study_id, now=NOW + SECOND, digit="a")
    with Refused(Code.STUDY_CHANGED) as changed:
        sign(house, study_id, task_id)
    assert changed.details["unseen"] == ["1.2.3"]
    zhou = caller(house, "zhou")
    with house.unit() as unit:
        assert reading.acknowledge_late(unit, task_id, zhou, frozenset({"1.2.3"}), NOW) == []
    digest = "a" * 64
    for former in ("0" * 16, "", "a" * 15, digest):  # 16 digits name a content, no fewer, no more
        with Refused(Code.NOT_PAINTED) as unpainted:
            sign(house, study_id, task_id, painted=shown("1.2.3", v=former))
        assert unpainted.details["missing"] == ["1.2.3"]
    report = sign(house, study_id, task_id, painted=FIRST | shown("1.2.3", v="a" * 16))
    assert report.instances == (("1.2.3", digest),)


def test_the_hand_is_stopped_when_draft_study_or_text_is_not_what_was_shown(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id)
    with Refused(Code.WRONG_STUDY):
        sign(house, study_id + 1, task_id)
    with Refused(Code.DRAFT_CHANGED):
        sign(house, study_id, task_id, version=2)
    write(house, task_id, result=None, version=1)
    with Refused(Code.REPORT_INCOMPLETE) as incomplete:
        sign(house, study_id, task_id, version=2)
    assert incomplete.details["fields"] == ["result"]


def test_a_blank_of_a_phrase_is_not_signed(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    zhou = caller(house, "zhou")
    draft = Draft(task_id, "zhou", 0, "直径约 __ mm", "Nodule", Result.ABNORMAL)
    with house.unit() as unit:
        reading.save_draft(unit, draft, zhou, NOW, POLICY)
    with Refused(Code.REPORT_INCOMPLETE) as incomplete:
        sign(house, study_id, task_id)
    assert incomplete.details["fields"] == ["findings"]


def test_the_same_key_press_signs_once(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id)
    first = sign(house, study_id, task_id)
    assert sign(house, study_id, task_id, now=NOW + SECOND).id == first.id
    with Refused(Code.LEASE_LOST):
        sign(house, study_id, task_id, request="r2")


def test_within_the_grace_time_one_key_takes_it_back_and_later_none(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id)
    report = sign(house, study_id, task_id)
    assert report.effective_at == NOW + POLICY.grace
    zhou = caller(house, "zhou")
    with house.unit() as unit:
        task = signing.take_back(unit, report.id, zhou, NOW + SECOND, POLICY)
    assert task.state is TaskState.CLAIMED
    with house.unit() as unit:
        assert delivery.take_effect(unit, report.id, NOW + POLICY.grace, POLICY).state is (
            ReportState.TAKEN_BACK
        )
        assert unit.deliveries.lock(report.id) is None
    again = sign(house, study_id, task_id, request="r2", now=NOW + 2 * SECOND)
    assert again.version == 1  # nobody has seen the one that was taken back
    with house.unit() as unit, Refused(Code.GRACE_OVER):
        signing.take_back(unit, again.id, zhou, again.effective_at, POLICY)


def test_a_report_is_sent_once_opened_and_confirmed_by_its_own_center_only(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id)
    report = sign(house, study_id, task_id)
    later = report.effective_at
    with house.unit() as unit:
        delivery.take_effect(unit, report.id, later, POLICY)
        delivery.take_effect(unit, report.id, later + SECOND, POLICY)
        sent = unit.deliveries.lock(report.id)
    assert (sent.sent_at, sent.opened_at, sent.acknowledged_at) == (later, None, None)
    su, hai = caller(house, "su"), caller(house, "hai")
    with house.unit() as unit, Refused(Code.NOT_FOUND):
        delivery.acknowledge(unit, report.id, hai, later)
    with house.unit() as unit, Refused(Code.WRONG_STATE):
        delivery.acknowledge(unit, report.id, su, later)
    with house.unit() as unit:
        delivery.open_by(unit, report, su, later + SECOND)
        delivery.open_by(unit, report, su, later + 2 * SECOND)
        delivery.acknowledge(unit, report.id, su, later + 3 * SECOND)
        done = delivery.acknowledge(unit, report.id, su, later + 4 * SECOND)
    assert (done.opened_at, done.opened_by) == (later + SECOND, "su")
    assert (done.acknowledged_at, done.acknowledged_by) == (later + 3 * SECOND, "su")


def test_an_instance_after_the_final_report_outdates_it_and_opens_a_linked_task(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id)
    report = sign(house, study_id, task_id)
    with house.unit() as unit:
        delivery.take_effect(unit, report.id, report.effective_at, POLICY)
    arrive(house, study_id, sop="1.2.4", now=NOW + 60 * SECOND)
    with house.unit() as unit:
        assert unit.reports.get(report.id).study_newer
        arrival.settle(unit, study_id, NOW + 120 * SECOND, POLICY)
    newest, first = tasks(house, study_id)
    assert first.state is TaskState.COMPLETED
    assert (newest.state, newest.follows_task, newest.follows_report) == (
        TaskState.OPEN,
        task_id,
        report.id,
    )


def test_a_critical_report_goes_out_at_once_and_stands_until_read_back(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id, result=Result.CRITICAL)
    report = sign(house, study_id, task_id)
    assert report.state is ReportState.FINAL
    su = caller(house, "su")
    with house.view() as unit:
        (open_one,) = unit.criticals.open_at(frozenset({"east"}))
        assert unit.criticals.open_at(frozenset({"west"})) == []
    offered = critical.choices(open_one, report, "CT")
    assert len(set(offered)) == 3
    assert "Nodule, 6 mm." in offered
    right = critical.ReadBack("0931", "Nodule, 6 mm.", "here")
    for wrong in (
        replace(right, last_four="0932"),
        replace(right, finding=next(one for one in offered if one != right.finding)),
        replace(right, patient_is=""),
    ):
        with house.unit() as unit, Refused(Code.READ_BACK_WRONG):
            critical.confirm(unit, open_one.id, su, wrong, NOW)
    with house.unit() as unit, Refused(Code.NOT_FOUND):
        critical.confirm(unit, open_one.id, caller(house, "hai"), right, NOW)
    with house.unit() as unit:
        critical.confirm(unit, open_one.id, su, right, NOW + SECOND)
        assert unit.criticals.open_at(frozenset({"east"})) == []
    with house.unit() as unit:
        assert unit.criticals.of_report(report.id).confirmed_by == "su"


def test_what_a_read_back_offers_beside_the_finding_says_something_else(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    draft = Draft(task_id, "zhou", 0, "", "急性脑出血可能", Result.CRITICAL)
    with house.unit() as unit:
        reading.save_draft(unit, draft, caller(house, "zhou"), NOW, POLICY)
    report = sign(house, study_id, task_id)
    with house.view() as unit:
        (open_one,) = unit.criticals.open_at(frozenset({"east"}))
    for number in range(64):
        offered = critical.choices(replace(open_one, id=str(number)), report, "CT")
        assert len(set(offered)) == 3
        assert "急性脑出血" not in offered


def test_a_replacement_takes_over_when_it_takes_effect_and_openers_are_told(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id)
    old = sign(house, study_id, task_id)
    zhou, su = caller(house, "zhou"), caller(house, "su")
    with house.unit() as unit:
        delivery.take_effect(unit, old.id, old.effective_at, POLICY)
        delivery.open_by(unit, old, su, old.effective_at)
        task = signing.begin_replacement(unit, old.id, zhou, "Wrong side", NOW, POLICY)
    assert task.claimed_by == "zhou"
    write(house, task.id, version=1)
    new = sign(house, study_id, task.id, request="r2", version=2)
    with house.view() as unit:
        assert unit.reports.get(old.id).state is ReportState.FINAL
    with house.unit() as unit:
        delivery.take_effect(unit, new.id, new.effective_at, POLICY)
    with house.view() as unit:
        replaced = unit.reports.get(old.id)
        assert (replaced.state, replaced.replaced_by) == (ReportState.REPLACED, new.id)
        assert replaced.reason == "Wrong side"
        assert [(one.what, one.report_id) for one in unit.notices.unseen("su")] == [
            ("replaced", old.id)
        ]
        assert unit.notices.unseen("hai") == []


def test_a_withdrawn_report_needs_a_reason_and_tells_who_opened_it(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id, result=Result.CRITICAL)
    report = sign(house, study_id, task_id)
    zhou, su = caller(house, "zhou"), caller(house, "su")
    with house.unit() as unit:
        delivery.open_by(unit, report, su, NOW)
    with house.unit() as unit, Refused(Code.REASON_MISSING):
        signing.withdraw(unit, report.id, zhou, "  ", NOW, POLICY)
    with house.unit() as unit:
        signing.withdraw(unit, report.id, zhou, "Wrong patient", NOW, POLICY)
    with house.view() as unit:
        assert unit.reports.get(report.id).state is ReportState.WITHDRAWN
        assert [one.what for one in unit.notices.unseen("su")] == ["withdrawn"]
        assert unit.criticals.open_at(frozenset({"east"})) == []
    newest, first = tasks(house, study_id)
    assert first.state is TaskState.COMPLETED
    assert (newest.state, newest.follows_report) == (TaskState.OPEN, report.id)


def test_a_doctor_who_never_opened_a_critical_report_is_told_that_it_is_gone(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id, result=Result.CRITICAL)
    report = sign(house, study_id, task_id)
    with house.unit() as unit:
        signing.withdraw(unit, report.id, caller(house, "zhou"), "Wrong patient", NOW, POLICY)
    with house.view() as unit:
        assert [one.what for one in unit.notices.unseen("su")] == ["withdrawn"]
        assert unit.notices.unseen("hai") == []


def test_a_key_image_of_another_study_is_not_signed(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    picture = {"sop_uid": "9.9", "frame": 1, "window": None}
    draft = Draft(task_id, "zhou", 0, "", "Nodule", Result.ABNORMAL, picture)
    with house.unit() as unit:
        reading.save_draft(unit, draft, caller(house, "zhou"), NOW, POLICY)
    with Refused(Code.REPORT_INCOMPLETE) as incomplete:
        sign(house, study_id, task_id)
    assert incomplete.details["fields"] == ["key_image"]


def test_a_case_of_a_site_one_does_not_read_for_does_not_exist(house):
    _, task_id = settled(house)
    stranger = replace(caller(house, "zhou"), sites=frozenset({"west"}))
    with house.unit() as unit, Refused(Code.NOT_FOUND):
        reading.claim(unit, task_id, stranger, NOW, POLICY)


def test_a_case_goes_back_to_its_center_with_a_coded_reason(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    zhou = caller(house, "zhou")
    with house.unit() as unit, Refused(Code.INVALID):
        reading.give_back(unit, task_id, zhou, "because", None, NOW)
    with house.unit() as unit:
        reading.give_back(unit, task_id, zhou, "noise", "V2", NOW)
    (task,) = tasks(house, study_id)
    assert (task.state, task.return_reason, task.return_note) == (TaskState.RETURNED, "noise", "V2")
    arrive(house, study_id, sop="1.2.4", now=NOW + SECOND)
    with house.unit() as unit:
        arrival.settle(unit, study_id, NOW + SECOND, POLICY)
    assert tasks(house, study_id)[0].follows_task == task_id
