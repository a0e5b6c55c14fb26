"""Which S3 store do the settings name, and can it be used?"""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.settings import Settings
from storage.objects import Objects
from storage.s3 import S3Objects, S3Place, Unfit
from worklist.errors import Code, Refusal


def opened(settings: Settings) -> Objects:
    """The store, not yet asked anything."""
    with _of_s3():
        return S3Objects(_place(settings), settings.data_dir / "spool", settings.min_free_bytes)


def prove(objects: S3Objects) -> None:
    """Refuse where it cannot be written, read and deleted from."""
    with _of_s3():
        objects.prove()


def _place(settings: Settings) -> S3Place:
    for name in ("endpoint", "bucket", "access_key", "secret_key"):
        if not getattr(settings, f"s3_{name}"):
            raise Unfit(name, "it must be set where TELEREAD_OBJECTS is s3")
    return S3Place(
        endpoint=settings.s3_endpoint or "",
        bucket=settings.s3_bucket or "",
        access_key=settings.s3_access_key or "",
        secret_key=settings.s3_secret_key.get_secret_value() if settings.s3_secret_key else "",
        region=settings.s3_region,
        prefix=settings.s3_prefix,
        encryption=settings.s3_encryption,
        ca_file=settings.s3_ca_file,
    )


@contextmanager
def _of_s3() -> Iterator[None]:
    try:
        yield
    except Unfit as error:
        name = f"TELEREAD_S3_{error.field.upper()}"
        raise Refusal(Code.INVALID, f"{name}: {error.reason}.") from None
