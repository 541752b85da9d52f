"""Encodes the Comprehensive 3D SR with the regions' volumes (PS3.16 TID 1500, root Oncology Measurement Report)."""

import hashlib
from collections.abc import Sequence
from typing import Any

from highdicom import sr
from highdicom.sr.value_types import ContainerContentItem, ContentSequence, TextContentItem
from pydicom.dataset import Dataset

from conversion.decision import Decision
from inference.measurements import Findings, RegionFinding
from inference.segmentation import Segmentation
from viewer_integration import codes
from viewer_integration.identifiers import content_uid, tracking_uid
from viewer_integration.provenance import RESEARCH_USE_ONLY, PredecessorDocument, Provenance, stamp_creation
from viewer_integration.segmentation_object import segment_labels
from viewer_integration.source_header import SourceSlice

__all__ = ["VOLUME_DECIMALS", "encode_report"]

VOLUME_DECIMALS = 3
"""Volumes in ml are rounded to a microlitre: finer than any voxel, and short enough to read."""

_Group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations | sr.MeasurementsAndQualitativeEvaluations


def encode_report(
    slices: Sequence[SourceSlice],
    segmentation_object: Dataset | None,
    segmentation: Segmentation,
    findings: Findings,
    provenance: Provenance,
    roles: Sequence[Decision] = (),
) -> Dataset:
    """Return the report as an SR.

    A region with a segment is a TID 1411 group that references the segment. Unions (TC, WT) and empty regions have no
    segment and are TID 1501 groups. A withheld result has no group at all; its qualitative evaluations give the reason.

    Parameters
    ----------
    slices
        Slices of the reference series.
    segmentation_object
        SEG of the same run, or None when nothing was found or the result is withheld.
    roles
        Which series was used as which sequence, and why.
    """
    headers = list({str(each.header.SOPInstanceUID): each.header for each in slices}.values())
    study_uid = str(headers[0].StudyInstanceUID)
    groups = [_group(finding, segmentation_object, segmentation, headers) for finding in findings.regions]
    content = _content(study_uid, groups, segmentation, findings, provenance, roles)
    identity = (
        study_uid,
        provenance.manifest_sha256,
        provenance.settings_sha256,
        provenance.software_version,
        segmentation.model.sha256,
        hashlib.sha256(segmentation.label_volume.labels.tobytes()).hexdigest(),
        repr(findings),
        *(_role_text(decision) for decision in roles),
        *([provenance.predecessor.sop_instance_uid] if provenance.predecessor else []),
        *provenance.variant,
    )
    ds = sr.Comprehensive3DSR(
        evidence=[*([segmentation_object] if segmentation_object is not None else []), *headers],
        content=content,
        series_instance_uid=content_uid("SR series", *identity),
        series_number=provenance.profile.sr_series,
        sop_instance_uid=content_uid("SR", *identity),
        instance_number=1,
        manufacturer="GlioNode",
        manufacturer_model_name=segmentation.model.name,
        software_versions=provenance.software_version,
        device_serial_number=provenance.station,
        series_description=f"GlioNode {_outcome(findings)} - research use only",
        is_complete=True,
        is_final=False,
        is_verified=False,
        performed_procedure_codes=[codes.MR_IMAGING],
        content_date=provenance.ready_at.date(),
        content_time=provenance.ready_at.time(),
    )
    stamp_creation(ds, provenance)
    if provenance.predecessor is not None:
        ds.PredecessorDocumentsSequence = [_reference_to(provenance.predecessor)]
    return ds


def _outcome(findings: Findings) -> str:
    """Return the outcome in a few words, for the series description."""
    if findings.withheld:
        return "withheld"
    return "no tumour found" if findings.no_tumour else "volumes"


def _reference_to(document: PredecessorDocument) -> Dataset:
    """Return a hierarchical reference to a document (PS3.3 table 10-3b)."""
    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID = document.sop_class_uid
    instance.ReferencedSOPInstanceUID = document.sop_instance_uid
    series.SeriesInstanceUID, series.ReferencedSOPSequence = document.series_uid, [instance]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = document.study_uid, [series]
    return study


def _content(
    study_uid: str,
    groups: Sequence[_Group],
    segmentation: Segmentation,
    findings: Findings,
    provenance: Provenance,
    roles: Sequence[Decision],
) -> Dataset:
    (root,) = sr.MeasurementReport(
        observation_context=_observer(study_uid, segmentation, provenance),
        procedure_reported=codes.MR_IMAGING,
        imaging_measurements=groups or [_no_group(study_uid)],
        title=codes.ONCOLOGY_REPORT,
    )
    if not groups:  # TID 1500 allows a report with evaluations alone; highdicom demands a group
        others = [item for item in root.ContentSequence if item.name != codes.IMAGING_MEASUREMENTS]
        root.ContentSequence = ContentSequence(others)
    remarks = _remarks(findings)
    if roles or remarks:
        root.ContentSequence.append(_qualitative_evaluations(roles, remarks))
    root.ContentSequence.append(
        TextContentItem(name=codes.COMMENT, value=_comment(segmentation, provenance), relationship_type="CONTAINS")
    )
    return root


def _observer(study_uid: str, segmentation: Segmentation, provenance: Provenance) -> sr.ObservationContext:
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=sr.CodedConcept.from_code(codes.DEVICE),
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                uid=content_uid("device", provenance.station, study_uid),
                name="GlioNode",
                manufacturer_name="GlioNode",
                model_name=segmentation.model.name,
                serial_number=provenance.station,
            ),
        )
    )


def _qualitative_evaluations(roles: Sequence[Decision], remarks: Sequence[str]) -> ContainerContentItem:
    """Return the section of TID 1500 for what is not a measurement: remarks, then the series used as each sequence."""
    section = ContainerContentItem(name=codes.QUALITATIVE_EVALUATIONS, relationship_type="CONTAINS")
    section.ContentSequence = ContentSequence(
        [TextContentItem(name=codes.COMMENT, value=remark, relationship_type="CONTAINS") for remark in remarks]
        + [
            TextContentItem(name=codes.SERIES_ROLE, value=_role_text(decision), relationship_type="CONTAINS")
            for decision in roles
        ]
    )
    return section


def _remarks(findings: Findings) -> list[str]:
    """Return what a reader should know: a missing result, the intervals of the volumes, and the flags."""
    intervals = [
        f"{codes.REGION_CONCEPTS[finding.region][0]} {finding.volume_ml:.1f} ml, interval "
        f"{finding.interval_ml[0]:.1f} to {finding.interval_ml[1]:.1f} ml "
        "(9 of 10 such intervals contained the experts' volume)"
        for finding in findings.regions
        if finding.interval_ml is not None
    ]
    withheld = [f"No result - {findings.withheld}"] if findings.withheld else []
    no_tumour = [findings.no_tumour] if findings.no_tumour else []
    return [*withheld, *no_tumour, *intervals, *(f"Flag {flag.code} - {flag.sentence}" for flag in findings.flags)]


def _role_text(decision: Decision) -> str:
    return f"{decision.subject} - {decision.reason}"


def _comment(segmentation: Segmentation, provenance: Provenance) -> str:
    sequences = ", ".join(segmentation.sequences)
    return (
        f"{RESEARCH_USE_ONLY} Automatic result, not verified by a person. Model {segmentation.model.name} "
        f"{segmentation.model.version} (SHA-256 {segmentation.model.sha256}), from {sequences}. "
        f"GlioNode {provenance.software_version}; inputs SHA-256 {provenance.manifest_sha256}; settings SHA-256 "
        f"{provenance.settings_sha256}."
    )


def _no_group(study_uid: str) -> _Group:
    identifier = sr.TrackingIdentifier(uid=content_uid("no group", study_uid), identifier="none")
    return sr.MeasurementsAndQualitativeEvaluations(tracking_identifier=identifier)


def _group(
    finding: RegionFinding, segmentation_object: Dataset | None, segmentation: Segmentation, headers: Sequence[Dataset]
) -> _Group:
    name, finding_type = codes.REGION_CONCEPTS[finding.region]
    labels = segment_labels(segmentation)
    number = next((k for k, label in enumerate(labels, 1) if codes.SEGMENTS[label].region is finding.region), None)
    common: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(
            uid=tracking_uid(str(headers[0].StudyInstanceUID), finding.region), identifier=f"GlioNode {name}"
        ),
        "finding_type": finding_type,
        "finding_category": codes.MORPHOLOGICALLY_ABNORMAL,
        "finding_sites": [sr.FindingSite(anatomic_location=codes.BRAIN)],
        "algorithm_id": sr.AlgorithmIdentification(name=segmentation.model.name, version=segmentation.model.version),
        "measurements": [
            sr.Measurement(name=codes.VOLUME, value=round(finding.volume_ml, VOLUME_DECIMALS), unit=codes.MILLILITRE)
        ],
    }
    if number is None or segmentation_object is None:
        return sr.MeasurementsAndQualitativeEvaluations(**common)
    # The source is referenced as a series: OHIF would print a line for each image.
    reference = sr.ReferencedSegment(
        sop_class_uid=segmentation_object.SOPClassUID,
        sop_instance_uid=segmentation_object.SOPInstanceUID,
        segment_number=number,
        source_series=sr.SourceSeriesForSegmentation(str(headers[0].SeriesInstanceUID)),
    )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=reference, **common)
