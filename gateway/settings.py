"""Which settings are there, and what does each one say?"""

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from worklist.errors import Code, Refusal

FILE = "teleread.toml"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Settings(BaseSettings):
    """Every setting, from the environment (`TELEREAD_…`) or from `teleread.toml` in the current
    folder."""

    model_config = SettingsConfigDict(
        env_prefix="TELEREAD_", frozen=True, extra="forbid", toml_file=FILE
    )

    data_dir: Path = Field(Path("data"), description="Folder of everything that is kept.")
    database_url: str | None = Field(
        None, description="SQLAlchemy URL of the index; SQLite in the data folder without it."
    )
    objects: Literal["files", "s3"] = Field(
        "files", description="Where objects are kept: files in the data folder, or an s3 store."
    )
    s3_endpoint: str | None = Field(None, description="Address of the S3 store, http or https.")
    s3_bucket: str | None = Field(None, description="Bucket that holds the objects.")
    s3_access_key: str | None = Field(None, description="Name of the key to the S3 store.")
    s3_secret_key: SecretStr | None = Field(None, description="Secret of the key to the S3 store.")
    s3_region: str = Field("us-east-1", description="Region requests are signed for.")
    s3_prefix: str = Field(
        "", description="What the names of all objects in the bucket begin with."
    )
    s3_encryption: str = Field(
        "", description="Encryption at rest asked of the S3 store: AES256 or aws:kms:KEY-ID."
    )
    s3_ca_file: Path | None = Field(
        None, description="Authorities (PEM) of the S3 store's certificate, if not the machine's."
    )
    ae_title: str = Field("TELEREAD", description="The gateway's own AE Title.")
    dicom_host: str = Field("127.0.0.1", description="Address on which DICOM devices are awaited.")
    dicom_port: int = Field(11112, description="Port on which DICOM devices are awaited.")
    dicom_tls_port: int | None = Field(
        None, description="Port on which DICOM devices are awaited over TLS; none without it."
    )
    dicom_tls_cert: Path | None = Field(
        None, description="Certificate chain (PEM) that is shown to DICOM devices."
    )
    dicom_tls_key: Path | None = Field(
        None, description="Private key (PEM) of that certificate, without a password."
    )
    dicom_tls_ca: Path | None = Field(
        None,
        description="Certificates (PEM) that devices are trusted by: authorities, or their own.",
    )
    web_host: str = Field("127.0.0.1", description="Address of the web server.")
    web_port: int = Field(8080, description="Port of the web server.")
    web_tls_cert: Path | None = Field(
        None, description="Certificate chain (PEM) of the web server; turns TLS on."
    )
    web_tls_key: Path | None = Field(None, description="Private key (PEM) of the web server.")
    public_url: str | None = Field(
        None, description="Address for links and QR codes; https makes cookies Secure."
    )
    trusted_proxies: str = Field(
        "", description="Addresses of proxies whose X-Forwarded-For is believed, by commas."
    )
    secret_file: Path | None = Field(
        None,
        description="File with the gateway's secret, mode 0600; made in the data folder if unset.",
    )
    min_free_bytes: int = Field(
        2 * 1024**3, description="Below this much free space new studies are refused (0xA700)."
    )
    scrub_bytes_per_second: int = Field(
        4 * 1024**2,
        ge=0,
        description="How fast all objects are read again and again, to find damage; 0: not at all.",
    )
    backup_passphrase_file: Path | None = Field(
        None, description="File with the passphrase of backups' keys, mode 0600."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Which log lines are written."
    )
    policy: Path | None = Field(
        None, description="Path of policy.toml; the built-in times and lists without it."
    )

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic's own name
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def index_url(self) -> str:
        """The URL of the index, with the driver's name."""
        url = self.database_url or f"sqlite:///{self.data_dir / 'index.sqlite'}"
        for scheme in ("postgresql://", "postgres://"):
            if url.startswith(scheme):
                return f"postgresql+psycopg://{url.removeprefix(scheme)}"
        return url

    @property
    def secret_path(self) -> Path:
        """The file of the gateway's secret."""
        return self.secret_file or self.data_dir / "secret"

    @property
    def address(self) -> str:
        """The address people use, without a slash at the end."""
        scheme = "https" if self.web_tls_cert else "http"
        return (self.public_url or f"{scheme}://{self.web_host}:{self.web_port}").rstrip("/")

    @property
    def secure(self) -> bool:
        """Whether people reach the gateway over TLS."""
        return self.address.startswith("https://")


def read_settings(**given: Any) -> Settings:
    """The settings of this process. A wrong one is refused by its name and the reason."""
    try:
        settings = Settings(**given)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = "TELEREAD_" + "_".join(str(part) for part in first["loc"]).upper().removeprefix(
            "TELEREAD_"
        )
        raise Refusal(Code.INVALID, f"{name}: {first['msg']}.") from error
    except tomllib.TOMLDecodeError as error:
        raise Refusal(Code.INVALID, f"{FILE}: {error}.") from error
    _check_names()
    return settings


def require_safe_listening(settings: Settings) -> None:
    """Beyond loopback only with TLS of our own or behind a named proxy."""
    beyond = settings.web_host not in LOOPBACK
    if beyond and not settings.web_tls_cert and not settings.trusted_proxies.strip(" ,"):
        raise Refusal(
            Code.INVALID,
            "TELEREAD_WEB_HOST is not loopback: set TELEREAD_WEB_TLS_CERT and "
            "TELEREAD_WEB_TLS_KEY, "
            "or name the proxy that ends TLS in TELEREAD_TRUSTED_PROXIES.",
        )
    if bool(settings.web_tls_cert) != bool(settings.web_tls_key):
        raise Refusal(Code.INVALID, "TELEREAD_WEB_TLS_CERT and TELEREAD_WEB_TLS_KEY go together.")


def described(settings: Settings) -> list[tuple[str, str, str]]:
    """(variable, sentence, value) of every setting; passwords in URLs are masked."""
    return [
        (f"TELEREAD_{name.upper()}", field.description or "", _masked(getattr(settings, name)))
        for name, field in Settings.model_fields.items()
    ]


def _masked(value: object) -> str:
    text = "" if value is None else str(value)
    text = re.sub(r"(?i)([?&]password=)[^&]*", r"\1***", text)
    head, separator, tail = text.partition("://")
    if not separator or "@" not in tail:
        return text
    credentials, _, host = tail.rpartition("@")
    user = credentials.partition(":")[0]
    return f"{head}://{user}:***@{host}"


def _check_names() -> None:
    known = {f"TELEREAD_{name.upper()}" for name in Settings.model_fields}
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith("TELEREAD_")
        and not name.startswith(_OF_TESTS)
        and name not in known
        and name not in _NOT_SETTINGS
    )
    if unknown:
        raise Refusal(Code.INVALID, f"{unknown[0]}: there is no such setting.")


_OF_TESTS = "TELEREAD_TEST_"
_NOT_SETTINGS = frozenset({"TELEREAD_SKIP_FRONTEND"})
