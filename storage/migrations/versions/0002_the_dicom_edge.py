"""What the DICOM edge keeps besides instances."""

import sqlalchemy as sa
from alembic import op

from storage import tables
from storage.matching import name_keys

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forwards."""
    _devices()
    _queries()
    _to_devices()
    _orders()
    _text_repairs()


def _queries() -> None:
    """What C-FIND and QIDO-RS find studies by."""
    names = ("name_alphabetic", "name_ideographic", "name_phonetic")
    with op.batch_alter_table("study", schema=None) as batch_op:
        for name in names:
            batch_op.add_column(sa.Column(name, tables.BYTEWISE, nullable=True))
            batch_op.create_index(f"ix_study_{name}", [name], unique=False)
        batch_op.create_index("ix_study_site_date", ["site", "study_date"], unique=False)
        batch_op.create_index("ix_study_site_accession", ["site", "accession"], unique=False)
    known = sa.table(
        "study",
        *(sa.column(name) for name in ("id", "patient_name", "patient_name_latin", *names)),
        sa.column("attributes", sa.JSON()),
    )
    rename = sa.update(known).where(known.c.id == sa.bindparam("study_key"))
    connection = op.get_bind()
    for row in connection.execute(sa.select(known)).all():
        keys = name_keys(row.attributes, row.patient_name, row.patient_name_latin)
        connection.execute(
            rename.values(dict(zip(names, keys, strict=True))), {"study_key": row.id}
        )


def _devices() -> None:
    """How a device is known, what it must use, what it gets."""
    with op.batch_alter_table("device", schema=None) as batch_op:
        batch_op.add_column(sa.Column("certificate", sa.String(length=64), nullable=True))
        batch_op.add_column(
            sa.Column("tls", sa.Boolean(), server_default=sa.text("false"), nullable=False)
        )
        batch_op.add_column(
            sa.Column(
                "returns_reports", sa.Boolean(), server_default=sa.text("false"), nullable=False
            )
        )
    op.create_table(
        "refused_caller",
        sa.Column("calling", sa.String(length=16), nullable=False),
        sa.Column("called", sa.String(length=16), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("certificate", sa.String(length=64), nullable=False),
        sa.Column("why", sa.String(length=32), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("first_at", tables.Instant(), nullable=False),
        sa.Column("last_at", tables.Instant(), nullable=False),
        sa.PrimaryKeyConstraint(
            "calling", "called", "address", "certificate", name=op.f("pk_refused_caller")
        ),
    )


def _to_devices() -> None:
    """What devices asked us to answer for, and what is on its way to them."""
    op.create_table(
        "commitment",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("device_id", tables.SERIAL, nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("checked", sa.Integer(), nullable=False),
        sa.Column("failed", sa.JSON(), nullable=False),
        sa.Column("requested_at", tables.Instant(), nullable=False),
        sa.Column("expires_at", tables.Instant(), nullable=False),
        sa.Column("checked_at", tables.Instant(), nullable=True),
        sa.Column("reported_at", tables.Instant(), nullable=True),
        sa.Column("given_up_at", tables.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_commitment_site_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitment")),
        sa.UniqueConstraint(
            "device_id",
            "transaction_uid",
            "request_digest",
            name=op.f("uq_commitment_device_id_transaction_uid_request_digest"),
        ),
    )
    with op.batch_alter_table("commitment", schema=None) as batch_op:
        batch_op.create_index(
            "ix_commitment_waiting", ["device_id", "reported_at", "given_up_at"], unique=False
        )
    op.create_table(
        "transmission",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("report_id", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("device_id", tables.SERIAL, nullable=False),
        sa.Column("sop_uid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("due_at", tables.Instant(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("tried_at", tables.Instant(), nullable=True),
        sa.Column("sent_at", tables.Instant(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["report_id"], ["report.id"], name=op.f("fk_transmission_report_id_report")
        ),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_transmission_site_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transmission")),
        sa.UniqueConstraint(
            "report_id", "device_id", name=op.f("uq_transmission_report_id_device_id")
        ),
    )
    with op.batch_alter_table("transmission", schema=None) as batch_op:
        batch_op.create_index("ix_transmission_device", ["device_id", "state"], unique=False)


def _orders() -> None:
    """What was asked, and what devices say that they have done for it."""
    op.create_table(
        "service_request",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("accession", sa.String(length=16), nullable=False),
        sa.Column("requested_procedure_id", sa.String(length=16), nullable=False),
        sa.Column("step_id", sa.String(length=16), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("patient_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_latin", sa.Text(), nullable=True),
        sa.Column("name_phonetic", sa.Text(), nullable=True),
        sa.Column("key_alphabetic", tables.BYTEWISE, nullable=True),
        sa.Column("key_ideographic", tables.BYTEWISE, nullable=True),
        sa.Column("key_phonetic", tables.BYTEWISE, nullable=True),
        sa.Column("sex", sa.String(length=1), nullable=True),
        sa.Column("birth_date", sa.Date(), nullable=True),
        sa.Column("phone", sa.String(length=16), nullable=True),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("station", sa.String(length=16), nullable=True),
        sa.Column("procedure", sa.Text(), nullable=False),
        sa.Column("code", sa.JSON(), nullable=True),
        sa.Column("priority", sa.String(length=16), nullable=False),
        sa.Column("scheduled_at", tables.Instant(), nullable=False),
        sa.Column("requester", sa.Text(), nullable=True),
        sa.Column("question", sa.Text(), nullable=True),
        sa.Column("created_by", sa.String(length=96), nullable=False),
        sa.Column("created_at", tables.Instant(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("changed_by", sa.String(length=96), nullable=False),
        sa.Column("changed_at", tables.Instant(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_service_request_site_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_request")),
        sa.UniqueConstraint(
            "created_by", "request_id", name=op.f("uq_service_request_created_by_request_id")
        ),
        sa.UniqueConstraint("site", "accession", name=op.f("uq_service_request_site_accession")),
        sa.UniqueConstraint("study_uid", name=op.f("uq_service_request_study_uid")),
    )
    with op.batch_alter_table("service_request", schema=None) as batch_op:
        batch_op.create_index("uq_service_request_site_number", ["site", "number"], unique=True)
        batch_op.create_index(
            "ix_service_request_waiting", ["state", "site", "scheduled_at", "id"], unique=False
        )
        batch_op.create_index(
            "ix_service_request_site_scheduled", ["site", "scheduled_at", "id"], unique=False
        )
    op.create_table(
        "procedure_step",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("sop_uid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("station", sa.String(length=16), nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("started_at", tables.Instant(), nullable=False),
        sa.Column("ended_at", tables.Instant(), nullable=True),
        sa.Column("created_at", tables.Instant(), nullable=False),
        sa.Column("changed_at", tables.Instant(), nullable=False),
        sa.Column("instances", sa.JSON(), nullable=False),
        sa.Column("why", sa.JSON(), nullable=True),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_procedure_step_site_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_procedure_step")),
        sa.UniqueConstraint("site", "sop_uid", name=op.f("uq_procedure_step_site_sop_uid")),
    )
    op.create_table(
        "scheduled_step",
        sa.Column("procedure_step_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=True),
        sa.Column("accession", sa.Text(), nullable=True),
        sa.Column("service_request_id", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["procedure_step_id"],
            ["procedure_step.id"],
            name=op.f("fk_scheduled_step_procedure_step_id_procedure_step"),
        ),
        sa.ForeignKeyConstraint(
            ["service_request_id"],
            ["service_request.id"],
            name=op.f("fk_scheduled_step_service_request_id_service_request"),
        ),
        sa.PrimaryKeyConstraint("procedure_step_id", "number", name=op.f("pk_scheduled_step")),
    )
    with op.batch_alter_table("scheduled_step", schema=None) as batch_op:
        batch_op.create_index(op.f("ix_scheduled_step_study_uid"), ["study_uid"], unique=False)
        batch_op.create_index(
            op.f("ix_scheduled_step_service_request_id"), ["service_request_id"], unique=False
        )


def _text_repairs() -> None:
    """What is proposed where a study's bytes contradict their Specific Character Set."""
    op.create_table(
        "text_repair",
        sa.Column("study_id", tables.SERIAL, autoincrement=False, nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("labelled", sa.JSON(), nullable=False),
        sa.Column("proposed", sa.String(length=32), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("of_study", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("proposed_at", tables.Instant(), nullable=False),
        sa.Column("decided_at", tables.Instant(), nullable=True),
        sa.Column("decided_by", sa.String(length=96), nullable=True),
        sa.Column("kept", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_text_repair_site_site")),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_text_repair_study_id_study")
        ),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_text_repair")),
    )
