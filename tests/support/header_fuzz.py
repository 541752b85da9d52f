"""Headers as nobody should write them: seeded changes of values, representations, lengths, order, and single bytes.

A header is held as a list of its elements, so that a change needs no library that would refuse it. Each variant depends
on its seed and its number alone.
"""

import io
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

__all__ = ["READ", "Element", "HeaderFuzz", "changed_inside", "elements_of", "file_of", "leaves"]

_META = b"\0" * 128 + b"DICM"
_REPRESENTATIONS = [
    "AE",
    "AS",
    "AT",
    "CS",
    "DA",
    "DS",
    "DT",
    "FD",
    "FL",
    "IS",
    "LO",
    "LT",
    "OB",
    "OD",
    "OF",
    "OL",
    "OV",
    "OW",
    "PN",
    "SH",
    "SL",
    "SQ",
    "SS",
    "ST",
    "SV",
    "TM",
    "UC",
    "UI",
    "UL",
    "UN",
    "UR",
    "US",
    "UT",
    "UV",
    "??",
    "\x00\x00",
]
_LONG = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))

READ = (
    "AccessionNumber", "AcquisitionContrast", "AcquisitionDate", "AcquisitionDateTime", "AcquisitionNumber",
    "AcquisitionTime", "AdditionalPatientHistory", "AdmittingDiagnosesDescription", "AnatomicalOrientationType",
    "BitsAllocated", "BitsStored", "BodyPartExamined", "CodeMeaning", "CodeValue", "CodingSchemeDesignator",
    "Columns", "ComplexImageComponent", "ContentDate", "ContentSequence", "ContentTime", "ContrastBolusAgent",
    "ContrastBolusAgentSequence", "ContrastBolusIngredient", "ContributingEquipmentSequence",
    "CurrentRequestedProcedureEvidenceSequence", "DerivationCodeSequence", "DerivationDescription",
    "DerivationImageSequence", "DeviceSerialNumber", "DiffusionBValue", "DiffusionGradientOrientation", "EchoNumbers",
    "EchoPlanarPulseSequence", "EchoPulseSequence", "EchoTime", "EchoTrainLength", "EffectiveEchoTime", "FlipAngle",
    "FrameAcquisitionDateTime", "FrameAcquisitionNumber", "FrameOfReferenceUID", "FrameType", "HighBit",
    "ImageOrientation", "ImageOrientationPatient", "ImagePosition", "ImagePositionPatient", "ImageType",
    "ImagesInAcquisition", "InConcatenationTotalNumber", "InstanceNumber", "InstitutionAddress", "InstitutionName",
    "InstitutionalDepartmentName", "InversionRecovery", "InversionTime", "InversionTimes", "LongCodeValue",
    "LossyImageCompression", "LossyImageCompressionMethod", "LossyImageCompressionRatio", "MRAcquisitionType",
    "MagneticFieldStrength", "Manufacturer", "ManufacturerModelName", "MaximumFractionalValue", "ModalitiesInStudy",
    "Modality", "ModalityLUTSequence", "NameOfPhysiciansReadingStudy", "NominalCardiacTriggerDelayTime",
    "NumberOfFrames", "NumberOfTemporalPositions", "PatientAge", "PatientBirthDate", "PatientBreedDescription",
    "PatientID", "PatientName", "PatientSex", "PatientSexNeutered", "PatientSpeciesCodeSequence",
    "PatientSpeciesDescription", "PerFrameFunctionalGroupsSequence", "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime", "PertinentOtherEvidenceSequence", "PhotometricInterpretation",
    "PhysiciansOfRecord", "PixelPaddingRangeLimit", "PixelPaddingValue", "PixelRepresentation", "PixelSpacing",
    "PositionReferenceIndicator", "ProtocolName", "PulseSequenceName", "RFEchoTrainLength",
    "RealWorldValueMappingSequence", "ReasonForTheRequestedProcedure", "ReferencedFrameNumber",
    "ReferencedInstanceSequence", "ReferencedSOPInstanceUID", "ReferencedSegmentNumber", "ReferencedSeriesSequence",
    "ReferringPhysicianName", "RepetitionTime", "RequestAttributesSequence", "RequestedProcedureDescription",
    "RescaleIntercept", "RescaleSlope", "ResponsiblePersonRole", "Rows", "SOPClassUID", "SOPInstanceUID",
    "SamplesPerPixel", "ScanningSequence", "SegmentAlgorithmType", "SegmentDescription",
    "SegmentIdentificationSequence", "SegmentLabel", "SegmentNumber", "SegmentSequence", "SegmentationType",
    "SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence", "SequenceName", "SequenceVariant",
    "SeriesDate", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber", "SeriesTime", "ServiceEpisodeDescription",
    "SharedFunctionalGroupsSequence", "SliceThickness", "SoftwareVersions", "SourceImageSequence",
    "SpacingBetweenSlices", "SpecificCharacterSet", "StackID", "StationName", "StudyDate", "StudyDescription",
    "StudyID", "StudyInstanceUID", "StudyTime", "TemporalPositionIdentifier", "TemporalPositionIndex",
    "TimezoneOffsetFromUTC", "TrackingID", "TrackingUID", "TriggerTime", "URNCodeValue",
    "VolumeBasedCalculationTechnique",
)  # fmt: skip
"""Attributes that the product reads; a variant changes those that are there, and puts others there."""

_NASTY = (
    b"", b" ", b"\0", b"\0\0\0", b"\\", b"\\\\\\\\", b"nan", b"inf", b"-1", b"0", b"1e308", b"-1e308", b"1e-320",
    b"99999999999999999999", b"0,5\\0,5", b"1.2.3\\1.2.4", b"9Y", b"000Y", b"2010.05.04", b"00000000", b"99991231",
    b"14:16:45", b"256061", b"\xff\xfe\xfd", b"\x1b$B\x1b(B", b"\x1b[31m", b"A" * 300, b"1\\2\\3", b"1\\x\\3",
    b"ISO_IR 999", b"ISO 2022 IR 87", b"DERIVED\\SECONDARY\\MOSAIC", b"0\\0\\0\\0\\0\\0", b"1\\0\\0\\1\\0\\0",
    struct.pack("<2d", float("nan"), float("inf")), struct.pack("<d", 1e300), struct.pack("<H", 65535),
    struct.pack("<i", -(2**31)), b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\x00\xe0\x04\x00\x00\x00abcd",
    b"\xfe\xff\x00\xe0\x00\x00\x00\x00", b"\x18\x00\x81\x00DS\x03\x001.5",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Element:
    """One element of an explicit little endian data set, not necessarily a valid one."""

    tag: int
    vr: str
    value: bytes

    @property
    def encoded(self) -> bytes:
        """Its bytes; the length is what the value has, as far as its field holds that."""
        head = struct.pack("<HH", self.tag >> 16, self.tag & 0xFFFF) + self.vr.encode("latin-1")[:2].ljust(2)
        if self.vr in _LONG:
            return head + b"\0\0" + struct.pack("<I", len(self.value)) + self.value
        return head + struct.pack("<H", len(self.value) & 0xFFFF) + self.value[:0xFFFF]


def elements_of(ds: Dataset) -> list[Element]:
    """Return a header's elements without file meta information and pixels."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    plain = Dataset()
    plain.update({tag: ds[tag] for tag in ds.keys() if tag.group < 0x7FE0})  # noqa: SIM118
    write_dataset(buffer, plain)
    read = dcmread(io.BytesIO(file_of([], buffer.getvalue())))
    return [Element(tag=int(tag), vr=str(raw.VR), value=raw.value) for tag, raw in _raw(read)]


def _raw(ds: Dataset) -> list[tuple[int, object]]:
    found = ((tag, ds.get_item(tag)) for tag in ds.keys())  # noqa: SIM118
    return [(tag, raw) for tag, raw in found if isinstance(raw.value, bytes)]  # type: ignore[union-attr]


def file_of(elements: Sequence[Element], more: bytes = b"", pixels: bytes = b"") -> bytes:
    """Return a Part 10 file in explicit little endian."""
    syntax = Element(tag=0x00020010, vr="UI", value=b"1.2.840.10008.1.2.1\0").encoded
    length = Element(tag=0x00020000, vr="UL", value=struct.pack("<I", len(syntax))).encoded
    tail = Element(tag=0x7FE00010, vr="OW", value=pixels).encoded if pixels else b""
    return _META + length + syntax + b"".join(element.encoded for element in elements) + more + tail


def leaves(elements: Sequence[Element], path: str = "") -> Iterator[tuple[str, Element]]:
    """Yield the elements inside sequences that are no sequences, each with the way to it."""
    for element in elements:
        for number, item in enumerate(_items_of(element)):
            way = f"{path}/{element.tag:08X}/{number}"
            yield from ((f"{way}/{inner.tag:08X}", inner) for inner in item if not _items_of(inner))
            yield from leaves(item, way)


def _items_of(sequence: Element) -> list[list[Element]]:
    """Return the items of a sequence of known lengths; none of anything else."""
    value, at, found = sequence.value, 0, list[list[Element]]()
    try:
        while sequence.vr == "SQ" and at < len(value):
            group, number, length = struct.unpack_from("<HHI", value, at)
            if (group, number) != (0xFFFE, 0xE000) or at + 8 + length > len(value):
                return []
            found.append(_elements_in(value[at + 8 : at + 8 + length]))
            at += 8 + length
    except (struct.error, ValueError):
        return []  # a change before has made another thing of it
    return found


def _elements_in(content: bytes) -> list[Element]:
    at, found = 0, list[Element]()
    while at < len(content):
        group, number, vr = struct.unpack_from("<HH2s", content, at)
        is_long = vr.decode("latin-1") in _LONG
        (length,) = struct.unpack_from("<I" if is_long else "<H", content, at + (8 if is_long else 6))
        begin = at + (12 if is_long else 8)
        at = begin + length
        if at > len(content):
            raise ValueError
        found.append(Element(tag=group << 16 | number, vr=vr.decode("latin-1"), value=content[begin:at]))
    return found


class HeaderFuzz:
    """Makes variants of the headers of a series.

    Parameters
    ----------
    bases
        Series, each the elements of its images.
    """

    def __init__(self, bases: Sequence[Sequence[Sequence[Element]]], seed: int) -> None:
        self._bases, self._seed = bases, seed

    def variant(self, number: int, pixels: bytes = b"") -> list[bytes]:
        """Return the files of one variant."""
        rng = random.Random(f"{self._seed} {number}")  # noqa: S311 - a variant is to be the same again
        images = [list(image) for image in rng.choice(self._bases)]
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            change, touched = rng.choice(_CHANGES), rng.choice((images, images[:1], images[::2]))
            state = rng.getstate()
            for image in touched:
                rng.setstate(state)  # the same change in each, so that it is one series still
                change(rng, image)
        files = [file_of(image, pixels=pixels) for image in images]
        return [_damaged(rng, content) for content in files] if rng.random() < 0.1 else files


def _damaged(rng: random.Random, content: bytes) -> bytes:
    """Change single bytes behind the file meta information, or cut the file."""
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        damaged[rng.randrange(180, len(damaged))] = rng.randrange(256)
    return bytes(damaged if rng.random() < 0.8 else damaged[: rng.randrange(180, len(damaged))])


def _at(rng: random.Random, image: list[Element]) -> int:
    """Return the place of an attribute that is read, which is put there if need be."""
    tag = int(Tag(rng.choice(READ)))
    found = next((place for place, element in enumerate(image) if element.tag == tag), None)
    if found is None:
        found = next((place for place, element in enumerate(image) if element.tag > tag), len(image))
        image.insert(found, Element(tag=tag, vr="LO", value=b"x"))
    return found


def _value(rng: random.Random, image: list[Element]) -> None:
    place, value = _at(rng, image), rng.choice((*_NASTY, rng.randbytes(rng.randrange(40))))
    image[place] = Element(tag=image[place].tag, vr=image[place].vr, value=value)


def _representation(rng: random.Random, image: list[Element]) -> None:
    place = _at(rng, image)
    image[place] = Element(tag=image[place].tag, vr=rng.choice(_REPRESENTATIONS), value=image[place].value)


def _both(rng: random.Random, image: list[Element]) -> None:
    place, value = _at(rng, image), rng.choice((*_NASTY, rng.randbytes(rng.randrange(12))))
    image[place] = Element(tag=image[place].tag, vr=rng.choice(_REPRESENTATIONS), value=value)


def _length(rng: random.Random, image: list[Element]) -> None:
    place = _at(rng, image)
    old = image[place]
    value = old.value[: rng.randrange(len(old.value) + 1)] if rng.random() < 0.5 else old.value + rng.randbytes(3)
    image[place] = Element(tag=old.tag, vr=old.vr, value=value)


def _several(rng: random.Random, image: list[Element]) -> None:
    place = _at(rng, image)
    old = image[place]
    image[place] = Element(tag=old.tag, vr=old.vr, value=b"\\".join([old.value] * rng.randint(2, 5)))


def _nested(rng: random.Random, image: list[Element]) -> None:
    place, inner = _at(rng, image), b"".join(element.encoded for element in rng.sample(image, min(3, len(image))))
    for _ in range(rng.choice((1, 2, 40, 400))):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inner)) + inner
        inner = item if len(item) > 60_000 else Element(tag=0x0040A730, vr="SQ", value=item).encoded
    image[place] = Element(tag=image[place].tag, vr=rng.choice(("SQ", "UN", "OB")), value=inner)


def _removed(rng: random.Random, image: list[Element]) -> None:
    del image[_at(rng, image)]


def _doubled(rng: random.Random, image: list[Element]) -> None:
    old = image[_at(rng, image)]
    image.insert(rng.randrange(len(image) + 1), Element(tag=old.tag, vr=old.vr, value=rng.choice(_NASTY)))


def _swapped(rng: random.Random, image: list[Element]) -> None:
    tags = [image[_at(rng, image)].tag for _ in range(2)]
    a, b = (next(place for place, element in enumerate(image) if element.tag == tag) for tag in tags)
    one, other = image[a], image[b]
    image[a] = Element(tag=one.tag, vr=one.vr, value=other.value)
    image[b] = Element(tag=other.tag, vr=other.vr, value=one.value)


def changed_inside(rng: random.Random, image: list[Element]) -> None:
    """Change what stands inside a sequence, most often of what is there: functional groups are nothing else."""
    places = [place for place, element in enumerate(image) if any(_items_of(element))]
    if not places:
        _value(rng, image)
        return
    place = rng.choice(places)
    items = _items_of(image[place])
    item = rng.choice([one for one in items if one])
    if any(any(_items_of(element)) for element in item) and rng.random() < 0.9:
        changed_inside(rng, item)
    elif rng.random() < 0.3:
        rng.choice((_value, _both, _representation, _length, _several, _removed, _doubled))(rng, item)
    else:
        at = rng.randrange(len(item))
        old, value = item[at], rng.choice((*_NASTY, rng.randbytes(rng.randrange(12))))
        vr = rng.choice((old.vr, old.vr, rng.choice(_REPRESENTATIONS)))
        item[at : at + 1] = rng.choice(
            ([Element(tag=old.tag, vr=vr, value=value)], [Element(tag=old.tag, vr=vr, value=old.value)], [old, old], [])
        )
    whole = b""
    for one in items:
        inner = b"".join(element.encoded for element in one)
        whole += b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inner)) + inner
    image[place] = Element(tag=image[place].tag, vr="SQ", value=whole)


_CHANGES = (
    _value,
    _value,
    _value,
    _both,
    _both,
    _representation,
    _length,
    _several,
    _nested,
    _removed,
    _doubled,
    _swapped,
    changed_inside,
    changed_inside,
    changed_inside,
)
