"""When each step of a run began and ended, and what people think of a result."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "step_time",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(length=100), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_step_time_run_id", "step_time", ["run_id"])
    op.create_table(
        "opinion",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=100), nullable=False),
        sa.Column("verdict", sa.String(length=8), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("who", sa.String(length=80), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["study_uid"], ["study.study_uid"]),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("study_uid", "run_id"):
        op.create_index(f"ix_opinion_{column}", "opinion", [column])


def downgrade() -> None:
    """Undo this revision."""
    for column in ("study_uid", "run_id"):
        op.drop_index(f"ix_opinion_{column}", "opinion")
    op.drop_table("opinion")
    op.drop_index("ix_step_time_run_id", "step_time")
    op.drop_table("step_time")
