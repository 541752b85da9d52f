"""What headers alone tell: tables of what scanners of several makers, field strengths and languages write."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversion.recognition.header_evidence import header_evidence, reformat_evidence
from conversion.recognition.weighing import kind_probabilities
from tests.support.series_headers import recognised, series_of

Row = tuple[str, str, dict[str, Any]]


def _row(name: str, kind: str, **header: Any) -> Row:  # noqa: ANN401 - fields of Acquisition
    return name, kind, header


SIEMENS = [
    _row("SE 1.5 T", "T1", tr=550, te=9, seq="SE", dims="2D", flip=90, tech="*se2d1", description="t1_se_tra"),
    _row("SE 3 T", "T1", tr=1100, te=12, seq="SE", dims="2D", flip=90, tech="*se2d1", description="t1_se_tra_fs"),
    _row("TIRM", "T1", tr=2000, te=9, ti=860, seq="SE\\IR", tech="*tir2d1_7", description="t1_tirm_tra_dark-fluid"),
    _row("MPRAGE", "T1", tr=1900, te=2.52, ti=900, seq="GR\\IR", dims="3D", flip=9, tech="*tfl3d1_ns"),
    _row("MPRAGE of 1.5 T", "T1", tr=2400, te=3.5, ti=1000, seq="GR\\IR", dims="3D", flip=8, description="ADNI"),
    _row("MPRAGE, no TI", "T1", tr=2300, te=2.98, seq="GR", dims="3D", flip=9, tech="*tfl3d1_16ns"),
    _row("MPRAGE KM", "T1CE", tr=1900, te=2.5, ti=900, seq="GR\\IR", dims="3D", description="t1_mprage_tra_iso_KM"),
    _row("VIBE", "T1CE", tr=5.3, te=2.46, seq="GR", dims="3D", flip=10, description="t1_vibe_fs_tra nach KM"),
    _row("SPACE T1", "T1", tr=700, te=11, seq="SE", dims="3D", tech="*spc_44ns", description="t1_space_sag"),
    _row("FLASH 2D", "T1", tr=250, te=2.5, seq="GR", dims="2D", flip=70, tech="*fl2d1", description="t1_fl2d_tra"),
    _row("TSE", "T2", tr=5500, te=95, seq="SE", dims="2D", tech="*tse2d1_15", description="t2_tse_tra_512"),
    _row("BLADE", "T2", tr=4000, te=118, seq="SE", dims="2D", tech="*tseB2d1_35", description="t2_blade_tra"),
    _row("SPACE T2", "T2", tr=3200, te=408, seq="SE", dims="3D", tech="*spcR_282ns", description="t2_space_sag_iso"),
    _row("TIRM FLAIR", "FLAIR", tr=9000, te=89, ti=2500, seq="SE\\IR", description="t2_tirm_tra_dark-fluid"),
    _row("SPACE FLAIR", "FLAIR", tr=5000, te=386, ti=1800, seq="SE\\IR", dims="3D", tech="*spcir_278ns"),
    _row("diffusion", "DWI", tr=6600, te=89, seq="EP", tech="*ep_b1000t", b=1000, description="ep2d_diff_3scan_trace"),
    _row("trace", "DWI", tr=6600, te=89, seq="EP", itype="DERIVED\\PRIMARY\\DIFFUSION\\TRACEW\\ND"),
    _row("ADC", "ADC", tr=6600, te=89, seq="EP", tech="*ep_b0_1000", itype="DERIVED\\PRIMARY\\DIFFUSION\\ADC\\ND"),
    _row("FA", "map", tr=6600, te=89, seq="EP", tech="*ep_b0", itype="DERIVED\\PRIMARY\\DIFFUSION\\FA\\ND"),
    _row("SWI", "SWI", tr=28, te=20, seq="GR", dims="3D", flip=15, itype="ORIGINAL\\PRIMARY\\M\\SWI\\NORM"),
    _row("minIP", "projection", tr=28, te=20, seq="GR", dims="3D", itype="DERIVED\\PRIMARY\\MNIP\\SWI"),
    _row("SWI phase", "phase", tr=28, te=20, seq="GR", dims="3D", itype="ORIGINAL\\PRIMARY\\P\\ND", component="phase"),
    _row("hemo", "T2*", tr=620, te=20, seq="GR", dims="2D", flip=20, tech="*fl2d1", description="t2_fl2d_tra_hemo"),
    _row("TOF", "angiography", tr=22, te=3.6, seq="GR", dims="3D", flip=18, description="TOF_3D_multi-slab"),
    _row("TOF MIP", "projection", tr=22, te=3.6, seq="GR", dims="3D", description="TOF_3D MIP_COR"),
    _row("perfusion", "perfusion", tr=1500, te=30, seq="EP", tech="*epfid2d1_128", description="ep2d_perf_p2"),
    _row("relCBV", "perfusion", tr=1500, te=30, seq="EP", itype="DERIVED\\PRIMARY\\PERFUSION\\RELCBV"),
    _row("BOLD", "functional", tr=3000, te=30, seq="EP", tech="*epfid2d1_64", description="ep2d_bold_resting"),
    _row("localizer", "localizer", tr=8.6, te=4, seq="GR", dims="2D", flip=20, tech="*fl2d1", description="localizer"),
    _row("AAHead", "localizer", tr=3.15, te=1.37, seq="GR", dims="3D", flip=8, description="AAHead_Scout_64ch"),
    _row("CISS", "steady state", tr=6, te=2.7, seq="GR", dims="3D", flip=70, tech="*ci3d1", description="t2_ci3d_tra"),
    _row("DIR", "double inversion", tr=7500, te=319, ti=3000, seq="SE\\IR", dims="3D", description="DIR_space_sag"),
    _row("MP2RAGE", "T1", tr=5000, te=2.98, ti=700, seq="GR\\IR", dims="3D", flip=4, description="t1_mp2rage_UNI"),
    _row("MP2RAGE 2", "PD", tr=5000, te=2.98, ti=2500, seq="GR\\IR", dims="3D", description="t1_mp2rage_sag_INV2"),
    _row("field map", "field map", tr=488, te=4.92, seq="GR", dims="2D", flip=60, description="gre_field_mapping"),
    _row("Dixon fat", "fat image", tr=600, te=11, seq="SE", itype="ORIGINAL\\PRIMARY\\M\\DIXON\\FAT"),
    _row("Dixon fat, short", "fat image", tr=5, te=2.4, seq="GR", dims="3D", itype="DERIVED\\PRIMARY\\DIXON\\F"),
    _row("MPR", "reformat", tr=1900, te=2.5, ti=900, seq="GR\\IR", dims="3D", itype="DERIVED\\PRIMARY\\MPR\\NORM"),
    _row("subtraction", "subtraction", tr=550, te=9, seq="SE", itype="DERIVED\\PRIMARY\\SUB\\M", description="t1_km"),
    _row("enhanced, XA", "FLAIR", te=95, acquisition_contrast="FLUID_ATTENUATED", dims="2D"),
    _row("enhanced, XA, silent", "T1", te=2.46, acquisition_contrast="UNKNOWN", dims="3D"),
]
GE = [
    _row("BRAVO", "T1", tr=8.2, te=3.2, ti=450, seq="GR", dims="3D", flip=12, description="Sag BRAVO"),
    _row("BRAVO +C", "T1CE", tr=8.2, te=3.2, ti=450, seq="GR", dims="3D", agent=True, description="Ax BRAVO +C"),
    _row("T1 FLAIR", "T1", tr=2500, te=9.6, ti=920, seq="SE\\IR", dims="2D", description="Ax T1 FLAIR"),
    _row("T1 FLAIR PROPELLER", "T1", tr=2900, te=24, ti=1100, seq="RM", description="Ax T1 FLAIR PROP"),
    _row("FRFSE", "T2", tr=4500, te=102, seq="SE", dims="2D", flip=111, description="Ax T2 FRFSE"),
    _row("PROPELLER", "T2", tr=5600, te=95, seq="RM", dims="2D", flip=142, description="Ax T2 PROPELLER"),
    _row("T2 FLAIR", "FLAIR", tr=8800, te=120, ti=2250, seq="SE\\IR", description="Ax T2 FLAIR"),
    _row("T2 FLAIR +C", "FLAIR", tr=8800, te=120, ti=2250, seq="SE\\IR", agent=True, description="Ax T2 FLAIR +C"),
    _row("CUBE FLAIR", "FLAIR", tr=6002, te=127, ti=1870, seq="SE\\IR", dims="3D", description="Sag CUBE T2 FLAIR"),
    _row("CUBE T1", "T1CE", tr=600, te=13, seq="SE", dims="3D", description="Sag CUBE T1 +C"),
    _row("FSPGR, GE protocol", "T1CE", tr=7, te=3, seq="GR", dims="3D", flip=20, description="Ax FSPGR 3D POST",
         protocol="BRAIN W/WO"),
    _row("examination's name", "T1", tr=600, te=15, seq="SE", description="AX T1", protocol="BRAIN W WO CONTRAST"),
    _row("GRE", "T2*", tr=600, te=20, seq="GR", dims="2D", flip=20, description="Ax GRE T2*"),
    _row("SWAN", "SWI", tr=42, te=25, seq="GR", dims="3D", flip=15, description="Ax 3D SWAN"),
    _row("loc", "localizer", tr=1500, te=80, seq="SE", dims="2D", description="3-Plane Loc SSFSE"),
    _row("calibration", "localizer", tr=150, te=2, seq="GR", dims="2D", flip=30, description="ASSET calibration"),
    _row("DWI", "DWI", tr=8000, te=80, seq="EP\\SE", b=1000, description="Ax DWI b1000"),
    _row("ADC", "ADC", tr=8000, te=80, seq="EP\\SE", description="Apparent Diffusion Coefficient (mm2/s)"),
    _row("ASL", "perfusion", tr=4800, te=10.5, ti=2025, seq="RM", dims="3D", description="3D ASL"),
    _row("FIESTA", "steady state", tr=5.5, te=1.8, seq="GR", dims="3D", flip=60, description="Ax FIESTA"),
    _row("reformat", "reformat", tr=8.2, te=3.2, ti=450, seq="GR", itype="DERIVED\\SECONDARY\\REFORMATTED\\AVERAGE"),
    _row("dual echo, first", "PD", tr=2500, te=20, seq="SE", dims="2D"),
    _row("dual echo, second", "T2", tr=2500, te=85, seq="SE", dims="2D"),
    _row("DCE", "perfusion", tr=4.1, te=1.5, seq="GR", dims="3D", flip=25, description="DCE perfusion +C"),
]  # fmt: skip
PHILIPS = [
    _row("SE", "T1", tr=596, te=15, seq="SE", dims="2D", tech="se", description="T1W_SE_TRA"),
    _row("3D TFE", "T1", tr=7.6, te=3.5, seq="GR", dims="3D", flip=8, tech="t1tfe", description="sT1W_3D_TFE"),
    _row("3D FFE", "T1", tr=25, te=4.6, seq="GR", dims="3D", flip=30, tech="t1ffe", description="T1W_3D_FFE"),
    _row("TSE", "T2", tr=4442, te=100, seq="SE", dims="2D", tech="tse"),
    _row("FLAIR", "FLAIR", tr=11000, te=140, ti=2800, seq="IR", dims="2D", tech="tir"),
    _row("VISTA FLAIR", "FLAIR", tr=4800, te=387, ti=1650, seq="IR", dims="3D", tech="tir"),
    _row("IR TSE", "T1", tr=5000, te=15, ti=400, seq="IR", dims="2D", tech="tir", description="T1W_IR_TSE"),
    _row("STIR", "STIR", tr=3500, te=60, ti=160, seq="IR", dims="2D", tech="tir", description="STIR_longTE"),
    _row("SWIp", "SWI", tr=51, te=12, seq="GR", dims="3D", flip=20, description="SWIp"),
    _row("FFE", "T2*", tr=700, te=16, seq="GR", dims="2D", flip=18, tech="ffe", description="T2W_FFE"),
    _row("DWI", "DWI", tr=3594, te=88, seq="SE", dims="2D", tech="dwise", b=1000),
    _row("ADC", "ADC", tr=3594, te=88, seq="RM", tech="dwise", itype="ORIGINAL\\PRIMARY\\ADC\\ADC\\UNSPECIFIED"),
    _row("survey", "localizer", tr=11, te=4.6, seq="GR", dims="2D", tech="ffe", description="Survey_SHC", slices=15),
    _row("PCA", "angiography", tr=8.4, te=5.2, seq="GR", dims="3D", flip=10, tech="pca", description="3D_PCA"),
    _row("reformat", "reformat", tr=25, te=4.6, seq="GR", dims="3D", itype="ORIGINAL\\PRIMARY\\PROJECTION IMAGE\\M"),
    _row("real part", "phase", tr=550, te=9, seq="SE", component="real"),
    _row("real part after an inversion", "T1", tr=5000, te=15, ti=400, seq="IR", tech="tir", component="real"),
    _row("mDIXON fat", "fat image", tr=5.2, te=1.5, seq="GR", itype="ORIGINAL\\PRIMARY\\F\\F\\DERIVED"),
    _row("enhanced T1", "T1", tr=6.8, te=3.1, seq="GR", dims="3D", acquisition_contrast="T1"),
    _row("enhanced T2", "T2", tr=3000, te=80, dims="2D", acquisition_contrast="T2"),
]
OTHERS = [
    _row("Canon FSE", "T2", tr=4000, te=105, seq="SE", dims="2D", tech="fse15_cc", description="T2 FSE Ax"),
    _row("Toshiba FLAIR", "FLAIR", tr=10000, te=105, ti=2700, seq="SE\\IR", description="FLAIR AX"),
    _row("Hitachi 0.3 T T1", "T1", tr=450, te=20, seq="SE", dims="2D", description="T1W SE TRS"),
    _row("Hitachi 0.3 T FLAIR", "FLAIR", tr=8000, te=100, ti=1900, seq="IR", description="FLAIR TRS"),
    _row("United Imaging", "T1", tr=7.2, te=3.1, ti=750, seq="GR", dims="3D", flip=10, description="t1_gre_fsp_3d_sag"),
    _row("Hyperfine 0.064 T T2", "T2", tr=2000, te=210, seq="SE", dims="3D", description="T2 AXI"),
    _row("colour", "colour", tr=550, te=9, seq="SE", colour=True, description="T1 fused"),
    _row("screenshot", "picture", itype="DERIVED\\SECONDARY\\SCREEN SAVE", description="T1 report"),
    _row("synthetic map", "map", tr=4500, te=22, seq="SE", description="SyMRI T1 map"),
    _row("silent", "unknown"),
    _row("name of a body part", "unknown", description="Pat. 1 Kopf"),
]
LANGUAGES = [
    _row("French before", "T1", tr=550, te=12, seq="SE", description="AX T1 EG SANS INJ"),
    _row("French after", "T1CE", tr=550, te=12, seq="SE", description="AX SE T1 après injection"),
    _row("Spanish before", "T1", tr=550, te=12, seq="SE", description="T1 SE AX SIN CONTRASTE"),
    _row("Spanish after", "T1CE", tr=550, te=12, seq="SE", description="AX T1 CON CTE"),
    _row("Italian after", "T1CE", tr=550, te=12, seq="SE", description="T1 SE ASS DOPO MDC"),
    _row("Portuguese after", "T1CE", tr=550, te=12, seq="SE", description="T1 AXIAL PÓS CONTRASTE"),
    _row("Dutch after", "T1CE", tr=550, te=12, seq="SE", description="T1 tra na contrast"),
    _row("Polish after", "T1CE", tr=550, te=12, seq="SE", description="T1 tra po kontraście"),
    _row("Polish before", "T1", tr=550, te=12, seq="SE", description="T1 tra bez kontrastu"),
    _row("Turkish after", "T1CE", tr=550, te=12, seq="SE", description="T1 AKSİYEL KONTRASTLI"),
    _row("Turkish before", "T1", tr=550, te=12, seq="SE", description="T1 kontrastsız"),  # noqa: RUF001 - Turkish
    _row("Swedish after", "T1CE", tr=550, te=12, seq="SE", description="T1 tra efter kontrast"),
    _row("Russian after", "T1CE", tr=550, te=12, seq="SE", description="Т1 после контраста"),  # noqa: RUF001 - Russian
    _row("Spanish localizer", "localizer", tr=12, te=5, seq="GR", dims="2D", description="LOCALIZADOR"),
    _row("French localizer", "localizer", tr=12, te=5, seq="GR", dims="2D", description="Repérage"),
    _row("Polish diffusion", "DWI", tr=4000, te=90, seq="SE", description="Dyfuzja"),
    _row("Turkish diffusion", "DWI", tr=4000, te=90, seq="SE", description="Difüzyon"),
    _row("French subtraction", "subtraction", tr=550, te=12, seq="SE", description="T1 soustraction"),
]
MISLEADING = [
    _row("T2 by name, T1 by times", "T1", tr=550, te=9, seq="SE", description="AX T2"),
    _row("T1 by name, FLAIR by times", "FLAIR", tr=9000, te=110, ti=2500, seq="SE\\IR", description="AX T1"),
    _row("T1 FLAIR by name, T2 FLAIR by times", "FLAIR", tr=9000, te=120, ti=2500, seq="SE\\IR",
         description="T1 FLAIR"),
    _row("after an operation", "T1", tr=550, te=9, seq="SE", description="AX T1 POST OP"),
    _row("of the posterior fossa", "T1", tr=550, te=9, seq="SE", description="AX T1 POST FOSSA"),
    _row("tag filled in ahead", "T1", tr=550, te=9, seq="SE", description="AX T1 PRE", agent=True),
    _row("name of the examination", "T1", tr=550, te=9, seq="SE", description="AX T1", protocol="with and without Gd"),
    _row("FLAIR without its TI", "FLAIR", tr=9000, te=120, seq="SE", description="ax t2 flair"),
    _row("FLAIR without TI or words", "FLAIR", tr=9000, te=120, seq="SE\\IR", dims="2D"),
    _row("b-value of zero", "T2", tr=4500, te=100, seq="SE", dims="2D", b=0, tech="tse"),
    _row("diffusion by name, T1 by times", "unknown", tr=550, te=9, seq="SE", description="AX DWI"),
    _row("FLAIR by name, T2 by times", "unknown", tr=5000, te=100, seq="SE", dims="2D", description="FLAIR"),
    _row("part, not T1", "unknown", description="part1"),
]  # fmt: skip
TABLE = [
    (f"{maker}: {name}", kind, header)
    for maker, rows in (
        ("Siemens", SIEMENS),
        ("GE", GE),
        ("Philips", PHILIPS),
        ("other", OTHERS),
        ("language", LANGUAGES),
        ("misleading", MISLEADING),
    )
    for name, kind, header in rows
]


@pytest.mark.parametrize(("name", "kind", "header"), TABLE, ids=[name for name, _, _ in TABLE])
def test_headers_alone_tell_the_kind(name: str, kind: str, header: dict[str, Any]) -> None:
    (recognition,) = recognised(series_of(**header)).values()
    assert recognition.kind == kind, f"{name}: {recognition}"


def test_nearly_every_header_is_named() -> None:
    left_open = [name for name, kind, _ in TABLE if kind == "unknown"]
    assert len(left_open) <= 5
    assert len(TABLE) >= 100


STRUCTURAL = [row for row in TABLE if row[1] in ("T1", "T1CE", "T2", "FLAIR") and "misleading" not in row[0]]


@pytest.mark.parametrize(("name", "kind", "header"), STRUCTURAL, ids=[name for name, _, _ in STRUCTURAL])
def test_without_words_no_weighting_is_taken_for_another(name: str, kind: str, header: dict[str, Any]) -> None:
    (recognition,) = recognised(series_of(**(header | {"description": "", "protocol": ""}))).values()
    weighting = "T1" if kind == "T1CE" and not header.get("agent") else kind
    assert recognition.kind in (weighting, "unknown"), name


def test_most_weightings_are_named_without_words() -> None:
    blank = [series_of(n, **(row[2] | {"description": "", "protocol": ""})) for n, row in enumerate(STRUCTURAL)]
    left_open = [r for series in blank for r in recognised(series).values() if r.abstained]
    assert len(left_open) <= len(STRUCTURAL) // 20


@pytest.mark.parametrize(
    ("header", "source", "says"),
    [
        ({"tr": 9000, "te": 110, "ti": 2500}, "timing", "TR 9000 ms, TE 110 ms, TI 2500 ms: long inversion, long echo"),
        ({"description": "Ax DWI"}, "description", "description contains 'dwi'"),
        ({"protocol": "Ax DWI"}, "description", "protocol name contains 'dwi'"),
        ({"itype": "DERIVED\\PRIMARY\\ADC"}, "image type", "ImageType ADC"),
        ({"tech": "*tfl3d1_ns"}, "sequence", "sequence *tfl3d1_ns"),
        ({"b": 1000.0}, "image type", "b-value 1000 s/mm²"),
        ({"acquisition_contrast": "T2"}, "sequence", "AcquisitionContrast T2"),
        ({"slices": 2}, "geometry", "only 2 image(s)"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_evidence_names_the_value_it_rests_on(header: dict[str, Any], source: str, says: str) -> None:
    found = header_evidence(series_of(**header))
    assert (source, says) in {(evidence.source, evidence.says) for evidence in found}
    assert all(evidence.weight != 0 for evidence in found)


def test_what_the_protocol_name_alone_says_weighs_half() -> None:
    (described,) = header_evidence(series_of(description="T2 tra"))
    (named,) = header_evidence(series_of(protocol="T2 tra"))
    assert named.weight == described.weight / 2
    assert len(header_evidence(series_of(description="T2 tra", protocol="T2 tra"))) == 1


def _volumes(parts: int, **header: Any) -> list[Any]:  # noqa: ANN401
    return [series_of(part=f"phase {k}", **header) for k in range(parts)]


def test_planes_in_one_series_are_a_localizer() -> None:
    planes = [series_of(plane=plane, part=plane, slices=5) for plane in ("axial", "coronal", "sagittal")]
    found = [e for e in header_evidence(planes[0], planes[1:]) if e.source == "geometry"]
    assert [(e.kind, e.says) for e in found] == [
        ("localizer", "one DICOM series in several planes (axial, coronal, sagittal)")
    ]


@pytest.mark.parametrize(("count", "kind"), [(2, "T1"), (40, "perfusion")])
def test_a_course_in_time_is_no_anatomy(count: int, kind: str) -> None:
    first, *others = _volumes(count, tr=4.2, te=1.6, seq="GR", dims="3D", flip=20)
    shares = kind_probabilities(header_evidence(first, others))
    assert max(shares, key=lambda k: shares[k]) == kind


def test_an_image_without_diffusion_belongs_to_the_diffusion_series_it_lies_in() -> None:
    plain, weighted = (series_of(tr=6000, te=90, seq="SE", b=b, part=f"b {b:g}") for b in (0.0, 1000.0))
    assert kind_probabilities(header_evidence(plain, [weighted]))["DWI"] > 0.9
    assert kind_probabilities(header_evidence(plain))["DWI"] < 0.2


@pytest.mark.parametrize(
    ("header", "weight"),
    [
        ({"itype": "ORIGINAL\\PRIMARY\\PROJECTION IMAGE\\M"}, 20.0),
        ({"itype": "DERIVED\\PRIMARY\\MPR"}, 20.0),
        ({"itype": "DERIVED\\SECONDARY\\OTHER"}, 1.5),
        ({"itype": "DERIVED\\SECONDARY\\OTHER", "description": "Cor rfmt"}, 5.5),
        ({"description": "t1_mprage_sag"}, 0.0),
        ({}, 0.0),
    ],
)
def test_reformats_are_told_by_image_type_and_words(header: dict[str, Any], weight: float) -> None:
    assert sum(evidence.weight for evidence in reformat_evidence(series_of(**header))) == weight


_WORDS = {
    "T1": ("T1", "MPRAGE", "BRAVO"),
    "T2": ("T2", "T2 TSE tra"),
    "FLAIR": ("FLAIR", "dark-fluid"),
    "DWI": ("DWI", "Diffusion"),
    "localizer": ("Survey", "Localizer"),
}


@settings(deadline=None)
@given(
    row=st.sampled_from([(kind, header) for _, kind, header in TABLE if "description" not in header]),
    word=st.sampled_from([(kind, word) for kind, words in _WORDS.items() for word in words]),
)
def test_a_word_for_another_kind_never_makes_the_first_more_probable(
    row: tuple[str, dict[str, Any]], word: tuple[str, str]
) -> None:
    _, header = row
    before = kind_probabilities(header_evidence(series_of(**header)))
    first = max(before, key=lambda kind: before[kind])
    after = kind_probabilities(header_evidence(series_of(**(header | {"description": word[1]}))))
    assert after[word[0]] >= before[word[0]]
    if word[0] != first:
        assert after[first] <= before[first] + 1e-12


@settings(deadline=None)
@given(
    tr=st.one_of(st.none(), st.floats(0, 20000)),
    te=st.one_of(st.none(), st.floats(0, 700)),
    ti=st.one_of(st.none(), st.floats(0, 4000)),
    flip=st.one_of(st.none(), st.floats(0, 180)),
    seq=st.sampled_from(["SE", "GR", "EP", "IR", "SE\\IR", "GR\\IR", "RM", ""]),
    dims=st.sampled_from(["2D", "3D", ""]),
    words=st.text(max_size=20),
)
def test_any_header_gives_probabilities(words: str, **times: Any) -> None:  # noqa: ANN401
    shares = kind_probabilities(header_evidence(series_of(description=words, **times)))
    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(0.0 <= share <= 1.0 for share in shares.values())
