"""Is this document a report of ours, who signed it when, and does it still hold?"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography.x509 import load_der_x509_certificate

from gateway import people
from gateway.assemble import Parts
from viewers.report.verify import verify
from worklist.patient import masked
from worklist.report import Report, ReportState

NOT_REGISTERED = "This file is not a report that was signed here, or it was changed."
ANOTHER = "This file is another report than the one of this number."
GENUINE = "Not one byte was changed since signing."

_STATES = {
    ReportState.SIGNED: "genuine",
    ReportState.FINAL: "genuine",
    ReportState.REPLACED: "replaced",
    ReportState.WITHDRAWN: "withdrawn",
}


@dataclass(frozen=True)
class Registered:
    """What the register says of one version, without findings and with a masked name.

    `state` is "genuine", "replaced" or "withdrawn"; `replaced_by` is the newer version's public id.
    """

    state: str
    kind: str
    hospital: str
    center: str
    signed_by: str
    licence_number: str | None
    signed_at: datetime
    version: int
    patient_masked: str
    replaced_by: str | None
    verify_id: str


@dataclass(frozen=True)
class Verdict:
    """Whether the document is genuine, why, and what the register says of it (None: nothing)."""

    matches: bool
    why: str
    registered: Registered | None

    def text(self) -> str:
        """The verdict for a terminal."""
        found = self.registered
        if found is None or not self.matches:
            return f"not genuine: {self.why}"
        licence = f", licence {found.licence_number}" if found.licence_number else ""
        lines = [
            f"genuine: {self.why}",
            f"signed by {found.signed_by}{licence}, {found.hospital}",
            f"signed at {found.signed_at.isoformat(timespec='seconds')}",
            f"version {found.version}, for {found.center}",
        ]
        if found.state == "replaced":
            lines.append(f"but it was since replaced by {found.replaced_by or 'a newer version'}")
        if found.state == "withdrawn":
            lines.append("but it was since withdrawn and must not be used")
        return "\n".join(lines)


def registered(parts: Parts, verify_id: str) -> Registered | None:
    """The version behind a public id (dashes, blanks and case do not matter), or None."""
    plain = "".join(c for c in verify_id if c.isalnum()).lower()
    with parts.view() as unit:
        report = unit.reports.of_verify_id(plain)
    return None if report is None else _registered(parts, report)


def verify_document(parts: Parts, document: bytes, verify_id: str | None = None) -> Verdict:
    """Check a document: the registered digest first, then signers and signature.

    With `verify_id` it must be that very version; nothing of a file with another digest is parsed.
    """
    digest = hashlib.sha256(document).hexdigest()
    with parts.view() as unit:
        report = unit.reports.of_digest(digest)
    expected = registered(parts, verify_id) if verify_id is not None else None
    found = _registered(parts, report) if report is not None else None
    if report is None or found is None:
        return Verdict(False, NOT_REGISTERED, expected)
    if verify_id is not None and (expected is None or expected.verify_id != found.verify_id):
        return Verdict(False, ANOTHER, expected)
    sealed = _check_seal(parts, document, report)
    return Verdict(sealed == "", sealed or GENUINE, found)


def _check_seal(parts: Parts, document: bytes, report: Report) -> str:
    """Why the signature does not hold; empty where it does."""
    now = parts.now()
    with parts.view() as unit:
        row = unit.people.authority(report.hospital)
        revoked = unit.people.revoked(report.hospital)
    if row is None:
        return "The certificate authority of this report is not known here."
    lists = people.revocation_lists(people.opened_authority(parts, row), revoked, now)
    verdict = verify(
        document,
        [load_der_x509_certificate(row.root_certificate)],
        lists,
        expected_sha256=report.pdf_digest,
        at=now,
        registered_at=report.signed_at,
    )
    return "" if verdict.genuine else verdict.why.en


def _registered(parts: Parts, report: Report) -> Registered | None:
    """What strangers may know; nothing of a version that was taken back before anyone had it."""
    state = _STATES.get(report.state)
    if state is None:
        return None
    with parts.view() as unit:
        sites = unit.people.sites()
        author = unit.people.person(report.author)
        study = unit.studies.get(report.study_id)
        newer = unit.reports.get(report.replaced_by) if report.replaced_by else None
    if author is None or study is None:
        return None
    return Registered(
        state=state,
        kind=study.kind,
        hospital=sites[report.hospital].name,
        center=sites[report.site].name,
        signed_by=author.display,
        licence_number=author.licence_number,
        signed_at=report.signed_at,
        version=report.version,
        patient_masked=masked(study.patient.name),
        replaced_by=newer.verify_id if newer else None,
        verify_id=report.verify_id,
    )
