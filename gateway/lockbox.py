"""How are keys kept in a backup so that only who knows the passphrase has them?

AES-256-GCM under a key that scrypt makes of the passphrase (RFC 7914). The head, in plain text,
says how; it is authenticated with the rest.
"""

import json
import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from gateway.settings import Settings
from worklist.errors import Code, Refusal

_N, _R, _P = 1 << 16, 8, 1  # 64 MiB, some 0.2 s
_MOST_N: Final = 1 << 20
_LEAST: Final = 12


def passphrase(settings: Settings) -> bytes:
    """The passphrase of the file that the settings name."""
    path = settings.backup_passphrase_file
    name = "TELEREAD_BACKUP_PASSPHRASE_FILE"
    if path is None:
        raise Refusal(
            Code.INVALID,
            f"{name} is not set: a backup holds the gateway's keys and needs a passphrase.",
        )
    try:
        if path.stat().st_mode & 0o077:
            raise Refusal(Code.INVALID, f"{name}: {path} must have mode 0600.")
        text = path.read_bytes().strip()
    except OSError as error:
        raise Refusal(Code.INVALID, f"{name}: {path}: {error.strerror}.") from error
    if len(text) < _LEAST:
        raise Refusal(Code.INVALID, f"{name}: at least {_LEAST} characters are needed.")
    return text


def seal(word: bytes, data: bytes) -> bytes:
    """The data, readable only with the passphrase."""
    salt, nonce = os.urandom(16), os.urandom(12)
    values = {"n": _N, "r": _R, "p": _P, "salt": salt.hex(), "nonce": nonce.hex()}
    head = json.dumps({"teleread": "keys", **values}).encode()
    sealed = AESGCM(_key(word, salt, _N, _R, _P)).encrypt(nonce, data, head)
    return head + b"\n" + sealed


def unseal(word: bytes, sealed: bytes) -> bytes:
    """The data again. Refuses a wrong passphrase, and what was changed."""
    head, _, body = sealed.partition(b"\n")
    try:
        said = json.loads(head)
        if not 1 < said["n"] <= _MOST_N or said["r"] != _R or said["p"] != _P:
            raise ValueError("not ours")
        key = _key(word, bytes.fromhex(said["salt"]), said["n"], said["r"], said["p"])
        return AESGCM(key).decrypt(bytes.fromhex(said["nonce"]), body, head)
    except (InvalidTag, ValueError, KeyError, TypeError) as error:
        raise Refusal(
            Code.INVALID,
            "The keys of this backup do not open: the passphrase in "
            "TELEREAD_BACKUP_PASSPHRASE_FILE is another one, or they were changed.",
        ) from error


def _key(word: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(word)


def write_private(path: Path, data: bytes) -> None:
    """A file that only its owner reads, synced."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
