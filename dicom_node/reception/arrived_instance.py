"""Received instances, and how they are added to the database: many with a few statements."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.database.states import StudyState
from dicom_node.database.tables import InstanceRow, ResultRow, StudyRow

__all__ = ["FACTS", "ArrivedInstance", "note_arrivals"]


Instance = tuple[str, str, str]
"""UIDs of SOP instance, study and series: senders that copy a series keep the UIDs of its instances."""


@dataclass(frozen=True, kw_only=True)
class ArrivedInstance:
    """One received instance: its identity from the header, and its bytes.

    Attributes
    ----------
    content
        The complete DICOM file; empty where the file is already in the inbox because it was too large for memory.
    sha256
        Hash of the data set's bytes as received; identifies a version.
    patient_id
        For the audit trail; empty where it was read from a journal.
    is_replayed
        Whether it was read from the journal of an ended listener, so that it may be in the database already.
    """

    sop_instance_uid: str
    study_uid: str
    series_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    patient_key: str
    sha256: str
    calling_ae: str
    association_id: str
    received_at: datetime
    content: bytes
    patient_id: str = field(default="", compare=False, repr=False)
    is_replayed: bool = field(default=False, compare=False)

    @property
    def is_in_place(self) -> bool:
        """Whether its file is already in the inbox, durably."""
        return not self.content

    @cached_property
    def path(self) -> Path:
        """Path of its file, relative to the node's folder."""
        return Path("inbox", self.study_uid, self.series_uid, f"{self.sop_instance_uid}.{self.sha256[:12]}.dcm")

    @property
    def instance(self) -> Instance:
        """What all its versions have in common; the same SOP Instance UID in another series is another instance."""
        return self.sop_instance_uid, self.study_uid, self.series_uid


FACTS = (
    "sop_instance_uid",
    "study_uid",
    "series_uid",
    "sop_class_uid",
    "transfer_syntax_uid",
    "patient_key",
    "sha256",
    "calling_ae",
    "association_id",
    "received_at",
)
"""What is kept of an arrival besides its bytes."""

_UIDS: sa.BindParameter[str] = sa.bindparam("uids", expanding=True)
_VERSIONS = sa.select(
    InstanceRow.sop_instance_uid,
    InstanceRow.study_uid,
    InstanceRow.series_uid,
    InstanceRow.sha256,
    InstanceRow.current,
).where(InstanceRow.sop_instance_uid.in_(_UIDS))
_OWN = sa.select(ResultRow.sop_instance_uid).where(ResultRow.sop_instance_uid.in_(_UIDS))
_KNOWN = sa.select(StudyRow.study_uid, StudyRow.first_received_at, StudyRow.last_received_at).where(
    StudyRow.study_uid.in_(_UIDS)
)
_INSTANCES, _STUDIES = cast("sa.Table", InstanceRow.__table__), cast("sa.Table", StudyRow.__table__)
_NEW_INSTANCES, _NEW_STUDIES = sa.insert(_INSTANCES), sa.insert(_STUDIES)
_OPENED = sa.update(_STUDIES).where(_STUDIES.c.study_uid == sa.bindparam("of"))
"""Built once, and from tables rather than objects: building a statement takes longer than executing it."""

Versions = dict[Instance, dict[str, bool]]
"""For each instance the hashes of its versions, each with whether it is the current one."""


def note_arrivals(session: Session, arrivals: Sequence[ArrivedInstance], key: Callable[[str], str]) -> set[Instance]:
    """Make each arrival the current version of its instance and reopen its study; ignore one that already is current.

    Parameters
    ----------
    arrivals
        In order of receipt.
    key
        Returns a name for a study that does not reveal its UID.

    Returns
    -------
    set of tuple
        Instances of which another version was already known.
    """
    arrivals = _without_noted(session, arrivals)
    versions = _versions(session, {arrival.sop_instance_uid for arrival in arrivals})
    changed, new, again = set(), list[ArrivedInstance](), list[ArrivedInstance]()
    for arrival in arrivals:
        known = versions.setdefault(arrival.instance, {})
        if known.get(arrival.sha256):
            continue
        if known.keys() - {arrival.sha256}:
            changed.add(arrival.instance)
        (again if arrival.sha256 in known else new).append(arrival)
        for other in known:
            known[other] = False
        known[arrival.sha256] = True
    if new or again:
        _open_studies(session, [*new, *again], key)
        _insert(session, new)
        _make_current(session, changed, {one.instance: one for one in arrivals}, again)
    return changed


def _without_noted(session: Session, arrivals: Sequence[ArrivedInstance]) -> Sequence[ArrivedInstance]:
    """Leave out what a crashed listener had already recorded: a later version may have been received since."""
    uids = {arrival.sop_instance_uid for arrival in arrivals if arrival.is_replayed}
    if not uids:
        return arrivals
    rows = session.scalars(sa.select(InstanceRow).where(InstanceRow.sop_instance_uid.in_(uids)))
    noted = {(row.sop_instance_uid, row.study_uid, row.series_uid, row.sha256): row.received_at for row in rows}

    def is_noted(arrival: ArrivedInstance) -> bool:
        last = noted.get((*arrival.instance, arrival.sha256))
        return arrival.is_replayed and last is not None and last >= arrival.received_at

    return [arrival for arrival in arrivals if not is_noted(arrival)]


def _versions(session: Session, sop_instance_uids: Iterable[str]) -> Versions:
    versions: Versions = {}
    for sop_instance_uid, study_uid, series_uid, sha256, current in session.execute(
        _VERSIONS, {"uids": list(sop_instance_uids)}
    ):
        versions.setdefault((sop_instance_uid, study_uid, series_uid), {})[sha256] = current
    return versions


def _open_studies(session: Session, arrivals: Sequence[ArrivedInstance], key: Callable[[str], str]) -> None:
    """Reopen the studies that have new instances other than the node's own results, which a PACS may send back.

    Open new studies whatever their instances are. An arrival that is noted late, such as one of a journal that is read
    again, does not move the time of the last one back: silence is measured from it.
    """
    uids = {arrival.sop_instance_uid for arrival in arrivals}
    own = set(session.scalars(_OWN, {"uids": list(uids)}))
    studies: dict[str, list[ArrivedInstance]] = {}
    for arrival in arrivals:
        studies.setdefault(arrival.study_uid, []).append(arrival)
    known = {uid: (first, last) for uid, first, last in session.execute(_KNOWN, {"uids": list(studies)})}
    new, opened = [], []
    for study_uid, of_it in studies.items():
        first, last = min(one.received_at for one in of_it), max(one.received_at for one in of_it)
        before = known.get(study_uid, (first, last))
        first, last = min(first, before[0]), max(last, before[1])
        times = {"first_received_at": first, "last_received_at": last, "look_at": last}
        if study_uid not in known:
            new.append({"study_uid": study_uid, "key": key(study_uid), **times})
        elif any(one.sop_instance_uid not in own for one in of_it):
            opened.append({"of": study_uid, "state": StudyState.RECEIVING, "reason": "", "identity_due": True, **times})
    if new:
        session.execute(_NEW_STUDIES, new)
    if opened:
        session.execute(_OPENED, opened)


def _insert(session: Session, arrivals: Sequence[ArrivedInstance]) -> None:
    """Add rows; of several versions of one instance the last is current, as in `_make_current`."""
    if arrivals:
        last = {arrival.instance: arrival.sha256 for arrival in arrivals}
        rows = [
            {name: getattr(arrival, name) for name in FACTS}
            | {"path": str(arrival.path), "current": last[arrival.instance] == arrival.sha256}
            for arrival in arrivals
        ]
        session.execute(_NEW_INSTANCES, rows)


def _make_current(
    session: Session,
    changed: Iterable[Instance],
    newest: dict[Instance, ArrivedInstance],
    again: Sequence[ArrivedInstance],
) -> None:
    for instance in changed:
        of_it = _of(instance)
        current = InstanceRow.sha256 == newest[instance].sha256
        session.execute(sa.update(InstanceRow).where(*of_it).values(current=sa.case((current, True), else_=False)))
    for arrival in again:
        of_it = _of(arrival.instance)
        receipt = {"received_at": arrival.received_at, "association_id": arrival.association_id}
        session.execute(sa.update(InstanceRow).where(*of_it, InstanceRow.sha256 == arrival.sha256).values(**receipt))


def _of(instance: Instance) -> tuple[sa.ColumnElement[bool], ...]:
    sop_instance_uid, study_uid, series_uid = instance
    return (
        InstanceRow.sop_instance_uid == sop_instance_uid,
        InstanceRow.study_uid == study_uid,
        InstanceRow.series_uid == series_uid,
    )
