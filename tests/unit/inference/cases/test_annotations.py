"""Of the SEGs of a study, one is chosen: recognised, drawn on images that are here, by a person, the newest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from inference.cases.annotations import Annotation, Codes, choose_annotation
from inference.regions import Region
from tests.support.foreign_seg import ForeignSegment, foreign_seg
from tests.support.small_study import make_small_study, uid_of

IMAGES = make_small_study("study", ["FLAIR", "T1"])
FLAIR, T1 = IMAGES[:10], IMAGES[10:]
SERIES_OF = {str(ds.SOPInstanceUID): str(ds.SeriesInstanceUID) for ds in IMAGES}
MASK = np.ones((2, 4, 4), bool)
NO_CODES: Codes = {}


def _segment(label: str, algorithm: str = "MANUAL", **more: tuple[str, str, str]) -> ForeignSegment:
    return ForeignSegment(label=label, mask=MASK, algorithm=algorithm, **more)


def _file(
    folder: Path, number: int, *segments: ForeignSegment, source: Sequence[Dataset] = FLAIR, **values: object
) -> Path:
    """Write a SEG, and change what its header says of the frames and the images if values are given."""
    ds = foreign_seg(source, segments or [_segment("Tumor")], np.eye(4), SeriesNumber=number)
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    path = folder / f"{number}.dcm"
    ds.save_as(path, enforce_file_format=True)
    return path


def _frames_drawn_on(*images: Dataset) -> list[Dataset]:
    """Return a frame of segment 1 for each image, which it names as its source (PS3.3 C.7.6.16.2.6)."""
    frames = []
    for image in images:
        frame, derivation, source, segment = Dataset(), Dataset(), Dataset(), Dataset()
        source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        derivation.SourceImageSequence = [source]
        segment.ReferencedSegmentNumber = 1
        frame.DerivationImageSequence, frame.SegmentIdentificationSequence = [derivation], [segment]
        frames.append(frame)
    return frames


def _choose(*paths: Path, codes: Codes = NO_CODES, automatic: bool = False) -> tuple[Annotation | None, list[str]]:
    return choose_annotation(paths, SERIES_OF, codes, automatic=automatic)


def _chosen(*paths: Path, codes: Codes = NO_CODES, automatic: bool = False) -> Annotation:
    found, _ = _choose(*paths, codes=codes, automatic=automatic)
    assert found is not None
    return found


def test_a_study_without_a_seg_has_no_annotation_and_no_reason() -> None:
    assert _choose() == (None, [])


def test_the_segments_are_named_by_their_numbers(tmp_path: Path) -> None:
    parts = [_segment("Enhancing tumour"), _segment("Left eye"), _segment("Oedema")]
    found, reasons = _choose(_file(tmp_path, 7, *parts))
    assert found is not None
    assert dict(found.regions) == {1: Region.ET, 3: Region.ED}
    assert found.path == tmp_path / "7.dcm"
    assert found.drawn_on == uid_of("study", "FLAIR")
    assert found.by_hand
    assert reasons == ["segment 2 ('Left eye') is not recognised as a part of a tumour"]


def test_an_automatic_seg_is_used_only_on_request(tmp_path: Path) -> None:
    path = _file(tmp_path, 12, _segment("Tumor", "AUTOMATIC"))
    assert _choose(path) == (None, ["SEG of series 12 is automatic: no person has drawn or corrected it"])
    assert _chosen(path, automatic=True).path == path


@pytest.mark.parametrize(
    ("algorithms", "by_hand"),
    [
        (("AUTOMATIC", "AUTOMATIC"), False),
        (("AUTOMATIC", "MANUAL"), True),
        (("SEMIAUTOMATIC", "AUTOMATIC"), True),
        (("", ""), False),
    ],
)
def test_one_recognised_segment_by_a_person_is_enough(
    tmp_path: Path, algorithms: tuple[str, str], *, by_hand: bool
) -> None:
    parts = [_segment(name, algorithm) for name, algorithm in zip(("Edema", "Necrosis"), algorithms, strict=True)]
    assert _chosen(_file(tmp_path, 3, *parts), automatic=True).by_hand is by_hand


def test_what_a_person_drew_beside_an_automatic_tumour_does_not_make_it_drawn(tmp_path: Path) -> None:
    path = _file(tmp_path, 3, _segment("Tumor", "AUTOMATIC"), _segment("Ventricles", "MANUAL"))
    assert _choose(path)[0] is None


def test_among_automatic_ones_on_request_a_person_s_is_preferred_however_old(tmp_path: Path) -> None:
    old = _file(tmp_path, 1, ContentDate="19990101")
    new = _file(tmp_path, 2, _segment("Tumor", "AUTOMATIC"), ContentDate="20250101")
    for paths in ((old, new), (new, old)):
        found, reasons = _choose(*paths, automatic=True)
        assert found is not None
        assert found.path == old
        assert reasons == ["SEG of series 2 is not used: series 1 is drawn by hand"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("20240105", "120001"), ("20240105", "120000")),
        (("20240106", "000000"), ("20240105", "235959")),
        (("20240105", "120000"), ("", "")),
    ],
)
def test_the_newest_is_used_to_the_second(tmp_path: Path, first: tuple[str, str], second: tuple[str, str]) -> None:
    newest = _file(tmp_path, 1, ContentDate=first[0], ContentTime=first[1])
    older = _file(tmp_path, 2, ContentDate=second[0], ContentTime=second[1])
    found, reasons = _choose(older, newest)
    assert found is not None
    assert found.path == newest
    assert reasons == ["SEG of series 2 is not used: series 1 is newer"]


def test_of_the_same_second_the_higher_series_number_is_used_as_a_number(tmp_path: Path) -> None:
    paths = [_file(tmp_path, number) for number in (9, 100, 20)]
    assert _chosen(*paths).header.series_number == 100


def test_only_the_chosen_one_says_which_segments_it_lacks(tmp_path: Path) -> None:
    older = _file(tmp_path, 1, _segment("Tumor"), _segment("Skull"), ContentDate="20200101")
    newer = _file(tmp_path, 2, _segment("Tumor"), _segment("Nose"))
    assert _choose(older, newer)[1] == [
        "SEG of series 1 is not used: series 2 is newer",
        "segment 2 ('Nose') is not recognised as a part of a tumour",
    ]


def test_a_seg_without_a_tumour_is_named_with_its_labels(tmp_path: Path) -> None:
    eyes = _file(tmp_path, 5, _segment("Left eye"), _segment("Right eye"))
    sentence = "a SEG is not used: none of the segments of series 5 is recognised as a part of a tumour "
    assert _choose(eyes) == (None, [f"{sentence}('Left eye', 'Right eye')"])
    nothing = _file(tmp_path, 5, SegmentSequence=[])
    assert _choose(nothing) == (None, [f"{sentence}(none)"])


def test_the_caller_s_code_decides_over_the_label(tmp_path: Path) -> None:
    path = _file(tmp_path, 4, _segment("Necrosis", code=("X1", "99LOCAL", "?")), _segment("Edema"))
    codes = {("X1", "99LOCAL"): Region.ET, ("X1", "99OTHER"): Region.TC}
    assert dict(_chosen(path, codes=codes).regions) == {1: Region.ET, 2: Region.ED}
    assert dict(_chosen(path).regions) == {1: Region.NCR, 2: Region.ED}


def test_a_file_that_is_no_seg_is_told_and_the_next_one_used(tmp_path: Path) -> None:
    text, image = tmp_path / "text.dcm", tmp_path / "image.dcm"
    text.write_text("not DICOM at all")
    FLAIR[0].save_as(image, enforce_file_format=True)
    good = _file(tmp_path, 6)
    found, reasons = _choose(text, tmp_path / "absent.dcm", image, good)
    assert found is not None
    assert found.path == good
    assert reasons == [
        "a SEG is not used: its header cannot be read (InvalidDicomError)",
        "a SEG is not used: its header cannot be read (FileNotFoundError)",
        "a SEG is not used: series 1: not a segmentation of a supported type",
    ]


def test_most_frames_decide_which_series_it_was_drawn_on(tmp_path: Path) -> None:
    """The header names the FLAIR series; two frames of three were drawn on T1."""
    frames = _frames_drawn_on(FLAIR[0], T1[0], T1[1])
    path = _file(tmp_path, 8, PerFrameFunctionalGroupsSequence=frames)
    assert _chosen(path).drawn_on == uid_of("study", "T1")


def test_frames_on_images_that_are_not_here_do_not_count(tmp_path: Path) -> None:
    strange = [Dataset(), Dataset()]
    for number, ds in enumerate(strange):
        ds.SOPClassUID, ds.SOPInstanceUID = T1[0].SOPClassUID, uid_of("another study", str(number))
    frames = _frames_drawn_on(*strange, FLAIR[3])
    assert _chosen(_file(tmp_path, 8, PerFrameFunctionalGroupsSequence=frames)).drawn_on == uid_of("study", "FLAIR")


def test_the_series_of_the_header_counts_where_no_image_is_named(tmp_path: Path) -> None:
    absent, present = Dataset(), Dataset()
    absent.SeriesInstanceUID, present.SeriesInstanceUID = uid_of("gone"), uid_of("study", "T1")
    path = _file(tmp_path, 8, ReferencedSeriesSequence=[absent, present])
    assert _chosen(path).drawn_on == uid_of("study", "T1")
    lone = _file(tmp_path, 9, ReferencedSeriesSequence=[absent])
    reason = "a SEG is not used: the images that series 9 was drawn on are not in the folder"
    assert _choose(lone) == (None, [reason])


def test_of_two_series_with_as_many_images_the_first_of_the_header_counts(tmp_path: Path) -> None:
    path = _file(tmp_path, 8, source=IMAGES)  # ten FLAIR and ten T1 images
    first, second = Dataset(), Dataset()
    first.SeriesInstanceUID, second.SeriesInstanceUID = uid_of("study", "T1"), uid_of("study", "FLAIR")
    ds = dcmread(path)
    first.ReferencedInstanceSequence = ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    ds.ReferencedSeriesSequence = [first, second]
    ds.save_as(path, enforce_file_format=True)
    assert _chosen(path).drawn_on == uid_of("study", "T1")
