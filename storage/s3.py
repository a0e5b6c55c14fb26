"""How do objects lie in an S3 store?

Put, ranged get, multipart, list and delete under unique keys: what every S3 store has. The store
checks what it got (signed SHA-256 over http, Content-MD5 over https) before it says so, and only
then `put` and `commit` return. An object that does not fit into memory waits in a file without a
name in the spool folder: a process that is killed leaves nothing of it there.
"""

import io
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, cast
from urllib.parse import urlsplit

from minio import Minio
from minio.error import MinioException, S3Error
from minio.sse import Sse, SseKMS, SseS3
from urllib3.exceptions import HTTPError, SSLError

from storage.patience import Unanswered, patient_pool
from storage.segments import Part
from worklist.errors import Code, Refusal

PART: Final = 5 << 20
"""Bytes of one part of a multipart upload, the least S3 allows; all that one upload holds in
memory."""
_STRETCH: Final = 4 << 20  # bytes of the spool after which its room is looked at
_PROBE: Final = "probe"
_GONE = frozenset({"NoSuchKey", "NoSuchObject"})
# which setting is wrong when the store answers so
_WRONG = {
    "NoSuchBucket": ("bucket", "there is no such bucket"),
    "InvalidBucketName": ("bucket", "this is not a name of a bucket"),
    "InvalidAccessKeyId": ("access_key", "the store does not know this key"),
    "SignatureDoesNotMatch": ("secret_key", "it does not belong to the access key"),
    "AccessDenied": ("access_key", "this key may not use the bucket"),
    "RequestTimeTooSkewed": ("endpoint", "the clocks of this machine and the store differ"),
    "AuthorizationHeaderMalformed": ("region", "the store is in another region"),
    "PermanentRedirect": ("region", "the store is in another region"),
}


@dataclass(frozen=True)
class S3Place:
    """Where in which store, and as whom. `encryption` is "", "AES256" or "aws:kms:KEY-ID";
    `ca_file` a PEM file of authorities to trust in place of the machine's."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    prefix: str = ""
    encryption: str = ""
    ca_file: Path | None = None


class Unfit(Exception):
    """The store cannot be used as it is named: `field` of `S3Place` and the reason."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.field = name
        self.reason = reason


class S3Objects:
    """Objects below a prefix of one bucket. Implements `Objects`."""

    def __init__(self, place: S3Place, spool: Path, min_free_bytes: int) -> None:
        self._bucket = place.bucket
        self._prefix = f"{place.prefix.strip('/')}/".lstrip("/")
        self._encryption = _encryption(place.encryption)
        self._client = _client(place)
        self._spool = spool
        self._min_free = min_free_bytes
        spool.mkdir(parents=True, exist_ok=True, mode=0o700)

    def prove(self) -> None:
        """Write, read and delete a small object. Raises `Unfit` where that cannot be done."""
        name = f"{_PROBE}/{uuid.uuid4().hex}"
        with _proving():
            for _ in self._client.list_objects(self._bucket, prefix=f"{self._prefix}{_PROBE}/"):
                break
        with _proving(asks_encryption=self._encryption is not None):
            self._upload(name, io.BytesIO(b"probe"), 5)
            self._fetch(name, 0, 0)
            self._client.remove_object(self._bucket, self._prefix + name)

    def put(self, kind: str, parts: Iterable[Part], *, digest: bytes | None = None) -> str:
        """See `Objects.put`."""
        data = b"".join(parts)
        locator = _locator(kind)
        with _refusing():
            self._upload(locator, io.BytesIO(data), len(data))
        return locator

    def begin(self, kind: str) -> "_Spooled":
        """See `Objects.begin`."""
        self.require_room()
        return _Spooled(self, _locator(kind))

    def get(self, locator: str) -> bytes:
        """See `Objects.get`."""
        with _refusing(locator):
            return self._fetch(locator, 0, 0)

    def read(self, locator: str, start: int, length: int) -> bytes:
        """See `Objects.read`."""
        if length <= 0:  # to the client that would mean: all of it
            return b""
        with _refusing(locator):
            try:
                return self._fetch(locator, start, length)
            except S3Error as error:
                if error.code == "InvalidRange":
                    return b""
                raise

    def length(self, locator: str) -> int:
        """See `Objects.length`."""
        with _refusing(locator):
            found = self._client.stat_object(self._bucket, self._prefix + locator)
            return cast(int, found.size)

    def list(self) -> Iterator[str]:
        """See `Objects.list`."""
        with _refusing():
            found = self._client.list_objects(self._bucket, prefix=self._prefix, recursive=True)
            for one in found:
                locator = cast(str, one.object_name).removeprefix(self._prefix)
                if not locator.startswith(f"{_PROBE}/"):
                    yield locator

    def delete(self, locator: str) -> None:
        """See `Objects.delete`."""
        with _refusing(locator):
            self._client.remove_object(self._bucket, self._prefix + locator)

    def close(self) -> None:
        """See `Objects.close`. Connections that are kept end with the process."""

    def require_room(self) -> None:
        """Room for large objects on their way; how full the store is only the store knows."""
        room = os.statvfs(self._spool)
        if room.f_bavail * room.f_frsize < self._min_free:
            raise Refusal(
                Code.OUT_OF_RESOURCES, "The disk is nearly full; new studies are not taken."
            )

    def _upload(self, locator: str, file: IO[bytes], length: int) -> None:
        self._client.put_object(
            self._bucket,
            self._prefix + locator,
            cast("io.BytesIO", file),
            length,
            sse=self._encryption,
            part_size=PART,
            num_parallel_uploads=1,
        )

    def _fetch(self, locator: str, start: int, length: int) -> bytes:
        """Bytes from `start`; once more where the connection breaks amid them."""
        try:
            return self._fetch_once(locator, start, length)
        except Unanswered:  # has been tried often enough
            raise
        except HTTPError:
            return self._fetch_once(locator, start, length)

    def _fetch_once(self, locator: str, start: int, length: int) -> bytes:
        response = self._client.get_object(
            self._bucket, self._prefix + locator, offset=start, length=length
        )
        try:
            return response.read()
        finally:
            response.close()  # a connection that has been read to the end is back in the pool


class _Spooled:
    """An object on its way to the store, in a file without a name. Implements `Writing`."""

    def __init__(self, store: S3Objects, locator: str) -> None:
        self._store, self._locator = store, locator
        self._size = self._looked = 0
        with _refusing():
            # closed by `commit` or `abandon`
            self._file = tempfile.TemporaryFile(dir=store._spool, buffering=0)  # noqa: SIM115

    def write(self, part: Part) -> None:
        """See `Writing.write`."""
        view = memoryview(part)
        with _refusing():
            while view:
                written = os.write(self._file.fileno(), view)
                self._size += written
                view = view[written:]
        if self._size - self._looked >= _STRETCH:
            self._looked = self._size
            self._store.require_room()

    def commit(self) -> str:
        """See `Writing.commit`."""
        with _refusing():
            self._file.seek(0)
            self._store._upload(self._locator, self._file, self._size)
        self._file.close()
        return self._locator

    def abandon(self) -> None:
        """See `Writing.abandon`."""
        self._file.close()

    @contextmanager
    def whole(self) -> Iterator[int]:
        """See `Writing.whole`."""
        yield self._file.fileno()


def _locator(kind: str) -> str:
    name = uuid.uuid4().hex
    return f"{kind}/{name[:2]}/{name}"


def _client(place: S3Place) -> Minio:
    parts = urlsplit(place.endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise Unfit("endpoint", "this is not an address such as https://s3.example:443")
    if place.ca_file is not None and not place.ca_file.is_file():
        raise Unfit("ca_file", "there is no such file")
    try:
        return Minio(
            parts.netloc,
            access_key=place.access_key,
            secret_key=place.secret_key,
            secure=parts.scheme == "https",
            region=place.region,
            http_client=patient_pool(place.ca_file),
        )
    except ValueError as error:
        raise Unfit("endpoint", str(error)) from error


def _encryption(text: str) -> Sse | None:
    if not text:
        return None
    if text == "AES256":
        return SseS3()
    head, _, key = text.partition("aws:kms:")
    if head or not key:
        raise Unfit("encryption", "AES256 or aws:kms:KEY-ID is known")
    return SseKMS(key, {})


@contextmanager
def _refusing(locator: str = "") -> Iterator[None]:
    """Say why in the words of the port. The store's own sentences may hold keys: only its code."""
    try:
        yield
    except S3Error as error:
        if error.code in _GONE and locator:
            raise FileNotFoundError(locator) from error
        raise Refusal(Code.OUT_OF_RESOURCES, f"The object store refused: {error.code}.") from error
    except (HTTPError, MinioException) as error:
        why = str(error) if isinstance(error, Unanswered) else type(error).__name__
        raise Refusal(
            Code.OUT_OF_RESOURCES, f"The object store does not answer ({why})."
        ) from error
    except OSError as error:
        raise Refusal(Code.OUT_OF_RESOURCES, f"The spool failed: {error.strerror}.") from error


@contextmanager
def _proving(*, asks_encryption: bool = False) -> Iterator[None]:
    try:
        yield
    except S3Error as error:
        code = error.code or "without a reason"
        unknown = ("encryption" if asks_encryption else "bucket", f"the store refused: {code}")
        # keys and bucket have been used before encryption is asked for
        wrong = unknown if asks_encryption else _WRONG.get(code, unknown)
        raise Unfit(*wrong) from error
    except ValueError as error:  # the client's own look at the name
        raise Unfit("bucket", "this is not a name of a bucket") from error
    except MinioException as error:
        raise Unfit("endpoint", "what answers there is not an S3 store") from error
    except HTTPError as error:
        if isinstance(error.__cause__, SSLError):
            raise Unfit("ca_file", "the store's certificate is not trusted") from error
        raise Unfit("endpoint", f"nobody answers there ({error})") from error
