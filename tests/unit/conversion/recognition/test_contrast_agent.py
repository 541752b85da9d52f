"""Words, tags and times that say whether a contrast agent was given."""

from typing import Any

import pytest

from conversion.recognition.contrast_agent import (
    course_of_study,
    repeated_protocols,
    same_protocol,
    stated_agent,
    without_order,
)
from conversion.recognition.site_rules import SiteRule
from conversion.recognition.text_evidence import LONGEST_TEXT, folded
from tests.support.series_headers import series_of

AFTER = (
    "Ax T1 +C", "AX T1 C+", "AX T1 FSE POST", "SAG BRAVO +Gd", "sag t1+gd", "t1_mprage_tra_p2_iso_km",
    "t1_se_tra nach KM", "T1 tra post KM", "t1_fl2d_tra_+km", "T1 mit Kontrastmittel", "T1W_SE CONTRAST",
    "T1W 3D TFE GADO", "T1W+C", "T1 EG apres injection", "T1 EG après injection", "T1 SE axial gado", "t1ce",
    "T1-Gd", "3D T1 TFE CE", "T1 Dotarem", "t1 con contraste", "T1 CON CTE", "T1 CIV", "T1 post-contrast",
    "T1 FS POSTCONTRAST", "postgad T1", "COR T1 POST GAD", "T1 dopo mdc", "T1 con mdc", "T1 pós contraste",
    "T1 com contraste", "T1 na contrast", "T1 met gado", "T1 po kontraście", "T1 z kontrastem", "T1 med kontrast",
    "T1 efter kontrast", "T1 AX GD FS", "T1_MPRAGE_POST", "T1 c/c", "AX T1 enhanced", "T1 造影", "T1 KONTRASTLI",
    "T1 IV kontrast sonrası", "Т1 после контраста",  # noqa: RUF001 - as sites write it
)  # fmt: skip
BEFORE = (
    "Ax T1 pre", "T1 ohne KM", "T1 vor KM", "t1_se_tra nativ", "T1 sans injection", "T1 avant injection",
    "T1 without contrast", "T1 w/o contrast", "AX T1 W/O", "T1 non-contrast", "T1 unenhanced", "T1 plain",
    "T1 PRE GAD", "T1 -C", "T1 senza mdc", "T1 pre mdc", "T1 sin contraste", "T1 sem contraste", "T1 pré contraste",
    "T1 zonder contrast", "T1 blanco", "T1 bez kontrastu", "T1 przed kontrastem", "T1 uden kontrast",
    "T1 uten kontrast", "T1 före kontrast", "T1 平扫",
    "T1 kontrastsız", "Т1 без контраста",  # noqa: RUF001 - as sites write it
)  # fmt: skip
NEITHER = (
    "T1W_SE", "t1 mprage sag", "Sag T1 FSPGR", "T1 SE axial", "BRAIN W/WO", "MRI BRAIN W WO CONTRAST",
    "brain with and without contrast", "T1 mit und ohne KM", "Head^tumor pre and post",
    "cerveau avec et sans injection", "T1 con e senza mdc", "T1 post op", "T1 AX POSTERIOR FOSSA",
    "T1W_SE-TRA_FS CLEAR", "VsT1W_3D_ISO SENSE", "T1 high contrast", "3D phase contrast", "navigation T1", "T1 MTC",
    "ISO T1", "T1 COR", "t1_se_fs_tra_320", "T1/SE/extrp", "T1 MPR cor", "Ax T1 FLAIR", "cor t1 focus", "",
)  # fmt: skip
SE_T1: dict[str, Any] = {"tr": 550.0, "te": 12.0, "seq": "SE"}


def _said(**header: Any) -> float:  # noqa: ANN401 - fields of Acquisition
    return sum(evidence.weight for evidence in stated_agent(series_of(**header)))


@pytest.mark.parametrize("words", AFTER)
def test_words_for_after_contrast(words: str) -> None:
    assert _said(description=words) == 4.5
    assert _said(protocol=words) == 2.25


@pytest.mark.parametrize("words", BEFORE)
def test_words_for_before_contrast(words: str) -> None:
    assert _said(description=words) == -4.5
    assert _said(protocol=words) == -2.25


def test_only_the_beginning_of_a_text_that_no_description_has_is_looked_at() -> None:
    """What the pattern of "magnitude contrast" needs grows with the square of such a text: seconds, then hours."""
    endless = "mag" * 10_000
    assert len(folded(endless)) <= LONGEST_TEXT
    assert _said(description=f"T1 +C {endless}") == 4.5
    assert _said(description=f"{endless} T1 +C") == 0
    rule = SiteRule(name="A", kind="T1", description="T1*c")
    assert rule.matches(series_of(description="t1 mag C"))
    assert not rule.matches(series_of(description=f"T1 {endless} C"))


@pytest.mark.parametrize("words", NEITHER)
def test_words_that_say_neither(words: str) -> None:
    assert stated_agent(series_of(description=words, protocol=words)) == ()


def test_the_description_goes_before_the_name_of_the_protocol() -> None:
    assert _said(description="T1 pre", protocol="Brain +C") == -4.5


def test_a_tag_weighs_less_where_all_series_carry_it() -> None:
    series = series_of(agent=True)
    (alone,), (everywhere,) = stated_agent(series), stated_agent(series, tag_everywhere=True)
    assert alone.weight > everywhere.weight > 0
    assert alone.says == "the header names a contrast agent"
    assert stated_agent(series_of(), tag_everywhere=True) == ()


@pytest.mark.parametrize(
    ("change", "same"),
    [({}, True), ({"tr": 560.0}, True), ({"tr": 700.0}, False), ({"te": None}, False), ({"slices": 20}, False)],
)
def test_the_same_protocol_is_known_by_its_times_and_slices(change: dict[str, Any], *, same: bool) -> None:
    assert same_protocol(series_of(1, **SE_T1), series_of(2, **SE_T1 | change)) is same


def test_of_three_repetitions_each_is_told_once() -> None:
    series = [series_of(n, at=600.0 * n, **SE_T1) for n in (1, 2, 3)]
    found = repeated_protocols(series)
    weights = {number: [e.weight for e in found[series[number - 1].key]] for number in (1, 2, 3)}
    assert weights == {1: [-1.0], 2: [3.2], 3: [3.2]}


def test_the_agent_stays_for_the_rest_of_the_study() -> None:
    before, after = series_of(1, at=1000.0), series_of(2, at=2000.0)
    known = ((before, False), (after, True))
    weights = {
        at: [e.weight for e in course_of_study(series_of(3, at=at), known)] for at in (500.0, 1500.0, 2500.0, None)
    }
    assert weights == {500.0: [-3.0], 1500.0: [], 2500.0: [3.0], None: []}
    perfusion = series_of(4, at=1200.0)
    assert [e.weight for e in course_of_study(series_of(3, at=1500.0), (), [perfusion])] == [2.0]


def test_many_known_series_are_one_observation() -> None:
    known = [(series_of(n, at=float(n)), True) for n in range(1, 6)]
    assert len(course_of_study(series_of(9, at=100.0), known)) == 1


def test_beside_one_after_contrast_a_series_of_unknown_order_may_be_after_it_too() -> None:
    before, after = (series_of(1, at=1000.0), False), (series_of(2, at=2000.0), True)
    weights = {
        at: [e.weight for e in without_order(series_of(3, at=at), (before, after))]
        for at in (500.0, 1500.0, 2500.0, None)
    }
    assert weights == {500.0: [], 1500.0: [1.5], 2500.0: [], None: [1.5]}
    assert without_order(series_of(3), (before,)) == ()
    assert without_order(after[0], (before, after)) == ()
