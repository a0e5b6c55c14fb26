"""Which tables are there, and what does each row say?

Instants are microseconds since 1970 (UTC): they sort and compare alike on SQLite and PostgreSQL.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware datetime in UTC, kept as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To the column; a naive datetime is a mistake of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """From the column."""
        return None if value is None else _EPOCH + value * _MICROSECOND


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

UID = String(64)
KEY = String(32)
NAME = String(64)
ID = String(32)  # uuid4 in hex
DIGEST = String(64)  # SHA-256 in hex
# sorts by its bytes on every engine, so that a beginning is a range
BYTEWISE = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers a row by itself only for INTEGER
SERIAL = BigInteger().with_variant(Integer, "sqlite")


def _serial() -> Column[int]:
    return Column("id", SERIAL, primary_key=True, autoincrement=True)


# -- institutions, devices, people

site = Table(
    "site",
    metadata,
    Column("key", KEY, primary_key=True),
    Column("name", Text, nullable=False),
    Column("name_en", Text, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("phone", String(64)),
    Column("created_at", Instant, nullable=False),
    CheckConstraint("kind IN ('center', 'hospital')", name="kind"),
)

read_by = Table(
    "read_by",
    metadata,
    Column("center", KEY, ForeignKey("site.key"), primary_key=True),
    Column("hospital", KEY, ForeignKey("site.key"), primary_key=True, index=True),
)

device = Table(
    "device",
    metadata,
    _serial(),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("ae_title", String(16), nullable=False, index=True),
    Column("called", String(16)),
    Column("host", String(255)),
    Column("port", Integer),
    Column("modality", String(16)),
    Column("one_per_image", Boolean, nullable=False, server_default=text("false")),
    Column("last_seen_at", Instant),
    # SHA-256 of the certificate it must show, in hex
    Column("certificate", DIGEST),
    Column("tls", Boolean, nullable=False, server_default=text("false")),
    Column("returns_reports", Boolean, nullable=False, server_default=text("false")),
)

# who called and was not let in; "" where there is no such thing
refused_caller = Table(
    "refused_caller",
    metadata,
    Column("calling", String(16), primary_key=True),
    Column("called", String(16), primary_key=True),
    Column("address", String(64), primary_key=True),
    Column("certificate", DIGEST, primary_key=True),
    Column("why", String(32), nullable=False),
    Column("times", Integer, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
)

account = Table(
    "account",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("display", Text, nullable=False),
    Column("display_en", Text, nullable=False),
    Column("roles", JSON, nullable=False),
    Column("licence_number", String(64)),
    Column("phone", String(64)),
    Column("password_hash", Text, nullable=False),
    Column("failed", Integer, nullable=False, server_default=text("0")),
    Column("blocked_until", Instant),
    Column("disabled_at", Instant),
    Column("created_at", Instant, nullable=False),
)

session = Table(
    "session",
    metadata,
    Column("token_digest", DIGEST, primary_key=True),
    Column("account", NAME, ForeignKey("account.name"), nullable=False, index=True),
    Column("csrf", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
    Column("locked_at", Instant),
    # the reader's private key, encrypted under the session's cookie, which is not kept here
    Column("signing_key", LargeBinary),
    Column("signing_until", Instant),
)

token = Table(
    "token",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("token_digest", DIGEST, nullable=False, unique=True),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("roles", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
)

authority = Table(
    "authority",
    metadata,
    Column("hospital", KEY, ForeignKey("site.key"), primary_key=True),
    Column("root_certificate", LargeBinary, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    # encrypted under the gateway's secret
    Column("root_key", LargeBinary, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
)

certificate = Table(
    "certificate",
    metadata,
    Column("serial", String(64), primary_key=True),
    Column("account", NAME, ForeignKey("account.name"), nullable=False, index=True),
    Column("hospital", KEY, ForeignKey("site.key"), nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    # encrypted under what only the reader enters
    Column("key", LargeBinary, nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
)

# -- the DICOM part: can be rebuilt from the objects

patient = Table(
    "patient",
    metadata,
    _serial(),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("patient_id", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("name_latin", Text),
    Column("sex", String(1)),
    Column("birth_date", Date),
    UniqueConstraint("site", "patient_id"),
)

study = Table(
    "study",
    metadata,
    _serial(),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("study_uid", UID, nullable=False, index=True),
    Column("kind", String(8), nullable=False),
    Column("arrival", String(16), nullable=False),
    Column("priority", String(16), nullable=False),
    Column("patient_id", String(64)),
    Column("patient_name", Text, nullable=False),
    Column("patient_name_latin", Text),
    # what the name's component groups are found by (`storage.matching.name_key`)
    Column("name_alphabetic", BYTEWISE),
    Column("name_ideographic", BYTEWISE),
    Column("name_phonetic", BYTEWISE),
    Column("patient_sex", String(1)),
    Column("patient_birth_date", Date),
    Column("accession", String(64)),
    Column("description", Text, nullable=False),
    Column("question", Text),
    Column("requester", Text),
    Column("study_date", Date),
    Column("study_time", String(16)),
    Column("acquired_at", Instant),
    Column("received_at", Instant, nullable=False),
    Column("last_received_at", Instant, nullable=False),
    Column("modalities", JSON, nullable=False),
    Column("series_count", Integer, nullable=False),
    Column("instance_count", Integer, nullable=False),
    Column("newest_instance", Integer, nullable=False),
    Column("marks", JSON, nullable=False),
    Column("attributes", JSON, nullable=False),
    UniqueConstraint("site", "study_uid"),
    Index("ix_study_site_received", "site", "received_at"),
    Index("ix_study_site_patient", "site", "patient_id"),
    Index("ix_study_site_date", "site", "study_date"),
    Index("ix_study_site_accession", "site", "accession"),
    Index("ix_study_name_alphabetic", "name_alphabetic"),
    Index("ix_study_name_ideographic", "name_ideographic"),
    Index("ix_study_name_phonetic", "name_phonetic"),
)

series = Table(
    "series",
    metadata,
    _serial(),
    Column("study_id", SERIAL, ForeignKey("study.id"), nullable=False),
    Column("series_uid", UID, nullable=False, index=True),
    Column("modality", String(16), nullable=False),
    Column("number", Integer),
    Column("description", Text),
    Column("body_part", Text),
    Column("instance_count", Integer, nullable=False),
    Column("attributes", JSON, nullable=False),
    UniqueConstraint("study_id", "series_uid"),
)

# what is proposed where a study's bytes contradict their Specific Character Set
text_repair = Table(
    "text_repair",
    metadata,
    Column("study_id", SERIAL, ForeignKey("study.id"), primary_key=True, autoincrement=False),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("labelled", JSON, nullable=False),
    Column("proposed", String(32), nullable=False),
    Column("confidence", Float, nullable=False),
    Column("of_study", Boolean, nullable=False),
    Column("state", String(8), nullable=False),
    Column("proposed_at", Instant, nullable=False),
    Column("decided_at", Instant),
    Column("decided_by", String(96)),
    # what the rows showed before it was rejected
    Column("kept", JSON),
)

instance = Table(
    "instance",
    metadata,
    _serial(),
    Column("series_id", SERIAL, ForeignKey("series.id"), nullable=False, index=True),
    Column("study_id", SERIAL, ForeignKey("study.id"), nullable=False),
    Column("site", KEY, nullable=False),
    Column("sop_uid", UID, nullable=False),
    Column("sop_class", UID, nullable=False),
    Column("version", Integer, nullable=False),
    # false once a later version of the same UID has come
    Column("current", Boolean, nullable=False),
    Column("number_in_study", Integer, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("number", Integer),
    Column("frames", Integer, nullable=False),
    Column("rows", Integer),
    Column("columns", Integer),
    Column("frame_time_ms", Integer),
    Column("transfer_syntax", UID, nullable=False),
    Column("digest", DIGEST, nullable=False),
    Column("locator", Text, nullable=False, unique=True),
    # where the data set begins in the object, and the length of the object, in bytes
    Column("offset", Integer, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("calling_ae_title", String(16)),
    Column("received_at", Instant, nullable=False),
    UniqueConstraint("site", "sop_uid", "version"),
    Index("ix_instance_study", "study_id", "number_in_study"),
)

# -- orders

# an order; number counts the Accession Numbers that its Site issued itself
service_request = Table(
    "service_request",
    metadata,
    Column("id", ID, primary_key=True),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("accession", String(16), nullable=False),
    Column("requested_procedure_id", String(16), nullable=False),
    Column("step_id", String(16), nullable=False),
    Column("study_uid", UID, nullable=False, unique=True),
    Column("number", Integer),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("patient_id", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("name_latin", Text),
    Column("name_phonetic", Text),
    # what the name's component groups are found by (`storage.matching.name_key`)
    Column("key_alphabetic", BYTEWISE),
    Column("key_ideographic", BYTEWISE),
    Column("key_phonetic", BYTEWISE),
    Column("sex", String(1)),
    Column("birth_date", Date),
    Column("phone", String(16)),
    Column("modality", String(16), nullable=False),
    Column("station", String(16)),
    Column("procedure", Text, nullable=False),
    Column("code", JSON),
    Column("priority", String(16), nullable=False),
    Column("scheduled_at", Instant, nullable=False),
    Column("requester", Text),
    Column("question", Text),
    Column("created_by", String(96), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("changed_by", String(96), nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("version", Integer, nullable=False),
    UniqueConstraint("site", "accession"),
    UniqueConstraint("created_by", "request_id"),
    Index("uq_service_request_site_number", "site", "number", unique=True),
    Index("ix_service_request_waiting", "state", "site", "scheduled_at", "id"),
    Index("ix_service_request_site_scheduled", "site", "scheduled_at", "id"),
)

# a Modality Performed Procedure Step; why is the code of why it was discontinued
procedure_step = Table(
    "procedure_step",
    metadata,
    Column("id", ID, primary_key=True),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("sop_uid", UID, nullable=False),
    Column("state", String(16), nullable=False),
    Column("station", String(16), nullable=False),
    Column("modality", String(16), nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("instances", JSON, nullable=False),
    Column("why", JSON),
    Column("attributes", JSON, nullable=False),
    Column("version", Integer, nullable=False),
    UniqueConstraint("site", "sop_uid"),
)

# for what a procedure step was done: the items of its Scheduled Step Attributes Sequence
scheduled_step = Table(
    "scheduled_step",
    metadata,
    Column("procedure_step_id", ID, ForeignKey("procedure_step.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("study_uid", UID, index=True),
    Column("accession", Text),
    Column("service_request_id", ID, ForeignKey("service_request.id"), index=True),
)

# -- reading

task = Table(
    "task",
    metadata,
    Column("id", ID, primary_key=True),
    Column("study_id", SERIAL, ForeignKey("study.id"), nullable=False, index=True),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("priority", String(16), nullable=False),
    Column("priority_rank", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("claimed_by", NAME),
    Column("claimed_at", Instant),
    Column("lease_until", Instant),
    Column("seen_up_to", Integer, nullable=False),
    Column("follows_task", ID),
    Column("follows_report", ID),
    Column("return_reason", String(32)),
    Column("return_note", Text),
    Column("version", Integer, nullable=False),
    Column("opened_as", SERIAL, nullable=False),
    Index("ix_task_queue", "state", "priority_rank", "due_at", "id"),
)

draft = Table(
    "draft",
    metadata,
    Column("task_id", ID, ForeignKey("task.id"), primary_key=True),
    Column("author", NAME, ForeignKey("account.name"), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("findings", Text, nullable=False),
    Column("impression", Text, nullable=False),
    Column("result", String(16)),
    Column("key_image", JSON),
    Column("saved_at", Instant, nullable=False),
)

report = Table(
    "report",
    metadata,
    Column("id", ID, primary_key=True),
    Column("task_id", ID, ForeignKey("task.id"), nullable=False, index=True),
    Column("study_id", SERIAL, ForeignKey("study.id"), nullable=False),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("hospital", KEY, ForeignKey("site.key"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("result", String(16), nullable=False),
    Column("findings", Text, nullable=False),
    Column("impression", Text, nullable=False),
    Column("key_image", JSON),
    Column("author", NAME, ForeignKey("account.name"), nullable=False),
    Column("signed_at", Instant, nullable=False),
    Column("effective_at", Instant, nullable=False),
    Column("verify_id", String(64), nullable=False, unique=True),
    Column("request_id", String(64), nullable=False),
    Column("pdf", Text, nullable=False, unique=True),
    Column("pdf_digest", DIGEST, nullable=False),
    Column("content_digest", DIGEST, nullable=False),
    Column("certificate_serial", String(64), ForeignKey("certificate.serial"), nullable=False),
    Column("instances", JSON, nullable=False),
    Column("newest_instance", Integer, nullable=False),
    Column("replaces", ID),
    Column("replaced_by", ID),
    Column("reason", Text),
    Column("study_newer", Boolean, nullable=False),
    UniqueConstraint("author", "request_id"),
    Index("ix_report_study", "study_id", "version"),
    # a version that was taken back gives its number free again
    Index(
        "uq_report_study_version",
        "study_id",
        "version",
        unique=True,
        sqlite_where=text("state <> 'taken_back'"),
        postgresql_where=text("state <> 'taken_back'"),
    ),
    Index("ix_report_author", "author", "signed_at"),
)

delivery = Table(
    "delivery",
    metadata,
    Column("report_id", ID, ForeignKey("report.id"), primary_key=True),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("sent_at", Instant, nullable=False),
    Column("delivered_at", Instant),
    Column("opened_at", Instant),
    Column("opened_by", NAME),
    Column("acknowledged_at", Instant),
    Column("acknowledged_by", NAME),
)

critical = Table(
    "critical",
    metadata,
    Column("id", ID, primary_key=True),
    Column("report_id", ID, ForeignKey("report.id"), nullable=False, unique=True),
    Column("study_id", SERIAL, ForeignKey("study.id"), nullable=False),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("told_at", Instant, nullable=False),
    Column("escalated_at", Instant),
    Column("confirmed_at", Instant),
    Column("confirmed_by", NAME),
    Column("patient_is", String(16)),
    Column("closed_at", Instant),
    Column("closed_because", String(16)),
    Index("ix_critical_open", "site", "confirmed_at", "closed_at"),
)

notice = Table(
    "notice",
    metadata,
    _serial(),
    Column("account", NAME, ForeignKey("account.name"), nullable=False),
    Column("report_id", ID, ForeignKey("report.id"), nullable=False),
    Column("what", String(16), nullable=False),
    Column("told_at", Instant, nullable=False),
    Column("seen_at", Instant),
    Index("ix_notice_unseen", "account", "seen_at"),
)

# -- to devices

# what a device asked us to answer for; found once its answer has been worked out, then told
commitment = Table(
    "commitment",
    metadata,
    Column("id", ID, primary_key=True),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("device_id", SERIAL, nullable=False),
    Column("transaction_uid", UID, nullable=False),
    # of the list asked about: the same again is a repeat, another one is not
    Column("request_digest", DIGEST, nullable=False),
    Column("asked", JSON, nullable=False),
    Column("checked", Integer, nullable=False),
    Column("failed", JSON, nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("checked_at", Instant),
    Column("reported_at", Instant),
    Column("given_up_at", Instant),
    UniqueConstraint("device_id", "transaction_uid", "request_digest"),
    Index("ix_commitment_waiting", "device_id", "reported_at", "given_up_at"),
)

# one report version on its way to one device
transmission = Table(
    "transmission",
    metadata,
    Column("id", ID, primary_key=True),
    Column("report_id", ID, ForeignKey("report.id"), nullable=False),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("device_id", SERIAL, nullable=False),
    Column("sop_uid", UID, nullable=False),
    Column("state", String(8), nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("tried_at", Instant),
    Column("sent_at", Instant),
    Column("status", Integer),
    Column("reason", Text),
    UniqueConstraint("report_id", "device_id"),
    Index("ix_transmission_device", "device_id", "state"),
)

# -- journal and due work

fact = Table(
    "fact",
    metadata,
    _serial(),
    Column("what", String(32), nullable=False),
    Column("at", Instant, nullable=False, index=True),
    Column("site", KEY, nullable=False),
    Column("who", NAME),
    Column("study_id", SERIAL, index=True),
    Column("task_id", ID),
    Column("report_id", ID, index=True),
    Column("data", JSON, nullable=False),
    sqlite_autoincrement=True,
)

job = Table(
    "job",
    metadata,
    _serial(),
    Column("kind", String(32), nullable=False),
    Column("key", String(96), nullable=False, unique=True),
    Column("payload", JSON, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("leased_until", Instant),
    Column("lease", ID),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("reason", Text),
    Column("dead_at", Instant),
    Index("ix_job_due", "dead_at", "due_at"),
)

# -- keeping

# one pass over what is kept: a check, a scrub, a backup; phase and position say how far it is
upkeep = Table(
    "upkeep",
    metadata,
    _serial(),
    Column("kind", String(8), nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("phase", String(16), nullable=False),
    Column("position", String(32), nullable=False),
    Column("objects", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("faults", Integer, nullable=False),
    Index("ix_upkeep_kind", "kind", "id"),
)

# an object that is not what its row says it is
fault = Table(
    "fault",
    metadata,
    Column("locator", Text, primary_key=True),
    Column("what", String(16), nullable=False),
    Column("site", KEY, ForeignKey("site.key"), nullable=False),
    Column("study_id", SERIAL, ForeignKey("study.id"), nullable=False, index=True),
    Column("instance_id", SERIAL),
    Column("report_id", ID),
    Column("found_at", Instant, nullable=False),
)
