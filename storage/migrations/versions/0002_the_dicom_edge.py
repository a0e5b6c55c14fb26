"""What the DICOM edge keeps besides instances."""

import sqlalchemy as sa
from alembic import op

from storage import tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forwards."""
    _devices()


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
