"""Encodes the DICOM Segmentation of the tumour's regions on the reference's native grid (PS3.3 A.51)."""

from collections.abc import Sequence
from copy import deepcopy

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import MRImageStorage
from pydicom.valuerep import format_number_as_ds

from conversion.volume import Grid
from inference.regions import Label
from inference.segmentation import Segmentation
from viewer_integration import codes
from viewer_integration.identifiers import content_uid, tracking_uid
from viewer_integration.profile import SegForm
from viewer_integration.provenance import RESEARCH_USE_ONLY, Provenance, stamp_creation
from viewer_integration.source_header import SourceSlice

__all__ = ["encode_segmentation", "segment_labels"]


def segment_labels(segmentation: Segmentation) -> tuple[Label, ...]:
    """Return the labels that occur, in the order of the segment numbers 1, 2, ..."""
    present = set(np.unique(segmentation.label_volume.labels).tolist())
    return tuple(label for label in codes.SEGMENTS if label in present)


def encode_segmentation(
    slices: Sequence[SourceSlice], segmentation: Segmentation, provenance: Provenance
) -> Dataset | None:
    """Return the SEG, or None when no voxel is labelled: a SEG without frames is not valid.

    Parameters
    ----------
    slices
        Slices of the reference series, in the order of the grid.
    """
    labels = segment_labels(segmentation)
    if not labels:
        return None
    study_uid, series_uid = str(slices[0].header.StudyInstanceUID), str(slices[0].header.SeriesInstanceUID)
    identity: tuple[str | bytes, ...] = (
        study_uid,
        series_uid,
        provenance.manifest_sha256,
        provenance.settings_sha256,
        provenance.software_version,
        segmentation.model.sha256,
        segmentation.label_volume.labels.tobytes(),
        *(f"{each.header.SOPInstanceUID} frame {each.frame}" for each in slices if each.frame is not None),
        *provenance.variant,
    )
    seg = hd.seg.Segmentation(
        source_images=_single_frames(slices, segmentation.label_volume.grid),
        pixel_array=_pixels(segmentation, labels, provenance.profile.seg_form),
        segmentation_type=hd.seg.SegmentationTypeValues[provenance.profile.seg_form.name],
        segment_descriptions=[
            _describe(number, label, study_uid, segmentation, provenance) for number, label in enumerate(labels, 1)
        ],
        series_instance_uid=content_uid("SEG series", *identity),
        series_number=provenance.profile.seg_series,
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
    ds = _plain(seg)
    _refer_to_frames(ds, slices)
    _make_repeatable(ds, provenance, identity)
    return ds


def _plain(seg: hd.seg.Segmentation) -> Dataset:
    """Return a SEG without highdicom's index of frames, an SQLite database in memory that must be closed here."""
    ds = Dataset()
    ds.update(seg)
    ds.file_meta = seg.file_meta
    seg._db_con.close()  # noqa: SLF001 - Python 3.13 warns when its garbage collector closes it
    return ds


def _pixels(segmentation: Segmentation, labels: Sequence[Label], form: SegForm) -> NDArray[np.uint8]:
    """Return a plane for each segment (BINARY), or one plane of segment numbers (LABELMAP)."""
    masks = np.stack([segmentation.label_volume.labels == label for label in labels], axis=-1)
    if form is SegForm.BINARY:
        return masks.astype(np.uint8)
    return np.asarray(masks @ np.arange(1, len(labels) + 1), np.uint8)


def _single_frames(slices: Sequence[SourceSlice], grid: Grid) -> list[Dataset]:
    """Return a classic header for each slice: highdicom takes several of these, but one multi-frame instance at most.

    The header of a frame gets a temporary UID, which `_refer_to_frames` replaces. All headers get the orientation of
    the first, from which they differ by rounding alone. The distance between slices is that of their positions.
    """
    orientation, distance = slices[0].header.ImageOrientationPatient, round(float(grid.spacing_mm[0]), 6)
    headers = []
    for k, each in enumerate(slices):
        ds = Dataset()
        ds.update(each.header)
        ds.add_new("ImageOrientationPatient", "DS", orientation)
        if len(slices) > 1:
            ds.add_new("SpacingBetweenSlices", "DS", format_number_as_ds(distance))
        if not ds.get("SliceThickness"):
            ds.add_new("SliceThickness", "DS", format_number_as_ds(distance))
        if each.frame is not None:
            ds.add_new("SOPClassUID", "UI", MRImageStorage)
            ds.add_new("SOPInstanceUID", "UI", _temporary_uid(k))
        headers.append(ds)
    return headers


def _temporary_uid(k: int) -> str:
    return f"2.25.{k + 1}"


def _refer_to_frames(ds: Dataset, slices: Sequence[SourceSlice]) -> None:
    """Replace the temporary UIDs of frames by references to their instances.

    The lists of source images name each instance once.
    """
    frame_of = {_temporary_uid(k): each for k, each in enumerate(slices) if each.frame is not None}
    if not frame_of:
        return
    for frame in ds.PerFrameFunctionalGroupsSequence:
        (item,) = frame.DerivationImageSequence[0].SourceImageSequence
        source = frame_of.get(str(item.ReferencedSOPInstanceUID))
        if source is not None:  # None when replaced already: highdicom shares the item of a slice among its segments
            _refer(item, source).ReferencedFrameNumber = source.frame
    frames: dict[str, list[SourceSlice]] = {}
    for source in frame_of.values():
        frames.setdefault(str(source.header.SOPInstanceUID), []).append(source)
    (series,) = ds.ReferencedSeriesSequence
    series.ReferencedInstanceSequence = [_refer(Dataset(), group[0]) for group in frames.values()]
    ds.SourceImageSequence = [_refer(Dataset(), group[0]) for group in frames.values()]
    for item, group in zip(ds.SourceImageSequence, frames.values(), strict=True):
        item.ReferencedFrameNumber = [source.frame for source in group]


def _refer(item: Dataset, source: SourceSlice) -> Dataset:
    item.ReferencedSOPClassUID = source.header.SOPClassUID
    item.ReferencedSOPInstanceUID = source.header.SOPInstanceUID
    return item


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
            parameters=_parameters(segmentation, provenance),
        ),
        tracking_uid=tracking_uid(study_uid, concept.region),
        tracking_id=f"GlioNode {concept.name}",
        anatomic_regions=[codes.BRAIN],
        display_color=CIELabColor.from_rgb(*concept.rgb),
    )


def _parameters(segmentation: Segmentation, provenance: Provenance) -> dict[str, str]:
    """Return what is needed, besides the images, to make the same segments again."""
    parameters = {
        "model_sha256": segmentation.model.sha256,
        "inputs_sha256": provenance.manifest_sha256,
        "settings_sha256": provenance.settings_sha256,
        "sequences": " ".join(segmentation.sequences),
        "arithmetic": segmentation.quality.arithmetic,
    }
    return {name: value for name, value in parameters.items() if value}


def _make_repeatable(ds: Dataset, provenance: Provenance, identity: tuple[str | bytes, ...]) -> None:
    """Replace the current time and the random UIDs that highdicom wrote."""
    stamp_creation(ds, provenance)
    dimension_uid = content_uid("SEG dimensions", *identity)
    for item in [*ds.DimensionOrganizationSequence, *ds.DimensionIndexSequence]:
        item.DimensionOrganizationUID = dimension_uid
    _identify_segment_per_frame(ds)


def _identify_segment_per_frame(ds: Dataset) -> None:
    """State the segment in every frame: for a single one highdicom states it once for all, which readers miss."""
    shared = ds.SharedFunctionalGroupsSequence[0]
    if "SegmentIdentificationSequence" in shared:
        for frame in ds.PerFrameFunctionalGroupsSequence:
            frame.SegmentIdentificationSequence = deepcopy(shared.SegmentIdentificationSequence)
        del shared.SegmentIdentificationSequence
