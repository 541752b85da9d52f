"""The flags of a doubtful result in plain words."""

from dicom_node.web.explained.explanation import group
from inference.flags import FlagCode

__all__ = ["FLAGS"]

FLAGS = group(
    "flag",
    "Flags: reasons to doubt a result",
    "Shown as warnings on a study's page, in the list, and in the report. Some withhold the result; each says so.",
    {
        FlagCode.SMALL_LESION: (
            "The whole tumour is smaller than 1 ml, where the width of one voxel changes the volume much.",
            "Check the outline and do not rely on the figure; the result is shown.",
        ),
        FlagCode.LOW_AGREEMENT: (
            "The networks of the model disagree on the outline of the tumour.",
            "Check the outline; if they disagree strongly, the result is withheld.",
        ),
        FlagCode.OUT_OF_DISTRIBUTION: (
            "The images are unlike those that the model was trained on.",
            "Check for a wrong contrast or missing parts; if they differ strongly or cannot be judged, it is withheld.",
        ),
        FlagCode.NOT_A_BRAIN: (
            "The images show no brain; the result is withheld.",
            "Check what was sent, and which series were recognised as which sequence.",
        ),
        FlagCode.BRAIN_DOUBTFUL: (
            "Two sequences of the study show different brains, as when one is not aligned.",
            "Check the alignment, and whether a finding lies outside of the brain; the result is shown.",
        ),
        FlagCode.BOTH_SIDES: (
            "Something was left out, because both halves of the brain show it alike, as in white matter disease.",
            "Look at both sides: a tumour that grows alike in both halves looks the same; the rest is shown.",
        ),
        FlagCode.POOR_REGISTRATION: (
            "A sequence may not be aligned with the one on which the result is drawn.",
            "Compare the two sequences in the viewer; the result is shown.",
        ),
        FlagCode.UNDER_18: (
            "The headers say that the patient is under 18, and the model knows adults only; the result is withheld.",
            "A site that wants such results for research can add `under_18` to `processing.admit`.",
        ),
        FlagCode.AGE_UNREADABLE: (
            "The headers contain a birth date or an age that cannot be read.",
            "Make sure that the patient is an adult; the result is shown.",
        ),
        FlagCode.AFTER_SURGERY: (
            "The headers mention an operation, and the model was trained almost only on tumours before one.",
            "Check the outline at the cavity; one that no header mentions is not noticed. The result is shown.",
        ),
    },
)
