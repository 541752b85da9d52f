"""Who is who in whole studies: before and after contrast, what a person said, and when to leave a kind open."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversion.errors import ConversionReason
from conversion.reading import dicom_files, read_series, read_study
from conversion.recognition.recognise import MINIMUM_CONFIDENCE, Recognition, recognise
from conversion.recognition.site_rules import SiteRule
from conversion.sequences import Role
from conversion.study import Acquisition, Series, Study
from tests.support.series_headers import kinds_of, no_pixels, recognised, series_of, study_of
from tests.support.small_study import ROLES, make_small_study

SE_T1: dict[str, Any] = {"tr": 550.0, "te": 12.0, "seq": "SE", "dims": "2D"}
TFE: dict[str, Any] = {"tr": 7.6, "te": 3.5, "seq": "GR", "dims": "3D", "flip": 8.0}
TSE_T2: dict[str, Any] = {"tr": 4500.0, "te": 100.0, "seq": "SE", "dims": "2D"}
TIRM: dict[str, Any] = {"tr": 9000.0, "te": 110.0, "ti": 2500.0, "seq": "IR", "dims": "2D"}
DSC: dict[str, Any] = {"tr": 1500.0, "te": 30.0, "seq": "EP", "tech": "*epfid2d1_128", "description": "ep2d_perf"}
NOON = 63_000_000_000.0
MIDNIGHT = 63_000_028_800.0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("t1 se tra", "t1 se tra nach KM"),
        ("ax t1", "ax t1 +c"),
        ("sag t1 pre", "sag t1 post"),
        ("t1w se", "t1w se gado"),
        ("t1 eg sans injection", "t1 eg après injection"),
        ("T1 kontrastsız", "T1 kontrastlı"),  # noqa: RUF001 - Turkish
        ("T1 bez kontrastu", "T1 po kontraście"),
    ],
)
def test_words_tell_before_from_after(before: str, after: str) -> None:
    assert kinds_of(series_of(1, description=after, **SE_T1), series_of(2, description=before, **SE_T1)) == {
        1: "T1CE",
        2: "T1",
    }


def test_a_tag_tells_before_from_after() -> None:
    assert kinds_of(series_of(1, **SE_T1), series_of(2, agent=True, **SE_T1)) == {1: "T1", 2: "T1CE"}


def test_a_tag_that_all_carry_tells_less_than_the_words() -> None:
    series = [series_of(n, agent=True, description=words, **SE_T1) for n, words in enumerate(("T1 pre", "T1", "T1 +C"))]
    found = recognised(*series)
    assert (found[0].kind, found[2].kind) == ("T1", "T1CE")
    assert found[1].confidence < recognised(series_of(1, agent=True, **SE_T1))[1].confidence


@pytest.mark.parametrize("start", [NOON, MIDNIGHT - 600], ids=["at noon", "over midnight"])
def test_without_tag_and_words_the_later_of_two_equal_t1_is_after_contrast(start: float) -> None:
    found = recognised(series_of(9, at=start, **SE_T1), series_of(4, at=start + 1200, **SE_T1))
    assert {n: r.kind for n, r in found.items()} == {9: "T1", 4: "T1CE"}
    assert "repeats the protocol of series 9 20 min later" in [e.says for e in found[4].evidence]


@pytest.mark.parametrize(
    "change",
    [{"at": None}, {"at": NOON}, {"tr": 700.0}, {"te": 9.0}, {"seq": "GR"}, {"slices": 20}],
    ids=lambda change: next(iter(change)),
)
def test_two_t1_that_are_no_repetition_are_not_taken_as_before_and_after(change: dict[str, Any]) -> None:
    later = {"at": NOON + 1200} | SE_T1 | change
    assert "T1CE" not in kinds_of(series_of(1, at=NOON, **SE_T1), series_of(2, **later)).values()


def test_a_marked_series_goes_before_the_repetition_of_a_protocol() -> None:
    kinds = kinds_of(
        series_of(1, at=NOON, **SE_T1),
        series_of(2, at=NOON + 600, **SE_T1),
        series_of(3, at=NOON + 900, description="t1 gd", **SE_T1),
    )
    assert kinds == {1: "T1", 2: "T1", 3: "T1CE"}


def test_what_comes_after_a_marked_series_is_after_contrast_too() -> None:
    found = recognised(
        series_of(1, at=NOON, description="T1 nativ", **SE_T1),
        series_of(2, at=NOON + 900, description="T1 KM", **SE_T1),
        series_of(3, at=NOON + 1200, **TFE),
        series_of(4, at=NOON + 1500, **TIRM),
        series_of(5, at=NOON - 300, **TIRM),
        series_of(6, at=NOON - 600, **TFE),
    )
    assert {n: r.kind for n, r in found.items()} == {1: "T1", 2: "T1CE", 3: "T1CE", 4: "FLAIR", 5: "FLAIR", 6: "T1"}
    assert found[4].after_contrast > MINIMUM_CONFIDENCE > 0.1 > found[5].after_contrast
    assert ("after contrast", "acquired after series 2, which is after contrast agent") in {
        (e.kind, e.says) for e in found[4].evidence
    }


@pytest.mark.parametrize(("perfusion", "raised"), [(DSC, True), (DSC | {"description": "asl perf"}, False)])
def test_a_perfusion_with_agent_before_a_t1_is_a_hint(perfusion: dict[str, Any], *, raised: bool) -> None:
    alone = recognised(series_of(1, at=NOON, **SE_T1))[1]
    with_it = recognised(series_of(1, at=NOON, **SE_T1), series_of(2, at=NOON - 300, **perfusion))[1]
    assert (with_it.after_contrast > alone.after_contrast) is raised


def test_a_lone_t1_is_before_contrast_with_honest_confidence() -> None:
    (found,) = recognised(series_of(1, **SE_T1)).values()
    assert found.kind == "T1"
    assert MINIMUM_CONFIDENCE < found.confidence < 0.9


@pytest.mark.parametrize("kind", ["T1", "T1CE", "T2", "FLAIR", "DWI", "localizer", "reformat", "our own kind"])
@pytest.mark.parametrize(
    "header",
    [SE_T1, TSE_T2, TIRM, {}, DSC, {"itype": "DERIVED\\PRIMARY\\MPR", **SE_T1}, {"agent": True, **SE_T1}],
    ids=["T1", "T2", "FLAIR", "silent", "perfusion", "reformat", "tagged"],
)
def test_a_site_rule_decides(kind: str, header: dict[str, Any]) -> None:
    rule = SiteRule(name="Room 2", kind=kind, station="mr2*")
    found = recognised(series_of(1, station="MR2-NORTH", **header), series_of(2, **header), rules=(rule,))
    assert found[1].kind == kind
    assert found[1].confidence > 0.999 or kind == "reformat"
    assert found[1].evidence[0].source == "site rule"
    assert found[1].evidence[0].says == "site rule 'Room 2'"
    assert "site rule" not in {evidence.source for evidence in found[2].evidence}
    assert not found[1].abstained


def test_the_first_rule_that_fits_decides() -> None:
    rules = tuple(SiteRule(name=kind, kind=kind, description="brain*") for kind in ("T2", "FLAIR"))
    series = series_of(1, description="Brain 3", **SE_T1)
    assert kinds_of(series, rules=rules) == {1: "T2"}
    assert kinds_of(series, rules=rules[::-1]) == {1: "FLAIR"}


def test_a_rule_for_one_series_helps_to_understand_the_others() -> None:
    rule = SiteRule(name="ours", kind="T1CE", description="special")
    series = series_of(1, at=NOON, description="special", **SE_T1), series_of(2, at=NOON + 600, **TFE)
    assert kinds_of(*series, rules=(rule,)) == {1: "T1CE", 2: "T1CE"}
    assert kinds_of(*series) == {1: "T1", 2: "T1"}


@pytest.mark.parametrize(
    ("header", "leaning", "need"),
    [
        ({}, None, "an echo time"),
        ({}, None, "a repetition time"),
        ({}, None, "a description that names its contrast"),
        ({}, None, "pixels that can be judged"),
        (SE_T1 | {"protocol": "T1 +C"}, Role.T1, "a contrast tag"),
        ({}, None, "a site rule"),
    ],
)
def test_an_abstention_says_what_would_help(header: dict[str, Any], leaning: Role | None, need: str) -> None:
    marked = series_of(2, at=NOON, description="T1 KM", **SE_T1)
    found = recognised(series_of(1, **header), marked)[1]
    assert found.abstained
    assert found.role is None
    assert found.confidence < MINIMUM_CONFIDENCE
    assert leaning is None or found.weighting in (Role.T1, Role.T1CE)
    assert any(told.startswith(need) for told in found.needs)
    assert not recognised(marked)[2].needs


def test_contradiction_lowers_confidence_down_to_abstention() -> None:
    agreed, alone, contradicted = (
        recognised(series_of(1, description=words, **TSE_T2))[1] for words in ("T2 tra", "", "T1 MPRAGE")
    )
    assert agreed.confidence > alone.confidence > contradicted.confidence
    torn = recognised(series_of(1, description="FLAIR", **TSE_T2))[1]
    assert (torn.kind, torn.role) == ("unknown", None)


def test_a_reformat_keeps_its_weighting() -> None:
    found = recognised(series_of(1, itype="DERIVED\\PRIMARY\\MPR", description="T1 KM", **TFE))[1]
    assert (found.kind, found.weighting, found.role) == ("reformat", "T1CE", Role.T1CE)
    angiogram = series_of(1, itype="DERIVED\\PRIMARY\\MPR", tr=22, te=3.6, seq="GR", dims="3D", description="TOF")
    assert kinds_of(angiogram) == {1: "angiography"}


@pytest.mark.parametrize("words", ["T1 MIP", "T1 KM SUB", "T1 Subtraktion", "T1 map"])
def test_what_was_made_of_a_t1_after_contrast_is_none(words: str) -> None:
    found = recognised(series_of(1, agent=True, description=words, **TFE))[1]
    assert found.role is None
    assert found.kind in ("projection", "subtraction", "map")


DERIVED, ORIGINAL = "DERIVED\\SECONDARY\\OTHER", "ORIGINAL\\PRIMARY\\M"


@pytest.mark.parametrize("image_type", [DERIVED, ORIGINAL])
@pytest.mark.parametrize(
    "words",
    ["T1 POST-PRE", "T1 post minus pre", "T1 C+ - C-", "T1 KM-nativ", "SUB-T1 GD", "delta T1", "\u0394T1", "\u2206T1",
     "(700)-(600)", "[5]-[3]", "S700-S600", "T1 GD minus T1", "T1CE - T1", "T1CE \u2013 T1", "T1CE \u2014 T1",
     "T1CE \u2212 T1", "C+ \u2212 C\u2212", "T1 post - T1 pre", "CE-T1 - T1", "5 minus 3", "SUB", "T1_SUB", "subT1",
     "T1SUB", "subtr.", "Subtraktion", "soustraction", "sustracción", "sottrazione", "Subtração", "aftrekking",
     "kivonás", "субтракция", "减影", "サブトラクション",
     "감산", "Differenzbild T1"],
)  # fmt: skip
def test_a_subtraction_is_known_by_the_names_that_consoles_give(words: str, image_type: str) -> None:
    found = recognised(series_of(1, agent=True, itype=image_type, description=words, **TFE))[1]
    assert (found.kind, found.role) == ("subtraction", None)
    assert found.evidence[0].says.startswith("description contains '")


@pytest.mark.parametrize("words", ["dT1", "5-3", "12 - 4", "700-600"])
@pytest.mark.parametrize(
    ("image_type", "maker", "kind"),
    [(DERIVED, "", "subtraction"), ("", "", "subtraction"), (ORIGINAL, "SIEMENS", "T1CE"),
     (ORIGINAL, "Philips Medical Systems", "subtraction")],
)  # fmt: skip
def test_a_short_name_is_that_of_a_subtraction_unless_the_images_are_original(
    words: str, image_type: str, maker: str, kind: str
) -> None:
    header = {"agent": True, "itype": image_type, "maker": maker, "description": words, **TFE}
    assert kinds_of(series_of(1, **header)) == {1: kind}


@pytest.mark.parametrize("image_type", [DERIVED, ORIGINAL])
@pytest.mark.parametrize(
    "words",
    ["T1 pre-post", "T1 pre/post", "sub-01 T1", "3DT1", "T1 post-pre-op", "T1 (700)", "POST-T1", "CE-T1w", "KM-T1 tra",
     "T1 KM - T1 MPRAGE tra", "T1 post - pre sat", "T1 C minus", "2023-11", "L5-S1", "S1-S2", "T1 post 3-5 min"],
)  # fmt: skip
def test_names_that_look_like_a_subtraction_are_none(words: str, image_type: str) -> None:
    header = {"agent": True, "itype": image_type, "description": words, **TFE}
    assert "subtraction" not in kinds_of(series_of(1, **header)).values()


@pytest.mark.parametrize(
    ("words", "kind"),
    [("T1 map", "map"), ("carte T1", "map"), ("T1-Karte", "map"), ("ratio T1 post/pre", "map"), ("FA", "map"),
     ("MD", "map"), ("Ktrans", "perfusion"), ("rCBV", "perfusion"), ("TTP", "perfusion"), ("kep", "perfusion"),
     ("iAUC60", "perfusion"), ("wash-in", "perfusion"), ("time to peak", "perfusion"), ("isoADC", "ADC"),
     ("ADCmap", "ADC"), ("tMIP", "projection"), ("rotMIP", "projection"), ("MaxIntensity", "projection"),
     ("VRT", "projection"), ("T1 SUB MIP", "projection")],
)  # fmt: skip
def test_maps_and_projections_keep_nothing_of_the_t1_that_they_were_made_of(words: str, kind: str) -> None:
    full = TFE | {"tech": "t1tfe", "acquisition_contrast": "T1", "ti": 900.0}
    found = recognised(series_of(1, agent=True, itype=DERIVED, description=words, **full))[1]
    assert (found.kind, found.role) == (kind, None)


@pytest.mark.parametrize("words", ["t1_mprage KM SUB", "t1_mprage MIP", "T1 map", "Ktrans t1"])
def test_words_for_what_was_made_outweigh_a_header_that_says_t1_in_every_way(words: str) -> None:
    full = {"tr": 1900.0, "te": 2.5, "ti": 900.0, "seq": "GR\\IR", "dims": "3D", "flip": 9.0, "tech": "*tfl3d1_ns",
            "acquisition_contrast": "T1"}  # fmt: skip
    assert recognised(series_of(1, agent=True, description=words, **full))[1].role is None


def test_a_word_after_contrast_in_hangul_is_read() -> None:
    assert kinds_of(series_of(1, description="T1 조영", **SE_T1)) == {1: "T1CE"}


def test_series_without_pixels_are_judged_by_their_headers() -> None:
    found = recognised(series_of(1, **TSE_T2), series_of(2, **TIRM), series_of(3, **DSC))
    assert [found[n].kind for n in (1, 2, 3)] == ["T2", "FLAIR", "perfusion"]
    assert [decision.code for decision in found[1].decisions] == ["pixels_not_judged"]
    assert "no pixels" in found[1].decisions[0].reason
    assert found[3].decisions == ()  # the header has settled what it is, so its pixels were not asked for


STUDY = (
    series_of(101, plane="sagittal", slices=3, part="sagittal", tr=15, te=5, seq="GR", dims="2D"),
    series_of(101, plane="coronal", slices=1, part="coronal", tr=15, te=5, seq="GR", dims="2D"),
    series_of(201, at=NOON, **TSE_T2),
    series_of(301, at=NOON + 300, **TIRM),
    series_of(401, at=NOON + 600, **SE_T1),
    series_of(501, at=NOON + 900, itype="DERIVED\\PRIMARY\\MPR", **TFE),
    series_of(601, at=NOON + 1200, **DSC),
    series_of(701, at=NOON + 1500, **SE_T1),
    series_of(801, at=NOON + 1800, **TIRM),
    series_of(901, at=NOON + 1800, **TFE),
    series_of(999, description="???"),
)


@settings(max_examples=25, deadline=None)
@given(st.permutations(STUDY))
def test_the_order_of_series_does_not_matter(series: list[Series]) -> None:
    expected = {r.series.key: r for r in recognise(study_of(*STUDY), no_pixels)}
    assert {r.series.key: r for r in recognise(study_of(*series), no_pixels)} == expected


def test_kinds_of_a_whole_study() -> None:
    assert kinds_of(*STUDY) == {
        101: "localizer", 201: "T2", 301: "FLAIR", 401: "T1", 501: "reformat", 601: "perfusion", 701: "T1CE",
        801: "FLAIR", 901: "T1CE", 999: "unknown",
    }  # fmt: skip


def test_evidence_is_ordered_by_weight() -> None:
    for recognition in recognise(study_of(*STUDY), no_pixels):
        weights = [abs(evidence.weight) for evidence in recognition.evidence]
        assert weights == sorted(weights, reverse=True)


PHILIPS, BRAINIX = "dicom/philips-1.5T-tumour", "dicom/brainix"
WHO_IS_WHO = {
    PHILIPS: {
        101: "localizer", 303: "ADC", 304: "DWI", 401: "T2", 502: "reformat", 701: "FLAIR", 901: "T1",
        1103: "reformat", 1201: "T1CE", 1301: "FLAIR",
    },
    BRAINIX: {301: "T2", 401: "FLAIR", 601: "T1"},
}  # fmt: skip


def _blanked(study: Study, **blank: Any) -> Study:  # noqa: ANN401
    series = [replace(each, acquisition=replace(each.acquisition, **blank)) for each in study.series]
    return replace(study, series=tuple(series))


pytestmark = [
    pytest.mark.filterwarnings("ignore:Invalid value for VR"),
    pytest.mark.filterwarnings("ignore:The value length"),
]
NAMELESS: dict[str, Any] = {"description": "", "protocol": "", "text": ""}


@pytest.mark.data
@pytest.mark.parametrize("name", [PHILIPS, BRAINIX])
def test_real_studies_are_recognised_without_names_and_times(shared_data: Path, name: str) -> None:
    study = read_study(dicom_files(shared_data / name))
    found: dict[int, Recognition] = {}
    for recognition in recognise(_blanked(study, **NAMELESS, acquired_at=None), read_series):
        found[recognition.series.number] = recognition
    assert {number: r.kind for number, r in found.items()} == WHO_IS_WHO[name]
    if name == PHILIPS:
        assert (found[502].weighting, found[1103].weighting) == ("T1", "T1CE")
        assert {"enhancement", "pixels"} <= {evidence.source for evidence in found[1201].evidence}


@pytest.mark.data
def test_pixels_alone_tell_the_weightings_of_a_real_study(shared_data: Path) -> None:
    silent = vars(Acquisition())
    study = _blanked(read_study(dicom_files(shared_data / BRAINIX)), **silent)
    found = {recognition.series.number: recognition for recognition in recognise(study, read_series)}
    assert {number: r.kind for number, r in found.items()} == WHO_IS_WHO[BRAINIX]
    assert {evidence.source for r in found.values() for evidence in r.evidence} == {"pixels"}


def test_too_few_slices_are_judged_by_the_header_without_reading() -> None:
    found = recognised(series_of(1, slices=4, tr=8.9, te=3.2, ti=900, seq="GR", dims="3D"))[1]
    assert (found.kind, found.decisions) == ("T1", ())


def test_a_broken_series_is_still_recognised() -> None:
    whole = series_of(1, **TIRM)
    found = recognised(replace(whole, images=whole.images[:5] + whole.images[6:]))[1]
    assert found.kind == "FLAIR"
    assert "1 slice(s) missing" in found.decisions[0].reason
    assert ConversionReason.MISSING_SLICE not in [decision.code for decision in found.decisions]


def test_the_number_of_threads_changes_nothing(tmp_path: Path) -> None:
    for number, ds in enumerate(make_small_study("threads")):
        ds.SeriesDescription = ds.ProtocolName = ""  # so that the pixels are asked
        ds.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    study = read_study(dicom_files(tmp_path))
    one, several = (recognise(study, read_series, threads=threads) for threads in (1, 4))
    assert one == several
    assert len(one) == len(ROLES)
    assert all("pixels" in [evidence.source for evidence in found.evidence] for found in one)
