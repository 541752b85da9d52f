"""How far a series has come, by its headers: whole as stated, with gaps, or nothing to tell by."""

from dataclasses import replace

import pytest
from pydicom.dataset import Dataset

from conversion.completeness import SeriesProgress, series_progress
from conversion.headers import stated_instances
from conversion.sequences import Role
from conversion.study import Series
from tests.support.series_headers import recognised, series_of

FLAIR = {"description": "FLAIR", "tr": 9000.0, "te": 120.0, "ti": 2500.0, "seq": "SE\\IR"}
T1 = {"description": "T1", "tr": 560.0, "te": 11.0, "seq": "SE"}


def _progress(*series: Series) -> tuple[SeriesProgress, ...]:
    return series_progress(recognised(*series).values())


def _without(series: Series, *places: int) -> Series:
    return replace(series, images=tuple(image for k, image in enumerate(series.images) if k not in places))


def test_a_series_is_whole_when_as_many_images_have_come_as_its_headers_state() -> None:
    (whole,) = _progress(replace(series_of(3, slices=26, **FLAIR), stated_instances=26))
    assert (whole.held, whole.stated, whole.roles, whole.sure) == (26, 26, {Role.FLAIR}, True)
    assert whole.whole_as_stated
    assert whole.awaits == ""


def test_a_series_that_lacks_its_last_images_says_how_many() -> None:
    whole = replace(series_of(3, slices=26, **FLAIR), stated_instances=26)
    (short,) = _progress(_without(whole, 22, 23, 24, 25))
    assert not short.whole_as_stated
    assert short.awaits == "FLAIR (series 3): 22 of 26 slices"


def test_a_gap_is_seen_where_headers_state_no_number() -> None:
    (gapped,) = _progress(_without(series_of(3, slices=20, **FLAIR), 7, 8, 12))
    assert gapped.awaits == "FLAIR (series 3): 17 of 20 slices between the first and the last"
    assert gapped.flaw == ""


def test_every_second_image_is_a_doubt_and_no_gap() -> None:
    (doubtful,) = _progress(_without(series_of(3, slices=20, **FLAIR), *range(1, 20, 2)))
    assert (doubtful.awaits, doubtful.doubt) == ("", "10 of the image numbers 1 to 19")


def test_a_flaw_that_no_image_would_mend_is_not_waited_for() -> None:
    series = series_of(3, slices=4, **FLAIR)
    sheared = tuple(replace(image, position_mm=(2.0 * k, 0.0, 6.0 * k)) for k, image in enumerate(series.images))
    (flawed,) = _progress(replace(series, images=sheared))
    assert flawed.awaits == ""
    assert "sheared" in flawed.flaw


def test_volumes_of_one_series_are_counted_together() -> None:
    first, second = series_of(3, slices=10, part="echo 1", **FLAIR), series_of(3, slices=10, part="echo 2", **FLAIR)
    second = replace(
        second, images=tuple(replace(i, sop_instance_uid=f"2.{i.sop_instance_uid}") for i in second.images)
    )
    (both,) = series_progress([*recognised(first).values(), *recognised(second).values()])
    assert both.held == 20


def test_a_t1_that_may_be_before_or_after_contrast_may_have_either_role() -> None:
    (open_t1,) = [one for one in _progress(series_of(4, tr=560.0, te=11.0, seq="SE")) if Role.T1 in one.roles]
    assert open_t1.roles in ({Role.T1}, {Role.T1, Role.T1CE})


def test_what_can_have_no_role_is_not_waited_for() -> None:
    assert _progress(series_of(5, description="ADC map", itype="DERIVED\\PRIMARY\\ADC", seq="EP", te=80.0)) == ()


def _header(**attributes: object) -> Dataset:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


@pytest.mark.parametrize(("number", "stated"), [(26, 26), (3, 3), (2, 0)])
def test_images_in_acquisition_state_the_number_unless_more_have_come(number: int, stated: int) -> None:
    assert stated_instances([_header(ImagesInAcquisition=number)] * 3) == stated


def test_each_acquisition_of_a_series_has_its_images() -> None:
    headers = [_header(ImagesInAcquisition=10, AcquisitionNumber=number) for number in (1, 2)]
    assert stated_instances(headers) == 20


def test_an_enhanced_instance_is_whole_in_itself_and_a_concatenation_by_its_parts() -> None:
    assert stated_instances([_header(PerFrameFunctionalGroupsSequence=[Dataset()])]) == 1
    part = _header(PerFrameFunctionalGroupsSequence=[Dataset()], InConcatenationTotalNumber=3)
    assert stated_instances([part]) == 3


def test_private_counts_of_ge_and_philips_are_read() -> None:
    ge = _header(Manufacturer="GE MEDICAL SYSTEMS")
    ge.private_block(0x0025, "GEMS_SERS_01", create=True).add_new(0x07, "SL", 124)
    assert stated_instances([ge]) == 124
    philips = _header(Manufacturer="Philips", NumberOfTemporalPositions=2)
    block = philips.private_block(0x2001, "Philips Imaging DD 001", create=True)
    block.add_new(0x18, "SL", 24)
    block.add_new(0x14, "SL", 2)
    assert stated_instances([philips]) == 96


def test_silent_headers_state_nothing() -> None:
    assert stated_instances([_header(Manufacturer="Siemens")]) == 0
