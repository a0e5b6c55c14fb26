"""Where is the gateway's own secret, and what is derived from it?"""

import hashlib
import hmac
import os
import secrets
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
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _existing(path)
    with os.fdopen(descriptor, "wb") as file:
        secret = secrets.token_bytes(_LENGTH)
        file.write(secret.hex().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    return Vault(secret)


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
