"""What stored values mean is settled once, from everything that is there, in every transfer syntax."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    RLELossless,
)

from conversion.errors import BrokenGeometry, ConversionReason, UnreadableSeries, UnusableStudy
from conversion.reading import read_series, read_study
from conversion.study import Study
from tests.support.dicom_series import axis_aligned, mr_slices, uid_of, write_slices
from tests.support.enhanced_series import enhanced_instance
from tests.support.raw_values import put_raw
from tests.support.transfer_syntaxes import LOSSLESS, write_series

pytestmark = pytest.mark.dcmtk

VOXELS = np.arange(100, 100 + 6 * 8 * 7, dtype=np.uint16).reshape(6, 8, 7)


def _name(value: object) -> str:
    return value.name.partition(" (")[0] if isinstance(value, UID) else str(value)


def _voxels(study: Study) -> NDArray[np.float32]:
    (series,) = study.series
    return read_series(series).voxels


def _changed(paths: list[Path], change: Callable[[Dataset, int], None]) -> list[Path]:
    for k, path in enumerate(paths):
        ds = pydicom.dcmread(path)
        change(ds, k)
        ds.save_as(path)
    return paths


def _series(folder: Path, change: Callable[[Dataset, int], None], voxels: NDArray[np.generic] = VOXELS) -> list[Path]:
    return _changed(write_slices(folder, mr_slices(voxels, axis_aligned("axial"))), change)


def _decided(study: Study) -> list[tuple[str, str]]:
    return [(decision.code, decision.reason) for decision in study.decisions]


@pytest.mark.parametrize("kind", ["u12", "s12"])
@pytest.mark.parametrize("syntax", LOSSLESS, ids=_name)
def test_values_in_the_upper_bits_are_those_that_went_in(tmp_path: Path, syntax: UID, kind: str) -> None:
    paths, pixels = write_series(tmp_path, syntax, kind, upper=True)
    assert np.array_equal(_voxels(read_study(paths)), pixels)


@pytest.mark.parametrize("high_bit", [11, 12, 14, 15])
@pytest.mark.parametrize("signed", [False, True])
def test_the_value_is_where_the_high_bit_says_and_nothing_else_counts(
    tmp_path: Path, high_bit: int, *, signed: bool
) -> None:
    values = np.random.default_rng(5).integers(-2048 * signed, 4096 - 2048 * signed, VOXELS.shape)
    noise = np.random.default_rng(6).integers(0, 65536, VOXELS.shape)
    mask = 0xFFF << (high_bit - 11)
    cells = (((values & 0xFFF) << (high_bit - 11)) & mask | noise & ~mask).astype(np.uint16)

    def change(ds: Dataset, k: int) -> None:
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, high_bit, int(signed)
        ds.PixelData = cells[k].astype("<u2").tobytes()

    assert np.array_equal(_voxels(read_study(_series(tmp_path, change))), values)


@pytest.mark.parametrize("signed", [False, True])
def test_a_high_bit_over_values_in_the_lower_bits_is_overruled_by_them(tmp_path: Path, *, signed: bool) -> None:
    values = np.random.default_rng(5).integers(-2048 * signed, 4096 - 2048 * signed, VOXELS.shape)

    def change(ds: Dataset, k: int) -> None:
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 15, int(signed)
        ds.PixelData = values[k].astype("<i2").tobytes()

    assert np.array_equal(_voxels(read_study(_series(tmp_path, change))), values)


def _hill(highest: int) -> NDArray[np.int64]:
    """Return a smooth volume, nought at its edge, of six slices of 32 x 32."""
    bend = np.sin(np.linspace(0, np.pi, 32))
    return np.round(highest * np.sin(np.linspace(0.4, 2.7, 6))[:, None, None] * bend[:, None] * bend).astype(np.int64)


def _cells(folder: Path, cells: NDArray[np.generic], **header: object) -> NDArray[np.float32]:
    """Return what is read of cells of 16 bits under a header of 12 unsigned ones, or of what is given."""

    def change(ds: Dataset, _k: int) -> None:
        for keyword, value in ({"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0} | header).items():
            setattr(ds, keyword, value)

    return _voxels(read_study(_series(folder, change, cells.astype(np.int64).astype(np.uint16))))


@pytest.mark.parametrize(("bits", "highest"), [(12, 6000), (8, 700)])
@pytest.mark.parametrize("signed", [0, 1])
def test_values_that_need_more_bits_than_are_stated_do_not_wrap(
    tmp_path: Path, bits: int, highest: int, signed: int
) -> None:
    values = _hill(highest) - highest // 4 * signed
    found = _cells(tmp_path, values, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=signed)
    assert np.array_equal(found, values)


@pytest.mark.parametrize("signed", [0, 1])
def test_an_overlay_above_the_value_is_no_part_of_it(tmp_path: Path, signed: int) -> None:
    values = _hill(1800) - 900 * signed
    overlay = np.zeros(values.shape, np.int64)
    overlay[:, 5:9, 4:28] = overlay[:, 5:25, 14:17] = 1 << 12
    assert np.array_equal(_cells(tmp_path, (values & 0xFFF) | overlay, PixelRepresentation=signed), values)


@pytest.mark.parametrize("header", [{}, {"BitsStored": 16, "HighBit": 15}])
def test_signed_values_under_an_unsigned_header_stay_below_nought(tmp_path: Path, header: dict[str, int]) -> None:
    values = _hill(800) - 200
    assert np.array_equal(_cells(tmp_path, values, **header), values)


def test_unsigned_values_under_a_signed_header_stay_above_nought(tmp_path: Path) -> None:
    values = _hill(40000)
    assert np.array_equal(_cells(tmp_path, values, BitsStored=16, HighBit=15, PixelRepresentation=1), values)


def test_a_bright_mark_makes_no_value_signed(tmp_path: Path) -> None:
    values = _hill(900)
    values[:, 3:20, 3:9] = 65535
    values[:, 3, 3:9] = np.arange(60000, 60006)
    assert np.array_equal(_cells(tmp_path, values, BitsStored=16, HighBit=15), values)


@pytest.mark.parametrize("kind", ["u12", "s12", "u16", "s16", "u8"])
@pytest.mark.parametrize("syntax", LOSSLESS, ids=_name)
def test_monochrome1_is_turned_over_and_its_darkest_is_nought(tmp_path: Path, syntax: UID, kind: str) -> None:
    paths, pixels = write_series(tmp_path, syntax, kind, PhotometricInterpretation="MONOCHROME1", RescaleSlope="2")
    study = read_study(paths)
    bits, signed = int(kind[1:]), kind.startswith("s")
    highest = -1 if signed else 2**bits - 1
    shown = (highest - pixels.astype(np.int64)) * 2.0
    assert np.array_equal(_voxels(study), shown - shown.min())
    ((code, reason),) = _decided(study)
    assert code == "turned_over"
    assert "3 instance(s): MONOCHROME1" in reason


@pytest.mark.parametrize("syntax", LOSSLESS, ids=_name)
def test_padding_is_background(tmp_path: Path, syntax: UID) -> None:
    plain, pixels = write_series(tmp_path / "plain", syntax)
    value = int(pixels.max())
    assert np.count_nonzero(pixels == value) > 0
    paths, _ = write_series(
        tmp_path / "padded", syntax, PixelPaddingValue=value, RescaleIntercept="10", RescaleSlope="1"
    )
    study = read_study(paths)
    assert np.array_equal(_voxels(study), np.where(pixels == value, 0, pixels + 10.0))
    ((code, reason),) = _decided(study)
    assert code == "padding"
    assert f"stored values of {value} are padding" in reason
    assert _decided(read_study(plain)) == []


@pytest.mark.parametrize(
    ("attributes", "low", "high"),
    [
        ({"PixelPaddingValue": 63535}, -2001, -2001),
        ({"PixelPaddingValue": 63535, "PixelPaddingRangeLimit": 63538}, -2001, -1998),
        ({"PixelPaddingValue": 63538, "PixelPaddingRangeLimit": 63535}, -2001, -1998),
    ],
)
def test_padding_in_the_other_representation_and_as_a_range(
    tmp_path: Path, attributes: dict[str, int], low: int, high: int
) -> None:
    values = VOXELS.astype(np.int16) - 150
    values[:, ::3, ::2] = (
        np.arange(-2003, -2003 + values[:, ::3, ::2].size).reshape(values[:, ::3, ::2].shape) % 12 - 2003
    )
    hidden = (values >= low) & (values <= high)
    assert hidden.any()

    def change(ds: Dataset, _k: int) -> None:
        for keyword, value in attributes.items():
            ds.add_new(keyword, "US", value)

    found = _voxels(read_study(_series(tmp_path, change, values)))
    assert np.array_equal(found, np.where(hidden, values[~hidden].min(), values))


def test_padding_among_the_values_of_tissue_is_what_reaches_the_edge(tmp_path: Path) -> None:
    values = np.minimum(_hill(900), 60000)
    values[:, :4], values[:, 14:18, 14:18] = 300, 300

    def change(ds: Dataset, _k: int) -> None:
        ds.add_new("PixelPaddingValue", "US", 300)

    found = _voxels(read_study(_series(tmp_path, change, values.astype(np.uint16))))
    assert not found[:, :4].any()
    assert np.array_equal(found[:, 4:], values[:, 4:])


def test_padding_beyond_the_values_of_tissue_is_padding_everywhere(tmp_path: Path) -> None:
    values = _hill(900)
    values[:, 14:18, 14:18] = 3000

    def change(ds: Dataset, _k: int) -> None:
        ds.add_new("PixelPaddingValue", "US", 3000)

    found = _voxels(read_study(_series(tmp_path, change, values.astype(np.uint16))))
    assert np.array_equal(found, np.where(values == 3000, 0, values))


def test_padding_that_is_nought_already_needs_no_word(tmp_path: Path) -> None:
    def change(ds: Dataset, _k: int) -> None:
        ds.add_new("PixelPaddingValue", "US", 0)

    study = read_study(_series(tmp_path, change))
    assert np.array_equal(_voxels(study), VOXELS)
    assert _decided(study) == []


def _palette(ds: Dataset, _k: int) -> None:
    ds.PhotometricInterpretation = "PALETTE COLOR"


def _colours(ds: Dataset, _k: int) -> None:
    ds.PhotometricInterpretation, ds.SamplesPerPixel, ds.PlanarConfiguration = "RGB", 3, 0


def _grey_of_three(ds: Dataset, _k: int) -> None:
    ds.SamplesPerPixel = 3


def _colour_of_one(ds: Dataset, _k: int) -> None:
    ds.PhotometricInterpretation = "YBR_FULL_422"


@pytest.mark.parametrize("change", [_palette, _colours, _grey_of_three, _colour_of_one])
def test_a_picture_is_named_and_gets_no_role(tmp_path: Path, change: Callable[[Dataset, int], None]) -> None:
    paths = _series(tmp_path, change)
    with pytest.raises(UnusableStudy, match=r"6 instance.* colour images") as caught:
        read_study(paths)
    assert caught.value.reason is ConversionReason.NO_MR


def test_a_picture_at_a_slice_is_at_it_however_its_position_was_rounded(tmp_path: Path) -> None:
    slices = mr_slices(VOXELS, axis_aligned("axial"))
    picture = mr_slices(VOXELS, axis_aligned("axial"))[2]
    picture.SOPInstanceUID = picture.file_meta.MediaStorageSOPInstanceUID = uid_of("picture")
    _palette(picture, 0)
    for ds, off_mm in [*((each, 0.0049) for each in slices), (picture, 0.0051)]:
        x, y, z = ds.ImagePositionPatient
        ds.ImagePositionPatient = [x, y, round(float(z) + off_mm, 4)]
    study = read_study(write_slices(tmp_path, [*slices, picture]))
    assert np.array_equal(_voxels(study), VOXELS)
    assert [code for code, _ in _decided(study)] == ["colour_image"]


@pytest.mark.parametrize("place", [0, 3, 6])
def test_a_picture_among_slices_costs_no_slice(tmp_path: Path, place: int) -> None:
    slices = mr_slices(VOXELS, axis_aligned("axial"))
    picture = mr_slices(VOXELS, axis_aligned("axial"))[2]
    picture.SOPInstanceUID = picture.file_meta.MediaStorageSOPInstanceUID = uid_of("picture")
    _palette(picture, 0)
    slices.insert(place, picture)
    study = read_study(write_slices(tmp_path, slices))
    assert np.array_equal(_voxels(study), VOXELS)
    assert [code for code, _ in _decided(study)] == ["colour_image"]


def test_a_slice_without_slope_among_slices_with_slope_is_refused(tmp_path: Path) -> None:
    def change(ds: Dataset, k: int) -> None:
        if k != 4:
            ds.RescaleSlope, ds.RescaleIntercept = "2.5", "3"

    (series,) = read_study(_series(tmp_path, change)).series
    with pytest.raises(BrokenGeometry, match="image 5 has no valid RescaleSlope") as caught:
        read_series(series)
    assert caught.value.reason is ConversionReason.MIXED_VALUES


def test_a_slope_of_nought_is_none_and_said(tmp_path: Path) -> None:
    def change(ds: Dataset, _k: int) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = "0", "0"

    study = read_study(_series(tmp_path, change))
    assert np.array_equal(_voxels(study), VOXELS)
    ((code, reason),) = _decided(study)
    assert code == "value_unreadable"
    assert "RescaleSlope '0' (6 images)" in reason


def test_a_slice_with_a_slope_of_nought_among_slices_with_slope_is_refused(tmp_path: Path) -> None:
    def change(ds: Dataset, k: int) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = "0" if k == 4 else "2.5", "0"

    (series,) = read_study(_series(tmp_path, change)).series
    with pytest.raises(BrokenGeometry, match="image 5 has no valid RescaleSlope, others have one"):
        read_series(series)


@pytest.mark.parametrize("written", ["1,000", "n/a", "1\\2"])
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_slope_that_is_no_number_is_quoted(tmp_path: Path, written: str) -> None:
    def change(ds: Dataset, _k: int) -> None:
        put_raw(ds, "RescaleSlope", "DS", written.encode())

    (series,) = read_study(_series(tmp_path, change)).series
    with pytest.raises(UnreadableSeries, match=f"RescaleSlope '{re.escape(written)}' is not a number") as caught:
        read_series(series)
    assert caught.value.reason is ConversionReason.UNREADABLE_PIXELS


def test_a_slice_without_slope_among_slices_of_slope_one_is_read(tmp_path: Path) -> None:
    def change(ds: Dataset, k: int) -> None:
        if k != 4:
            ds.RescaleSlope, ds.RescaleIntercept = "1", "0"

    assert np.array_equal(_voxels(read_study(_series(tmp_path, change))), VOXELS)


def test_a_real_world_value_mapping_is_named_and_not_applied(tmp_path: Path) -> None:
    def change(ds: Dataset, _k: int) -> None:
        item = Dataset()
        item.RealWorldValueSlope, item.RealWorldValueIntercept = 3.0, 7.0
        ds.RealWorldValueMappingSequence = [item]

    study = read_study(_series(tmp_path, change))
    assert np.array_equal(_voxels(study), VOXELS)
    assert [code for code, _ in _decided(study)] == ["real_world_values"]


def _lut(ds: Dataset, _k: int) -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [2, 0, 16], b"\0\0\1\0"
    item["LUTData"].VR = "OW"
    ds.ModalityLUTSequence = [item]


def _one_bit(ds: Dataset, _k: int) -> None:
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0


def _odd_bits(ds: Dataset, _k: int) -> None:
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 12, 12, 11


def _low_high_bit(ds: Dataset, _k: int) -> None:
    ds.BitsStored, ds.HighBit = 12, 9


def _high_high_bit(ds: Dataset, _k: int) -> None:
    ds.HighBit = 16


def _more_rows(ds: Dataset, _k: int) -> None:
    ds.Rows += 1


def _fewer_columns(ds: Dataset, _k: int) -> None:
    ds.Columns -= 1


def _eight_bits(ds: Dataset, _k: int) -> None:
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7


def _bomb(ds: Dataset, _k: int) -> None:
    ds.Rows = ds.Columns = 65535


def _two_frames(ds: Dataset, _k: int) -> None:
    ds.NumberOfFrames, ds.PixelData = 1, ds.PixelData * 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_lut, "Modality LUT"),
        (_one_bit, "not integers of 8, 16 or 32 bits .BitsAllocated 1"),
        (_odd_bits, "BitsAllocated 12"),
        (_low_high_bit, "contradicts itself about the bits .BitsAllocated 16, BitsStored 12, HighBit 9"),
        (_high_high_bit, "HighBit 16"),
        (_more_rows, "contains 112 bytes of pixels, but its header describes 126 .9 x 7 pixels of 16 bits"),
        (_fewer_columns, "contains 112 bytes of pixels, but its header describes 96 .8 x 6 pixels of 16 bits"),
        (_eight_bits, "contains 112 bytes of pixels, but its header describes 56 .8 x 7 pixels of 8 bits"),
        (_two_frames, "contains 224 bytes of pixels"),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(
    tmp_path: Path, change: Callable[[Dataset, int], None], says: str
) -> None:
    (series,) = read_study(_series(tmp_path, change)).series
    with pytest.raises(UnreadableSeries, match=says) as caught:
        read_series(series)
    assert caught.value.reason is ConversionReason.UNREADABLE_PIXELS
    assert "image 1" in str(caught.value)


@pytest.mark.parametrize("frames", ["0", "", "one "])
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_senseless_number_of_frames_is_one(tmp_path: Path, frames: str) -> None:
    paths = write_slices(tmp_path, mr_slices(VOXELS, axis_aligned("axial")))
    for path in paths:
        content = path.read_bytes()
        element = b"\x28\0\x08\0IS" + len(frames).to_bytes(2, "little") + frames.encode()
        at = content.index(b"\x28\0\x10\0US")
        path.write_bytes(content[:at] + element + content[at:])
    assert np.array_equal(_voxels(read_study(paths)), VOXELS)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian], ids=_name)
def test_a_number_of_frames_that_is_the_series_is_overruled_by_the_pixels(tmp_path: Path, syntax: UID) -> None:
    paths, pixels = write_series(tmp_path, syntax, NumberOfFrames=3)
    study = read_study(paths)
    assert np.array_equal(_voxels(study), pixels)
    assert _decided(study) == [
        ("frames", "3 instance(s): NumberOfFrames is 3, but only the pixels of one image are present")
    ]


@pytest.mark.parametrize("kind", ["<f4", "<f8"])
def test_floating_point_pixels_are_read(tmp_path: Path, kind: str) -> None:
    def change(ds: Dataset, k: int) -> None:
        keyword = "FloatPixelData" if kind == "<f4" else "DoubleFloatPixelData"
        del ds.PixelData
        setattr(ds, keyword, (VOXELS[k] / 4.0).astype(kind).tobytes())

    assert np.array_equal(_voxels(read_study(_series(tmp_path, change))), VOXELS / 4.0)


@pytest.mark.parametrize("bits", [8, 32])
def test_cells_of_other_widths_are_read(tmp_path: Path, bits: int) -> None:
    values = (VOXELS % 251).astype(np.uint8) if bits == 8 else VOXELS.astype(np.uint32) * 70001

    def change(ds: Dataset, k: int) -> None:
        ds.BitsAllocated = ds.BitsStored = bits
        ds.HighBit = bits - 1
        ds.PixelData = values[k].astype(f"<u{bits // 8}").tobytes()

    assert np.array_equal(_voxels(read_study(_series(tmp_path, change))), values.astype(np.float32))


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, HTJ2KLossless, RLELossless], ids=_name)
def test_a_compressed_image_of_another_size_than_its_header_is_not_decoded(tmp_path: Path, syntax: UID) -> None:
    paths, _ = write_series(tmp_path, syntax)

    def change(ds: Dataset, _k: int) -> None:
        ds.Rows, ds.Columns = 10, 8

    (series,) = read_study(_changed(paths, change)).series
    says = (
        "their size differs from its header"
        if syntax == RLELossless
        else "its compressed image has .* its header states 10 x 8"
    )
    with pytest.raises(UnreadableSeries, match=says):
        read_series(series)


def test_a_volume_of_too_many_voxels_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    (series,) = read_study(_series(tmp_path, _bomb)).series
    with pytest.raises(UnreadableSeries, match=r"too large for a head .6 x 65535 x 65535 voxels, limit 268435456"):
        read_series(series)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless], ids=_name)
def test_one_image_of_too_many_pixels_is_not_decoded(tmp_path: Path, syntax: UID) -> None:
    paths, _ = write_series(tmp_path, syntax)

    def change(ds: Dataset, _k: int) -> None:
        ds.Rows, ds.Columns = 4097, 4096

    _changed(paths[:1], change)
    (series, *_) = read_study(paths[:1]).series
    with pytest.raises(UnreadableSeries, match="states 4097 x 4096 pixels"):
        read_series(series)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=_name)
def test_copies_are_found_in_every_syntax(tmp_path: Path, syntax: UID) -> None:
    paths, pixels = write_series(tmp_path, syntax)
    copy = tmp_path / "copy.dcm"
    ds = pydicom.dcmread(paths[1])
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid_of("copy")
    ds.save_as(copy)
    study = read_study([*paths, copy])
    assert np.array_equal(_voxels(study), pixels)
    assert [code for code, _ in _decided(study)] == ["copied_image"]


def test_copies_are_found_without_decoding(tmp_path: Path) -> None:
    """Of pixels that nothing can decode, two that are equal are found: a bomb costs nothing while headers are read."""
    paths, _ = write_series(tmp_path, JPEG2000Lossless)
    for k, path in enumerate(paths):
        ds = pydicom.dcmread(path)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid_of("bomb", str(k))
        ds.ImagePositionPatient = [0, 0, 0]
        ds.PixelData = encapsulate([b"no codestream at all"])
        ds.save_as(path)
    (decision,) = [each for each in read_study(paths).decisions if each.code == "copied_image"]
    assert decision.reason.startswith("2 image(s)")


def test_frames_at_one_place_are_compared_frame_by_frame(tmp_path: Path) -> None:
    affine = axis_aligned("axial")
    ds = enhanced_instance(np.stack([VOXELS, VOXELS]), affine, echo_times_ms=(12.0, 12.0))
    ds.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    study = read_study([tmp_path / "enhanced.dcm"])
    assert np.array_equal(_voxels(study), VOXELS)
    assert [code for code, _ in _decided(study)] == ["copied_image"]


@pytest.mark.parametrize("frames", [5, 7])
def test_frames_and_their_places_must_be_as_many(tmp_path: Path, frames: int) -> None:
    ds = enhanced_instance(VOXELS, axis_aligned("axial"))
    ds.NumberOfFrames = frames
    ds.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    (series,) = read_study([tmp_path / "enhanced.dcm"]).series
    with pytest.raises(UnreadableSeries, match=rf"it has {frames} frame.s. of pixels, but positions for 6"):
        read_series(series)
