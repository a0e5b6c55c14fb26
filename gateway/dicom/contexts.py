"""Which presentation contexts are accepted, and in which transfer syntax?"""

from collections.abc import Collection, Iterable

from pydicom.uid import UID
from pynetdicom.presentation import PresentationContext

from storage.scan import TRANSFER_SYNTAXES

_STANDARD = "1.2.840.10008."
# PS3.4 table B.5-1: composite storage classes stand below these roots, retired ones too
_STORAGE = ("1.2.840.10008.5.1.4.1.1.", "1.2.840.10008.5.1.4.34.7", "1.2.840.10008.5.1.4.34.10")
# protocols and inventories belong to no study; their query classes stand there too
_WITHOUT_PATIENT = ("1.2.840.10008.5.1.4.1.1.200.", "1.2.840.10008.5.1.4.1.1.201.")
_ELSEWHERE = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.200.2",  # CT Performed Procedure Protocol: of one patient
        "1.2.840.10008.5.1.4.1.1.200.8",  # XA Performed Procedure Protocol
        "1.2.840.10008.5.1.1.27",  # Stored Print, retired
        "1.2.840.10008.5.1.1.29",  # Hardcopy Grayscale Image, retired
        "1.2.840.10008.5.1.1.30",  # Hardcopy Color Image, retired
    }
)
_EXPLICIT = "1.2.840.10008.1.2.1"
_ONLY_IF_NEED_BE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2")  # implicit; big endian
_PLAIN = (_EXPLICIT, *_ONLY_IF_NEED_BE)


def is_storage(sop_class: str) -> bool:
    """Whether a SOP class is stored here: all of patients in the standard, all private ones."""
    if not sop_class.startswith(_STANDARD):
        return bool(sop_class)
    if sop_class in _ELSEWHERE:
        return True
    return sop_class.startswith(_STORAGE) and not sop_class.startswith(_WITHOUT_PATIENT)


def contexts_for(
    proposed: Iterable[PresentationContext], offered: Collection[str]
) -> list[PresentationContext]:
    """What we support of what a device proposes, one context for each abstract syntax: storage,
    and the SOP classes of the services `offered`.

    The device's own order decides, so that it need not recompress (a cine loop stays small on a
    slow line); only implicit VR and big endian give way to explicit little endian where proposed.
    A syntax that is not taken is not listed; negotiation rejects the context with result 4.
    Who proposes to be SCP of a storage class wants to get instances by C-GET (PS3.4 section
    C.5.3); of commitment, to hear reports on an association of its own.
    """
    wanted: dict[str, list[str]] = {}
    for context in proposed:
        name = str(context.abstract_syntax or "")
        if name in offered or is_storage(name):
            wanted.setdefault(name, []).extend(str(syntax) for syntax in context.transfer_syntax)
    return [_supported(name, syntaxes, plain=name in offered) for name, syntaxes in wanted.items()]


def _supported(name: str, syntaxes: list[str], *, plain: bool) -> PresentationContext:
    taken = _PLAIN if plain else TRANSFER_SYNTAXES
    order = [syntax for syntax in dict.fromkeys(syntaxes) if syntax in taken]
    if _EXPLICIT in order:
        order.sort(key=lambda syntax: syntax in _ONLY_IF_NEED_BE)
    context = PresentationContext()
    context.abstract_syntax = UID(name)
    context.transfer_syntax = [UID(syntax) for syntax in order]
    context.scu_role = context.scp_role = True
    return context
