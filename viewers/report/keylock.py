"""How is a private key kept so that only who may use it can?

Two locks, both AES-256-GCM: one opened by what a person knows (scrypt, RFC 7914), one opened by a
random secret of 32 bytes or more (HKDF-SHA-256, RFC 5869). A locked key names its purpose in the
authenticated header, so that a key locked for one use does not open as another.
"""

from __future__ import annotations

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

_BY_PASSWORD = b"TRP1"
_BY_SECRET = b"TRS1"
_SALT, _NONCE = 16, 12
_COST = struct.Struct(">BBB")

SCRYPT_LOG2_N, SCRYPT_R, SCRYPT_P = 15, 8, 3
"""32 MiB and about 0.2 s per try (OWASP Password Storage, scrypt)."""

_MAX_LOG2_N, _MAX_R, _MAX_P = 18, 16, 8


class WrongSecret(ValueError):
    """The password or secret does not open this key (or the locked key was altered)."""

    def __init__(self) -> None:
        super().__init__("the password or secret does not open this key")


def lock_with_password(data: bytes, password: str, *, purpose: str, pepper: bytes = b"") -> bytes:
    """Return `data` encrypted so that `password` opens it.

    `pepper`, a secret kept elsewhere than the locked key, makes a stolen database alone useless
    against guessing of short PINs.
    """
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    cost = _COST.pack(SCRYPT_LOG2_N, SCRYPT_R, SCRYPT_P)
    head = _BY_PASSWORD + cost + salt + nonce
    key = _password_key(password, pepper, salt, (SCRYPT_LOG2_N, SCRYPT_R, SCRYPT_P))
    return head + AESGCM(key).encrypt(nonce, data, head + purpose.encode())


def open_with_password(locked: bytes, password: str, *, purpose: str, pepper: bytes = b"") -> bytes:
    """Return what `lock_with_password` locked.

    Raises:
        WrongSecret: another password, pepper or purpose, or altered bytes.
    """
    start = len(_BY_PASSWORD) + _COST.size
    head, body = locked[: start + _SALT + _NONCE], locked[start + _SALT + _NONCE :]
    if not head.startswith(_BY_PASSWORD) or len(head) < start + _SALT + _NONCE:
        raise WrongSecret
    log2_n, r, p = _COST.unpack(head[len(_BY_PASSWORD) : start])
    if not (1 <= log2_n <= _MAX_LOG2_N and 1 <= r <= _MAX_R and 1 <= p <= _MAX_P):
        raise WrongSecret
    key = _password_key(password, pepper, head[start : start + _SALT], (log2_n, r, p))
    return _open(key, head, body, purpose)


def lock_with_secret(data: bytes, secret: bytes, *, purpose: str) -> bytes:
    """Return `data` encrypted under a random `secret` of at least 32 bytes.

    Raises:
        ValueError: a shorter secret.
    """
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    head = _BY_SECRET + salt + nonce
    key = _secret_key(secret, salt, purpose)
    return head + AESGCM(key).encrypt(nonce, data, head + purpose.encode())


def open_with_secret(locked: bytes, secret: bytes, *, purpose: str) -> bytes:
    """Return what `lock_with_secret` locked.

    Raises:
        WrongSecret: another secret or purpose, or altered bytes.
        ValueError: a secret shorter than 32 bytes.
    """
    start = len(_BY_SECRET)
    head, body = locked[: start + _SALT + _NONCE], locked[start + _SALT + _NONCE :]
    if not head.startswith(_BY_SECRET) or len(head) < start + _SALT + _NONCE:
        raise WrongSecret
    return _open(_secret_key(secret, head[start : start + _SALT], purpose), head, body, purpose)


def _open(key: bytes, head: bytes, body: bytes, purpose: str) -> bytes:
    try:
        return AESGCM(key).decrypt(head[-_NONCE:], body, head + purpose.encode())
    except InvalidTag as error:
        raise WrongSecret from error


def _password_key(password: str, pepper: bytes, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    log2_n, r, p = cost
    stretched = Scrypt(salt=salt, length=32, n=1 << log2_n, r=r, p=p).derive(password.encode())
    return HKDF(hashes.SHA256(), 32, salt, b"teleread password lock").derive(stretched + pepper)


def _secret_key(secret: bytes, salt: bytes, purpose: str) -> bytes:
    if len(secret) < 32:
        raise ValueError("a secret has at least 32 bytes")
    return HKDF(hashes.SHA256(), 32, salt, b"teleread " + purpose.encode()).derive(secret)
