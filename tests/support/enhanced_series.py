"""Enhanced MR instances, written from an affine and the standard's formula: frames in any order, one or more echoes.

An instance is valid by dciodvfy, so what the product makes of it is made of what a conforming scanner may send.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from tests.support.dicom_series import STUDY, uid_of

__all__ = ["enhanced_instance"]

_AT_PLACE = 0x0020_9057
"""In-Stack Position Number, the second dimension; the first is the echo time."""

_ECHO_TIME = 0x0018_9082


def enhanced_instance(
    voxels: NDArray[np.generic],
    affine: NDArray[np.float64],
    series: str = "enhanced",
    order: Sequence[int] | None = None,
    *,
    number: int = 1,
    echo_times_ms: Sequence[float] = (12.0,),
    spread: bool = False,
    rescale: Sequence[tuple[float, float]] = ((1.0, 0.0),),
    scale_slopes: Sequence[float] = (),
    **attributes: object,
) -> Dataset:
    """Return one instance of a series.

    Parameters
    ----------
    voxels
        16-bit stored values, shape (slice, row, column), or (echo, slice, row, column).
    affine
        Shape (4, 4), index (slice, row, column, 1) to LPS in mm.
    series
        Name of the series, from which its UIDs come.
    order
        Which images become frames, in this order: counted through the slices of the first echo, then the next. Images
        that are left out make a further instance of the series.
    number
        InstanceNumber, which the instance's UID depends on.
    echo_times_ms
        One for each echo.
    spread
        Whether orientation and pixel measures are repeated in each frame, as Philips does, rather than shared.
    rescale
        Slope and intercept: one pair for all images, or one for each in the order that `order` counts them.
    scale_slopes
        Philips' private scale slope, as many as `rescale`; none for another manufacturer.
    attributes
        Further attributes by keyword, or other values than the usual ones.
    """
    echoes = voxels if voxels.ndim == 4 else voxels[np.newaxis]
    images = echoes.reshape(-1, *echoes.shape[2:])
    chosen = list(range(len(images)) if order is None else order)
    ds = _instance(series, number)
    _describe_pixels(ds, images[chosen])
    geometry = _geometry(affine)
    ds.SharedFunctionalGroupsSequence = [_shared(echo_times_ms, None if spread else geometry)]
    frames = []
    for image in chosen:
        echo, place = divmod(image, echoes.shape[1])
        frame = _frame(affine, place, echo, echo_times_ms)
        if spread:
            frame.update(geometry)
        _transform(frame, *rescale[image % len(rescale)], scale_slopes[image % len(rescale)] if scale_slopes else None)
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    if scale_slopes:
        ds.Manufacturer = "Philips Medical Systems"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds


def _dataset(**attributes: object) -> Dataset:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _instance(series: str, number: int) -> Dataset:
    ds = _dataset(
        SpecificCharacterSet="ISO_IR 100",
        SOPClassUID=EnhancedMRImageStorage,
        SOPInstanceUID=uid_of(series, "enhanced instance", str(number)),
        StudyInstanceUID=uid_of(STUDY),
        SeriesInstanceUID=uid_of(series),
        FrameOfReferenceUID=uid_of("frame of reference"),
        PositionReferenceIndicator="",
        PatientName="Phantom^Synthetic",
        PatientID="TEST-1",
        PatientBirthDate="19700101",
        PatientSex="O",
        StudyDate="20240102",
        StudyTime="101500",
        StudyID="1",
        AccessionNumber="A1",
        ReferringPhysicianName="",
        SeriesDate="20240102",
        SeriesTime="101600",
        ContentDate="20240102",
        ContentTime="101600",
        Modality="MR",
        PatientPosition="HFS",
        SeriesDescription="T1 post contrast",
        SeriesNumber=1,
        InstanceNumber=number,
        Manufacturer="GlioNode tests",
        ManufacturerModelName="Enhanced",
        DeviceSerialNumber="1",
        SoftwareVersions="1",
        AcquisitionContextSequence=[],
    )
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.update(_acquisition())
    organisation = uid_of(series, "dimensions")
    ds.DimensionOrganizationSequence = [_dataset(DimensionOrganizationUID=organisation)]
    ds.DimensionIndexSequence = [
        _dataset(DimensionOrganizationUID=organisation, DimensionIndexPointer=pointer, FunctionalGroupPointer=group)
        for pointer, group in ((_ECHO_TIME, 0x0018_9114), (_AT_PLACE, 0x0020_9111))
    ]
    return ds


def _acquisition() -> Dataset:
    """Return the modules Enhanced MR Image and MR Pulse Sequence (PS3.3 C.8.13.1 and C.8.13.4)."""
    return _dataset(
        ImageType=["ORIGINAL", "PRIMARY", "T1", "NONE"],
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
        ComplexImageComponent="MAGNITUDE",
        AcquisitionContrast="T1",
        AcquisitionNumber=1,
        AcquisitionDateTime="20240102101600",
        AcquisitionDuration=120.0,
        ContentQualification="RESEARCH",
        ResonantNucleus="1H",
        KSpaceFiltering="NONE",
        MagneticFieldStrength=1.5,
        ApplicableSafetyStandardAgency="IEC",
        BurnedInAnnotation="NO",
        LossyImageCompression="00",
        PresentationLUTShape="IDENTITY",
        PulseSequenceName="SE",
        MRAcquisitionType="2D",
        EchoPulseSequence="SPIN",
        MultipleSpinEcho="NO",
        MultiPlanarExcitation="NO",
        PhaseContrast="NO",
        TimeOfFlightContrast="NO",
        SteadyStatePulseSequence="NONE",
        EchoPlanarPulseSequence="NO",
        SaturationRecovery="NO",
        SpectrallySelectedSuppression="NONE",
        OversamplingPhase="NONE",
        GeometryOfKSpaceTraversal="RECTILINEAR",
        RectilinearPhaseEncodeReordering="LINEAR",
        SegmentedKSpaceTraversal="SINGLE",
        NumberOfKSpaceTrajectories=1,
    )


def _describe_pixels(ds: Dataset, images: NDArray[np.generic]) -> None:
    ds.NumberOfFrames, ds.Rows, ds.Columns = images.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = int(np.issubdtype(images.dtype, np.signedinteger))
    ds.PixelData = np.ascontiguousarray(images, images.dtype.newbyteorder("<")).tobytes()
    ds["PixelData"].VR = "OW"


def _geometry(affine: NDArray[np.float64]) -> Dataset:
    """Return orientation and pixel measures: columns run along the row direction, rows along the column direction."""
    spacing = [float(value) for value in np.linalg.norm(affine[:3, :3], axis=0)]
    cosines = (*(affine[:3, 2] / spacing[2]), *(affine[:3, 1] / spacing[1]))
    measures = _dataset(
        PixelSpacing=[format_number_as_ds(spacing[1]), format_number_as_ds(spacing[2])],
        SliceThickness=format_number_as_ds(spacing[0]),
    )
    orientation = _dataset(ImageOrientationPatient=[format_number_as_ds(float(value)) for value in cosines])
    return _dataset(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[orientation])


def _shared(echo_times_ms: Sequence[float], geometry: Dataset | None) -> Dataset:
    shared = _dataset(
        FrameAnatomySequence=[
            _dataset(FrameLaterality="U", AnatomicRegionSequence=[_code("12738006", "SCT", "Brain")]),
        ],
        FrameVOILUTSequence=[_dataset(WindowCenter="500", WindowWidth="1000")],
        MRTimingAndRelatedParametersSequence=[
            _dataset(
                RepetitionTime=600.0,
                FlipAngle=90.0,
                EchoTrainLength=1,
                RFEchoTrainLength=1,
                GradientEchoTrainLength=0,
                SpecificAbsorptionRateSequence=[
                    _dataset(SpecificAbsorptionRateDefinition="IEC_HEAD", SpecificAbsorptionRateValue=1.0),
                ],
                OperatingModeSequence=[
                    _dataset(OperatingModeType="STATIC FIELD", OperatingMode="IEC_NORMAL"),
                ],
                GradientOutputType="DB_DT",
                GradientOutput=0.0,
            )
        ],
        MRFOVGeometrySequence=[
            _dataset(
                InPlanePhaseEncodingDirection="ROW",
                MRAcquisitionFrequencyEncodingSteps=64,
                MRAcquisitionPhaseEncodingStepsInPlane=64,
                PercentSampling=100.0,
                PercentPhaseFieldOfView=100.0,
            )
        ],
        MRModifierSequence=[
            _dataset(
                InversionRecovery="NO",
                FlowCompensation="NONE",
                Spoiling="NONE",
                T2Preparation="NO",
                SpectrallySelectedExcitation="NONE",
                SpatialPresaturation="NONE",
                PartialFourier="NO",
                ParallelAcquisition="NO",
            )
        ],
        MRImagingModifierSequence=[
            _dataset(
                MagnetizationTransfer="NONE", BloodSignalNulling="NO", Tagging="NONE", TransmitterFrequency=63.8,
                PixelBandwidth=200.0,
            )
        ],
        MRReceiveCoilSequence=[
            _dataset(
                ReceiveCoilName="HEAD",
                ReceiveCoilManufacturerName="",
                ReceiveCoilType="VOLUME",
                QuadratureReceiveCoil="NO",
            )
        ],
        MRTransmitCoilSequence=[
            _dataset(TransmitCoilName="BODY", TransmitCoilManufacturerName="", TransmitCoilType="BODY")
        ],
        MRAveragesSequence=[_dataset(NumberOfAverages=1.0)],
        MRImageFrameTypeSequence=[
            _dataset(
                FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"],
                PixelPresentation="MONOCHROME",
                VolumetricProperties="VOLUME",
                VolumeBasedCalculationTechnique="NONE",
                ComplexImageComponent="MAGNITUDE",
                AcquisitionContrast="T1",
            )
        ],
    )  # fmt: skip
    if len(echo_times_ms) == 1:
        shared.MREchoSequence = [_dataset(EffectiveEchoTime=float(echo_times_ms[0]))]
    if geometry is not None:
        shared.update(geometry)
    return shared


def _frame(affine: NDArray[np.float64], place: int, echo: int, echo_times_ms: Sequence[float]) -> Dataset:
    position = affine[:3, 3] + place * affine[:3, 0]
    frame = _dataset(
        FrameContentSequence=[
            _dataset(
                FrameAcquisitionNumber=1,
                FrameAcquisitionDateTime="20240102101600",
                FrameReferenceDateTime="20240102101600",
                FrameAcquisitionDuration=120000.0,
                StackID="1",
                InStackPositionNumber=place + 1,
                DimensionIndexValues=[echo + 1, place + 1],
            )
        ],
        PlanePositionSequence=[
            _dataset(ImagePositionPatient=[format_number_as_ds(float(value)) for value in position]),
        ],
    )
    if len(echo_times_ms) > 1:
        frame.MREchoSequence = [_dataset(EffectiveEchoTime=float(echo_times_ms[echo]))]
    return frame


def _transform(frame: Dataset, slope: float, intercept: float, scale_slope: float | None) -> None:
    """Write the rescale, and Philips' scale slope in the private copy of a classic header that each frame carries."""
    frame.PixelValueTransformationSequence = [
        _dataset(
            RescaleIntercept=format_number_as_ds(float(intercept)),
            RescaleSlope=format_number_as_ds(float(slope)),
            RescaleType="US",
        )
    ]
    if scale_slope is None:
        return
    header = Dataset()
    block = header.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0E, "FL", scale_slope)
    frame.add_new(0x2005_0014, "LO", "Philips MR Imaging DD 005")
    frame.add_new(0x2005_140F, "SQ", [header])
