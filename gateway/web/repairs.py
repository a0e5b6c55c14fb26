"""Is a study's text shown as the device labelled it, or as what its bytes are?"""

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel

from gateway.assemble import Parts
from gateway.web import values
from gateway.web.auth import Who
from gateway.web.values import Json
from worklist.errors import Code, Refusal
from worklist.repair import TextRepair, as_labelled, decide

StudyId = Annotated[int, Path(ge=1, le=2**53)]


class Decided(BaseModel):
    """What a coordinator says to a proposal."""

    state: Literal["accepted", "rejected"]


def routes(parts: Parts) -> APIRouter:
    """Proposals how to read a study's text, and what people say to them."""
    router = APIRouter(prefix="/api/studies", tags=["text"])

    @router.get("/{study_id}/text-repair")
    def proposal(study_id: StudyId, who: Who) -> Json:
        """The proposal of a study, with the patient's name in both readings."""
        with parts.view() as unit:
            study = unit.studies.get(study_id)
            if study is None or not who.may_see(study.site):
                raise Refusal(Code.NOT_FOUND, "There is no such study.")
            found = unit.repairs.get(study_id)
            if found is None:
                raise Refusal(Code.NOT_FOUND, "No repair is proposed for this study.")
            name = unit.repairs.name_as_proposed(found)
        return {
            **text_repair(found),
            "proposed_at": values.instant(found.proposed_at),
            "decided_at": values.maybe(found.decided_at),
            "decided_by": found.decided_by,
            "names": {
                "proposed": name,
                "labelled": as_labelled(name, found.proposed, found.labelled, "PN"),
            }
            if found.of_study
            else None,
        }

    @router.post("/{study_id}/text-repair")
    def decision(study_id: StudyId, said: Decided, who: Who) -> Json:
        """Accept or reject it; the lists show the study's text accordingly from now on."""
        with parts.new_unit() as unit:
            after = decide(unit, study_id, said.state == "accepted", who, parts.now())
        return text_repair(after)

    return router


def text_repair(one: TextRepair) -> Json:
    """A proposal as study details say it; `labelled` is "" where the device gave no label."""
    return {
        "labelled": "\\".join(one.labelled),
        "proposed": one.proposed,
        "confidence": one.confidence,
        "state": one.state.value,
    }
