"""The gate between findings and results: adds flags for doubts, and withholds a result that is too doubtful."""

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
"""A ball of a cubic centimetre has a surface of 4.8 square centimetres; a layer of 1 mm there is nearly half of it."""

ADULT_YEARS = 18
"""All training data are from adults."""

_MISPLACED = ("registration_doubtful", "alignment_doubtful")


def with_flags(findings: Findings, decisions: Iterable[Decision], patient: PatientFacts) -> Findings:
    """Return the findings with all flags; they already contain those of the model.

    Parameters
    ----------
    decisions
        Of the alignment.
    """
    flags = list(findings.flags)
    whole = findings.of(Region.WT)
    if 0 < whole.volume_ml < SMALL_ML:
        sentence = (
            f"the volume is imprecise: under {SMALL_ML:g} ml, one voxel more or less along the outline changes it "
            f"greatly (whole tumour {whole.volume_ml:.2f} ml)"
        )
        flags.append(Flag(code=FlagCode.SMALL_LESION, sentence=sentence))
    flags += [
        Flag(code=FlagCode.POOR_REGISTRATION, sentence=decision.reason)
        for decision in decisions
        if decision.code in _MISPLACED
    ]
    if patient.age_years is not None and patient.age_years < ADULT_YEARS:
        sentence = f"the patient is under {ADULT_YEARS}, and the model was trained on adults only"
        flags.append(Flag(code=FlagCode.UNDER_18, sentence=sentence, closes=True))
    if patient.age_unreadable:
        sentence = (
            "the patient's age is unknown: make sure that this is not a child (the headers contain a birth date or an "
            "age, but neither can be read)"
        )
        flags.append(Flag(code=FlagCode.AGE_UNREADABLE, sentence=sentence))
    if patient.operated:
        sentence = (
            "the result may be unreliable after surgery: models are trained mostly on tumours before it (the headers "
            f'contain "{patient.operated}")'
        )
        flags.append(Flag(code=FlagCode.AFTER_SURGERY, sentence=sentence))
    return replace(findings, flags=tuple(flags))


def withhold(findings: Findings, admitted: Collection[str] = ()) -> Findings:
    """Return findings that pass the gate as they are, others without any number and with the reasons.

    Parameters
    ----------
    admitted
        Codes of flags that do not withhold a result at this site.
    """
    closed = [flag for flag in findings.flags if flag.closes and flag.code not in admitted]
    if not closed:
        return findings
    reasons = "; ".join(f"{flag.sentence} ({flag.code})" for flag in closed)
    kept = tuple(flag for flag in findings.flags if flag.code is not FlagCode.SMALL_LESION)  # it states the volume
    return Findings(regions=(), flags=kept, withheld=f"the result is withheld: {reasons}")


def admit(findings: Findings) -> Findings:
    """Return findings that are not withheld, for callers that cannot use a withheld result.

    Raises
    ------
    UnsuitableInput
        `InferenceReason.WITHHELD`, with the sentence of every flag that withholds the result.
    """
    if findings.withheld:
        raise UnsuitableInput(InferenceReason.WITHHELD, findings.withheld)
    return findings
