"""The table by which a person finds a study: whose it is, and when and for what it was made."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from dicom_node.database.tables import Base, UtcDateTime

__all__ = ["StudyIdentityRow"]


class StudyIdentityRow(Base):
    """What the newest header of a study states; patient data, for pages behind the login and never for logs."""

    __tablename__ = "study_identity"
    __table_args__ = (
        sa.Index("ix_study_identity_received", "received_at", "study_uid"),
        sa.Index("ix_study_identity_date", "study_date", "study_uid"),
        sa.Index("ix_study_identity_name", "name_key", "study_uid"),
    )
    study_uid: Mapped[str] = mapped_column(sa.String(64), sa.ForeignKey("study.study_uid"), primary_key=True)
    patient_name: Mapped[str] = mapped_column(sa.Text)  # as received, with all its groups (PS3.5 6.2.1)
    patient_id: Mapped[str] = mapped_column(sa.Text)
    birth_date: Mapped[str] = mapped_column(sa.Text)  # 1970-12-31, or as received where that is no date
    sex: Mapped[str] = mapped_column(sa.Text)
    accession_number: Mapped[str] = mapped_column(sa.Text)
    study_date: Mapped[str] = mapped_column(sa.String(10))  # 2026-12-31; empty: none, or not readable
    study_time: Mapped[str] = mapped_column(sa.String(5))  # 23:59
    description: Mapped[str] = mapped_column(sa.Text)
    modalities: Mapped[str] = mapped_column(sa.Text)  # of all its series, such as "MR, SR"
    patients: Mapped[int] = mapped_column(default=1)  # how many different ones its headers name
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)  # of the study, here too so that a search sorts by it
    name_key: Mapped[str] = mapped_column(sa.String(128))  # the name's first words, to sort by
    words: Mapped[str] = mapped_column(sa.Text)  # of `dicom_node.studies.search_words`
