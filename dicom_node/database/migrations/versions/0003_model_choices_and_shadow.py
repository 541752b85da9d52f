"""The roles of models, and the results of shadow models."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _create_model_choice() -> None:
    op.create_table(
        "model_choice",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("before_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["before_id"], ["model_choice.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("model_choice", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_model_choice_role"), ["role"], unique=False)


def _create_shadow_result() -> None:
    op.create_table(
        "shadow_result",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(length=100), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("production_sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("regions", sa.JSON(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run_id", "sha256"),
    )
    with op.batch_alter_table("shadow_result", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_shadow_result_run_id"), ["run_id"], unique=False)


def upgrade() -> None:
    """Apply this revision."""
    _create_model_choice()
    _create_shadow_result()


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("shadow_result", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_shadow_result_run_id"))
    op.drop_table("shadow_result")
    with op.batch_alter_table("model_choice", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_model_choice_role"))
    op.drop_table("model_choice")
