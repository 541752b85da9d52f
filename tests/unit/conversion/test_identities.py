"""UIDs that differ within what is one series, or are shared by two: corrected where that is safe, and always said."""

import uuid
from dataclasses import replace

import pytest
from pydicom import Dataset
from pydicom.uid import UID

from conversion.identities import EVIDENTLY_ONE, frame_of_reference, one_image_series, repeated_uids
from conversion.study import Series
from tests.support.series_headers import series_of


def _images(*frames: str | None, study: str = "1.2.840.1") -> list[Dataset]:
    images = []
    for uid in frames:
        ds = Dataset()
        ds.StudyInstanceUID = study
        if uid is not None:
            ds.FrameOfReferenceUID = uid
        images.append(ds)
    return images


def _singles(count: int, **attributes: object) -> list[Dataset]:
    """Return images of one stack, each of which is a series by itself."""
    images = []
    for k in range(count):
        ds = Dataset()
        ds.SeriesNumber, ds.SeriesDescription, ds.Rows, ds.Columns = 301, "T1 post contrast", 4, 4
        ds.ImagePositionPatient = [-20.0, -30.0, 3.0 * k]
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)
        images.append(ds)
    return images


def _with_uids(series: Series, *uids: str) -> Series:
    pairs = zip(series.images, uids, strict=True)
    return replace(series, images=tuple(replace(image, sop_instance_uid=uid) for image, uid in pairs))


def test_one_frame_of_reference_is_used_without_a_word() -> None:
    assert frame_of_reference(_images("1.2.3", "1.2.3")) == ("1.2.3", "")


def test_of_different_frames_of_reference_the_first_is_used_and_their_number_told() -> None:
    uid, reason = frame_of_reference(_images("1.2.9", "1.2.3", "1.2.9", "1.2.4"))
    assert uid == "1.2.9"
    assert reason.startswith("its 4 images have 3 different Frame of Reference UIDs")


@pytest.mark.parametrize("absent", [None, "", "none"])
def test_an_image_without_a_frame_of_reference_takes_that_of_the_others(absent: str | None) -> None:
    images = _images(None, "1.2.3", "1.2.3")
    if absent is not None:
        images[0].add_new(0x0020_0052, "LO", absent)
    uid, reason = frame_of_reference(images)
    assert uid == "1.2.3"
    assert reason == "1 of its 3 images have no Frame of Reference UID; that of the others is used for all"


def test_a_generated_frame_of_reference_is_one_for_the_study_and_another_for_the_next() -> None:
    first, again, other = (
        frame_of_reference(_images(*[None] * count, study=study))
        for count, study in ((1, "1.2.840.1"), (3, "1.2.840.1"), (1, "1.2.840.2"))
    )
    assert first == again
    assert first[0] != other[0]
    assert "no Frame of Reference UID" in first[1]
    assert "Study Instance UID" in first[1]


def test_a_generated_frame_of_reference_is_a_uuid_as_the_standard_writes_it() -> None:
    uid = UID(frame_of_reference(_images(None))[0])
    assert uid.is_valid
    assert uid.startswith("2.25.")
    made = uuid.UUID(int=int(uid.removeprefix("2.25.")))
    assert (made.version, made.variant) == (5, uuid.RFC_4122)


def test_single_images_of_one_stack_are_named_as_one_series() -> None:
    (sentence,) = one_image_series(_singles(EVIDENTLY_ONE))
    assert sentence.startswith("8 images with series number 301 each have their own Series Instance UID")
    assert sentence.endswith("send them with one Series Instance UID")


def test_fewer_single_images_may_be_localizers() -> None:
    assert one_image_series(_singles(EVIDENTLY_ONE - 1)) == []


def test_single_images_at_one_place_are_no_stack() -> None:
    assert one_image_series(_singles(EVIDENTLY_ONE, ImagePositionPatient=[0, 0, 0])) == []


@pytest.mark.parametrize(
    ("keyword", "value"), [("SeriesNumber", 302), ("Rows", 5), ("Columns", 5), ("SeriesDescription", "T2"),
                           ("ProtocolName", "brain")],
)  # fmt: skip
def test_single_images_that_differ_in_name_or_size_are_counted_apart(keyword: str, value: object) -> None:
    images = _singles(2 * EVIDENTLY_ONE - 1)
    for ds in images[EVIDENTLY_ONE:]:
        setattr(ds, keyword, value)
    (sentence,) = one_image_series(images)
    assert sentence.startswith(f"{EVIDENTLY_ONE} images with series number 301 ")


def test_series_that_share_instance_uids_are_named_together_with_their_number() -> None:
    one = _with_uids(series_of(1, slices=3), "1.1", "1.2", "1.3")
    two = _with_uids(series_of(2, slices=3), "1.2", "1.3", "1.4")
    three = _with_uids(series_of(3, slices=2), "1.3", "1.5")
    found = repeated_uids([one, two, three])
    assert [(decision.code, decision.subject) for decision in found] == [
        ("uid_in_several_series", "series 1, series 2"),
        ("uid_in_several_series", "series 1, series 2, series 3"),
    ]
    assert found[0].reason.startswith("1 SOP Instance UID(s) are used in series 1 and in series 2; ")
    assert found[1].reason.startswith("1 SOP Instance UID(s) are used in series 1 and in series 2 and in series 3; ")


def test_several_shared_instance_uids_are_one_decision() -> None:
    one, two = (_with_uids(series_of(number, slices=3), "1.1", "1.2", "1.3") for number in (4, 5))
    (decision,) = repeated_uids([one, two])
    assert decision.reason.startswith("3 SOP Instance UID(s) are used in series 4 and in series 5; ")


def test_volumes_of_one_dicom_series_may_share_an_instance() -> None:
    """The frames of an enhanced instance lie in several volumes of its series."""
    echoes = [_with_uids(series_of(1, slices=2, part=part), "1.1", "1.1") for part in ("echo 20 ms", "echo 90 ms")]
    assert repeated_uids(echoes) == []
