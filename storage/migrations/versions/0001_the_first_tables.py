"""The first tables."""

import sqlalchemy as sa
from alembic import op

from storage import tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "fact",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("what", sa.String(length=32), nullable=False),
        sa.Column("at", tables.Instant(), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=True),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("task_id", sa.String(length=32), nullable=True),
        sa.Column("report_id", sa.String(length=32), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fact")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("fact", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_fact_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_fact_report_id"), ["report_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_fact_study_id"), ["study_id"], unique=False)

    op.create_table(
        "job",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=96), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("due_at", tables.Instant(), nullable=False),
        sa.Column("leased_until", tables.Instant(), nullable=True),
        sa.Column("lease", sa.String(length=32), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("dead_at", tables.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("key", name=op.f("uq_job_key")),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index("ix_job_due", ["dead_at", "due_at"], unique=False)

    op.create_table(
        "site",
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("phone", sa.String(length=64), nullable=True),
        sa.Column("created_at", tables.Instant(), nullable=False),
        sa.CheckConstraint("kind IN ('center', 'hospital')", name=op.f("ck_site_kind")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_site")),
    )
    op.create_table(
        "account",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("display", sa.Text(), nullable=False),
        sa.Column("display_en", sa.Text(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("licence_number", sa.String(length=64), nullable=True),
        sa.Column("phone", sa.String(length=64), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("blocked_until", tables.Instant(), nullable=True),
        sa.Column("disabled_at", tables.Instant(), nullable=True),
        sa.Column("created_at", tables.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_account_site_site")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_account")),
    )
    op.create_table(
        "authority",
        sa.Column("hospital", sa.String(length=32), nullable=False),
        sa.Column("root_certificate", sa.LargeBinary(), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("root_key", sa.LargeBinary(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", tables.Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["hospital"], ["site.key"], name=op.f("fk_authority_hospital_site")
        ),
        sa.PrimaryKeyConstraint("hospital", name=op.f("pk_authority")),
    )
    op.create_table(
        "device",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("called", sa.String(length=16), nullable=True),
        sa.Column("host", sa.String(length=255), nullable=True),
        sa.Column("port", sa.Integer(), nullable=True),
        sa.Column("modality", sa.String(length=16), nullable=True),
        sa.Column("one_per_image", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("last_seen_at", tables.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_device_site_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
    )
    with op.batch_alter_table("device", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_device_ae_title"), ["ae_title"], unique=False)

    op.create_table(
        "patient",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("patient_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_latin", sa.Text(), nullable=True),
        sa.Column("sex", sa.String(length=1), nullable=True),
        sa.Column("birth_date", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_patient_site_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient")),
        sa.UniqueConstraint("site", "patient_id", name=op.f("uq_patient_site_patient_id")),
    )
    op.create_table(
        "read_by",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("hospital", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["center"], ["site.key"], name=op.f("fk_read_by_center_site")),
        sa.ForeignKeyConstraint(["hospital"], ["site.key"], name=op.f("fk_read_by_hospital_site")),
        sa.PrimaryKeyConstraint("center", "hospital", name=op.f("pk_read_by")),
    )
    with op.batch_alter_table("read_by", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_read_by_hospital"), ["hospital"], unique=False)

    op.create_table(
        "study",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("arrival", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.String(length=16), nullable=False),
        sa.Column("patient_id", sa.String(length=64), nullable=True),
        sa.Column("patient_name", sa.Text(), nullable=False),
        sa.Column("patient_name_latin", sa.Text(), nullable=True),
        sa.Column("patient_sex", sa.String(length=1), nullable=True),
        sa.Column("patient_birth_date", sa.Date(), nullable=True),
        sa.Column("accession", sa.String(length=64), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("question", sa.Text(), nullable=True),
        sa.Column("requester", sa.Text(), nullable=True),
        sa.Column("study_date", sa.Date(), nullable=True),
        sa.Column("study_time", sa.String(length=16), nullable=True),
        sa.Column("acquired_at", tables.Instant(), nullable=True),
        sa.Column("received_at", tables.Instant(), nullable=False),
        sa.Column("last_received_at", tables.Instant(), nullable=False),
        sa.Column("modalities", sa.JSON(), nullable=False),
        sa.Column("series_count", sa.Integer(), nullable=False),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("newest_instance", sa.Integer(), nullable=False),
        sa.Column("marks", sa.JSON(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_study_site_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("site", "study_uid", name=op.f("uq_study_site_study_uid")),
    )
    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.create_index("ix_study_site_patient", ["site", "patient_id"], unique=False)
        batch_op.create_index("ix_study_site_received", ["site", "received_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_study_study_uid"), ["study_uid"], unique=False)

    op.create_table(
        "token",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("created_at", tables.Instant(), nullable=False),
        sa.Column("expires_at", tables.Instant(), nullable=True),
        sa.Column("revoked_at", tables.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_token_site_site")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_token")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_token_token_digest")),
    )
    op.create_table(
        "certificate",
        sa.Column("serial", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("hospital", sa.String(length=32), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("issued_at", tables.Instant(), nullable=False),
        sa.Column("expires_at", tables.Instant(), nullable=False),
        sa.Column("revoked_at", tables.Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account"], ["account.name"], name=op.f("fk_certificate_account_account")
        ),
        sa.ForeignKeyConstraint(
            ["hospital"], ["site.key"], name=op.f("fk_certificate_hospital_site")
        ),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_certificate")),
    )
    with op.batch_alter_table("certificate", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_certificate_account"), ["account"], unique=False)

    op.create_table(
        "series",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("body_part", sa.Text(), nullable=True),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_series_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint("study_id", "series_uid", name=op.f("uq_series_study_id_series_uid")),
    )
    with op.batch_alter_table("series", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_series_series_uid"), ["series_uid"], unique=False)

    op.create_table(
        "session",
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("created_at", tables.Instant(), nullable=False),
        sa.Column("seen_at", tables.Instant(), nullable=False),
        sa.Column("expires_at", tables.Instant(), nullable=False),
        sa.Column("locked_at", tables.Instant(), nullable=True),
        sa.Column("signing_key", sa.LargeBinary(), nullable=True),
        sa.Column("signing_until", tables.Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account"], ["account.name"], name=op.f("fk_session_account_account")
        ),
        sa.PrimaryKeyConstraint("token_digest", name=op.f("pk_session")),
    )
    with op.batch_alter_table("session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_session_account"), ["account"], unique=False)
        batch_op.create_index(batch_op.f("ix_session_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "task",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("priority", sa.String(length=16), nullable=False),
        sa.Column("priority_rank", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("received_at", tables.Instant(), nullable=False),
        sa.Column("due_at", tables.Instant(), nullable=False),
        sa.Column("claimed_by", sa.String(length=64), nullable=True),
        sa.Column("claimed_at", tables.Instant(), nullable=True),
        sa.Column("lease_until", tables.Instant(), nullable=True),
        sa.Column("seen_up_to", sa.Integer(), nullable=False),
        sa.Column("follows_task", sa.String(length=32), nullable=True),
        sa.Column("follows_report", sa.String(length=32), nullable=True),
        sa.Column("return_reason", sa.String(length=32), nullable=True),
        sa.Column("return_note", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "opened_as", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_task_site_site")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_task_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
    )
    with op.batch_alter_table("task", schema=None) as batch_op:
        batch_op.create_index(
            "ix_task_queue", ["state", "priority_rank", "due_at", "id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_task_study_id"), ["study_id"], unique=False)

    op.create_table(
        "draft",
        sa.Column("task_id", sa.String(length=32), nullable=False),
        sa.Column("author", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("impression", sa.Text(), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=True),
        sa.Column("key_image", sa.JSON(), nullable=True),
        sa.Column("saved_at", tables.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["author"], ["account.name"], name=op.f("fk_draft_author_account")),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name=op.f("fk_draft_task_id_task")),
        sa.PrimaryKeyConstraint("task_id", "author", name=op.f("pk_draft")),
    )
    op.create_table(
        "instance",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "series_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("sop_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("number_in_study", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=True),
        sa.Column("columns", sa.Integer(), nullable=True),
        sa.Column("frame_time_ms", sa.Integer(), nullable=True),
        sa.Column("transfer_syntax", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("locator", sa.Text(), nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=True),
        sa.Column("received_at", tables.Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_id"], ["series.id"], name=op.f("fk_instance_series_id_series")
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_instance_study_id_study")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
        sa.UniqueConstraint("locator", name=op.f("uq_instance_locator")),
        sa.UniqueConstraint(
            "site", "sop_uid", "version", name=op.f("uq_instance_site_sop_uid_version")
        ),
    )
    with op.batch_alter_table("instance", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_instance_series_id"), ["series_id"], unique=False)
        batch_op.create_index("ix_instance_study", ["study_id", "number_in_study"], unique=False)

    op.create_table(
        "report",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("task_id", sa.String(length=32), nullable=False),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("hospital", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("impression", sa.Text(), nullable=False),
        sa.Column("key_image", sa.JSON(), nullable=True),
        sa.Column("author", sa.String(length=64), nullable=False),
        sa.Column("signed_at", tables.Instant(), nullable=False),
        sa.Column("effective_at", tables.Instant(), nullable=False),
        sa.Column("verify_id", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("pdf", sa.Text(), nullable=False),
        sa.Column("pdf_digest", sa.String(length=64), nullable=False),
        sa.Column("content_digest", sa.String(length=64), nullable=False),
        sa.Column("certificate_serial", sa.String(length=64), nullable=False),
        sa.Column("instances", sa.JSON(), nullable=False),
        sa.Column("newest_instance", sa.Integer(), nullable=False),
        sa.Column("replaces", sa.String(length=32), nullable=True),
        sa.Column("replaced_by", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("study_newer", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["author"], ["account.name"], name=op.f("fk_report_author_account")
        ),
        sa.ForeignKeyConstraint(
            ["certificate_serial"],
            ["certificate.serial"],
            name=op.f("fk_report_certificate_serial_certificate"),
        ),
        sa.ForeignKeyConstraint(["hospital"], ["site.key"], name=op.f("fk_report_hospital_site")),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_report_site_site")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_report_study_id_study")),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name=op.f("fk_report_task_id_task")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report")),
        sa.UniqueConstraint("author", "request_id", name=op.f("uq_report_author_request_id")),
        sa.UniqueConstraint("pdf", name=op.f("uq_report_pdf")),
        sa.UniqueConstraint("verify_id", name=op.f("uq_report_verify_id")),
    )
    with op.batch_alter_table("report", schema=None) as batch_op:
        batch_op.create_index("ix_report_author", ["author", "signed_at"], unique=False)
        batch_op.create_index("ix_report_study", ["study_id", "version"], unique=False)
        batch_op.create_index(
            "uq_report_study_version",
            ["study_id", "version"],
            unique=True,
            sqlite_where=sa.text("state <> 'taken_back'"),
            postgresql_where=sa.text("state <> 'taken_back'"),
        )
        batch_op.create_index(batch_op.f("ix_report_task_id"), ["task_id"], unique=False)

    op.create_table(
        "critical",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("report_id", sa.String(length=32), nullable=False),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("told_at", tables.Instant(), nullable=False),
        sa.Column("escalated_at", tables.Instant(), nullable=True),
        sa.Column("confirmed_at", tables.Instant(), nullable=True),
        sa.Column("confirmed_by", sa.String(length=64), nullable=True),
        sa.Column("patient_is", sa.String(length=16), nullable=True),
        sa.Column("closed_at", tables.Instant(), nullable=True),
        sa.Column("closed_because", sa.String(length=16), nullable=True),
        sa.ForeignKeyConstraint(
            ["report_id"], ["report.id"], name=op.f("fk_critical_report_id_report")
        ),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_critical_site_site")),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_critical_study_id_study")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_critical")),
        sa.UniqueConstraint("report_id", name=op.f("uq_critical_report_id")),
    )
    with op.batch_alter_table("critical", schema=None) as batch_op:
        batch_op.create_index(
            "ix_critical_open", ["site", "confirmed_at", "closed_at"], unique=False
        )

    op.create_table(
        "delivery",
        sa.Column("report_id", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("sent_at", tables.Instant(), nullable=False),
        sa.Column("delivered_at", tables.Instant(), nullable=True),
        sa.Column("opened_at", tables.Instant(), nullable=True),
        sa.Column("opened_by", sa.String(length=64), nullable=True),
        sa.Column("acknowledged_at", tables.Instant(), nullable=True),
        sa.Column("acknowledged_by", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["report_id"], ["report.id"], name=op.f("fk_delivery_report_id_report")
        ),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_delivery_site_site")),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_delivery")),
    )
    op.create_table(
        "notice",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("report_id", sa.String(length=32), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("told_at", tables.Instant(), nullable=False),
        sa.Column("seen_at", tables.Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account"], ["account.name"], name=op.f("fk_notice_account_account")
        ),
        sa.ForeignKeyConstraint(
            ["report_id"], ["report.id"], name=op.f("fk_notice_report_id_report")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.create_index("ix_notice_unseen", ["account", "seen_at"], unique=False)
