"""How is something added to a PDF without touching what stands there?

As an incremental update (ISO 32000-1, 7.5.6). pyHanko's writer would also stamp its own time and
name into the metadata and rewrite the XMP packet that declares PDF/A-3b; this one leaves both as
the printed page has them, and takes the file identifier from the content: same input, same bytes.
"""

from __future__ import annotations

import hashlib
import io

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter


class Revision(IncrementalPdfFileWriter):
    """A new revision of `pdf`; `seed` tells two revisions of one file apart in the identifier."""

    def __init__(self, pdf: bytes, seed: bytes) -> None:
        super().__init__(io.BytesIO(pdf))
        digest = hashlib.sha256(seed + pdf).digest()
        # 14.4: the first part stays with the document, the second changes with each revision.
        first = self._document_id[0] if "/ID" in self.prev.trailer else digest[16:]
        self._document_id = generic.ArrayObject(
            [generic.ByteStringObject(bytes(part)) for part in (first, digest[:16])]
        )

    def _update_meta(self) -> None:
        """Keep title, dates and XMP packet as they are."""
