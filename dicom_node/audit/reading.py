"""Reads the audit trail: messages of a time, a user, a study or a kind of event."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from dicom_node.audit.codes import EventId, IdType
from dicom_node.audit.files import trail_files
from dicom_node.audit.record import Record, read_record

__all__ = ["Choice", "ShownMessage", "messages"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which messages are wanted; an empty part does not narrow it down.

    Attributes
    ----------
    user
        Part of the id of a participant, or its AE title; without regard to case.
    study
        Study Instance UID, or the key by which pages and logs name the study.
    event
        Part of the name of an event or of its type, such as ``login``.
    """

    since: datetime | None = None
    until: datetime | None = None
    user: str = ""
    study: str = ""
    event: str = ""


@dataclass(frozen=True, kw_only=True)
class ShownMessage:
    """One message, with what a person looks for."""

    sequence: int
    at: str
    event: str
    types: tuple[str, ...]
    action: str
    outcome: str
    users: tuple[str, ...]
    addresses: tuple[str, ...]
    studies: tuple[str, ...]
    patients: tuple[str, ...]
    about: tuple[str, ...]
    description: str
    xml: str


def messages(folder: Path, choice: Choice) -> Iterator[ShownMessage]:
    """Yield the chosen messages in the order in which they were recorded."""
    for path in trail_files(folder):
        with path.open("rb") as file:
            for line in file:
                record = read_record(line)
                shown = None if record is None else _shown(record)
                if shown is not None and _is_chosen(shown, choice):
                    yield shown


def _shown(record: Record) -> ShownMessage | None:
    """Return what a message says; None for one that was damaged: `verify` names it."""
    if "<!DOCTYPE" in record.xml:  # the node writes none, and entities could expand without end
        return None
    try:
        root = ET.fromstring(record.xml)  # noqa: S314 - see above
    except ET.ParseError:
        return None
    event = root.find("EventIdentification")
    if event is None:
        return None
    people = root.findall("ActiveParticipant")
    objects = root.findall("ParticipantObjectIdentification")
    return ShownMessage(
        sequence=record.sequence,
        at=event.get("EventDateTime", ""),
        event=_meaning(event.find("EventID")),
        types=tuple(_meaning(one) for one in event.findall("EventTypeCode")),
        action=event.get("EventActionCode", ""),
        outcome=event.get("EventOutcomeIndicator", ""),
        users=tuple(one.get("UserID", "") for one in people),
        addresses=tuple(address for one in people if (address := one.get("NetworkAccessPointID", ""))),
        studies=tuple(_ids(objects, IdType.STUDY)),
        patients=tuple(_ids(objects, IdType.PATIENT_NUMBER)),
        about=tuple(name for one in objects if (name := one.findtext("ParticipantObjectName") or "")),
        description=event.findtext("EventOutcomeDescription") or "",
        xml=record.xml,
    )


def _ids(objects: list[ET.Element], kind: IdType) -> Iterator[str]:
    for one in objects:
        code = one.find("ParticipantObjectIDTypeCode")
        if code is not None and (code.get("csd-code"), code.get("codeSystemName")) == (
            kind.value.code,
            kind.value.system,
        ):
            yield one.get("ParticipantObjectID", "")


def _meaning(code: ET.Element | None) -> str:
    return "" if code is None else code.get("originalText", "")


def _is_chosen(shown: ShownMessage, choice: Choice) -> bool:
    try:
        at = datetime.fromisoformat(shown.at)
    except ValueError:
        at = datetime.min.replace(tzinfo=UTC)
    wanted_event = choice.event.lower()
    return (
        (choice.since is None or at >= choice.since)
        and (choice.until is None or at < choice.until)
        and (not choice.user or any(choice.user.lower() in one.lower() for one in shown.users))
        and (not choice.study or choice.study in shown.studies or choice.study in shown.about)
        and any(wanted_event in one.lower() for one in (shown.event, *shown.types))
    )


EVENTS = tuple(one.value.meaning for one in EventId)
"""Names of the events that the node records."""
