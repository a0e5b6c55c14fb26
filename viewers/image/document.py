"""Which PDF does an Encapsulated PDF object carry?"""

from __future__ import annotations

from viewers.image.instance import Instance
from viewers.image.unreadable import Unreadable, refusing


def encapsulated_pdf(instance: Instance) -> bytes:
    """The PDF of an Encapsulated PDF object (PS3.3 A.45.1), without the padding to even length.

    Raises `Unreadable` (``no_document``) when there is none, or it is no PDF.
    """
    with refusing("no_document", "the encapsulated document cannot be read"):
        found = instance.header.get("EncapsulatedDocument")
        length = instance.header.get("EncapsulatedDocumentLength")
    if not isinstance(found, bytes) or b"%PDF-" not in found[:1024]:
        raise Unreadable("no_document", "Encapsulated Document (0042,0011) holds no PDF")
    if isinstance(length, int) and 0 <= len(found) - length <= 1:
        return found[:length]
    return found
