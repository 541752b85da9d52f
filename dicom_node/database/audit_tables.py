"""The table by which a cut at the end of the audit trail is noticed."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from dicom_node.database.tables import Base

__all__ = ["AuditHeadRow"]


class AuditHeadRow(Base):
    """The last record of the audit trail that a process knows to be on the disk; one row."""

    __tablename__ = "audit_head"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sequence: Mapped[int] = mapped_column(sa.BigInteger)
    code: Mapped[str] = mapped_column(sa.String(64))
