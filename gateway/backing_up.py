"""What does `teleread backup` copy, and what does it say?"""

import base64
import json
import sys
import time
from pathlib import Path
from typing import Final

from gateway.assemble import utc_now
from gateway.desk import Progress, desk
from gateway.lockbox import passphrase, seal
from gateway.settings import Settings
from storage.backup import back_up
from storage.upkeep import BACKUP
from worklist.errors import Code, Refusal

KEY_FILES: Final = (
    "policy",
    "dicom_tls_cert",
    "dicom_tls_key",
    "dicom_tls_ca",
    "web_tls_cert",
    "web_tls_key",
    "s3_ca_file",
)
"""Settings that name a file; the secret comes besides."""


def run_backup(settings: Settings, folder: Path) -> int:
    """Bring a backup up to date. 0 where it is whole, 1 where an object was gone or changed."""
    began = time.monotonic()
    sealed = seal(passphrase(settings), _keys(settings))
    progress = {what: Progress(f"{what} backed up") for what in ("rows", "objects")}
    with desk(settings) as at:
        copied = back_up(
            at.view,
            at.objects,
            folder,
            sealed,
            utc_now,
            lambda what, count, size: progress[what].add(count, size),
        )
        seconds = max(time.monotonic() - began, 0.001)
        done = {"kind": BACKUP, "seconds": seconds, "faults": len(copied.faults)}
        at.write("upkeep passed", {**done, "objects": copied.objects, "bytes": copied.bytes})
    for what, text in copied.faults:
        print(f"{what}\t{text}")
    print(
        f"teleread: {copied.objects} objects, {copied.bytes} bytes in {folder}; {copied.new} new, "
        f"{copied.new_bytes} bytes, in {seconds:.1f} s "
        f"({copied.new_bytes / seconds / 1e6:.0f} MB/s)",
        file=sys.stderr,
    )
    return 1 if copied.faults else 0


def _keys(settings: Settings) -> bytes:
    """The secret, the policy and the files of TLS, by the names of their settings."""
    try:
        found = {"secret_file": settings.secret_path.read_bytes()}
    except OSError as error:
        raise Refusal(
            Code.INVALID, f"TELEREAD_SECRET_FILE: {settings.secret_path}: {error.strerror}."
        ) from error
    for name in KEY_FILES:
        path: Path | None = getattr(settings, name)
        if path is not None:
            found[name] = path.read_bytes()
    return json.dumps({key: base64.b64encode(one).decode() for key, one in found.items()}).encode()
