"""Users with their sessions, failed logins counted, and tokens with scopes; whoever is logged in logs in again."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply this revision. Tokens of programs keep what they could do; links and sessions of nobody end."""
    op.create_table(
        "panel_user",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "panel_session",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("user", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["user"], ["panel_user.name"]),
        sa.PrimaryKeyConstraint("token_sha256"),
    )
    op.create_index("ix_panel_session_user", "panel_session", ["user"])
    op.create_index("ix_panel_session_expires_at", "panel_session", ["expires_at"])
    op.create_table(
        "login_failure",
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("until", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_login_failure_until", "login_failure", ["until"])
    op.execute("DELETE FROM login_token")
    op.add_column("login_token", sa.Column("user", sa.String(length=64), nullable=True))
    op.add_column("api_token", sa.Column("user", sa.String(length=64), nullable=True))
    op.add_column("api_token", sa.Column("scopes", sa.Text(), nullable=False, server_default="workbench"))
    op.add_column("api_token", sa.Column("expires_at", _TIME, nullable=True))
    op.add_column("api_token", sa.Column("used_at", _TIME, nullable=True))


def downgrade() -> None:
    """Undo this revision; whoever is logged in logs in again, by a link."""
    with op.batch_alter_table("api_token") as table:
        for column in ("used_at", "expires_at", "scopes", "user"):
            table.drop_column(column)
    op.execute("DELETE FROM login_token")
    with op.batch_alter_table("login_token") as table:
        table.drop_column("user")
    op.drop_table("login_failure")
    op.drop_table("panel_session")
    op.drop_table("panel_user")
