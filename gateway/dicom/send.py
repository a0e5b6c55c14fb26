"""How does a signed report reach a device of its center? As an Encapsulated PDF, by C-STORE.

A job: tried until the device answers Success or a warning, then noted. Done and delivered are two
columns; the instance has the same UIDs in every attempt, so twice is once.
"""

import logging
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.status import code_to_category

from gateway.assemble import Parts
from gateway.dicom import scu
from gateway.dicom.store import where
from gateway.objectfile import object_file
from storage.jobs import MAX_ATTEMPTS
from viewers.report.encapsulated import (
    ECG_REPORT,
    ENCAPSULATED_PDF,
    IMAGE_REPORT,
    Document,
    encapsulated,
)
from worklist import returning
from worklist.errors import Code, Refusal
from worklist.returning import ToSend

log = logging.getLogger("teleread.dicom")

SYNTAXES: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def send(parts: Parts, payload: Mapping[str, Any], now: datetime) -> None:
    """Job: one attempt to bring one version to one device, looked up anew.

    Raises:
        Refusal: UNREACHABLE, it did not arrive; the job comes again.
    """
    transmission_id = payload["transmission_id"]
    with parts.view() as unit:
        due = returning.still_due(unit, transmission_id)
    if due is None:
        with parts.new_unit() as unit:
            returning.drop(unit, transmission_id, now)
        return
    try:
        status = _sent(parts, due)
    except Exception as error:
        reason = error.message if isinstance(error, Refusal) else where(error)
        with parts.new_unit() as unit:
            last = unit.transmissions.leases(due.transmission.job_key) >= MAX_ATTEMPTS
            returning.not_sent(unit, transmission_id, reason, parts.now(), last=last)
        raise
    with parts.new_unit() as unit:
        returning.sent(unit, transmission_id, status, parts.now())
    log.info("report %s sent to %s, status %04X", due.report.id, due.device.ae_title, status)


def store(association: Association, dataset: Dataset, device: str) -> int:
    """C-STORE one instance; the status, Success or a warning.

    Raises:
        Refusal: UNREACHABLE, with what the device answered.
    """
    try:
        answer = association.send_c_store(dataset)
    except (RuntimeError, ValueError) as error:  # gone meanwhile; no fitting context
        raise Refusal(Code.UNREACHABLE, f"{device} takes no such instance.") from error
    status = answer.get("Status")
    if status is None:
        raise Refusal(Code.UNREACHABLE, f"{device} does not answer to the C-STORE.")
    if code_to_category(status) not in ("Success", "Warning"):
        raise Refusal(Code.UNREACHABLE, f"{device} answers {status:04X} to the C-STORE.")
    return int(status)


def document(parts: Parts, due: ToSend) -> Dataset:
    """The version as an instance of its study."""
    report = due.report
    with parts.view() as unit:
        study = unit.studies.get(report.study_id)
        zone = unit.people.site(report.site).zone
        rows = [
            row
            for uid, digest in report.instances
            for row in unit.studies.versions(report.site, uid)
            if row.digest == digest
        ]
    if study is None or not rows:
        raise Refusal(Code.NOT_FOUND, "The report's study is not there.")
    first = rows[0]
    return encapsulated(
        parts.objects.get(report.pdf),
        object_file(parts.objects, first.locator, first.length),
        Document(
            sop_uid=due.transmission.sop_uid,
            series_uid=series_uid(report.site, study.uid),
            version=report.version,
            at=report.signed_at.astimezone(zone),
            title=ECG_REPORT if study.kind == "ECG" else IMAGE_REPORT,
            read=[(row.sop_class, row.sop_uid) for row in rows],
        ),
    )


def series_uid(site: str, study_uid: str) -> str:
    """The Series Instance UID of all reports of one study: made from the study's."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{site} {study_uid} reports').int}"


def _sent(parts: Parts, due: ToSend) -> int:
    dataset = document(parts, due)
    contexts = [build_context(ENCAPSULATED_PDF, list(SYNTAXES))]
    with scu.calling(due.device, contexts, parts) as association:
        return store(association, dataset, due.device.ae_title)
