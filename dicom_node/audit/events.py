"""The audit messages of this node, one function for each kind of event (PS3.15 A.5.3)."""

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from dicom_node.audit.codes import Action, EventId, EventType, IdType, MediaType, Outcome, Role
from dicom_node.audit.message import AuditMessage, AuditObject, Participant
from dicom_node.database.tables import utc_now

__all__ = [
    "WITHHELD",
    "Actor",
    "Reporter",
    "SearchAsked",
    "StudyTouched",
    "remote_node",
]

WITHHELD = "withheld"
"""Stands where the schema requires the name of a patient or a name may have been searched for."""

_PATIENT, _SYSTEM = "1", "2"
_AS_PATIENT, _AS_REPORT, _AS_MASTER_FILE, _AS_SECURITY = "1", "3", "5", "13"
_IMPORTED, _USED, _EXPORTED, _ERASED = "2", "6", "10", "15"


@dataclass(frozen=True, kw_only=True)
class StudyTouched:
    """A study, as a message names it.

    Attributes
    ----------
    key
        What pages and logs call it; empty where it is not known.
    patient_id
        As the headers state it; empty where they state none.
    """

    study_uid: str
    patient_id: str = ""
    key: str = ""
    sop_classes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Actor:
    """A person or a program that caused an event, and from where; `token` is the name of the token that it used."""

    name: str
    address: str = ""
    token: str = ""

    def participant(self, *roles: Role, is_requestor: bool = True) -> Participant:
        """Return it as a message names it."""
        return Participant(
            user_id=self.name or "unknown",
            alternative=f"token:{self.token}" if self.token else "",
            is_requestor=is_requestor,
            roles=roles,
            address=self.address,
        )


@dataclass(frozen=True, kw_only=True)
class SearchAsked:
    """A query.

    Attributes
    ----------
    text
        What was asked, without names; a data set where `sop_class` is given.
    details
        Such as the transfer syntax of the data set.
    """

    text: bytes
    sop_class: str = ""
    what: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    def as_object(self) -> AuditObject:
        """Return it as a message names it."""
        id_type = IdType.SOP_CLASS if self.sop_class else IdType.SEARCH_CRITERIA
        return AuditObject(
            object_id=self.sop_class or self.what,
            id_type=id_type,
            type_code=_SYSTEM,
            role=_AS_REPORT,
            query=self.text,
            details=self.details,
        )


def remote_node(ae_title: str, address: str, *roles: Role, is_requestor: bool) -> Participant:
    """Return another node as a message names it."""
    alternative = f"AETITLES={ae_title}" if ae_title else ""
    return Participant(
        user_id=ae_title or address or "unknown",
        alternative=alternative,
        roles=roles,
        address=address,
        is_requestor=is_requestor,
    )


class Reporter:
    """Makes the messages of one process of the node.

    Parameters
    ----------
    ae_title
        AE title of the node.
    """

    def __init__(self, ae_title: str) -> None:
        self._ae_title = ae_title
        self._host = socket.gethostname()
        self._source = f"{ae_title}@{self._host}"

    def itself(self, *roles: Role, is_requestor: bool = False) -> Participant:
        """Return this process as a message names it (A.5.2.1: number of the process, AE titles)."""
        return Participant(
            user_id=str(os.getpid()),
            alternative=f"AETITLES={self._ae_title}",
            roles=roles,
            address=self._host,
            is_requestor=is_requestor,
        )

    def activity(self, role: str, *, started: bool) -> AuditMessage:
        """Say that a process of the node started or stopped (A.5.3.1)."""
        application = self.itself(Role.APPLICATION)
        kind = EventType.APPLICATION_START if started else EventType.APPLICATION_STOP
        launcher = Actor(name=f"glionode {role}", address=self._host).participant(Role.LAUNCHER)
        return self._message(EventId.APPLICATION_ACTIVITY, Action.EXECUTE, (application, launcher), types=(kind,))

    def log_used(self, actor: Actor, uri: str) -> AuditMessage:
        """Say that somebody read the audit trail (A.5.3.2)."""
        log = AuditObject(
            object_id=uri, id_type=IdType.URI, type_code=_SYSTEM, role=_AS_SECURITY, name="Security Audit Log"
        )
        people = (actor.participant(), self.itself())
        return self._message(EventId.AUDIT_LOG_USED, Action.READ, people, objects=(log,))

    def accessed(self, actor: Actor, study: StudyTouched, action: Action, what: str = "") -> AuditMessage:
        """Say that somebody looked at a study, or changed what becomes of it (A.5.3.6)."""
        people = (actor.participant(), self.itself())
        objects = _objects([study], _USED)
        return self._message(EventId.INSTANCES_ACCESSED, action, people, objects=objects, description=what)

    def received(
        self, sender: Participant, study: StudyTouched, *, action: Action = Action.CREATE, description: str = ""
    ) -> AuditMessage:
        """Say that instances of a study arrived from another node (A.5.3.7)."""
        people = (sender, self.itself(Role.DESTINATION, is_requestor=not sender.is_requestor))
        objects = _objects([study], _IMPORTED)
        return self._message(EventId.INSTANCES_TRANSFERRED, action, people, objects=objects, description=description)

    def sent(self, receiver: Participant, study: StudyTouched, outcome: Outcome, description: str) -> AuditMessage:
        """Say that instances of a study were sent to another node, or could not be (A.5.3.7)."""
        people = (self.itself(Role.SOURCE, is_requestor=True), receiver)
        objects = _objects([study], _EXPORTED)
        message = self._message(
            EventId.INSTANCES_TRANSFERRED, Action.READ, people, objects=objects, description=description
        )
        return replace(message, outcome=outcome)

    def deleted(self, study: StudyTouched, what: str) -> AuditMessage:
        """Say that the node removed what its policy does not keep of a study (A.5.3.8)."""
        people = (self.itself(is_requestor=True),)
        objects = _objects([study], _ERASED)
        return self._message(EventId.STUDY_DELETED, Action.DELETE, people, objects=objects, description=what)

    def exported(self, actor: Actor, studies: Sequence[StudyTouched], to: str, what: str) -> AuditMessage:
        """Say that studies left the node for a file (A.5.3.4)."""
        media = Participant(
            user_id=to, is_requestor=False, roles=(Role.DESTINATION_MEDIA,), media=MediaType.URI, address=to
        )
        people = (actor.participant(Role.SOURCE), media)
        objects = _objects(studies, _EXPORTED)
        return self._message(EventId.EXPORT, Action.READ, people, objects=objects, description=what)

    def imported(self, actor: Actor, what: str) -> AuditMessage:
        """Say that somebody brought files to the workbench (A.5.3.5)."""
        origin = actor.address or "unknown"
        media = Participant(
            user_id=origin, is_requestor=False, roles=(Role.SOURCE_MEDIA,), media=MediaType.URI, address=actor.address
        )
        people = (actor.participant(Role.DESTINATION), media)
        return self._message(EventId.IMPORT, Action.CREATE, people, description=what)

    def asked(self, asking: Participant, answering: Participant, search: SearchAsked) -> AuditMessage:
        """Say that a query was sent or received (A.5.3.10)."""
        people, objects = (asking, answering), (search.as_object(),)
        return self._message(EventId.QUERY, Action.EXECUTE, people, objects=objects)

    def alert(
        self, who: Participant, kind: EventType, subject: str, description: str, outcome: Outcome = Outcome.SUCCESS
    ) -> AuditMessage:
        """Say that security is concerned: by a refusal, or a change of the configuration (A.5.3.11)."""
        is_node = kind is EventType.NODE_AUTHENTICATION
        about = AuditObject(
            object_id=subject,
            id_type=IdType.NODE if is_node else IdType.URI,
            type_code=_SYSTEM,
            role=_AS_SECURITY if is_node else _AS_MASTER_FILE,
            name=subject,
            details={"Alert Description": description},
        )
        people = (who, self.itself())
        message = self._message(EventId.SECURITY_ALERT, Action.EXECUTE, people, types=(kind,), objects=(about,))
        return replace(message, outcome=outcome)

    def recording(self, kind: EventType, description: str, at: datetime | None = None) -> AuditMessage:
        """Say that the trail itself could not be written, or can be again (CID 401)."""
        message = self.alert(self.itself(is_requestor=True), kind, "audit trail", description, Outcome.SERIOUS)
        return message if at is None else replace(message, at=at)

    def authentication(self, actor: Actor, kind: EventType, outcome: Outcome) -> AuditMessage:
        """Say that somebody logged in or out, or tried to (A.5.3.12)."""
        people = (actor.participant(), self.itself())
        message = self._message(EventId.USER_AUTHENTICATION, Action.EXECUTE, people, types=(kind,))
        return replace(message, outcome=outcome)

    def _message(
        self,
        event: EventId,
        action: Action,
        participants: tuple[Participant, ...],
        *,
        types: tuple[EventType, ...] = (),
        objects: tuple[AuditObject, ...] = (),
        description: str = "",
    ) -> AuditMessage:
        return AuditMessage(
            event=event,
            action=action,
            at=utc_now(),
            source=self._source,
            participants=participants,
            types=types,
            objects=objects,
            description=description,
        )


def _objects(studies: Iterable[StudyTouched], life_cycle: str) -> tuple[AuditObject, ...]:
    """Return studies and their patients; each patient once."""
    held = tuple(studies)
    found = [
        AuditObject(
            object_id=one.study_uid,
            id_type=IdType.STUDY,
            type_code=_SYSTEM,
            role=_AS_REPORT,
            name=one.key or one.study_uid,
            sop_classes=one.sop_classes,
            life_cycle=life_cycle,
        )
        for one in held
    ]
    found += [
        AuditObject(
            object_id=patient,
            id_type=IdType.PATIENT_NUMBER,
            type_code=_PATIENT,
            role=_AS_PATIENT,
            name=WITHHELD,
        )
        for patient in dict.fromkeys(one.patient_id for one in held)
    ]
    return tuple(found)
