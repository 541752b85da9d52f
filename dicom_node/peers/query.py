"""The node as a user of Query/Retrieve: what a peer holds of a study, by C-FIND (PS3.4 C) or QIDO-RS (PS3.18 10.6)."""

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
"""Until all answers to one C-FIND are there; a peer that answers on and on is left."""

_SEXES = ("M", "F", "O")

Held = Mapping[str, frozenset[str]]
"""SOP Instance UIDs of a study's MR instances by Series Instance UID."""


DEMOGRAPHICS = {
    "PatientID": "00100020",
    "PatientName": "00100010",
    "PatientBirthDate": "00100030",
    "PatientSex": "00100040",
}
"""What a correction or a merge in the PACS can change, by keyword, with its tag."""

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
    """A study that a peer knows; the date as DICOM writes it, empty where it does not say a valid one."""

    study_uid: str
    date: str
    modalities: tuple[str, ...]

    @property
    def has_mr(self) -> bool:
        """Tell whether it holds MR, or does not say what it holds."""
        return not self.modalities or "MR" in self.modalities


@dataclass(frozen=True, kw_only=True)
class ObjectPlace:
    """Where an object stands in the hierarchy of queries."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str


def instances_of_study(peer: Peer, calling_ae: str, study_uid: str) -> Held:
    """Ask a peer for the instances of a study's MR series, at the level of instances.

    Raises
    ------
    QueryFailed
        With a sentence that says why.
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
    """Return the series that are MR or do not say what they are."""
    about = [one for one in answers if one.is_about("StudyInstanceUID", study_uid)]
    wanted = [one.uid("SeriesInstanceUID") for one in about if one.one("Modality") in ("MR", "")]
    if "" in wanted:
        raise QueryFailed(f"{peer.name} tells of a series without a valid UID, so what it holds is not known")
    return dict.fromkeys(wanted)


def _instances(peer: Peer, answers: Sequence[Answer], study_uid: str) -> frozenset[str]:
    found = frozenset(one.uid("SOPInstanceUID") for one in answers if one.is_about("StudyInstanceUID", study_uid))
    if "" in found:
        raise QueryFailed(f"{peer.name} tells of an instance without a valid UID, so what it holds is not known")
    return found


def _each_once(peer: Peer, held: Held) -> Held:
    """Return what a peer holds, if no instance is in two series: then nobody knows how many there are."""
    if sum(len(instances) for instances in held.values()) != len(frozenset().union(*held.values())):
        raise QueryFailed(f"{peer.name} tells of one instance in two series, so what it holds is not known")
    return held


def held_of(peer: Peer, calling_ae: str, objects: Sequence[ObjectPlace]) -> frozenset[str]:
    """Ask a peer which of some objects it holds; return their SOP Instance UIDs.

    Raises
    ------
    QueryFailed
        With a sentence that says why it could not be asked.
    """
    wanted = {one.sop_instance_uid for one in objects}
    series = dict.fromkeys((one.study_uid, one.series_uid) for one in objects)
    found: set[str] = set()
    if peer.dicomweb_url:
        for study_uid, series_uid in series:
            answers = _asked(peer, f"studies/{study_uid}/series/{series_uid}/instances")
            found |= _shown(answers, study_uid, series_uid)
    else:
        with _finder(peer, calling_ae) as find:
            for study_uid, series_uid in series:
                keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": ""}
                found |= _shown(find("IMAGE", keys), study_uid, series_uid)
    return frozenset(found & wanted)


def _shown(answers: Sequence[Answer], study_uid: str, series_uid: str) -> set[str]:
    """Return the objects that a peer shows where they are to be."""
    about = [one for one in answers if one.is_about("StudyInstanceUID", study_uid)]
    return {one.uid("SOPInstanceUID") for one in about if one.is_about("SeriesInstanceUID", series_uid)}


def demographics_of(peer: Peer, calling_ae: str, study_uid: str) -> Mapping[str, str]:
    """Ask a peer whom it takes a study's patient for now; return values by keyword, none where it does not say.

    Raises
    ------
    QueryFailed
        With a sentence that says why it could not be asked.
    """
    if peer.dicomweb_url:
        answers = _asked(peer, f"studies?StudyInstanceUID={study_uid}&includefield=00100030&includefield=00100040")
    else:
        with _finder(peer, calling_ae) as find:
            answers = find("STUDY", {"StudyInstanceUID": study_uid, **dict.fromkeys(DEMOGRAPHICS, "")})
    found = [one for one in answers if one.uid("StudyInstanceUID") == study_uid]
    if len(found) != 1:
        return {}
    told = {keyword: found[0].one(keyword) for keyword in DEMOGRAPHICS}
    told["PatientBirthDate"] = _date(told["PatientBirthDate"])
    if told["PatientSex"] not in _SEXES:
        told["PatientSex"] = ""
    return {keyword: value for keyword, value in told.items() if value}


def studies_of_patient(peer: Peer, calling_ae: str, patient_id: str) -> list[StudyFound]:
    """Ask a peer for a patient's studies.

    A Patient ID may hold what a query takes for a wildcard, so answers that name another patient are left out.

    Raises
    ------
    QueryFailed
        With a sentence that says why it could not be asked.
    """
    if peer.dicomweb_url:
        fields = "&".join(f"includefield={tag}" for tag in ("00080020", "00080061"))
        answers = _asked(peer, f"studies?PatientID={quote(patient_id, safe='')}&{fields}")
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
    """Return a date as DICOM writes it; empty where it is none."""
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
        yield lambda level, keys: [Answer.of(ds) for ds in _found(assoc, peer, level, keys)]
    except QueryFailed:
        if assoc.is_established:
            assoc.abort()  # it may still be answering
        raise
    finally:
        if assoc.is_established:
            assoc.release()


def _found(assoc: Association, peer: Peer, level: str, keys: Mapping[str, str]) -> Iterator[Dataset]:
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    if not assoc.is_established:
        raise QueryFailed(f"{peer.remote.where} closed the association while it was asked")
    try:
        answers = assoc.send_c_find(ds, StudyRootQueryRetrieveInformationModelFind)
    except (ValueError, RuntimeError) as error:
        raise QueryFailed(f"{peer.remote.where} offers no C-FIND in the study root model") from error
    level_of = f"a C-FIND at level {level}"
    deadline = time.monotonic() + FIND_S
    for number, (status, identifier) in enumerate(answers):
        if number >= MOST_ANSWERS or time.monotonic() > deadline:
            raise QueryFailed(f"{peer.remote.where} does not come to an end with its answers to {level_of}")
        if status.get("Status") == 0:
            return
        if identifier is None:
            raise QueryFailed(f"{peer.remote.where} {_what_it_said(status)} to {level_of}")
        yield identifier


def _what_it_said(status: Dataset) -> str:
    code = status.get("Status")
    if code in PENDING:
        return "gave an answer that cannot be read"
    return "gave no answer" if code is None else f"answered 0x{code:04X}"


def _by_qido(peer: Peer, study_uid: str) -> Held:
    series = _mr_series(peer, _asked(peer, f"studies/{study_uid}/series"), study_uid)
    of_series: dict[str, list[Answer]] = {uid: [] for uid in series}
    for each in _asked(peer, f"studies/{study_uid}/instances"):
        series_uid = each.uid("SeriesInstanceUID")
        if not series_uid:
            raise QueryFailed(f"{peer.name} tells of an instance without its series, so what it holds is not known")
        if series_uid in of_series:
            of_series[series_uid].append(each)
    return _each_once(peer, {uid: _instances(peer, answers, study_uid) for uid, answers in of_series.items()})


def _asked(peer: Peer, path: str) -> list[Answer]:
    return [json_answer(item, _TAGS) for item in json_answers(peer, path)]
