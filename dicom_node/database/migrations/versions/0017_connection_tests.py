"""Connection tests, routing rules, and indexes by which the page of a peer finds its associations and deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "connection_test",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "routing_version",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.String(length=80), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.add_column("association", sa.Column("called_ae", sa.String(length=16), server_default="", nullable=False))
    op.add_column("run", sa.Column("route", sa.JSON(), server_default="{}", nullable=False))
    op.create_index("ix_connection_test_peer", "connection_test", ["peer"])
    op.create_index("ix_association_calling", "association", ["calling_ae", "opened_at"])
    op.create_index("ix_delivery_destination", "delivery", ["destination", "state", "changed_at"])


def downgrade() -> None:
    """Undo this revision."""
    op.drop_index("ix_delivery_destination", "delivery")
    op.drop_index("ix_association_calling", "association")
    op.drop_index("ix_connection_test_peer", "connection_test")
    op.drop_column("run", "route")
    op.drop_column("association", "called_ae")
    op.drop_table("routing_version")
    op.drop_table("connection_test")
