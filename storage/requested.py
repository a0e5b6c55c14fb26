"""Which requests does a series belong to (Request Attributes Sequence, PS3.3 table 10-9)?"""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from storage.charset import Text, text_of
from storage.scan import Scan

SEQUENCE: Final = 0x00400275
# Accession Number, Scheduled Procedure Step ID, Requested Procedure ID; all are SH
KEYS: Final = (0x00080050, 0x00400009, 0x00401001)
_NAME: Final = f"{SEQUENCE:08X}"
_MOST: Final = 16  # items that are looked at


def requests_in(found: Scan, text: Text) -> dict[str, Any]:
    """The sequence as a DICOM JSON object (PS3.18 annex F), of each item what is matched; empty
    where there is none."""
    items = [_item(text_of(one, text)) for one in islice(found.items(SEQUENCE), _MOST)]
    told = [one for one in items if one]
    return {_NAME: {"vr": "SQ", "Value": told}} if told else {}


def requests_of(attributes: Mapping[str, Any]) -> list[dict[int, str]]:
    """The items among a series' attributes, their values by tag."""
    items = attributes.get(_NAME, {}).get("Value") or ()
    return [{int(tag, 16): held["Value"][0] for tag, held in one.items()} for one in items]


def _item(text: Text) -> dict[str, Any]:
    values = {tag: text.line(tag, 64) for tag in KEYS}
    return {f"{tag:08X}": {"vr": "SH", "Value": [value]} for tag, value in values.items() if value}
