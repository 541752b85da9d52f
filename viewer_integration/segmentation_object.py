"""DICOM Segmentation (BINARY) of the tumour's regions on the reference's native grid (PS3.3 A.51)."""

from collections.abc import Sequence
from copy import deepcopy

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from inference.regions import Label
from inference.segmentation import Segmentation
from viewer_integration import codes
from viewer_integration.identifiers import content_uid, tracking_uid
from viewer_integration.provenance import RESEARCH_USE_ONLY, Provenance, stamp_creation

__all__ = ["SERIES_NUMBER", "encode_segmentation", "segment_labels"]

SERIES_NUMBER = 7701
"""High enough to stand behind what scanners number."""


def segment_labels(segmentation: Segmentation) -> tuple[Label, ...]:
    """Return the labels that occur, in the order of the segments' numbers 1, 2, ..."""
    present = set(np.unique(segmentation.label_volume.labels).tolist())
    return tuple(label for label in codes.SEGMENTS if label in present)


def encode_segmentation(
    headers: Sequence[Dataset], segmentation: Segmentation, provenance: Provenance
) -> Dataset | None:
    """Return the SEG, or None when no voxel is labelled: a SEG without frames is not valid.

    Parameters
    ----------
    headers
        Cleaned headers of the reference series, in the order of the grid's slices.
    """
    labels = segment_labels(segmentation)
    if not labels:
        return None
    study_uid, series_uid = str(headers[0].StudyInstanceUID), str(headers[0].SeriesInstanceUID)
    identity = (
        study_uid,
        series_uid,
        provenance.manifest_sha256,
        provenance.settings_sha256,
        provenance.software_version,
        segmentation.model.sha256,
        segmentation.label_volume.labels.tobytes(),
    )
    masks = np.stack([segmentation.label_volume.labels == label for label in labels], axis=-1)
    ds = hd.seg.Segmentation(
        source_images=list(headers),
        pixel_array=masks.astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _describe(number, label, study_uid, segmentation, provenance) for number, label in enumerate(labels, 1)
        ],
        series_instance_uid=content_uid("SEG series", *identity),
        series_number=SERIES_NUMBER,
        sop_instance_uid=content_uid("SEG", *identity),
        instance_number=1,
        manufacturer="GlioNode",
        manufacturer_model_name=segmentation.model.name,
        software_versions=provenance.software_version,
        device_serial_number=provenance.station,
        content_label="GLIOMA",
        content_description=RESEARCH_USE_ONLY,
        series_description="GlioNode segmentation - research use only",
        content_date=provenance.ready_at.date(),
        content_time=provenance.ready_at.time(),
    )
    _make_repeatable(ds, provenance, identity)
    return ds


def _describe(
    number: int, label: Label, study_uid: str, segmentation: Segmentation, provenance: Provenance
) -> hd.seg.SegmentDescription:
    concept = codes.SEGMENTS[label]
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=concept.name,
        segmented_property_category=codes.MORPHOLOGICALLY_ABNORMAL,
        segmented_property_type=Code(*concept.property_type[:3]),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=segmentation.model.name,
            version=segmentation.model.version,
            family=codes.ARTIFICIAL_INTELLIGENCE,
            source="GlioNode",
            parameters={
                "model_sha256": segmentation.model.sha256,
                "inputs_sha256": provenance.manifest_sha256,
                "settings_sha256": provenance.settings_sha256,
                "sequences": " ".join(segmentation.sequences),
            },
        ),
        tracking_uid=tracking_uid(study_uid, concept.region),
        tracking_id=f"GlioNode {concept.name}",
        anatomic_regions=[codes.BRAIN],
        display_color=CIELabColor.from_rgb(*concept.rgb),
    )


def _make_repeatable(ds: Dataset, provenance: Provenance, identity: tuple[str | bytes, ...]) -> None:
    """Replace what highdicom takes from the clock and from chance."""
    stamp_creation(ds, provenance)
    dimension_uid = content_uid("SEG dimensions", *identity)
    for item in [*ds.DimensionOrganizationSequence, *ds.DimensionIndexSequence]:
        item.DimensionOrganizationUID = dimension_uid
    _name_segment_per_frame(ds)


def _name_segment_per_frame(ds: Dataset) -> None:
    """Say of each frame which segment it shows; with one segment highdicom says it once for all, which readers miss."""
    shared = ds.SharedFunctionalGroupsSequence[0]
    if "SegmentIdentificationSequence" in shared:
        for frame in ds.PerFrameFunctionalGroupsSequence:
            frame.SegmentIdentificationSequence = deepcopy(shared.SegmentIdentificationSequence)
        del shared.SegmentIdentificationSequence
