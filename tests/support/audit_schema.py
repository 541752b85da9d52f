"""The rules of PS3.15 A.5.1 for an audit message, as RELAX NG, and of A.5.3 for what each kind must name."""

from collections.abc import Mapping
from pathlib import Path

from lxml import etree

from dicom_node.audit.head import audit_key, known_head
from dicom_node.audit.reading import Choice, ShownMessage, messages
from dicom_node.audit.verification import verify
from dicom_node.database.engine import Database

__all__ = ["faults", "recorded"]


def _coded(name: str, times: str = "one") -> str:
    element = f'<element name="{name}"><ref name="coded"/></element>'
    return element if times == "one" else f"<{times}>{element}</{times}>"


def _choice(name: str, values: range | tuple[str, ...], *, optional: bool = True) -> str:
    inner = "".join(f"<value>{value}</value>" for value in values)
    attribute = f'<attribute name="{name}"><choice>{inner}</choice></attribute>'
    return f"<optional>{attribute}</optional>" if optional else attribute


def _attribute(name: str, kind: str = "token", *, optional: bool = False) -> str:
    attribute = f'<attribute name="{name}"><data type="{kind}"/></attribute>'
    return f"<optional>{attribute}</optional>" if optional else attribute


_EVENT = f"""
<element name="EventIdentification">
  {_coded("EventID")}{_coded("EventTypeCode", "zeroOrMore")}
  {_choice("EventActionCode", ("C", "R", "U", "D", "E"))}
  {_attribute("EventDateTime", "dateTime")}
  {_choice("EventOutcomeIndicator", ("0", "4", "8", "12"), optional=False)}
  <optional><element name="EventOutcomeDescription"><text/></element></optional>
</element>"""
_PARTICIPANT = f"""
<element name="ActiveParticipant">
  {_coded("RoleIDCode", "zeroOrMore")}
  <optional><element name="MediaIdentifier">{_coded("MediaType")}</element></optional>
  {_attribute("UserID")}{_attribute("AlternativeUserID", optional=True)}{_attribute("UserName", optional=True)}
  {_attribute("UserIsRequestor", "boolean")}{_attribute("NetworkAccessPointID", optional=True)}
  {_choice("NetworkAccessPointTypeCode", range(1, 6))}
</element>"""
_SOURCE = f"""
<element name="AuditSourceIdentification">
  {_attribute("AuditEnterpriseSiteID", optional=True)}{_attribute("AuditSourceID")}
  <zeroOrMore><element name="AuditSourceTypeCode">{_attribute("csd-code")}</element></zeroOrMore>
</element>"""
_OBJECT = f"""
<element name="ParticipantObjectIdentification">
  {_coded("ParticipantObjectIDTypeCode")}
  <choice><element name="ParticipantObjectName"><data type="token"/></element>
    <element name="ParticipantObjectQuery"><data type="base64Binary"/></element></choice>
  <zeroOrMore><element name="ParticipantObjectDetail">
    {_attribute("type")}{_attribute("value", "base64Binary")}</element></zeroOrMore>
  <zeroOrMore><element name="ParticipantObjectDescription">
    <zeroOrMore><element name="SOPClass">{_attribute("UID", optional=True)}
      {_attribute("NumberOfInstances", "integer")}</element></zeroOrMore></element></zeroOrMore>
  {_attribute("ParticipantObjectID")}{_choice("ParticipantObjectTypeCode", range(1, 5))}
  {_choice("ParticipantObjectTypeCodeRole", range(1, 27))}{_choice("ParticipantObjectDataLifeCycle", range(1, 16))}
  {_attribute("ParticipantObjectSensitivity", optional=True)}
</element>"""
_GRAMMAR = f"""
<grammar xmlns="http://relaxng.org/ns/structure/1.0"
         datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">
  <start><element name="AuditMessage">{_EVENT}<oneOrMore>{_PARTICIPANT}</oneOrMore>{_SOURCE}
    <zeroOrMore>{_OBJECT}</zeroOrMore></element></start>
  <define name="coded">{_attribute("csd-code")}{_attribute("codeSystemName")}
    {_attribute("displayName", optional=True)}{_attribute("originalText")}</define>
</grammar>"""
_SCHEMA = etree.RelaxNG(etree.fromstring(_GRAMMAR))

ROLES: Mapping[str, tuple[str, ...]] = {
    "Application Activity": ("110150",),
    "DICOM Instances Transferred": ("110153", "110152"),
    "Export": ("110154",),
    "Import": ("110152", "110155"),
    "Query": ("110153", "110152"),
}
"""Roles that participants of a kind of message must have (A.5.3)."""

ACTIONS: Mapping[str, str] = {
    "Application Activity": "E",
    "Audit Log Used": "R",
    "DICOM Instances Accessed": "CRUD",
    "DICOM Instances Transferred": "CRU",
    "DICOM Study Deleted": "D",
    "Export": "R",
    "Import": "C",
    "Query": "E",
    "Security Alert": "E",
    "User Authentication": "E",
}

OBJECTS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "Audit Log Used": (("2", "13", "12"),),
    "DICOM Instances Accessed": (("2", "3", "110180"), ("1", "1", "2")),
    "DICOM Instances Transferred": (("2", "3", "110180"), ("1", "1", "2")),
    "DICOM Study Deleted": (("2", "3", "110180"), ("1", "1", "2")),
    "Query": (("2", "3", ""),),
}
"""Objects that a kind of message must name: type, role, kind of id (empty: any)."""


def faults(xml: str) -> list[str]:
    """Return what of the standard a message breaks."""
    root = etree.fromstring(xml)
    if not _SCHEMA.validate(root):
        return [str(one) for one in _SCHEMA.error_log]
    event = root.find("EventIdentification")
    kind = event.find("EventID").get("originalText")
    found = [] if event.get("EventActionCode") in tuple(ACTIONS[kind]) else ["EventActionCode"]
    roles = {one.get("csd-code") for one in root.iter("RoleIDCode")}
    found += [f"role {role} is missing" for role in ROLES.get(kind, ()) if role not in roles]
    objects = [
        (
            one.get("ParticipantObjectTypeCode"),
            one.get("ParticipantObjectTypeCodeRole"),
            one.find("ParticipantObjectIDTypeCode").get("csd-code"),
        )
        for one in root.iter("ParticipantObjectIdentification")
    ]
    for wanted in OBJECTS.get(kind, ()):
        if not any(one[:2] == wanted[:2] and wanted[2] in ("", one[2]) for one in objects):
            found.append(f"object {wanted} is missing")
    return found


def recorded(folder: Path, database: Database, event: str = "") -> list[ShownMessage]:
    """Return what a node's trail says of a kind of event; the whole trail must be as the standard and its chain say."""
    verdict = verify(folder, audit_key(database), known_head(database))
    assert verdict.is_whole, verdict.findings
    everything = list(messages(folder, Choice()))
    assert [faults(one.xml) for one in everything] == [[] for _ in everything]
    return [one for one in everything if event.lower() in one.event.lower()]
