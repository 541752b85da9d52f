"""The tables of the node's database."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dicom_node.database.states import (
    AssociationEnd,
    DeliveryState,
    FetchState,
    Priority,
    RunState,
    StudyState,
)

__all__ = [
    "REVISION",
    "AssociationRow",
    "Base",
    "CommitmentRow",
    "DecisionRow",
    "DeliveryRow",
    "FetchRow",
    "InstanceRow",
    "LeaseRow",
    "LoginTokenRow",
    "ModelChoiceRow",
    "PeerRow",
    "RecognitionRow",
    "RefusalRow",
    "ResultRow",
    "RunRow",
    "SecretRow",
    "ShadowRow",
    "SiteRuleRow",
    "StudyRow",
    "SwitchRow",
    "UtcDateTime",
    "WorkerRow",
    "utc_now",
]

REVISION = "0021"
"""The migration that leads to these tables: a database of this revision needs none."""


def utc_now() -> datetime:
    """Return the present time, aware and in UTC."""
    return datetime.now(UTC)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware time; SQLite forgets the zone, so UTC is written, and put back on reading."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return the time to store in UTC."""
        del dialect
        return value.astimezone(UTC) if value is not None else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return the stored time as UTC."""
        del dialect
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Base(DeclarativeBase):
    """Root of the tables; every text that a person reads is in `reason` or `note`, without patient data."""


class StudyRow(Base):
    """One study of which at least one instance was received."""

    __tablename__ = "study"
    __table_args__ = (
        sa.Index("ix_study_received", "last_received_at", "study_uid"),
        sa.Index("ix_study_identity_due", "identity_due", "last_received_at"),
        sa.Index("ix_study_state_received", "state", "last_received_at", "study_uid"),
    )
    study_uid: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(16), index=True)  # keyed hash, the only name used in logs
    state: Mapped[str] = mapped_column(sa.String(16), index=True, default=StudyState.RECEIVING)
    reason: Mapped[str] = mapped_column(sa.Text, default="")
    first_received_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    last_received_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    current_run: Mapped[str | None] = mapped_column(sa.String(100), default=None)
    look_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, index=True)  # when to judge it next
    priority: Mapped[int] = mapped_column(default=Priority.ROUTINE)  # of its runs
    awaited: Mapped[list[str]] = mapped_column(sa.JSON, default=list)  # what the node waits for, in sentences
    source: Mapped[dict[str, Any]] = mapped_column(sa.JSON, default=dict)  # of `dicom_node.studies.source_counts`
    identity_due: Mapped[bool] = mapped_column(
        default=True, server_default=sa.true()
    )  # its newest header is to be read


class AssociationRow(Base):
    """An association that sent at least one image."""

    __tablename__ = "association"
    __table_args__ = (sa.Index("ix_association_calling", "calling_ae", "opened_at"),)
    association_id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    listener: Mapped[str] = mapped_column(sa.String(64), index=True)  # the process that accepted it
    calling_ae: Mapped[str] = mapped_column(sa.String(16))
    called_ae: Mapped[str] = mapped_column(sa.String(16), default="", server_default="")  # of this node's AE titles
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    end: Mapped[str] = mapped_column(sa.String(8), default=AssociationEnd.OPEN)


class InstanceRow(Base):
    """One received version of one SOP instance; versions of equal UID differ in `sha256`."""

    __tablename__ = "instance"
    __table_args__ = (sa.UniqueConstraint("sop_instance_uid", "study_uid", "sha256"),)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    sop_instance_uid: Mapped[str] = mapped_column(sa.String(64), index=True)
    study_uid: Mapped[str] = mapped_column(sa.String(64), sa.ForeignKey("study.study_uid"), index=True)
    series_uid: Mapped[str] = mapped_column(sa.String(64), index=True)
    sop_class_uid: Mapped[str] = mapped_column(sa.String(64))
    transfer_syntax_uid: Mapped[str] = mapped_column(sa.String(64))
    patient_key: Mapped[str] = mapped_column(sa.String(16))  # keyed hash of PatientID
    sha256: Mapped[str] = mapped_column(sa.String(64))  # of the data set's bytes as received, without file meta
    path: Mapped[str] = mapped_column(sa.Text)  # relative to the node's folder
    calling_ae: Mapped[str] = mapped_column(sa.String(16))
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    current: Mapped[bool] = mapped_column(default=True)  # false once a newer version was received
    association_id: Mapped[str] = mapped_column(sa.String(32), default="", index=True)  # empty: received in another way


class RefusalRow(Base):
    """What was refused on receipt from one caller with one code, with the newest reason."""

    __tablename__ = "refusal"
    __table_args__ = (sa.Index("ix_refusal_caller", "address", "code", "calling_ae"),)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, index=True)  # the newest time
    first_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)  # None in rows from before this column
    count: Mapped[int] = mapped_column(default=1, server_default="1")
    calling_ae: Mapped[str] = mapped_column(sa.String(16), default="")
    address: Mapped[str] = mapped_column(sa.String(64), default="")
    code: Mapped[str] = mapped_column(sa.String(40))
    reason: Mapped[str] = mapped_column(sa.Text)


class RunRow(Base):
    """One run of the workflow over one frozen manifest of a study."""

    __tablename__ = "run"
    __table_args__ = (sa.Index("ix_run_queue", "state", "priority", "ready_at"),)
    run_id: Mapped[str] = mapped_column(sa.String(100), primary_key=True)  # also the workflow's id
    study_uid: Mapped[str] = mapped_column(sa.String(64), sa.ForeignKey("study.study_uid"), index=True)
    revision: Mapped[int]
    manifest_sha256: Mapped[str] = mapped_column(sa.String(64))
    inputs_sha256: Mapped[str] = mapped_column(sa.String(64), default="")  # of what the run uses of its manifest
    same_as: Mapped[str] = mapped_column(sa.String(100), default="")  # of an unchanged run: the one with a valid result
    ready_because: Mapped[str] = mapped_column(sa.Text, default="")
    ready_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(sa.String(16), default=RunState.QUEUED)
    step: Mapped[str] = mapped_column(sa.String(16), default="")  # the running step, or the one that failed
    code: Mapped[str] = mapped_column(sa.String(40), default="")
    reason: Mapped[str] = mapped_column(sa.Text, default="")
    summary: Mapped[dict[str, Any]] = mapped_column(sa.JSON, default=dict)  # recognised roles and volumes
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    priority: Mapped[int] = mapped_column(default=Priority.ROUTINE)
    executor: Mapped[str] = mapped_column(
        sa.String(80), default="", index=True
    )  # the worker that has it, or had it last
    attempt: Mapped[int] = mapped_column(default=0)  # which start; what an earlier one still does is refused
    takeovers: Mapped[int] = mapped_column(default=0)  # how often its worker died during this step
    shadow_due: Mapped[bool] = mapped_column(default=False, index=True)
    deliver_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None, index=True)  # when to send again
    rounds: Mapped[int] = mapped_column(default=0)  # of delivery, since the last success
    route: Mapped[dict[str, Any]] = mapped_column(
        sa.JSON, default=dict, server_default="{}"
    )  # of `routing.route.Route`


class WorkerRow(Base):
    """A worker's slot on a host; its heartbeat shows whether a worker uses it."""

    __tablename__ = "worker"
    executor: Mapped[str] = mapped_column(sa.String(80), primary_key=True)  # host/slot
    host: Mapped[str] = mapped_column(sa.String(64))
    pid: Mapped[int]
    token: Mapped[str] = mapped_column(sa.String(32))  # of the process that has the slot
    gpu: Mapped[str] = mapped_column(sa.String(16), default="")
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    beat_at: Mapped[datetime] = mapped_column(UtcDateTime)  # by the database's clock
    ended: Mapped[bool] = mapped_column(default=False)  # the worker has stopped as intended


class LeaseRow(Base):
    """A duty that only one worker at a time has."""

    __tablename__ = "lease"
    name: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(sa.String(80))
    until: Mapped[datetime] = mapped_column(UtcDateTime)


class SwitchRow(Base):
    """A switch that a person has set for every process of the node."""

    __tablename__ = "switch"
    name: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    value: Mapped[str] = mapped_column(sa.Text)
    who: Mapped[str] = mapped_column(sa.String(64))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class DecisionRow(Base):
    """One thing the node decided about a study, so that nothing is dropped silently."""

    __tablename__ = "decision"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(sa.String(100), sa.ForeignKey("run.run_id"), index=True)
    ordinal: Mapped[int]
    code: Mapped[str] = mapped_column(sa.String(40))
    subject: Mapped[str] = mapped_column(sa.Text)
    reason: Mapped[str] = mapped_column(sa.Text)
    series_uid: Mapped[str] = mapped_column(sa.String(64), default="")  # empty: concerns no series, or several
    evidence: Mapped[list[dict[str, Any]]] = mapped_column(sa.JSON, default=list)  # of `conversion.decision.Evidence`


class RecognitionRow(Base):
    """How one run recognised one series, used or not; `conversion.recognition.recognise` describes the columns."""

    __tablename__ = "recognition"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(sa.String(100), sa.ForeignKey("run.run_id"), index=True)
    ordinal: Mapped[int]
    series_uid: Mapped[str] = mapped_column(sa.String(64))
    part: Mapped[str] = mapped_column(sa.Text, default="")
    kind: Mapped[str] = mapped_column(sa.String(32))
    confidence: Mapped[float] = mapped_column(sa.Float)
    needs: Mapped[list[str]] = mapped_column(sa.JSON, default=list)
    evidence: Mapped[list[dict[str, Any]]] = mapped_column(sa.JSON, default=list)  # of `conversion.decision.Evidence`


class ResultRow(Base):
    """One object the node made."""

    __tablename__ = "result"
    sop_instance_uid: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    run_id: Mapped[str] = mapped_column(sa.String(100), sa.ForeignKey("run.run_id"), index=True)
    study_uid: Mapped[str] = mapped_column(sa.String(64), sa.ForeignKey("study.study_uid"), index=True)
    series_uid: Mapped[str] = mapped_column(sa.String(64), index=True)
    sop_class_uid: Mapped[str] = mapped_column(sa.String(64))
    kind: Mapped[str] = mapped_column(sa.String(8))  # SEG or SR
    profile: Mapped[str] = mapped_column(sa.String(40), default="")  # of `viewer_integration.profile`
    path: Mapped[str] = mapped_column(sa.Text)  # relative to the node's folder
    sha256: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class DeliveryRow(Base):
    """The delivery of one object to one destination."""

    __tablename__ = "delivery"
    __table_args__ = (
        sa.UniqueConstraint("sop_instance_uid", "destination"),
        sa.Index("ix_delivery_destination", "destination", "state", "changed_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(sa.String(100), sa.ForeignKey("run.run_id"), index=True)
    sop_instance_uid: Mapped[str] = mapped_column(sa.String(64), sa.ForeignKey("result.sop_instance_uid"))
    destination: Mapped[str] = mapped_column(sa.String(64))  # the peer's name
    state: Mapped[str] = mapped_column(sa.String(16), default=DeliveryState.WAITING)
    status: Mapped[int | None] = mapped_column(default=None)  # C-STORE status of the last answer
    attempts: Mapped[int] = mapped_column(default=0)
    proof: Mapped[str] = mapped_column(sa.String(16), default="")  # that it is there: by commitment or query
    reason: Mapped[str] = mapped_column(sa.Text, default="")
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, onupdate=utc_now)


class PeerRow(Base):
    """A DICOM application that the node communicates with."""

    __tablename__ = "peer"
    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    ae_title: Mapped[str] = mapped_column(sa.String(16))
    host: Mapped[str] = mapped_column(sa.String(255), default="")  # empty: a sender that is never called
    port: Mapped[int] = mapped_column(default=0)
    may_send: Mapped[bool] = mapped_column(default=True)  # accepted as a calling AE title
    is_destination: Mapped[bool] = mapped_column(default=False)  # receives results
    is_urgent: Mapped[bool] = mapped_column(default=False)  # what it sends is processed first
    is_source: Mapped[bool] = mapped_column(default=False)  # is queried for what it holds of a study
    dicomweb_url: Mapped[str] = mapped_column(sa.String(255), default="")  # base of QIDO-RS, STOW-RS and WADO-RS
    send_by: Mapped[str] = mapped_column(sa.String(8), default="c-store")
    objects: Mapped[str] = mapped_column(sa.String(32), default="SEG,SR")
    transfer_syntax: Mapped[str] = mapped_column(sa.String(16), default="explicit")
    seg_form: Mapped[str] = mapped_column(sa.String(16), default="binary")
    seg_series: Mapped[int] = mapped_column(default=7701)
    sr_series: Mapped[int] = mapped_column(default=7702)
    proof: Mapped[str] = mapped_column(sa.String(16), default="auto")
    enabled: Mapped[bool] = mapped_column(default=True)


class CommitmentRow(Base):
    """One request for storage commitment, and its answer, which any listener may receive."""

    __tablename__ = "commitment"
    transaction_uid: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    destination: Mapped[str] = mapped_column(sa.String(64))
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    committed: Mapped[list[str]] = mapped_column(sa.JSON, default=list)
    failed: Mapped[dict[str, str]] = mapped_column(sa.JSON, default=dict)


class FetchRow(Base):
    """One study that was requested on the panel."""

    __tablename__ = "fetch_request"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    study_uid: Mapped[str] = mapped_column(sa.String(64))
    source: Mapped[str] = mapped_column(sa.String(64))  # the peer's name
    priors: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(sa.String(8), default=FetchState.WAITING, index=True)
    executor: Mapped[str] = mapped_column(sa.String(80), default="")  # the worker that has it
    attempt: Mapped[int] = mapped_column(default=0)  # how often it was started
    reason: Mapped[str] = mapped_column(sa.Text, default="")
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class ModelChoiceRow(Base):
    """One choice of a model for a role by a person; rows are added and never changed, and the last one is in force."""

    __tablename__ = "model_choice"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    role: Mapped[str] = mapped_column(sa.String(16), index=True)  # production or shadow
    action: Mapped[str] = mapped_column(sa.String(16))  # promote, rollback, shadow or off
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    who: Mapped[str] = mapped_column(sa.String(64))
    name: Mapped[str] = mapped_column(sa.String(64), default="")  # empty: none; in production the setting applies
    version: Mapped[str] = mapped_column(sa.String(32), default="")
    sha256: Mapped[str] = mapped_column(sa.String(64), default="")  # of the manifest, as it was then
    before_id: Mapped[int | None] = mapped_column(sa.ForeignKey("model_choice.id"), default=None)


class ShadowRow(Base):
    """The shadow model's result for one run, compared with what production delivered; never sent."""

    __tablename__ = "shadow_result"
    __table_args__ = (sa.UniqueConstraint("run_id", "sha256"),)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(sa.String(100), sa.ForeignKey("run.run_id"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, onupdate=utc_now)
    name: Mapped[str] = mapped_column(sa.String(64))
    version: Mapped[str] = mapped_column(sa.String(32))
    sha256: Mapped[str] = mapped_column(sa.String(64))  # of the shadow's manifest
    production_sha256: Mapped[str] = mapped_column(sa.String(64), default="")
    state: Mapped[str] = mapped_column(sa.String(16))  # running, done or failed
    code: Mapped[str] = mapped_column(sa.String(40), default="")
    reason: Mapped[str] = mapped_column(sa.Text, default="")
    regions: Mapped[dict[str, Any]] = mapped_column(sa.JSON, default=dict)  # region to Dice and volumes
    path: Mapped[str] = mapped_column(sa.Text, default="")  # of its labels, relative to the node's folder


class SiteRuleRow(Base):
    """A person's rule about a kind of series; the first rule that matches a series decides."""

    __tablename__ = "site_rule"
    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    place: Mapped[int]  # 1 is applied first
    kind: Mapped[str] = mapped_column(sa.String(32))
    manufacturer: Mapped[str] = mapped_column(sa.String(255), default="")  # patterns; an empty one matches everything
    station: Mapped[str] = mapped_column(sa.String(255), default="")
    description: Mapped[str] = mapped_column(sa.String(255), default="")
    protocol: Mapped[str] = mapped_column(sa.String(255), default="")
    technique: Mapped[str] = mapped_column(sa.String(255), default="")


class LoginTokenRow(Base):
    """A one-time link to the panel, or the cookie of a browser that is known; only hashes are kept."""

    __tablename__ = "login_token"
    token_sha256: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(8))  # of `dicom_node.database.states.LinkKind`
    user: Mapped[str | None] = mapped_column(sa.String(64), default=None)  # None: of the first administrator
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SecretRow(Base):
    """A random secret of this installation, made at first start (the key of the hashes in logs)."""

    __tablename__ = "secret"
    name: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    value: Mapped[str] = mapped_column(sa.String(128))
