"""Which worker fetches a requested study, and how often the fetch was started."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    with op.batch_alter_table("fetch_request", schema=None) as batch_op:
        batch_op.add_column(sa.Column("executor", sa.String(length=80), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("attempt", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("fetch_request", schema=None) as batch_op:
        batch_op.drop_column("attempt")
        batch_op.drop_column("executor")
