"""What does this gateway conform to, as it runs now (PS3.2)?

Written from the running configuration and from the very tables that the services work with; nothing
here is kept by hand beside them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata

from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import keyword_for_tag
from pydicom.uid import UID
from pynetdicom import build_context

from gateway.assemble import Parts
from gateway.dicom import (
    answers,
    commitment,
    criteria,
    entries,
    finding,
    identifier,
    performed,
    retrieve,
    scu,
    send,
    services,
    status,
)
from gateway.dicom.contexts import contexts_for, is_storage
from gateway.dicom.limits import Limits
from gateway.dicom.services import Services
from gateway.settings import Settings, described
from storage.part10 import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from storage.scan import TRANSFER_SYNTAXES
from viewers.report.encapsulated import ENCAPSULATED_PDF
from worklist.characters import known_terms
from worklist.errors import Code

_OF_DICOM = ("TELEREAD_AE_TITLE", "TELEREAD_DICOM_", "TELEREAD_MIN_FREE_BYTES", "TELEREAD_OBJECTS")
_WORKLIST = "1.2.840.10008.5.1.4.31"


@dataclass(frozen=True)
class Offer:
    """One SOP class that is accepted, and in which transfer syntaxes."""

    sop_class: str
    syntaxes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name in PS3.6."""
        return UID_dictionary.get(self.sop_class, ("",))[0] or "of a retired part of the standard"


def statement(parts: Parts) -> str:
    """The conformance statement as Markdown."""
    sections = (
        _overview(parts.settings),
        _implementation(parts.settings),
        _associations(parts.settings),
        _accepted(parts),
        _proposed(parts),
        _queries(),
        _worklist(),
        _performed(),
        _commitment(),
        _statuses(),
        _character_sets(),
        _security(parts.settings),
        _configuration(parts.settings),
    )
    return "\n".join(line for section in sections for line in section).rstrip() + "\n"


def offered(parts: Parts) -> list[Offer]:
    """Everything that is accepted, as the negotiation itself answers: each SOP class of PS3.6."""
    others = Services(parts).sop_classes
    known = [uid for uid, entry in UID_dictionary.items() if "SOP Class" in entry[1]]
    return [
        offer
        for uid in sorted({*known, *others}, key=_in_order)
        if (offer := _negotiated(uid, others)) is not None
    ]


def _negotiated(sop_class: str, others: Iterable[str]) -> Offer | None:
    known = [uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"]
    everything = list(dict.fromkeys([*known, *TRANSFER_SYNTAXES]))
    supported = contexts_for([build_context(sop_class, everything)], frozenset(others))
    if not supported:
        return None
    return Offer(sop_class, tuple(sorted(map(str, supported[0].transfer_syntax), key=_in_order)))


def _in_order(uid: str) -> list[int]:
    return [int(part) for part in uid.split(".")]


# -- sections -------------------------------------------------------------------------------------


def _overview(settings: Settings) -> Iterator[str]:
    yield f"# DICOM Conformance Statement: Teleread {metadata.version('teleread')}"
    yield ""
    yield f"Application Entity `{settings.ae_title}`. Written by `teleread conformance` from the"
    yield "running configuration. It says what the gateway does; it is no certificate."
    yield ""
    yield "Teleread receives instances of health centers, keeps them, answers queries, gives them"
    yield "out again, offers the orders as a Modality Worklist, answers for what it keeps, and"
    yield "sends signed reports back."
    yield ""


def _implementation(settings: Settings) -> Iterator[str]:
    yield "## 1 Implementation model"
    yield ""
    yield "One Application Entity accepts associations and proposes them. It acts on a request of a"
    yield "device, and by itself to report a storage commitment or to return a signed report."
    yield ""
    yield from _table(
        ("Attribute", "Value"),
        [
            ("AE Title", f"`{settings.ae_title}`; a device may be given another called title"),
            ("Implementation Class UID", f"`{IMPLEMENTATION_UID}`"),
            ("Implementation Version Name", f"`{IMPLEMENTATION_VERSION}`"),
            ("Application Context Name", "`1.2.840.10008.3.1.1.1`"),
        ],
    )


def _associations(settings: Settings) -> Iterator[str]:
    limits = Limits()
    yield "## 2 Association policies"
    yield ""
    yield from _table(
        ("Policy", "Value"),
        [
            ("Associations accepted at once", limits.associations),
            ("of one device", limits.per_device),
            ("Asynchronous operations", "none: one operation at a time"),
            ("Maximum PDU length received", limits.pdu_bytes),
            ("Time to ask for an association", f"{limits.request_seconds:g} s"),
            ("Idle association is aborted after", f"{limits.idle_seconds:g} s"),
            ("Slowest sender that is kept", f"{limits.slowest} bytes/s"),
            ("Largest instance", f"{limits.object_bytes} bytes"),
            ("Connecting to a device", f"at most {scu.CONNECT_WITHIN:g} s"),
            ("Association answer of a device", f"at most {scu.ACSE_WITHIN:g} s"),
            ("DIMSE answer of a device", f"at most {scu.DIMSE_WITHIN:g} s"),
        ],
    )
    yield "Calling AE Title, called AE Title and address or certificate together decide which site"
    yield "a device belongs to. Unknown and ambiguous callers are rejected. A device sees the"
    yield "instances of its site, a hospital's device also those of the centers it reads for."
    yield ""


def _accepted(parts: Parts) -> Iterator[str]:
    offers = offered(parts)
    of_storage = [one for one in offers if is_storage(one.sop_class)]
    yield "## 3 Presentation contexts accepted"
    yield ""
    yield "### 3.1 Services"
    yield ""
    yield from _table(
        ("SOP class", "UID", "Role", "Transfer syntaxes"),
        [
            (one.name, f"`{one.sop_class}`", "SCP", _names(one.syntaxes))
            for one in offers
            if not is_storage(one.sop_class)
        ],
    )
    yield "### 3.2 Storage"
    yield ""
    yield "Role SCP, in all of the transfer syntaxes below as the device prefers them; SCU by role"
    yield "selection for the sub-operations of C-GET. Every private SOP class is accepted too."
    yield "Level 2 (full): nothing of a data set is left out or changed."
    yield ""
    yield from _table(
        ("SOP class", "UID"), [(one.name, f"`{one.sop_class}`") for one in of_storage]
    )
    syntaxes = sorted({syntax for one in of_storage for syntax in one.syntaxes}, key=_in_order)
    yield from _table(("Transfer syntax", "UID"), [(UID(one).name, f"`{one}`") for one in syntaxes])


def _proposed(parts: Parts) -> Iterator[str]:
    plain = _names(tuple(map(str, send.SYNTAXES)))
    yield "## 4 Presentation contexts proposed"
    yield ""
    rows = [
        ("Verification", services.VERIFICATION, "SCU", "`teleread device test`"),
        ("Encapsulated PDF Storage", ENCAPSULATED_PDF, "SCU", "a signed report returns"),
        (
            "Storage Commitment Push Model",
            commitment.PUSH_MODEL,
            "SCP, by role selection",
            "a device with an address is told what is committed",
        ),
    ]
    yield from _table(
        ("SOP class", "UID", "Role", "When", "Transfer syntaxes"),
        [(name, f"`{uid}`", role, when, plain) for name, uid, role, when in rows],
    )
    yield "C-MOVE sub-operations propose the storage SOP classes of what is moved. Everything is"
    yield "kept and sent again as received, in the syntax it came in where the other side takes it."
    yield ""


def _queries() -> Iterator[str]:
    yield "## 5 Query and retrieve"
    yield ""
    yield from _table(
        ("SOP class", "Levels"),
        [
            (UID(uid).name, ", ".join(_LEVEL[level] for level in levels))
            for uid, levels in identifier.MODELS.items()
        ],
    )
    yield "Relational queries and retrievals, and combined date and time matching, by extended"
    yield "negotiation. Attributes:"
    yield ""
    yield from _table(
        ("Attribute", "Tag", "Matched", "Returned"),
        [
            (*_attribute(tag), _yes(tag in identifier.MATCHED), _yes(tag in answers.ANSWERED))
            for tag in sorted(identifier.MATCHED | answers.ANSWERED)
        ],
    )


_LEVEL = {"patients": "PATIENT", "studies": "STUDY", "series": "SERIES", "instances": "IMAGE"}


def _worklist() -> Iterator[str]:
    top, nested = criteria.MATCHED
    yield "## 6 Modality Worklist"
    yield ""
    yield f"`{_WORKLIST}`, SCP. Orders of the device's site, and of the centers it reads for."
    yield ""
    rows = [(*_attribute(tag), "") for tag in sorted(top)]
    for sequence, tags in sorted(nested.items()):
        rows += [(*_attribute(tag), _attribute(sequence)[0]) for tag in sorted(tags)]
    yield from _table(("Matching key", "Tag", "In"), rows)
    always = [_attribute(tag)[0] for tag in sorted(entries._ALWAYS)]
    yield f"Returned in any case: {', '.join(always)}; otherwise what is asked for and known."
    yield ""


def _performed() -> Iterator[str]:
    required = [" ".join(_attribute(tag)) for tag in performed._AT_BEGIN]
    fixed = [_attribute(tag)[0] for tag in sorted(performed._FIXED)]
    yield "## 7 Modality Performed Procedure Step"
    yield ""
    yield f"SCP of N-CREATE and N-SET. N-CREATE needs {', '.join(required)}; other attributes of"
    yield "type 2 may be missing. Set once, when it begins: " + ", ".join(fixed) + "."
    yield ""


def _commitment() -> Iterator[str]:
    yield "## 8 Storage commitment"
    yield ""
    yield "Success for an instance only after its object was read back from the store and its"
    yield f"digest matched. At most {commitment.MOST_INSTANCES} instances in one request. A device"
    yield "with host and port gets the report on a new association, another one on the association"
    yield f"of its request, or the next one it opens within {commitment.KEPT_FOR.days} days."
    yield ""
    yield from _table(
        ("Failure reason", "Meaning"),
        [(f"`{code:04X}`", text) for code, text in commitment.REASONS.items()],
    )


def _statuses() -> Iterator[str]:
    yield "## 9 Statuses"
    yield ""
    yield from _table(
        ("Service", "Status", "When"),
        [(service, f"`{code:04X}`", when) for service, code, when in _all_statuses()],
    )


def _all_statuses() -> Iterator[tuple[str, int, str]]:
    yield (
        "C-ECHO, C-STORE, C-FIND, C-MOVE, C-GET, N-CREATE, N-SET, N-ACTION",
        status.SUCCESS,
        "done",
    )
    for code in _AT_THE_DOOR:
        yield "C-STORE", status.status_of(code), code.replace("_", " ")
    yield "C-STORE", status.BROKEN_INSIDE, "an error of the gateway's own; try again later"
    yield "C-FIND", finding.PENDING, "an answer"
    some = "an answer; a key with a value was not matched"
    yield "C-FIND", finding.PENDING_SOME_KEYS_UNMATCHED, some
    yield "C-FIND, C-MOVE, C-GET", finding.CANCELLED, "cancelled"
    for number, text in (
        (0xA700, "out of resources"),
        (0xA900, "identifier does not match"),
        (0xC000, "unable to process"),
    ):
        yield "C-FIND, C-MOVE, C-GET", number, text
    yield "C-MOVE, C-GET", retrieve.NOTHING_DONE, "no sub-operation could be done"
    yield "C-MOVE", retrieve.DESTINATION_UNKNOWN, "no such destination for this device"
    yield "C-MOVE, C-GET", retrieve.SOME_FAILED, "done; some sub-operations failed"
    yield "N-CREATE, N-SET", performed.MISSING, "attribute missing"
    yield "N-CREATE, N-SET", performed.EMPTY, "attribute without value"
    yield "N-CREATE, N-SET", performed.INVALID, "invalid value"
    for number, text in commitment.STATUSES.items():
        if number != status.SUCCESS:
            yield "N-ACTION", number, text
    yield "any DIMSE-C", status.UNKNOWN_CLASS, "SOP class not that of the context"
    yield "any DIMSE-N", status.NO_SUCH_CLASS, "SOP class not that of the context"
    yield "any", status.UNKNOWN_OPERATION, "operation not served"


_AT_THE_DOOR = (
    Code.OUT_OF_RESOURCES,
    Code.COMMAND_DISAGREES,
    Code.UNREADABLE,
    Code.TRUNCATED,
    Code.MISSING_UID,
    Code.INVALID_UID,
    Code.NOT_ALLOWED,
)


def _character_sets() -> Iterator[str]:
    yield "## 10 Character sets"
    yield ""
    yield "Read, matched and answered: " + ", ".join(f"`{term}`" for term in known_terms()) + "."
    yield "An answer is written in the character set of the request where that can hold it, else in"
    yield "`ISO_IR 192`. GBK or UTF-8 that carries no or a Latin-1 label is recognised and shown"
    yield "right; the data set stays as received."
    yield ""


def _security(settings: Settings) -> Iterator[str]:
    yield "## 11 Security"
    yield ""
    if settings.dicom_tls_port:
        asked = "asked for and checked" if settings.dicom_tls_ca else "not asked for"
        yield f"TLS on port {settings.dicom_tls_port} (BCP 195 TLS Secure Transport Connection"
        yield f"Profile, PS3.15 annex B.9): version 1.2 or later; client certificates are {asked}."
    else:
        yield "TLS is off: no TELEREAD_DICOM_TLS_PORT is set."
    yield "A device can be bound to TLS, and to the fingerprint of its certificate. Devices marked"
    yield "for TLS are called over TLS only."
    yield ""


def _configuration(settings: Settings) -> Iterator[str]:
    yield "## 12 Configuration"
    yield ""
    yield from _table(
        ("Parameter", "Value", "Meaning"),
        [
            (f"`{name}`", f"`{value}`" if value else "", sentence)
            for name, sentence, value in described(settings)
            if name.startswith(_OF_DICOM)
        ],
    )


# -- Markdown -------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
    yield ""


def _names(syntaxes: Sequence[str]) -> str:
    return ", ".join(UID(one).name for one in syntaxes)


def _attribute(tag: int) -> tuple[str, str]:
    return keyword_for_tag(tag), f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _yes(it_is: bool) -> str:
    return "yes" if it_is else ""
