"""Whose study it is and when it was made, so that a person finds it; studies from before are read afterwards."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None

_SORTED = {"received": "received_at", "date": "study_date", "name": "name_key"}
_OF_STUDIES = {
    "ix_study_received": ["last_received_at", "study_uid"],
    "ix_study_identity_due": ["identity_due", "last_received_at"],
    "ix_study_state_received": ["state", "last_received_at", "study_uid"],
}


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("study", sa.Column("identity_due", sa.Boolean(), nullable=False, server_default="1"))
    op.drop_index("ix_study_last_received_at", "study")
    for name, columns in _OF_STUDIES.items():
        op.create_index(name, "study", columns)
    op.create_table(
        "study_identity",
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("patient_name", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("birth_date", sa.Text(), nullable=False),
        sa.Column("sex", sa.Text(), nullable=False),
        sa.Column("accession_number", sa.Text(), nullable=False),
        sa.Column("study_date", sa.String(length=10), nullable=False),
        sa.Column("study_time", sa.String(length=5), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("modalities", sa.Text(), nullable=False),
        sa.Column("patients", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name_key", sa.String(length=128), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study_uid"], ["study.study_uid"]),
        sa.PrimaryKeyConstraint("study_uid"),
    )
    for name, column in _SORTED.items():
        op.create_index(f"ix_study_identity_{name}", "study_identity", [column, "study_uid"])


def downgrade() -> None:
    """Undo this revision."""
    for name in _SORTED:
        op.drop_index(f"ix_study_identity_{name}", "study_identity")
    op.drop_table("study_identity")
    for name in _OF_STUDIES:
        op.drop_index(name, "study")
    op.create_index("ix_study_last_received_at", "study", ["last_received_at"])
    op.drop_column("study", "identity_due")  # not in a batch, which would drop a table that others refer to
