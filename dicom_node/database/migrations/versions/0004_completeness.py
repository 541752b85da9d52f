"""What a study waits for, the associations that sent it, what a run uses, and peers that are queried."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ZONED = sa.DateTime(timezone=True)


def _create_association() -> None:
    op.create_table(
        "association",
        sa.Column("association_id", sa.String(length=32), nullable=False),
        sa.Column("listener", sa.String(length=64), nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("opened_at", _ZONED, nullable=False),
        sa.Column("ended_at", _ZONED, nullable=True),
        sa.Column("end", sa.String(length=8), nullable=False),
        sa.PrimaryKeyConstraint("association_id"),
    )
    with op.batch_alter_table("association", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_association_listener"), ["listener"], unique=False)


def upgrade() -> None:
    """Apply this revision; studies that are being received are judged at once."""
    _create_association()
    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.add_column(sa.Column("look_at", _ZONED, nullable=False, server_default="2000-01-01 00:00:00"))
        batch_op.add_column(sa.Column("awaited", sa.JSON(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("source", sa.JSON(), nullable=False, server_default="{}"))
        batch_op.create_index(batch_op.f("ix_study_look_at"), ["look_at"], unique=False)
    with op.batch_alter_table("instance", schema=None) as batch_op:
        batch_op.add_column(sa.Column("association_id", sa.String(length=32), nullable=False, server_default=""))
        batch_op.create_index(batch_op.f("ix_instance_association_id"), ["association_id"], unique=False)
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.add_column(sa.Column("inputs_sha256", sa.String(length=64), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("same_as", sa.String(length=100), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("ready_because", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("peer", schema=None) as batch_op:
        batch_op.add_column(sa.Column("is_source", sa.Boolean(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("dicomweb_url", sa.String(length=255), nullable=False, server_default=""))


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("peer", schema=None) as batch_op:
        batch_op.drop_column("dicomweb_url")
        batch_op.drop_column("is_source")
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.drop_column("ready_because")
        batch_op.drop_column("same_as")
        batch_op.drop_column("inputs_sha256")
    with op.batch_alter_table("instance", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_instance_association_id"))
        batch_op.drop_column("association_id")
    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_study_look_at"))
        batch_op.drop_column("source")
        batch_op.drop_column("awaited")
        batch_op.drop_column("look_at")
    with op.batch_alter_table("association", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_association_listener"))
    op.drop_table("association")
