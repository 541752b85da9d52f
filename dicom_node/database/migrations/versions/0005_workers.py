"""Priorities, attempts, workers with their heartbeat, leases, switches, and when to deliver again."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ZONED = sa.DateTime(timezone=True)


def _of_run() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("priority", sa.Integer(), nullable=False, server_default="5"),
        sa.Column("executor", sa.String(length=80), nullable=False, server_default=""),
        sa.Column("attempt", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("takeovers", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("shadow_due", sa.Boolean(), nullable=False, server_default="0"),
        sa.Column("deliver_at", _ZONED, nullable=True),
        sa.Column("rounds", sa.Integer(), nullable=False, server_default="0"),
    )


def _create_tables() -> None:
    op.create_table(
        "worker",
        sa.Column("executor", sa.String(length=80), nullable=False),
        sa.Column("host", sa.String(length=64), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("gpu", sa.String(length=16), nullable=False),
        sa.Column("started_at", _ZONED, nullable=False),
        sa.Column("beat_at", _ZONED, nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("executor"),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=80), nullable=False),
        sa.Column("until", _ZONED, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "switch",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("at", _ZONED, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def upgrade() -> None:
    """Apply this revision."""
    _create_tables()
    with op.batch_alter_table("run", schema=None) as batch_op:
        for column in _of_run():
            batch_op.add_column(column)
        batch_op.create_index("ix_run_queue", ["state", "priority", "ready_at"], unique=False)
        for name in ("executor", "shadow_due", "deliver_at"):
            batch_op.create_index(batch_op.f(f"ix_run_{name}"), [name], unique=False)
    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.add_column(sa.Column("priority", sa.Integer(), nullable=False, server_default="5"))
    with op.batch_alter_table("peer", schema=None) as batch_op:
        batch_op.add_column(sa.Column("is_urgent", sa.Boolean(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("peer", schema=None) as batch_op:
        batch_op.drop_column("is_urgent")
    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.drop_column("priority")
    with op.batch_alter_table("run", schema=None) as batch_op:
        for name in ("deliver_at", "shadow_due", "executor"):
            batch_op.drop_index(batch_op.f(f"ix_run_{name}"))
        batch_op.drop_index("ix_run_queue")
        for column in reversed(_of_run()):
            batch_op.drop_column(column.name)
    for table in ("switch", "lease", "worker"):
        op.drop_table(table)
