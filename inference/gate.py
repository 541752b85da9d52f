"""The gate between findings and results: what is doubtful is said, and a result below the gate is withheld."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from conversion.decision import Decision
from conversion.study import PatientFacts
from inference.errors import InferenceReason, UnsuitableInput
from inference.flags import Flag, FlagCode
from inference.measurements import Findings
from inference.regions import Region

__all__ = ["admit", "with_flags", "withhold"]

SMALL_ML = 1.0
"""A ball of a cubic centimetre has 4.8 square centimetres of surface: a voxel of 1 mm there is nearly half of it."""

ADULT_YEARS = 18
"""The training data are of adults."""

_MISPLACED = ("registration_doubtful", "alignment_doubtful")


def with_flags(findings: Findings, decisions: Iterable[Decision], patient: PatientFacts) -> Findings:
    """Return the findings with every flag there is reason for; the model's own are among them already.

    Parameters
    ----------
    decisions
        Of the alignment.
    """
    flags = list(findings.flags)
    whole = findings.of(Region.WT)
    if 0 < whole.volume_ml < SMALL_ML:
        sentence = f"the whole tumour has {whole.volume_ml:.2f} ml; under {SMALL_ML:g} ml a voxel's width decides"
        flags.append(Flag(code=FlagCode.SMALL_LESION, sentence=sentence))
    flags += [
        Flag(code=FlagCode.POOR_REGISTRATION, sentence=decision.reason)
        for decision in decisions
        if decision.code in _MISPLACED
    ]
    if patient.age_years is not None and patient.age_years < ADULT_YEARS:
        sentence = f"the patient is under {ADULT_YEARS}; the model was trained on adults alone"
        flags.append(Flag(code=FlagCode.UNDER_18, sentence=sentence, closes=True))
    if patient.age_unreadable:
        sentence = "a birth date or an age stands in the headers, and neither tells the age: see that it is no child"
        flags.append(Flag(code=FlagCode.AGE_UNREADABLE, sentence=sentence))
    if patient.operated:
        sentence = f'the headers tell of an operation ("{patient.operated}"); models learn mostly before one'
        flags.append(Flag(code=FlagCode.AFTER_SURGERY, sentence=sentence))
    return replace(findings, flags=tuple(flags))


def withhold(findings: Findings, admitted: Collection[str] = ()) -> Findings:
    """Return findings that lie above the gate as they are, others without any number and with the reasons.

    Parameters
    ----------
    admitted
        Codes of flags that shall not withhold a result at this site.
    """
    closed = [flag for flag in findings.flags if flag.closes and flag.code not in admitted]
    if not closed:
        return findings
    reasons = "; ".join(f"{flag.sentence} ({flag.code})" for flag in closed)
    kept = tuple(flag for flag in findings.flags if flag.code is not FlagCode.SMALL_LESION)  # it tells the volume
    return Findings(regions=(), flags=kept, withheld=f"the result is withheld: {reasons}")


def admit(findings: Findings) -> Findings:
    """Return findings that are not withheld, for those who have no use for a result without any.

    Raises
    ------
    UnsuitableInput
        `InferenceReason.WITHHELD`, with every sentence that closed the gate.
    """
    if findings.withheld:
        raise UnsuitableInput(InferenceReason.WITHHELD, findings.withheld)
    return findings
