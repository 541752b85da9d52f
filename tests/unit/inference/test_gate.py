"""The gate: each flag for its reason, and no result below it."""

from itertools import chain

import pytest

from conversion.decision import Decision
from conversion.study import PatientFacts
from dicom_node.settings import WITHHOLDING
from inference.errors import InferenceReason, UnsuitableInput
from inference.flags import Flag, FlagCode
from inference.gate import admit, with_flags, withhold
from inference.measurements import Findings, RegionFinding
from inference.regions import Region

ADULT = PatientFacts(age_years=51.0)


def _findings(volume_ml: float = 20.0, flags: tuple[Flag, ...] = ()) -> Findings:
    voxels = round(volume_ml * 1000)
    whole = RegionFinding(region=Region.WT, voxels=voxels, volume_ml=volume_ml, centroid_mm=None)
    return Findings(regions=(whole,), flags=flags)


def _codes(findings: Findings) -> list[tuple[str, bool]]:
    return [(flag.code, flag.closes) for flag in findings.flags]


@pytest.mark.parametrize(
    ("volume_ml", "patient", "decision", "expected"),
    [
        (20.0, ADULT, "registered", []),
        (20.0, PatientFacts(), "registered", []),
        (0.0, ADULT, "registered", []),
        (0.9, ADULT, "registered", [("small_lesion", False)]),
        (1.0, ADULT, "registered", []),
        (20.0, ADULT, "registration_doubtful", [("poor_registration", False)]),
        (20.0, ADULT, "alignment_doubtful", [("poor_registration", False)]),
        (20.0, PatientFacts(age_years=17.9), "registered", [("under_18", True)]),
        (20.0, PatientFacts(age_years=18.0), "registered", []),
        (20.0, PatientFacts(age_unreadable=True), "registered", [("age_unreadable", False)]),
        (20.0, PatientFacts(operated="postop"), "registered", [("after_surgery", False)]),
    ],
)
def test_each_flag_has_its_reason(
    volume_ml: float, patient: PatientFacts, decision: str, expected: list[tuple[str, bool]]
) -> None:
    decisions = [Decision(code=decision, subject="T2", reason="check the alignment of T2 with T1CE: far")]
    assert _codes(with_flags(_findings(volume_ml), decisions, patient)) == expected


def test_the_models_own_flags_come_first() -> None:
    own = Flag(code=FlagCode.LOW_AGREEMENT, sentence="they differ")
    flagged = with_flags(_findings(0.5, (own,)), [], ADULT)
    assert [code for code, _ in _codes(flagged)] == ["low_agreement", "small_lesion"]


def test_a_result_below_the_gate_is_withheld_with_every_reason() -> None:
    flags = (
        Flag(code=FlagCode.OUT_OF_DISTRIBUTION, sentence="unlike all others", closes=True),
        Flag(code=FlagCode.LOW_AGREEMENT, sentence="they differ"),
        Flag(code=FlagCode.UNDER_18, sentence="too young", closes=True),
    )
    said = "the result is withheld: unlike all others (out_of_distribution); too young (under_18)"
    findings = _findings(flags=flags)
    assert withhold(findings) == Findings(regions=(), flags=flags, withheld=said)
    assert (
        withhold(findings, {"under_18"}).withheld == "the result is withheld: unlike all others (out_of_distribution)"
    )
    assert withhold(findings, {"under_18", "out_of_distribution"}) is findings


def test_where_a_result_is_needed_a_withheld_one_is_an_error() -> None:
    young = Flag(code=FlagCode.UNDER_18, sentence="too young", closes=True)
    with pytest.raises(UnsuitableInput, match=r"^the result is withheld: too young \(under_18\)$") as caught:
        admit(withhold(_findings(flags=(young,))))
    assert caught.value.reason is InferenceReason.WITHHELD
    findings = _findings()
    assert admit(withhold(findings)) is findings


def test_a_withheld_result_does_not_tell_the_volume_by_a_flag() -> None:
    flagged = with_flags(_findings(0.52), [], PatientFacts(age_years=10.0))
    assert [flag.code for flag in flagged.flags] == ["small_lesion", "under_18"]
    held = withhold(flagged)
    assert [flag.code for flag in held.flags] == ["under_18"]
    assert "0.52" not in repr(held)


def test_a_withheld_result_cannot_hold_a_number() -> None:
    with pytest.raises(ValueError, match="a withheld result must not contain regions"):
        Findings(regions=_findings().regions, withheld="for a reason")


def test_the_settings_know_the_flags_that_can_withhold() -> None:
    assert set(FlagCode) >= WITHHOLDING
    flagged = with_flags(_findings(0.5), [], PatientFacts(age_years=3.0, operated="postop")).flags
    closing = set(chain((flag.code for flag in flagged if flag.closes), ("not_a_brain", "out_of_distribution")))
    assert closing | {"low_agreement"} == WITHHOLDING
