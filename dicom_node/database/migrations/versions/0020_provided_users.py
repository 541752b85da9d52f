"""Users whom an identity provider states, each by the hash of its subject."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("panel_user", sa.Column("subject_sha256", sa.String(length=64), nullable=True))
    op.create_index("ix_panel_user_subject_sha256", "panel_user", ["subject_sha256"], unique=True)


def downgrade() -> None:
    """Undo this revision; users of a provider stay without a password, and cannot log in."""
    op.drop_index("ix_panel_user_subject_sha256", "panel_user")
    with op.batch_alter_table("panel_user") as table:
        table.drop_column("subject_sha256")
