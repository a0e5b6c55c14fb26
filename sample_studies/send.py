"""How does a device send its objects?

`python -m sample_studies.send AE_TITLE ecg` sends one fresh 12-lead ECG; with file names instead of
`ecg` it sends those files. One association, as an ordinary Storage SCU would open it.
"""

import argparse
import sys
import warnings
from collections.abc import Iterable, Sequence
from datetime import datetime

from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.presentation import build_context

from sample_studies.ecg import ecg
from sample_studies.person import CHINA, EVERYONE, Visit

SUCCESS = 0x0000


class NotStored(Exception):
    """The gateway did not take an object, or not the association."""


def send(
    datasets: Iterable[Dataset],
    calling: str,
    *,
    host: str = "127.0.0.1",
    port: int = 11112,
    called: str = "TELEREAD",
) -> int:
    """Send the objects over one association; returns how many. Raises `NotStored` at the first
    refusal."""
    objects = list(datasets)
    entity = AE(ae_title=calling)
    wanted = {(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in objects}
    entity.requested_contexts = [build_context(*pair) for pair in sorted(wanted)]
    association = entity.associate(host, port, ae_title=called)
    if not association.is_established:
        raise NotStored(f"{calling}: the association was not accepted")
    try:
        for dataset in objects:
            status = association.send_c_store(dataset)
            if not status or status.Status != SUCCESS:
                code = f"0x{status.Status:04X}" if status else "no answer"
                raise NotStored(f"{calling}: {dataset.SOPInstanceUID}: {code}")
    finally:
        association.release()
    return len(objects)


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Send DICOM objects to the gateway.")
    parser.add_argument("calling", metavar="AE_TITLE", help="the calling AE Title")
    parser.add_argument("what", nargs="+", help="files, or the word ecg for a fresh one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=11112)
    parser.add_argument("--called", default="TELEREAD")
    given = parser.parse_args(arguments)
    config.settings.reading_validation_mode = config.IGNORE
    warnings.simplefilter("ignore", UserWarning)
    if given.what == ["ecg"]:
        now = datetime.now(CHINA)
        patient = EVERYONE[now.second % len(EVERYONE)]
        datasets = [ecg(patient, rate=60 + now.second, qt_ms=360, visit=Visit(when=now))]
    else:
        datasets = [dcmread(name) for name in given.what]
    try:
        count = send(datasets, given.calling, host=given.host, port=given.port, called=given.called)
    except NotStored as refused:
        print(refused, file=sys.stderr)
        return 1
    print(f"{count} stored")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
