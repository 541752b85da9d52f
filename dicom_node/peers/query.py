"""Query a peer for the contents of a study, by C-FIND (PS3.4 C) or QIDO-RS (PS3.18 10.6)."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from conversion.values import date
from dicom_node.peers.peer import Peer
from dicom_node.peers.query_answers import MOST_ANSWERS, Answer, QueryFailed, json_answer
from dicom_node.peers.web_source import json_answers
from viewer_integration.transport.association import open_association

__all__ = [
    "DEMOGRAPHICS",
    "Held",
    "ObjectPlace",
    "QueryFailed",
    "StudyFound",
    "demographics_of",
    "held_of",
    "instances_of_study",
    "studies_of_patient",
]

PENDING = (0xFF00, 0xFF01)
FIND_S = 300.0
"""Time limit for all answers to one C-FIND; the node aborts the association of a peer that does not stop answering."""

_SEXES = ("M", "F", "O")

Held = Mapping[str, frozenset[str]]
"""SOP Instance UIDs of a study's MR instances, by Series Instance UID."""


DEMOGRAPHICS = {
    "PatientID": "00100020",
    "PatientName": "00100010",
    "PatientBirthDate": "00100030",
    "PatientSex": "00100040",
}
"""Attributes that a correction or a merge in the PACS can change: tags by keyword."""

_TAGS = DEMOGRAPHICS | {
    "StudyInstanceUID": "0020000D",
    "SeriesInstanceUID": "0020000E",
    "SOPInstanceUID": "00080018",
    "Modality": "00080060",
    "StudyDate": "00080020",
    "ModalitiesInStudy": "00080061",
}


@dataclass(frozen=True, kw_only=True)
class StudyFound:
    """A study that a peer lists; the date in DICOM form, empty where the peer gives no valid one."""

    study_uid: str
    date: str
    modalities: tuple[str, ...]

    @property
    def has_mr(self) -> bool:
        """Whether the study contains MR, or lists no modalities."""
        return not self.modalities or "MR" in self.modalities


@dataclass(frozen=True, kw_only=True)
class ObjectPlace:
    """The UIDs of an object at each level of a query."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str


def instances_of_study(peer: Peer, calling_ae: str, study_uid: str) -> Held:
    """Query a peer for the instances of a study's MR series, at instance level.

    Raises
    ------
    QueryFailed
        With a sentence that gives the reason.
    """
    if peer.dicomweb_url:
        return _by_qido(peer, study_uid)
    return _by_find(peer, calling_ae, study_uid)


def _by_find(peer: Peer, calling_ae: str, study_uid: str) -> Held:
    with _finder(peer, calling_ae) as find:
        wanted = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": "", "Modality": ""}
        series = _mr_series(peer, find("SERIES", wanted), study_uid)
        held = {}
        for series_uid in series:
            keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": ""}
            answers = [one for one in find("IMAGE", keys) if one.is_about("SeriesInstanceUID", series_uid)]
            held[series_uid] = _instances(peer, answers, study_uid)
    return _each_once(peer, held)


def _mr_series(peer: Peer, answers: Sequence[Answer], study_uid: str) -> dict[str, None]:
    """Return the series that are MR or have no modality."""
    about = [one for one in answers if one.is_about("StudyInstanceUID", study_uid)]
    uids = [one.uid("SeriesInstanceUID") for one in about if one.one("Modality") in ("MR", "")]
    if "" in uids:
        raise QueryFailed(f"{peer.name} lists a series without a valid UID, so what it holds is unknown")
    return dict.fromkeys(uids)


def _instances(peer: Peer, answers: Sequence[Answer], study_uid: str) -> frozenset[str]:
    found = frozenset(one.uid("SOPInstanceUID") for one in answers if one.is_about("StudyInstanceUID", study_uid))
    if "" in found:
        raise QueryFailed(f"{peer.name} lists an instance without a valid UID, so what it holds is unknown")
    return found


def _each_once(peer: Peer, held: Held) -> Held:
    """Return what a peer holds, unless an instance is in two series: the number of instances is then unknown."""
    if sum(len(instances) for instances in held.values()) != len(frozenset().union(*held.values())):
        raise QueryFailed(f"{peer.name} lists one instance in two series, so what it holds is unknown")
    return held


def held_of(peer: Peer, calling_ae: str, objects: Sequence[ObjectPlace]) -> frozenset[str]:
    """Query a peer for some objects; return the SOP Instance UIDs of those that it holds.

    Raises
    ------
    QueryFailed
        With a sentence that gives the reason why the query failed.
    """
    wanted = {one.sop_instance_uid for one in objects}
    series = dict.fromkeys((one.study_uid, one.series_uid) for one in objects)
    found: set[str] = set()
    if peer.dicomweb_url:
        for study_uid, series_uid in series:
            answers = _qido(peer, f"studies/{study_uid}/series/{series_uid}/instances")
            found |= _shown(answers, study_uid, series_uid)
    else:
        with _finder(peer, calling_ae) as find:
            for study_uid, series_uid in series:
                keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": ""}
                found |= _shown(find("IMAGE", keys), study_uid, series_uid)
    return frozenset(found & wanted)


def _shown(answers: Sequence[Answer], study_uid: str, series_uid: str) -> set[str]:
    """Return the objects that a peer lists in the expected study and series."""
    about = [one for one in answers if one.is_about("StudyInstanceUID", study_uid)]
    return {one.uid("SOPInstanceUID") for one in about if one.is_about("SeriesInstanceUID", series_uid)}


def demographics_of(peer: Peer, calling_ae: str, study_uid: str) -> Mapping[str, str]:
    """Query a peer for the current demographics of a study's patient; return the stated values by keyword.

    Raises
    ------
    QueryFailed
        With a sentence that gives the reason why the query failed.
    """
    if peer.dicomweb_url:
        answers = _qido(peer, f"studies?StudyInstanceUID={study_uid}&includefield=00100030&includefield=00100040")
    else:
        with _finder(peer, calling_ae) as find:
            answers = find("STUDY", {"StudyInstanceUID": study_uid, **dict.fromkeys(DEMOGRAPHICS, "")})
    found = [one for one in answers if one.uid("StudyInstanceUID") == study_uid]
    if len(found) != 1:
        return {}
    stated = {keyword: found[0].one(keyword) for keyword in DEMOGRAPHICS}
    stated["PatientBirthDate"] = _date(stated["PatientBirthDate"])
    if stated["PatientSex"] not in _SEXES:
        stated["PatientSex"] = ""
    return {keyword: value for keyword, value in stated.items() if value}


def studies_of_patient(peer: Peer, calling_ae: str, patient_id: str) -> list[StudyFound]:
    """Query a peer for a patient's studies.

    A Patient ID may contain characters that a query treats as wildcards, so answers for another patient are left out.

    Raises
    ------
    QueryFailed
        With a sentence that gives the reason why the query failed.
    """
    if peer.dicomweb_url:
        fields = "&".join(f"includefield={tag}" for tag in ("00080020", "00080061"))
        answers = _qido(peer, f"studies?PatientID={quote(patient_id, safe='')}&{fields}")
    else:
        keys = {"PatientID": patient_id, "StudyInstanceUID": "", "StudyDate": "", "ModalitiesInStudy": ""}
        with _finder(peer, calling_ae) as find:
            answers = find("STUDY", keys)
    return [
        StudyFound(
            study_uid=one.uid("StudyInstanceUID"),
            date=_date(one.one("StudyDate")),
            modalities=one.all("ModalitiesInStudy"),
        )
        for one in answers
        if one.uid("StudyInstanceUID") and one.is_about("PatientID", patient_id)
    ]


def _date(text: str) -> str:
    """Return a date in DICOM form; empty where the text is no valid date."""
    day = date(text)
    return day.isoformat().replace("-", "") if day else ""


@contextmanager
def _finder(peer: Peer, calling_ae: str) -> Iterator[Any]:
    syntaxes = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
    contexts = [(StudyRootQueryRetrieveInformationModelFind, syntax) for syntax in syntaxes]
    assoc, refusal = open_association(peer.remote, calling_ae, contexts)
    if refusal:
        raise QueryFailed(refusal)
    try:
        yield lambda level, keys: [Answer.of(ds) for ds in _find_answers(assoc, peer, level, keys)]
    except QueryFailed:
        if assoc.is_established:
            assoc.abort()  # it may still be answering
        raise
    finally:
        if assoc.is_established:
            assoc.release()


def _find_answers(assoc: Association, peer: Peer, level: str, keys: Mapping[str, str]) -> Iterator[Dataset]:
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    if not assoc.is_established:
        raise QueryFailed(f"{peer.remote.where} closed the association during the query")
    try:
        answers = assoc.send_c_find(ds, StudyRootQueryRetrieveInformationModelFind)
    except (ValueError, RuntimeError) as error:
        raise QueryFailed(f"{peer.remote.where} does not offer C-FIND in the Study Root model") from error
    level_of = f"a C-FIND at level {level}"
    deadline = time.monotonic() + FIND_S
    for number, (status, identifier) in enumerate(answers):
        if number >= MOST_ANSWERS or time.monotonic() > deadline:
            raise QueryFailed(f"{peer.remote.where} did not finish its answers to {level_of}")
        if status.get("Status") == 0:
            return
        if identifier is None:
            raise QueryFailed(f"{peer.remote.where} {_failure(status)} to {level_of}")
        yield identifier


def _failure(status: Dataset) -> str:
    code = status.get("Status")
    if code in PENDING:
        return "gave an unreadable answer"
    return "gave no answer" if code is None else f"answered 0x{code:04X}"


def _by_qido(peer: Peer, study_uid: str) -> Held:
    series = _mr_series(peer, _qido(peer, f"studies/{study_uid}/series"), study_uid)
    of_series: dict[str, list[Answer]] = {uid: [] for uid in series}
    for each in _qido(peer, f"studies/{study_uid}/instances"):
        series_uid = each.uid("SeriesInstanceUID")
        if not series_uid:
            raise QueryFailed(f"{peer.name} lists an instance without its series, so what it holds is unknown")
        if series_uid in of_series:
            of_series[series_uid].append(each)
    return _each_once(peer, {uid: _instances(peer, answers, study_uid) for uid, answers in of_series.items()})


def _qido(peer: Peer, path: str) -> list[Answer]:
    return [json_answer(item, _TAGS) for item in json_answers(peer, path)]
