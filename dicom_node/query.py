"""The node as a user of Query/Retrieve: what a peer holds of a study, by C-FIND (PS3.4 C) or QIDO-RS (PS3.18 10.6)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from conversion.attributes import Attributes
from dicom_node.peer import Peer
from viewer_integration.association import open_association

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
WEB_TIMEOUT_S = 20.0

Held = Mapping[str, frozenset[str]]
"""SOP Instance UIDs of a study's MR instances by Series Instance UID."""


DEMOGRAPHICS = {
    "PatientID": "00100020",
    "PatientName": "00100010",
    "PatientBirthDate": "00100030",
    "PatientSex": "00100040",
}
"""What a correction or a merge in the PACS can change, by keyword, with its tag."""


@dataclass(frozen=True, kw_only=True)
class StudyFound:
    """A study that a peer knows; the date as DICOM writes it."""

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


class QueryFailed(Exception):  # noqa: N818 - named for what happened
    """A peer could not be asked, or answered with a failure."""


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
        series = [ds for ds in find("SERIES", wanted) if ds.get("Modality", "MR") in ("MR", "", None)]
        held = {}
        for series_uid in (str(ds.SeriesInstanceUID) for ds in series):
            keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": ""}
            held[series_uid] = frozenset(str(ds.SOPInstanceUID) for ds in find("IMAGE", keys))
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
            found |= {_first(each, "00080018") for each in answers}
    else:
        with _finder(peer, calling_ae) as find:
            for study_uid, series_uid in series:
                keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": ""}
                found |= {str(ds.SOPInstanceUID) for ds in find("IMAGE", keys)}
    return frozenset(found & wanted)


def demographics_of(peer: Peer, calling_ae: str, study_uid: str) -> Mapping[str, str]:
    """Ask a peer whom it takes a study's patient for now; return values by keyword, none where it does not say.

    Raises
    ------
    QueryFailed
        With a sentence that says why it could not be asked.
    """
    if peer.dicomweb_url:
        answers = _asked(peer, f"studies?StudyInstanceUID={study_uid}&includefield=00100030&includefield=00100040")
        found = [{keyword: _person(each, tag) for keyword, tag in DEMOGRAPHICS.items()} for each in answers]
    else:
        with _finder(peer, calling_ae) as find:
            keys = {"StudyInstanceUID": study_uid, **dict.fromkeys(DEMOGRAPHICS, "")}
            answered = find("STUDY", keys)
        found = [{keyword: str(ds.get(keyword) or "") for keyword in DEMOGRAPHICS} for ds in answered]
    return {keyword: value for keyword, value in found[0].items() if value} if len(found) == 1 else {}


def studies_of_patient(peer: Peer, calling_ae: str, patient_id: str) -> list[StudyFound]:
    """Ask a peer for a patient's studies.

    Raises
    ------
    QueryFailed
        With a sentence that says why it could not be asked.
    """
    if peer.dicomweb_url:
        fields = "&".join(f"includefield={tag}" for tag in ("00080020", "00080061"))
        answers = _asked(peer, f"studies?PatientID={quote(patient_id)}&{fields}")
        return [
            StudyFound(
                study_uid=_first(each, "0020000D"),
                date=_first(each, "00080020"),
                modalities=tuple(str(value) for value in each.get("00080061", {}).get("Value", [])),
            )
            for each in answers
        ]
    keys = {"PatientID": patient_id, "StudyInstanceUID": "", "StudyDate": "", "ModalitiesInStudy": ""}
    with _finder(peer, calling_ae) as find:
        found = find("STUDY", keys)
    return [
        StudyFound(
            study_uid=str(ds.StudyInstanceUID),
            date=str(ds.get("StudyDate") or ""),
            modalities=Attributes(ds).texts("ModalitiesInStudy"),
        )
        for ds in found
    ]


@contextmanager
def _finder(peer: Peer, calling_ae: str) -> Iterator[Any]:
    syntaxes = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
    contexts = [(StudyRootQueryRetrieveInformationModelFind, syntax) for syntax in syntaxes]
    assoc, refusal = open_association(peer.remote, calling_ae, contexts)
    if refusal:
        raise QueryFailed(refusal)
    try:
        yield lambda level, keys: list(_found(assoc, peer, level, keys))
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
    for status, identifier in answers:
        code = status.get("Status")
        if code in PENDING and identifier is not None:
            yield identifier
        elif code != 0:
            said = "gave no answer" if code is None else f"answered 0x{code:04X}"
            raise QueryFailed(f"{peer.remote.where} {said} to a C-FIND at level {level}")


def _by_qido(peer: Peer, study_uid: str) -> Held:
    series = _asked(peer, f"studies/{study_uid}/series")
    wanted = {uid for each in series if _first(each, "00080060") in ("MR", "") and (uid := _first(each, "0020000E"))}
    held: dict[str, set[str]] = {uid: set() for uid in wanted}
    for each in _asked(peer, f"studies/{study_uid}/instances"):
        series_uid = _first(each, "0020000E")
        if series_uid in held:
            held[series_uid].add(_first(each, "00080018"))
    return {uid: frozenset(instances) for uid, instances in held.items()}


def _asked(peer: Peer, path: str) -> list[Mapping[str, Any]]:
    try:
        answer = httpx.get(
            f"{peer.dicomweb_url}/{path}",
            headers={"Accept": "application/dicom+json", **peer.web_headers},
            timeout=WEB_TIMEOUT_S,
            trust_env=False,
        )
        if answer.status_code == httpx.codes.NO_CONTENT:
            return []
        found: list[Mapping[str, Any]] = answer.raise_for_status().json()
    except httpx.HTTPStatusError as error:
        raise QueryFailed(f"{peer.name} answered {error.response.status_code} to a QIDO-RS query") from error
    except (httpx.HTTPError, ValueError) as error:
        raise QueryFailed(f"{peer.name} could not be asked by QIDO-RS ({type(error).__name__})") from error
    return found


def _first(item: Mapping[str, Any], tag: str) -> str:
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _person(item: Mapping[str, Any], tag: str) -> str:
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0].get("Alphabetic", "")) if isinstance(values[0], dict) else str(values[0])
