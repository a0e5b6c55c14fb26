"""Do the rules hold at their edges: grace time, late instances, repeats, programs, corrections?"""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from tests.contract.test_reading import (
    NOW,
    POLICY,
    SECOND,
    Refused,
    arrive,
    caller,
    certificate,
    claim,
    settled,
    shown,
    sign,
    tasks,
    write,
)
from worklist import arrival, critical, delivery, reading, signing
from worklist.errors import Code
from worklist.person import Caller, Role
from worklist.report import ReportState, Result
from worklist.signing import Sealed, SignRequest
from worklist.task import TaskState


def signed(house, result=Result.ABNORMAL, request="r1"):
    """A CT that zhou has signed: (study id, task id, report)."""
    study_id, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id, result=result)
    return study_id, task_id, sign(house, study_id, task_id, request=request)


def effect(house, report, at=None):
    with house.unit() as unit:
        return delivery.take_effect(unit, report.id, at or report.effective_at, POLICY)


def settle(house, study_id, now):
    with house.unit() as unit:
        arrival.settle(unit, study_id, now, POLICY)


def in_force(house, study_id):
    with house.view() as unit:
        return [(one.version, one.state) for one in unit.reports.of_study(study_id)]


# --- a late instance within the grace time -----------------------------------------------------


def test_a_study_that_grew_within_the_grace_time_gives_a_task_linked_to_the_signed_report(house):
    study_id, _, first = signed(house)
    arrive(house, study_id, sop="1.2.4", now=NOW + SECOND)
    settle(house, study_id, NOW + 6 * SECOND)
    follow = tasks(house, study_id)[0]
    assert follow.follows_report == first.id
    effect(house, first)
    claim(house, follow.id, "ma", NOW + 60 * SECOND)
    write(house, follow.id, "ma", NOW + 60 * SECOND)
    second = sign(
        house,
        study_id,
        follow.id,
        "ma",
        NOW + 60 * SECOND,
        request="r2",
        painted=shown("1.2.3", "1.2.4"),
    )
    assert second.replaces == first.id
    effect(house, second)
    assert in_force(house, study_id) == [(1, ReportState.REPLACED), (2, ReportState.FINAL)]


def test_a_critical_follow_up_overtakes_a_report_whose_grace_time_still_runs(house):
    study_id, _, first = signed(house)
    arrive(house, study_id, sop="1.2.4", now=NOW + SECOND)
    settle(house, study_id, NOW + 6 * SECOND)
    follow, at = tasks(house, study_id)[0], NOW + 10 * SECOND
    claim(house, follow.id, "ma", at)
    write(house, follow.id, "ma", at, result=Result.CRITICAL)
    sign(house, study_id, follow.id, "ma", at, request="r2", painted=shown("1.2.3", "1.2.4"))
    effect(house, first)  # its job comes when the grace time is over
    assert in_force(house, study_id) == [(1, ReportState.REPLACED), (2, ReportState.FINAL)]


def test_what_is_taken_back_after_the_study_grew_is_read_in_one_task_only(house):
    study_id, task_id, report = signed(house)
    arrive(house, study_id, sop="1.2.4", now=NOW + SECOND)
    settle(house, study_id, NOW + 6 * SECOND)
    zhou = caller(house, "zhou")
    with house.unit() as unit:
        mine = signing.take_back(unit, report.id, zhou, NOW + 8 * SECOND, POLICY)
    active = [one for one in tasks(house, study_id) if one.active]
    assert [(one.id, one.claimed_by) for one in active] == [(mine.id, "zhou")]
    assert tasks(house, study_id)[0].id == mine.id  # the newest is the one that counts
    with house.view() as unit:
        kept = unit.drafts.get(mine.id, "zhou")
        study = unit.studies.get(study_id)
        assert reading.late_instances(unit, study, mine) == ["1.2.4"]
        assert (kept.findings, kept.result) == ("Nodule.", Result.ABNORMAL)
    with house.unit() as unit:
        reading.acknowledge_late(unit, mine.id, zhou, frozenset({"1.2.4"}), NOW + 9 * SECOND)
    again = sign(
        house,
        study_id,
        mine.id,
        now=NOW + 10 * SECOND,
        request="r2",
        version=kept.version,
        painted=shown("1.2.3", "1.2.4"),
    )
    assert again.replaces is None
    assert not any(one.active for one in tasks(house, study_id))
    assert task_id in {one.id for one in tasks(house, study_id)}


def test_what_is_taken_back_leaves_the_follow_up_to_whoever_reads_it(house):
    study_id, _, report = signed(house)
    arrive(house, study_id, sop="1.2.4", now=NOW + SECOND)
    settle(house, study_id, NOW + 6 * SECOND)
    follow = tasks(house, study_id)[0]
    claim(house, follow.id, "ma", NOW + 7 * SECOND)
    zhou = caller(house, "zhou")
    with house.unit() as unit:
        task = signing.take_back(unit, report.id, zhou, NOW + 8 * SECOND, POLICY)
    assert (task.id, task.claimed_by) == (follow.id, "ma")
    assert [one.id for one in tasks(house, study_id) if one.active] == [follow.id]
    assert in_force(house, study_id) == [(1, ReportState.TAKEN_BACK)]


def test_an_instance_during_a_correction_marks_the_report_it_corrects_as_older(house):
    study_id, _, report = signed(house)
    effect(house, report)
    zhou = caller(house, "zhou")
    with house.unit() as unit:
        signing.begin_replacement(unit, report.id, zhou, "Wrong side", NOW + 60 * SECOND, POLICY)
    arrive(house, study_id, sop="1.2.4", now=NOW + 61 * SECOND)
    with house.view() as unit:
        assert unit.reports.get(report.id).study_newer


# --- repeats -----------------------------------------------------------------------------------


def test_a_request_repeated_for_another_study_signs_nothing_and_returns_nothing(house):
    signed(house)
    other, other_task = settled(house, sop="1.2.9")
    claim(house, other_task)
    write(house, other_task)
    with Refused(Code.WRONG_STUDY):
        sign(house, other, other_task, request="r1", painted=shown("1.2.9"))
    assert in_force(house, other) == []


# --- the grace time ----------------------------------------------------------------------------


def test_the_grace_time_begins_when_the_signature_stands_not_when_its_page_was_begun(house):
    study_id, task_id = settled(house)
    claim(house, task_id)
    write(house, task_id)
    zhou, serial = caller(house, "zhou"), certificate(house)
    asked = SignRequest("r1", study_id, 1, shown("1.2.3"))
    with house.unit() as unit:
        seen = signing.check(unit, task_id, zhou, asked, NOW)
    sealed = Sealed("report/r1", "d" * 64, "c" * 64, "verify-r1", serial)
    printed = NOW + 15 * SECOND  # a busy machine
    with house.unit() as unit:
        report = signing.keep(
            unit, zhou, asked, seen, sealed, "report-r1", NOW, POLICY, stands_at=printed
        )
    assert report.signed_at == NOW
    assert report.effective_at == printed + POLICY.grace
    with house.view() as unit:
        assert unit.jobs.earliest() == report.effective_at
    with house.unit() as unit:
        signing.take_back(unit, report.id, zhou, printed + POLICY.grace - SECOND, POLICY)


# --- programs ----------------------------------------------------------------------------------


def program(site="east", *roles):
    return Caller("token:his", frozenset(roles or {Role.DOCTOR}), site, frozenset({site}))


def test_a_report_that_a_program_has_read_can_still_be_withdrawn_and_replaced(house):
    study_id, _, report = signed(house)
    effect(house, report)
    zhou, su = caller(house, "zhou"), caller(house, "su")
    with house.unit() as unit:
        delivery.open_by(unit, report, program(), NOW + 30 * SECOND)
        delivery.looked_at(unit, report, su, NOW + 31 * SECOND)
    with house.unit() as unit:
        task = signing.begin_replacement(unit, report.id, zhou, "Side", NOW + 40 * SECOND, POLICY)
    write(house, task.id, version=1, now=NOW + 41 * SECOND)
    new = sign(house, study_id, task.id, request="r2", version=2, now=NOW + 42 * SECOND)
    effect(house, new)
    with house.unit() as unit:
        delivery.open_by(unit, new, program(), NOW + 90 * SECOND)
    with house.unit() as unit:
        signing.withdraw(unit, new.id, zhou, "Wrong patient", NOW + 91 * SECOND, POLICY)
    with house.view() as unit:
        assert [one.what for one in unit.notices.unseen("su")] == ["replaced"]


def test_a_program_that_fetches_a_report_does_not_make_it_opened(house):
    _, _, report = signed(house)
    effect(house, report)
    with house.unit() as unit:
        delivery.open_by(unit, report, program(), NOW + 30 * SECOND)
        assert unit.deliveries.lock(report.id).opened_at is None
        delivery.open_by(unit, report, caller(house, "su"), NOW + 31 * SECOND)
        assert unit.deliveries.lock(report.id).opened_by == "su"


# --- corrections -------------------------------------------------------------------------------


def test_a_correction_of_a_correction_replaces_only_the_newest(house):
    study_id, _, report = signed(house)
    effect(house, report)
    zhou, now = caller(house, "zhou"), NOW + 60 * SECOND
    newest = report
    for number in (2, 3):
        with house.unit() as unit:
            task = signing.begin_replacement(unit, newest.id, zhou, "Side", now, POLICY)
        write(house, task.id, version=1, now=now)
        newest = sign(house, study_id, task.id, request=f"r{number}", version=2, now=now)
        effect(house, newest)
        now += timedelta(minutes=5)
    states = [state for _, state in in_force(house, study_id)]
    assert states == [ReportState.REPLACED, ReportState.REPLACED, ReportState.FINAL]


def test_a_critical_result_that_is_replaced_by_a_critical_one_rings_once(house):
    study_id, _, report = signed(house, Result.CRITICAL)
    zhou, now = caller(house, "zhou"), NOW + 60 * SECOND
    with house.unit() as unit:
        task = signing.begin_replacement(unit, report.id, zhou, "Side", now, POLICY)
    write(house, task.id, version=1, now=now, result=Result.CRITICAL)
    new = sign(house, study_id, task.id, request="r2", version=2, now=now)
    with house.view() as unit:
        open_ones = unit.criticals.open_at(frozenset({"east"}))
        assert [one.report_id for one in open_ones] == [new.id]
    with house.unit() as unit:
        assert critical.escalate(unit, unit.criticals.of_report(report.id).id, now) is None
        assert unit.criticals.of_report(report.id).escalated_at is None


def test_a_task_never_has_two_active_ones_beside_it(house):
    """Whatever comes late and whenever: one study is read by one person at a time."""
    study_id, _, report = signed(house)
    effect(house, report)
    arrive(house, study_id, sop="1.2.4", now=NOW + 60 * SECOND)
    settle(house, study_id, NOW + 120 * SECOND)
    with house.unit() as unit, Refused(Code.ALREADY_CLAIMED):
        zhou = caller(house, "zhou")
        signing.begin_replacement(unit, report.id, zhou, "Side", NOW + 130 * SECOND, POLICY)
    states = [one.state for one in tasks(house, study_id)]
    assert states == [TaskState.OPEN, TaskState.COMPLETED]


def test_only_who_may_sign_begins_a_correction(house):
    _, _, report = signed(house)
    effect(house, report)
    coordinator = caller(house, "li")
    with house.unit() as unit, Refused(Code.NOT_ALLOWED):
        signing.begin_replacement(unit, report.id, coordinator, "Side", NOW, POLICY)
    with house.unit() as unit:
        signing.withdraw(unit, report.id, coordinator, "Wrong patient", NOW + 60 * SECOND, POLICY)


def test_no_two_versions_of_a_study_have_one_number_unless_one_was_taken_back(house):
    study_id, task_id, report = signed(house)
    other = {"id": "r2", "request_id": "r2", "verify_id": "v2", "pdf": "report/2"}
    with pytest.raises(IntegrityError), house.unit() as unit:
        unit.reports.add(replace(report, **other))
    with house.unit() as unit:
        zhou = caller(house, "zhou")
        signing.take_back(unit, report.id, zhou, NOW + SECOND, POLICY)
    again = sign(house, study_id, task_id, request="r3", now=NOW + 2 * SECOND)
    assert again.version == report.version
