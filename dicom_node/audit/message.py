"""An audit message as PS3.15 A.5.1 structures it, and its XML."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from dicom_node.audit.codes import Action, Coded, EventId, EventType, IdType, MediaType, Outcome, Role

__all__ = ["AuditMessage", "AuditObject", "Participant", "to_xml"]

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow; a header, an address or a peer may contain any."""


@dataclass(frozen=True, kw_only=True)
class Participant:
    """Who took part: a person, a process or another node.

    Attributes
    ----------
    user_id
        Account of a person, number of a process, or AE title of another node (A.5.2.1).
    alternative
        AE titles of a process, as ``AETITLES=...``; the name of the token that a program used, as ``token:...``.
    address
        IP address or name of the machine; empty where it is not known.
    """

    user_id: str
    is_requestor: bool
    alternative: str = ""
    roles: tuple[Role, ...] = ()
    address: str = ""
    media: MediaType | None = None


@dataclass(frozen=True, kw_only=True)
class AuditObject:
    """What it was about: a patient, a study, a query, a setting or the trail itself.

    Attributes
    ----------
    name
        Never the name of a patient. The schema requires either a name or a query.
    query
        Replaces the name where it is not None.
    details
        By type; values are encoded in base64.
    sop_classes
        Number of instances by SOP class.
    life_cycle
        ParticipantObjectDataLifeCycle (A.5.1.2.3); empty where none applies.
    """

    object_id: str
    id_type: IdType
    type_code: str
    role: str
    name: str = ""
    query: bytes | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    sop_classes: Mapping[str, int] = field(default_factory=dict)
    life_cycle: str = ""


@dataclass(frozen=True, kw_only=True)
class AuditMessage:
    """One event.

    Attributes
    ----------
    source
        AuditSourceID: which node reports it.
    description
        What a person reads about the outcome, without patient data; empty where there is nothing to add.
    """

    event: EventId
    action: Action
    at: datetime
    source: str
    participants: tuple[Participant, ...]
    types: tuple[EventType, ...] = ()
    outcome: Outcome = Outcome.SUCCESS
    description: str = ""
    objects: tuple[AuditObject, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a message without a participant, which the schema does not allow."""
        if not self.participants:
            raise ValueError("an audit message needs at least one participant")


APPLICATION_SERVER = "4"
"""AuditSourceTypeCode: application server process."""


def to_xml(message: AuditMessage) -> str:
    """Return a message as XML in one line, without a declaration."""
    root = ET.Element("AuditMessage")
    event = _child(
        root,
        "EventIdentification",
        EventActionCode=message.action.value,
        EventDateTime=message.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        EventOutcomeIndicator=message.outcome.value,
    )
    _coded(event, "EventID", message.event.value)
    for one in message.types:
        _coded(event, "EventTypeCode", one.value)
    if message.description:
        _child(event, "EventOutcomeDescription").text = _clean(message.description)
    for participant in message.participants:
        _add_participant(root, participant)
    source = _child(root, "AuditSourceIdentification", AuditSourceID=message.source)
    ET.SubElement(source, "AuditSourceTypeCode", {"csd-code": APPLICATION_SERVER})
    for one_object in message.objects:
        _add_object(root, one_object)
    return ET.tostring(root, encoding="unicode").replace("\r", "&#13;").replace("\n", "&#10;")


def _add_participant(root: ET.Element, participant: Participant) -> None:
    facts = {"UserID": participant.user_id, "UserIsRequestor": str(participant.is_requestor).lower()}
    if participant.alternative:
        facts["AlternativeUserID"] = participant.alternative
    if participant.address:
        facts |= {"NetworkAccessPointID": participant.address, "NetworkAccessPointTypeCode": _kind(participant.address)}
    element = _child(root, "ActiveParticipant", **facts)
    for role in participant.roles:
        _coded(element, "RoleIDCode", role.value)
    if participant.media is not None:
        _coded(_child(element, "MediaIdentifier"), "MediaType", participant.media.value)


def _kind(address: str) -> str:
    """Return NetworkAccessPointTypeCode: 2 for an IP address, 5 for a URI, else 1, the name of a machine."""
    if "://" in address or address.startswith("file:"):
        return "5"
    return "2" if re.fullmatch(r"[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(%\w+)?", address) else "1"


def _add_object(root: ET.Element, one: AuditObject) -> None:
    facts = {
        "ParticipantObjectID": one.object_id,
        "ParticipantObjectTypeCode": one.type_code,
        "ParticipantObjectTypeCodeRole": one.role,
    }
    if one.life_cycle:
        facts["ParticipantObjectDataLifeCycle"] = one.life_cycle
    element = _child(root, "ParticipantObjectIdentification", **facts)
    _coded(element, "ParticipantObjectIDTypeCode", one.id_type.value)
    if one.query is None:
        _child(element, "ParticipantObjectName").text = _clean(one.name)
    else:
        _child(element, "ParticipantObjectQuery").text = base64.b64encode(one.query).decode("ascii")
    for kind, value in one.details.items():
        encoded = base64.b64encode(value.encode("utf-8", "replace")).decode("ascii")
        _child(element, "ParticipantObjectDetail", type=kind, value=encoded)
    if one.sop_classes:
        description = _child(element, "ParticipantObjectDescription")
        for uid, count in sorted(one.sop_classes.items()):
            _child(description, "SOPClass", UID=uid, NumberOfInstances=str(count))


def _child(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, {key: _clean(value) for key, value in attributes.items()})


def _coded(parent: ET.Element, tag: str, value: Coded) -> None:
    facts = {"csd-code": value.code, "codeSystemName": value.system, "originalText": value.meaning}
    ET.SubElement(parent, tag, facts)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
