"""The form of results: the usual one has no name, so that its objects keep their UIDs; others have their own."""

from itertools import product

import pytest

from viewer_integration.profile import DEFAULT_PROFILE, ResultProfile, SegForm


def test_the_usual_form_is_one_plane_for_each_segment_in_series_behind_the_scanners() -> None:
    assert ResultProfile() == DEFAULT_PROFILE
    assert (DEFAULT_PROFILE.seg_form, DEFAULT_PROFILE.seg_series, DEFAULT_PROFILE.sr_series) == ("binary", 7701, 7702)
    assert DEFAULT_PROFILE.key == ""


def test_a_profile_that_spells_out_the_usual_values_is_the_usual_one() -> None:
    assert ResultProfile(seg_form=SegForm("binary"), seg_series=7701, sr_series=7702).key == ""


def test_profiles_that_differ_have_different_names() -> None:
    profiles = [
        ResultProfile(seg_form=form, seg_series=seg, sr_series=sr)
        for form, seg, sr in product(SegForm, (1, 11, 7701), (1, 12, 7702))
    ]
    assert len({profile.key for profile in profiles}) == len(profiles) == 18


@pytest.mark.parametrize("word", ["fractional", "BINARY", ""])
def test_a_form_that_nobody_writes_is_unknown(word: str) -> None:
    with pytest.raises(ValueError, match="is not a valid SegForm"):
        SegForm(word)
