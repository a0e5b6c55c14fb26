"""Where is the gateway's own secret, and what is derived from it?"""

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from worklist.errors import Code, Refusal

_LENGTH = 32


class Vault:
    """The gateway's secret: 32 random bytes in a file only its owner reads. Keys are derived by
    purpose."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def key(self, purpose: str) -> bytes:
        """32 bytes for one purpose (HMAC-SHA-256 of the purpose under the secret)."""
        return hmac.new(self._secret, purpose.encode(), hashlib.sha256).digest()


def open_vault(path: Path) -> Vault:
    """The vault of an existing secret file, or of a new one, synced before it is used."""
    if not path.exists():
        _make(path)
    return _existing(path)


def _make(path: Path) -> None:
    """Write a new secret beside its place and give it its name when it is whole: a power cut
    leaves either all of it or none."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_LENGTH).hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was faster: its secret is the one
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _existing(path: Path) -> Vault:
    if path.stat().st_mode & 0o077:
        raise Refusal(Code.INVALID, f"TELEREAD_SECRET_FILE: {path} must have mode 0600.")
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except ValueError as error:
        raise Refusal(Code.INVALID, f"TELEREAD_SECRET_FILE: {path} is not a secret.") from error
    if len(secret) != _LENGTH:
        raise Refusal(Code.INVALID, f"TELEREAD_SECRET_FILE: {path} is not a secret.")
    return Vault(secret)
