"""Which contrast a series is: tables of what scanners of several makers and languages write."""

from pathlib import Path

import pytest

from conversion.sequences import classify_contrast, marks_contrast_agent
from conversion.study import Acquisition, ImageHeader, Series, SeriesUID

Timing = tuple[float | None, float | None, float | None]


def _series(acquisition: Acquisition, slices: int = 24) -> Series:
    instance = ImageHeader(
        path=Path("x"),
        sop_instance_uid="1",
        instance_number=1,
        rows=2,
        columns=2,
        position_mm=None,
        row_direction=None,
        column_direction=None,
        row_spacing_mm=1.0,
        column_spacing_mm=1.0,
    )
    return Series(
        series_uid=SeriesUID("1"),
        number=1,
        sop_class_uid="1",
        frame_of_reference_uid="1",
        acquisition=acquisition,
        images=(instance,) * slices,
    )


def _kind(text: str = "", timing: Timing = (None, None, None), sequence: tuple[str, ...] = ("SE",)) -> str:
    repetition, echo, inversion = timing
    acquisition = Acquisition(
        text=text.lower().replace("_", " "),
        scanning_sequence=sequence,
        repetition_time_ms=repetition,
        echo_time_ms=echo,
        inversion_time_ms=inversion,
    )
    return classify_contrast(_series(acquisition)).kind


@pytest.mark.parametrize(
    ("maker", "timing", "sequence", "kind"),
    [
        ("Siemens T1 SE", (550, 9, None), ("SE",), "T1"),
        ("Siemens MPRAGE", (1900, 2.5, 900), ("GR", "IR"), "T1"),
        ("Siemens VIBE", (4.5, 2.2, None), ("GR",), "T1"),
        ("Siemens T1 SPACE", (700, 11, None), ("SE",), "T1"),
        ("Siemens T2 TSE", (5500, 95, None), ("SE",), "T2"),
        ("Siemens T2 SPACE", (3200, 408, None), ("SE",), "T2"),
        ("Siemens FLAIR", (9000, 89, 2500), ("SE", "IR"), "FLAIR"),
        ("Siemens 3D FLAIR", (5000, 386, 1800), ("SE", "IR"), "FLAIR"),
        ("GE BRAVO", (8.2, 3.2, 450), ("GR",), "T1"),
        ("GE T1 FLAIR", (2500, 9.6, 920), ("SE", "IR"), "T1"),
        ("GE FRFSE T2", (4500, 102, None), ("SE",), "T2"),
        ("GE T2 FLAIR", (8800, 120, 2250), ("SE", "IR"), "FLAIR"),
        ("GE GRE T2*", (600, 20, None), ("GR",), "T2*"),
        ("Philips T1 TFE", (7.6, 3.5, 0), ("GR",), "T1"),
        ("Philips T1 SE", (596, 15, None), ("SE",), "T1"),
        ("Philips T2 TSE", (4442, 100, None), ("SE",), "T2"),
        ("Philips FLAIR", (11000, 140, 2800), ("IR",), "FLAIR"),
        ("Philips SWI", (31, 23, None), ("GR",), "T2*"),
        ("proton density", (3000, 20, None), ("SE",), "PD"),
        ("inversion recovery with a short echo", (5000, 10, 2000), ("SE", "IR"), "PD"),
    ],
)
def test_timing_alone_tells_the_contrast(maker: str, timing: Timing, sequence: tuple[str, ...], kind: str) -> None:
    assert _kind(timing=timing, sequence=sequence) == kind, maker


def test_timing_outweighs_a_wrong_description() -> None:
    assert _kind("AX T2", timing=(550, 9, None)) == "T1"
    assert _kind("AX T1", timing=(9000, 110, 2500)) == "FLAIR"


def test_a_description_tells_flair_from_t2_where_the_inversion_time_is_not_written() -> None:
    assert _kind("ax t2 flair", timing=(9000, 120, None)) == "FLAIR"
    assert _kind("t2 tirm tra dark-fluid", timing=(9000, 120, None)) == "FLAIR"
    assert _kind("ax t2", timing=(9000, 120, None)) == "T2"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Ax T2 FLAIR PROPELLER", "FLAIR"),
        ("t2_tirm_tra_dark-fluid_4mm", "FLAIR"),
        ("eT2W_TSE", "T2"),
        ("T1W_3D_TFE", "T1"),
        ("SAG MPRAGE", "T1"),
        ("Ax BRAVO +C", "T1"),
        ("t1_vibe_fs_tra", "T1"),
        ("Cor FSPGR", "T1"),
        ("Pat. 1 Kopf", "unknown"),
    ],
)
def test_without_timing_the_description_decides(text: str, kind: str) -> None:
    assert _kind(text) == kind


@pytest.mark.parametrize("missing", [(None, 90, None), (4000, None, None), (0, 90, None)])
def test_half_a_timing_is_none(missing: Timing) -> None:
    assert _kind("t1 se", timing=missing) == "T1"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ep2d_diff_3scan_trace_p2", "DWI"),
        ("Ax DWI b1000", "DWI"),
        ("ADC (10^-6 mm²/s)", "DWI"),
        ("DTI 32 dir", "DWI"),
        ("SWI_Images", "SWI"),
        ("Ax SWAN", "SWI"),
        ("t2* gre hemo", "SWI"),
        ("ep2d_perf_p2", "perfusion"),
        ("DSC gd", "perfusion"),
        ("3D TOF Willis", "angiography"),
        ("s3DI_MC angio", "angiography"),
        ("MRS press csi", "spectroscopy"),
        ("3-plane loc localizer", "localizer"),
        ("SURVEY", "localizer"),
        ("ASSET calibration", "localizer"),
        ("bold resting", "functional"),
    ],
)
def test_what_is_no_anatomical_contrast_is_told_by_its_description(text: str, kind: str) -> None:
    assert _kind(text, timing=(4000, 90, None)) == kind


@pytest.mark.parametrize(
    ("acquisition", "kind"),
    [
        (Acquisition(diffusion_b_value=1000.0), "DWI"),
        (Acquisition(technique="*ep_b1000t"), "DWI"),
        (Acquisition(technique="dwise"), "DWI"),
        (Acquisition(image_type=("DERIVED", "PRIMARY", "ADC")), "DWI"),
        (Acquisition(image_type=("ORIGINAL", "PRIMARY", "P", "SWI")), "phase"),
    ],
)
def test_technique_and_image_type_tell_what_is_no_anatomy(acquisition: Acquisition, kind: str) -> None:
    assert classify_contrast(_series(acquisition)).kind == kind


def test_a_b_value_of_zero_is_no_diffusion() -> None:
    acquisition = Acquisition(diffusion_b_value=0.0, repetition_time_ms=4500, echo_time_ms=100)
    assert classify_contrast(_series(acquisition)).kind == "T2"


@pytest.mark.parametrize(("slices", "kind"), [(3, "localizer"), (7, "localizer"), (8, "T1")])
def test_a_handful_of_images_is_a_localizer(slices: int, kind: str) -> None:
    acquisition = Acquisition(repetition_time_ms=500, echo_time_ms=10)
    assert classify_contrast(_series(acquisition, slices)).kind == kind


def test_the_evidence_names_the_values_that_decided() -> None:
    acquisition = Acquisition(repetition_time_ms=9000, echo_time_ms=110, inversion_time_ms=2500)
    assert classify_contrast(_series(acquisition)).evidence == "TR 9000 ms, TE 110 ms, TI 2500 ms"
    assert "'dwi'" in classify_contrast(_series(Acquisition(text="ax dwi"))).evidence


@pytest.mark.parametrize(
    "text",
    [
        "Ax T1 +C",
        "AX T1 C+",
        "AX T1 FSE POST",
        "SAG BRAVO +Gd",
        "t1_mprage_tra_p2_iso_km",
        "t1_se_tra nach KM",
        "T1 tra post KM",
        "t1_fl2d_tra_+km",
        "T1W_SE CONTRAST",
        "T1W 3D TFE GADO",
        "T1 EG apres injection",
        "T1 SE axial gado",
        "t1ce",
        "T1-Gd",
        "T1 mit Kontrastmittel",
        "t1 con contraste",
        "T1 Dotarem",
    ],
)
def test_descriptions_that_say_a_contrast_agent_was_given(text: str) -> None:
    assert marks_contrast_agent(Acquisition(text=text.lower().replace("_", " ")))


@pytest.mark.parametrize(
    "text",
    [
        "Ax T1 pre",
        "T1 ohne KM",
        "T1 sans injection",
        "T1 without contrast",
        "t1_se_tra nativ",
        "T1 non-contrast",
        "T1W_SE",
        "t1 mprage sag",
        "Sag T1 FSPGR",
        "T1 SE axial",
    ],
)
def test_descriptions_that_do_not(text: str) -> None:
    assert not marks_contrast_agent(Acquisition(text=text.lower().replace("_", " ")))


def test_the_tag_counts_unless_the_description_says_before() -> None:
    assert marks_contrast_agent(Acquisition(text="t1 se", contrast_agent=True)) == "ContrastBolusAgent"
    assert not marks_contrast_agent(Acquisition(text="t1 pre", contrast_agent=True))
