"""Whose word counts for a text: the device's label, or what the bytes are?

A study whose bytes contradict their Specific Character Set is shown as what they are, and that is
proposed, not done: the bytes stay, the proposal is recorded, and a person accepts or rejects it.
After a rejection the study's text is shown as the device labelled it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from worklist.arrival import Study
from worklist.characters import decode, encoder
from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened
from worklist.person import Caller, Role
from worklist.ports import Unit

MARK = "charset_guessed"
"""The mark of a study with such a proposal, whatever becomes of it."""


class Decision(StrEnum):
    """What has become of a proposal. A person may think again."""

    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True)
class TextRepair:
    """A proposal how to read a study's text. `labelled` are the terms of (0008,0005) as sent,
    `proposed` the term it is read by, `confidence` 0 to 1. `of_study` says that the study's own
    texts came with the instance it was found in, not only those of a later series."""

    study_id: int
    site: str
    labelled: tuple[str, ...]
    proposed: str
    confidence: float
    of_study: bool
    proposed_at: datetime
    state: Decision = Decision.PROPOSED
    decided_at: datetime | None = None
    decided_by: str | None = None

    def decided(self, state: Decision, who: str, at: datetime) -> "TextRepair":
        """Accepted or rejected. WRONG_STATE where it is so already."""
        if state is self.state or state is Decision.PROPOSED:
            raise Refusal(Code.WRONG_STATE, "This has been decided so already.")
        return replace(self, state=state, decided_by=who, decided_at=at)


def as_labelled(text: str, proposed: str, labelled: Sequence[str], vr: str = "LO") -> str:
    """A text that was read by the term `proposed`, as its label reads the same bytes, whatever
    sense that makes."""
    return decode(encoder(proposed).encode(text, vr), tuple(labelled), vr)


def propose(unit: Unit, study: Study, repair: TextRepair) -> Study:
    """Record the proposal of the study's first instance whose label cannot be right; later ones
    find it there. Returns the study with its mark."""
    if unit.repairs.get(study.id) is None:
        unit.repairs.add(repair)
        unit.facts.add(
            Fact(
                Happened.TEXT_REPAIR_PROPOSED,
                repair.proposed_at,
                study.site,
                study_id=study.id,
                data={
                    "labelled": list(repair.labelled),
                    "proposed": repair.proposed,
                    "confidence": repair.confidence,
                },
            )
        )
    return replace(study, marks=study.marks | {MARK})


def decide(unit: Unit, study_id: int, accept: bool, who: Caller, now: datetime) -> TextRepair:
    """Accept or reject the proposal of a study that the caller may see. NOT_FOUND, NOT_ALLOWED,
    WRONG_STATE."""
    study = unit.studies.get(study_id)
    if study is None or not who.may_see(study.site):
        raise Refusal(Code.NOT_FOUND, "There is no such study.")
    who.require(Role.COORDINATOR, Role.ADMIN)
    before = unit.repairs.lock(study_id)
    if before is None:
        raise Refusal(Code.NOT_FOUND, "No repair is proposed for this study.")
    state = Decision.ACCEPTED if accept else Decision.REJECTED
    after = before.decided(state, who.name, now)
    unit.repairs.decide(before, after)
    unit.facts.add(
        Fact(
            Happened.TEXT_REPAIR_DECIDED,
            now,
            study.site,
            who=who.name,
            study_id=study_id,
            data={"state": state.value},
        )
    )
    return after
