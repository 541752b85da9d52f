"""Series that headers call made of others: by code, by description, by technique, in classic and enhanced form."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from conversion.headers import acquisition_header, image_headers
from conversion.reading import read_study
from conversion.recognition.derivation_evidence import (
    DERIVATION_CODES,
    REFORMAT_WEIGHT,
    derivation_evidence,
    derived_reformat,
)
from conversion.study import Derivation
from tests.support.dicom_series import axis_aligned, mr_slices, write_slices
from tests.support.enhanced_series import enhanced_instance
from tests.support.series_headers import kinds_of, recognised, series_of

FULL: dict[str, Any] = {
    "tr": 1900.0, "te": 2.5, "ti": 900.0, "seq": "GR\\IR", "dims": "3D", "flip": 9.0, "tech": "*tfl3d1_ns",
    "acquisition_contrast": "T1", "agent": True, "description": "t1_mprage KM",
}  # fmt: skip
"""A header that says T1 after contrast agent in every way that there is, as that of a derived series does."""

SUBTRACTION = ("113062", "DCM", "Pixel by pixel subtraction")
PLANE = axis_aligned("axial", (6.0, 1.0, 1.0))


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning
    return ds


def _group(*named: tuple[str, str, str], description: str = "") -> Dataset:
    """Return an item of a Derivation Image Sequence."""
    item = Dataset()
    item.DerivationCodeSequence = [_code(*code) for code in named]
    if description:
        item.DerivationDescription = description
    return item


def _classic(**attributes: object) -> Derivation:
    (ds,) = mr_slices(np.zeros((1, 4, 4), np.uint16), PLANE, **attributes)
    return acquisition_header(ds, image_headers(Path("a"), ds)).derivation


def _enhanced(*, shared: list[Dataset] | None = None, own: list[Dataset] | None = None) -> Derivation:
    ds = enhanced_instance(np.zeros((3, 4, 4), np.uint16), PLANE)
    if shared is not None:
        ds.SharedFunctionalGroupsSequence[0].DerivationImageSequence = shared
    if own is not None:
        ds.PerFrameFunctionalGroupsSequence[2].DerivationImageSequence = own
    return acquisition_header(ds, image_headers(Path("a"), ds)).derivation


def test_a_classic_header_names_codes_and_words() -> None:
    found = _classic(
        DerivationDescription="Subtraction T1",
        DerivationCodeSequence=[_code(*SUBTRACTION), _code("7", "99OURS", "Sum")],
    )
    assert found.codes == ("113062",)
    assert found.words == "Subtraction T1; Pixel by pixel subtraction; Sum"
    assert _classic() == Derivation()


def test_an_enhanced_header_names_them_for_all_frames_or_for_one() -> None:
    mean = ("113049", "DCM", "Pixel by pixel mean")
    assert _enhanced(shared=[_group(SUBTRACTION)]).codes == ("113062",)
    assert _enhanced(own=[_group(SUBTRACTION)]).codes == ("113062",)
    assert _enhanced(own=[_group(mean), _group(SUBTRACTION)]).codes == ("113049", "113062")
    assert _enhanced(shared=[_group(description="minus"), _group(description="T1 subtraction")]).words == (
        "minus; T1 subtraction"
    )
    assert _enhanced() == Derivation()


@pytest.mark.parametrize(("technique", "said"), [("MAX_IP", "MAX_IP"), ("MPR", "MPR"), ("NONE", "")])
def test_an_enhanced_header_names_the_technique(technique: str, said: str) -> None:
    ds = enhanced_instance(np.zeros((2, 4, 4), np.uint16), PLANE)
    ds.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence[0].VolumeBasedCalculationTechnique = technique
    assert acquisition_header(ds, image_headers(Path("a"), ds)).derivation.technique == said


@pytest.mark.parametrize(("vr", "value"), [("LO", "113062"), ("US", 7)])
def test_what_is_no_sequence_says_nothing(vr: str, value: object) -> None:
    ds = mr_slices(np.zeros((1, 4, 4), np.uint16), PLANE)[0]
    ds.add_new(0x0008_9215, vr, value)
    assert acquisition_header(ds, image_headers(Path("a"), ds)).derivation == Derivation()


def test_the_codes_are_those_of_the_standard() -> None:
    for value, (_, meaning) in DERIVATION_CODES.items():
        named = [code for name in dir(codes.DCM) if isinstance(code := getattr(codes.DCM, name, None), Code)]
        assert any((code.value, code.meaning) == (value, meaning) for code in named), value


@pytest.mark.parametrize("value", DERIVATION_CODES)
def test_a_code_outweighs_all_that_a_header_keeps_of_its_source(value: str) -> None:
    kind, meaning = DERIVATION_CODES[value]
    found = recognised(series_of(1, derivation=Derivation(codes=(value,)), **FULL))[1]
    assert found.kind == kind
    assert found.confidence > 0.95
    assert f"DerivationCodeSequence contains {value} ({meaning})" in [e.says for e in found.evidence]
    assert (found.role is None) is (kind != "reformat")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Subtraction", "subtraction"),
        ("SUB", "subtraction"),
        ("Subtraktion T1 KM", "subtraction"),
        ("post - pre", "subtraction"),
        ("post_Gd minus pre", "subtraction"),
        ("post gd - pre_contrast", "subtraction"),
        ("Soustraction", "subtraction"),
        ("MIP of subtraction", "projection"),
        ("Maximum Intensity Projection", "projection"),
        ("ADC map", "ADC"),
        ("Ktrans", "perfusion"),
        ("T1 map", "map"),
        ("fractional anisotropy", "map"),
    ],
)
def test_a_description_tells_what_was_made(words: str, kind: str) -> None:
    found = recognised(series_of(1, derivation=Derivation(words=words), **FULL))[1]
    assert (found.kind, found.role) == (kind, None)
    assert found.evidence[0].says.startswith("DerivationDescription contains '")


@pytest.mark.parametrize(
    "words",
    [
        "Lossy compression with JPEG extended sequential 8 bit, IJG quality factor 90, compression ratio 12.5",
        "JPEG, chroma sub sampling 4:2:0",
        "MedCom Resample v",
        "Spatially filtered, normalised, prescan normalized",
        "Motion corrected; distortion corrected 2D",
        "Scaled to maximum intensity 4095",
        "Noise subtraction",
        "Multiplanar reformatting",
        "Bias field corrected; background subtracted",
        "Skull strip, defaced, pixel by pixel mask",
        "Pixel by pixel mean; pixel by pixel addition",
    ],
)
def test_what_shows_what_its_source_shows_stays_t1_after_contrast(words: str) -> None:
    assert kinds_of(series_of(1, derivation=Derivation(words=words), **FULL)) == {1: "T1CE"}


@pytest.mark.parametrize("value", ["113040", "113085", "125027", "113086", "113087", "113042", "113049", "113047"])
def test_codes_of_compression_filters_means_and_registration_change_no_kind(value: str) -> None:
    header = FULL | {"itype": "DERIVED\\PRIMARY\\M\\NORM"}
    found = recognised(series_of(1, derivation=Derivation(codes=(value,)), **header))[1]
    assert (found.kind, found.role) == ("T1CE", "T1CE")


@pytest.mark.parametrize(
    ("technique", "kind"),
    [("MAX_IP", "projection"), ("MIN_IP", "projection"), ("VOLUME_RENDER", "projection"), ("MPR", "reformat"),
     ("CURVED_MPR", "reformat"), ("", "T1CE")],
)  # fmt: skip
def test_a_technique_tells_what_was_made(technique: str, kind: str) -> None:
    assert kinds_of(series_of(1, derivation=Derivation(technique=technique), **FULL)) == {1: kind}


def test_a_projection_of_a_difference_is_a_projection() -> None:
    both = Derivation(codes=("113062", "113078"))
    assert [e.kind for e in derivation_evidence(both)] == ["projection"]
    assert kinds_of(series_of(1, itype="DERIVED\\PRIMARY\\SUB\\MIP", **FULL)) == {1: "projection"}
    assert kinds_of(series_of(1, **FULL | {"description": "t1 KM SUB MIP"})) == {1: "projection"}


def test_a_reformat_of_a_difference_is_one() -> None:
    both = Derivation(codes=("113072", "113062"))
    assert kinds_of(series_of(1, derivation=both, **FULL | {"itype": "DERIVED\\SECONDARY\\MPR"})) == {1: "subtraction"}


@pytest.mark.parametrize("value", ["DIVISION", "STD_DEVIATION", "SUBTRACTION", "MAXIMUM"])
def test_calculations_that_a_frame_type_names_have_no_role(value: str) -> None:
    assert recognised(series_of(1, itype=f"DERIVED\\PRIMARY\\T1\\{value}", **FULL))[1].role is None


def test_one_image_of_a_volume_that_says_so_is_enough(tmp_path: Path) -> None:
    slices = mr_slices(np.zeros((4, 8, 8), np.uint16), PLANE)
    slices[2].DerivationCodeSequence = [_code(*SUBTRACTION)]
    (series,) = read_study(write_slices(tmp_path, slices)).series
    assert series.acquisition.derivation.codes == ("113062",)


def _said(derivation: Derivation) -> list[tuple[str, str]]:
    found = derivation_evidence(derivation)
    assert {(e.source, e.weight > REFORMAT_WEIGHT) for e in found} <= {("derivation", True)}
    return [(e.kind, e.says) for e in found]


def test_no_derivation_is_no_evidence() -> None:
    assert derivation_evidence(Derivation()) == derived_reformat(Derivation()) == ()


def test_a_technique_comes_before_codes_and_codes_before_words() -> None:
    every = Derivation(codes=("113062", "113041"), words="Ktrans", technique="MIN_IP")
    assert _said(every) == [("projection", "VolumeBasedCalculationTechnique MIN_IP")]
    assert _said(replace(every, technique="")) == [
        ("subtraction", "DerivationCodeSequence contains 113062 (Pixel by pixel subtraction)")
    ]
    assert _said(Derivation(words="Ktrans")) == [("perfusion", "DerivationDescription contains 'ktrans'")]


@pytest.mark.parametrize("order", [("113041", "113078"), ("113078", "113041")])
def test_of_several_codes_the_last_step_counts_in_any_order(order: tuple[str, ...]) -> None:
    assert [kind for kind, _ in _said(Derivation(codes=order))] == ["projection"]


@pytest.mark.parametrize("technique", ["MPR", "CURVED_MPR"])
def test_a_reformat_is_told_apart_from_what_its_source_was_made_of(technique: str) -> None:
    both = Derivation(codes=("113062",), technique=technique)
    (reformat,) = derived_reformat(both)
    assert (reformat.kind, reformat.weight) == ("reformat", REFORMAT_WEIGHT)
    assert reformat.says == f"VolumeBasedCalculationTechnique {technique}"
    assert [kind for kind, _ in _said(both)] == ["subtraction"]
    assert derivation_evidence(Derivation(technique=technique)) == ()
    assert derived_reformat(Derivation(codes=("113062",))) == ()


def test_a_code_and_a_technique_of_a_reformat_are_one_piece_of_evidence() -> None:
    (reformat,) = derived_reformat(Derivation(codes=("113073", "113072")))
    assert reformat.says == "DerivationCodeSequence contains 113072 (Multiplanar reformatting)"
    assert len(derived_reformat(Derivation(codes=("113072",), technique="MPR"))) == 1


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("background subtraction", None),
        ("noise-subtraction", None),
        ("baseline subtraction", None),
        ("line subtraction; T1 subtraction", "subtraction"),
        ("Sustracción", "subtraction"),
        ("sottrazione", "subtraction"),
        ("Post minus pre", "subtraction"),
        ("sub", "subtraction"),
        ("sub volume", None),
        ("Time to Peak", "perfusion"),
        ("rCBV", "perfusion"),
        ("T2*-map", "map"),
        ("MinIP 10 mm", "projection"),
        ("shipping", None),
        ("tensor", "map"),
        ("sensors", None),
    ],
)
def test_words_count_as_whole_words_of_the_right_kind(words: str, kind: str | None) -> None:
    assert [found for found, _ in _said(Derivation(words=words))] == ([] if kind is None else [kind])
