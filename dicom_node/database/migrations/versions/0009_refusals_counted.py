"""How often, and since when, something was refused."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    with op.batch_alter_table("refusal") as table:
        table.add_column(sa.Column("count", sa.Integer(), nullable=False, server_default="1"))
        table.add_column(sa.Column("first_at", sa.DateTime(timezone=True), nullable=True))
        table.create_index("ix_refusal_caller", ["address", "code", "calling_ae"])


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("refusal") as table:
        table.drop_index("ix_refusal_caller")
        table.drop_column("first_at")
        table.drop_column("count")
