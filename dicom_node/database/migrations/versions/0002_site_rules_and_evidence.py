"""Site rules, how each series was recognised, and the evidence of decisions."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision; decisions that are in the database already have no evidence and name no series."""
    op.create_table(
        "site_rule",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        *(
            sa.Column(pattern, sa.String(length=255), nullable=False)
            for pattern in ("manufacturer", "station", "description", "protocol", "technique")
        ),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "recognition",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(length=100), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("needs", sa.JSON(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("recognition", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_recognition_run_id"), ["run_id"], unique=False)
    with op.batch_alter_table("decision", schema=None) as batch_op:
        batch_op.add_column(sa.Column("series_uid", sa.String(length=64), server_default="", nullable=False))
        batch_op.add_column(sa.Column("evidence", sa.JSON(), server_default="[]", nullable=False))


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("decision", schema=None) as batch_op:
        batch_op.drop_column("evidence")
        batch_op.drop_column("series_uid")
    with op.batch_alter_table("recognition", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_recognition_run_id"))
    op.drop_table("recognition")
    op.drop_table("site_rule")
