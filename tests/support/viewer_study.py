"""A small synthetic study as a viewer meets it: one MR series, a BINARY SEG and a Comprehensive 3D SR over it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
import numpy.typing as npt
from highdicom.sr import templates
from pydicom import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dicom_node.database.engine import Database
from dicom_node.database.states import RunState
from dicom_node.database.tables import InstanceRow, ResultRow, RunRow, StudyRow, utc_now

ROWS, COLUMNS, SLICES = 58, 64, 12
UNALIGNED_COLUMNS = 62  # 58 x 62 is no multiple of 8: the frames of a BINARY SEG then begin inside bytes
SPACING_MM, THICKNESS_MM = 3.0, 4.0
SEGMENTS = (("Edema", (0, 160, 0)), ("Enhancing tumor", (230, 20, 20)))  # label and sRGB colour
MR_STORAGE = "1.2.840.10008.5.1.4.1.1.4"


@dataclass(frozen=True, kw_only=True)
class ViewerStudy:
    """The objects of the study."""

    mr: tuple[Dataset, ...]
    seg: Dataset
    sr: Dataset
    masks: npt.NDArray[np.uint8]  # slices x rows x columns x segments
    volumes_ml: tuple[float, ...]

    @property
    def study_uid(self) -> str:
        """Study Instance UID of all of them."""
        return str(self.seg.StudyInstanceUID)


def make_study(
    name: str = "viewer",
    patient_id: str = "SYNTHETIC-1",
    columns: int = COLUMNS,
    tumour_slice: float = 5.5,
    thickness_mm: float = THICKNESS_MM,
) -> ViewerStudy:
    """Make a study whose UIDs depend on its name only; its tumour is largest in a slice, or equal in two of them."""
    mr = tuple(_slice(name, patient_id, columns, index, thickness_mm) for index in range(SLICES))
    masks = _masks(columns, tumour_slice)
    voxel_ml = SPACING_MM * SPACING_MM * thickness_mm / 1000
    volumes = tuple(float(masks[..., index].sum() * voxel_ml) for index in range(len(SEGMENTS)))
    seg = _segmentation(name, mr, masks)
    return ViewerStudy(mr=mr, seg=seg, sr=_report(name, mr, seg, volumes), masks=masks, volumes_ml=volumes)


def hold(database: Database, folder: Path, study: ViewerStudy) -> None:
    """Put a study into the node's books and folder as the listener and a run would leave it."""
    hold_images(database, folder, study)
    hold_results(database, folder, (study.seg, study.sr), revision=1)


def hold_images(database: Database, folder: Path, study: ViewerStudy) -> None:
    """Put the images alone into the node's books and folder, as the listener would leave them."""
    with database.session() as session:
        session.add(StudyRow(study_uid=study.study_uid, key=_sha(study.study_uid)[:16]))
        session.flush()
        for ds in study.mr:
            session.add(instance_row(ds, write(folder, "received", ds)))


def hold_results(database: Database, folder: Path, results: tuple[Dataset, ...], *, revision: int) -> None:
    """Put the objects of one run into the node's books and folder."""
    study_uid = results[0].StudyInstanceUID
    run_id = f"{study_uid}-{revision}"
    with database.session() as session:
        session.add(
            RunRow(
                run_id=run_id,
                study_uid=study_uid,
                revision=revision,
                manifest_sha256=_sha(run_id),
                ready_at=utc_now(),
                state=RunState.DELIVERED,
            )
        )
        session.flush()
        session.add_all(_result_row(ds, run_id, write(folder, f"results-{revision}", ds)) for ds in results)


def uid_of(*names: str) -> str:
    """Return a UID that depends on its names only."""
    return str(generate_uid(entropy_srcs=list(names)))


def _slice(name: str, patient_id: str, columns: int, index: int, thickness_mm: float) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = MR_STORAGE
    ds.SOPInstanceUID = uid_of(name, "mr", str(index))
    ds.StudyInstanceUID = uid_of(name, "study")
    ds.SeriesInstanceUID = uid_of(name, "series")
    ds.FrameOfReferenceUID = uid_of(name, "frame of reference")
    ds.PatientName, ds.PatientID = "Phäntom^Synthetic", patient_id
    ds.PatientBirthDate, ds.PatientSex = "19700101", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20240102", "101500", "1", "A1"
    ds.SeriesDate, ds.SeriesTime, ds.ContentDate, ds.ContentTime = "20240102", "101600", "20240102", "101600"
    ds.StudyDescription, ds.SeriesDescription, ds.Modality = "Synthetic brain", "T1 after contrast", "MR"
    ds.SeriesNumber, ds.InstanceNumber = 1, index + 1
    ds.ReferringPhysicianName, ds.PositionReferenceIndicator, ds.Manufacturer = "", "", "GlioNode tests"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SE", "NONE", "", "2D"
    ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength = 600.0, 10.0, 1
    ds.Rows, ds.Columns, ds.PixelSpacing = ROWS, columns, [SPACING_MM, SPACING_MM]
    ds.SliceThickness = ds.SpacingBetweenSlices = thickness_mm
    ds.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    ds.ImagePositionPatient = [-90.0, -90.0, index * thickness_mm]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = 500.0, 1000.0
    ds.PixelData = _head(columns, index).tobytes()
    return ds


def _distance(
    columns: int, centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> npt.NDArray[np.float64]:
    squares = np.zeros((SLICES, ROWS, columns))
    for axis, middle, radius in zip(np.indices(squares.shape), centre, radii, strict=True):
        squares += ((axis - middle) / radius) ** 2
    return np.sqrt(squares)


def _head(columns: int, index: int) -> npt.NDArray[np.uint16]:
    head = _distance(columns, (SLICES / 2, ROWS / 2, columns / 2), (SLICES, 26.0, 22.0)) < 1
    texture = np.indices(head.shape).sum(axis=0) % 7 * 10
    return np.asarray(np.where(head, 400 + texture, 0)[index], dtype=np.uint16)


def _masks(columns: int, tumour_slice: float) -> npt.NDArray[np.uint8]:
    tumour = _distance(columns, (tumour_slice, 24.0, 38.0), (4.0, 9.0, 8.0))
    return np.stack([(tumour < 1) & (tumour >= 0.6), tumour < 0.6], axis=-1).astype(np.uint8)


def _segmentation(name: str, mr: tuple[Dataset, ...], masks: npt.NDArray[np.uint8]) -> Dataset:
    algorithm = hd.AlgorithmIdentificationSequence(
        name="Synthetic", version="1", family=codes.DCM.ArtificialIntelligence
    )
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Edema if number == 1 else codes.SCT.Neoplasm,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            tracking_uid=uid_of(name, label),
            tracking_id=label,
            display_color=hd.color.CIELabColor.from_rgb(*colour),
        )
        for number, (label, colour) in enumerate(SEGMENTS, start=1)
    ]
    seg = hd.seg.Segmentation(
        source_images=mr,
        pixel_array=masks,
        segmentation_type="BINARY",
        segment_descriptions=descriptions,
        series_instance_uid=uid_of(name, "seg series"),
        series_number=100,
        sop_instance_uid=uid_of(name, "seg"),
        instance_number=1,
        manufacturer="GlioNode tests",
        manufacturer_model_name="synthetic",
        software_versions="1",
        device_serial_number="1",
        content_description="Synthetic tumour",
        series_description="Tumour segmentation",
    )
    plain = Dataset()
    plain.update(seg)
    plain.file_meta = seg.file_meta
    seg._db_con.close()  # highdicom's index in memory, which nothing else closes
    return plain


def _report(name: str, mr: tuple[Dataset, ...], seg: Dataset, volumes_ml: tuple[float, ...]) -> Dataset:
    groups = [
        _group(name, mr, seg, number, label, volume)
        for number, ((label, _), volume) in enumerate(zip(SEGMENTS, volumes_ml, strict=True), start=1)
    ]
    observer = templates.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=templates.DeviceObserverIdentifyingAttributes(uid=uid_of("device")),
    )
    content = templates.MeasurementReport(
        observation_context=templates.ObservationContext(observer_device_context=observer),
        procedure_reported=hd.sr.CodedConcept("241601008", "SCT", "MRI of head"),
        imaging_measurements=groups,
        title=hd.sr.CodedConcept("126001", "DCM", "Oncology Measurement Report"),
    )
    return hd.sr.Comprehensive3DSR(
        evidence=[seg, *mr],
        content=content[0],
        series_instance_uid=uid_of(name, "sr series"),
        series_number=101,
        sop_instance_uid=uid_of(name, "sr"),
        instance_number=1,
        manufacturer="GlioNode tests",
        series_description="Tumour report",
    )


def _group(
    name: str, mr: tuple[Dataset, ...], seg: Dataset, number: int, label: str, volume_ml: float
) -> templates.VolumetricROIMeasurementsAndQualitativeEvaluations:
    return templates.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=templates.TrackingIdentifier(uid=uid_of(name, label), identifier=label),
        referenced_segment=hd.sr.ReferencedSegment(
            sop_class_uid=seg.SOPClassUID,
            sop_instance_uid=seg.SOPInstanceUID,
            segment_number=number,
            source_series=hd.sr.SourceSeriesForSegmentation(referenced_series_instance_uid=mr[0].SeriesInstanceUID),
        ),
        finding_type=codes.SCT.Neoplasm,
        measurements=[
            templates.Measurement(name=codes.SCT.Volume, value=volume_ml, unit=hd.sr.CodedConcept("ml", "UCUM", "ml"))
        ],
    )


def write(folder: Path, kind: str, ds: Dataset) -> str:
    """Write an instance and return its path in the folder."""
    relative = f"{kind}/{ds.SOPInstanceUID}.dcm"
    (folder / kind).mkdir(parents=True, exist_ok=True)
    ds.save_as(folder / relative, enforce_file_format=True)
    return relative


def _result_row(ds: Dataset, run_id: str, path: str) -> ResultRow:
    return ResultRow(
        sop_instance_uid=ds.SOPInstanceUID,
        run_id=run_id,
        study_uid=ds.StudyInstanceUID,
        series_uid=ds.SeriesInstanceUID,
        sop_class_uid=ds.SOPClassUID,
        kind=ds.Modality,
        path=path,
        sha256=_sha(path),
    )


def instance_row(ds: Dataset, path: str) -> InstanceRow:
    """Return the row of a received instance."""
    return InstanceRow(
        sop_instance_uid=ds.SOPInstanceUID,
        study_uid=ds.StudyInstanceUID,
        series_uid=ds.SeriesInstanceUID,
        sop_class_uid=ds.SOPClassUID,
        transfer_syntax_uid=ds.file_meta.TransferSyntaxUID,
        patient_key=_sha(ds.PatientID)[:16],
        sha256=_sha(path),
        path=path,
        calling_ae="TESTS",
    )


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
