"""What destinations want, the profile of each object, and the proof that it arrived."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _of_peer() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("send_by", sa.String(length=8), nullable=False, server_default="c-store"),
        sa.Column("objects", sa.String(length=32), nullable=False, server_default="SEG,SR"),
        sa.Column("transfer_syntax", sa.String(length=16), nullable=False, server_default="explicit"),
        sa.Column("seg_form", sa.String(length=16), nullable=False, server_default="binary"),
        sa.Column("seg_series", sa.Integer(), nullable=False, server_default="7701"),
        sa.Column("sr_series", sa.Integer(), nullable=False, server_default="7702"),
        sa.Column("proof", sa.String(length=16), nullable=False, server_default="auto"),
    )


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "commitment",
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("committed", sa.JSON(), nullable=False),
        sa.Column("failed", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("transaction_uid"),
    )
    with op.batch_alter_table("result", schema=None) as batch_op:
        batch_op.add_column(sa.Column("profile", sa.String(length=40), nullable=False, server_default=""))
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.add_column(sa.Column("proof", sa.String(length=16), nullable=False, server_default=""))
    with op.batch_alter_table("peer", schema=None) as batch_op:
        for column in _of_peer():
            batch_op.add_column(column)


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("peer", schema=None) as batch_op:
        for column in reversed(_of_peer()):
            batch_op.drop_column(column.name)
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.drop_column("proof")
    with op.batch_alter_table("result", schema=None) as batch_op:
        batch_op.drop_column("profile")
    op.drop_table("commitment")
