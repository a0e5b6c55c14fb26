"""How far the looks at what is kept have come, and what they found."""

import sqlalchemy as sa
from alembic import op

from storage import tables

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "upkeep",
        sa.Column("id", tables.SERIAL, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("began_at", tables.Instant(), nullable=False),
        sa.Column("seen_at", tables.Instant(), nullable=False),
        sa.Column("ended_at", tables.Instant(), nullable=True),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("position", sa.String(length=32), nullable=False),
        sa.Column("objects", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("faults", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upkeep")),
    )
    with op.batch_alter_table("upkeep", schema=None) as batch_op:
        batch_op.create_index("ix_upkeep_kind", ["kind", "id"], unique=False)
    op.create_table(
        "fault",
        sa.Column("locator", sa.Text(), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("study_id", tables.SERIAL, nullable=False),
        sa.Column("instance_id", tables.SERIAL, nullable=True),
        sa.Column("report_id", sa.String(length=32), nullable=True),
        sa.Column("found_at", tables.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["site"], ["site.key"], name=op.f("fk_fault_site_site")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_fault_study_id_study")),
        sa.PrimaryKeyConstraint("locator", name=op.f("pk_fault")),
    )
    with op.batch_alter_table("fault", schema=None) as batch_op:
        batch_op.create_index(op.f("ix_fault_study_id"), ["study_id"], unique=False)
