"""The smallest tumour that a model still finds, as measured on implanted lesions."""

from collections.abc import Collection, Iterable, Mapping

from conversion.sequences import Role

__all__ = ["CONTRASTS", "THICK_MM", "contrast_of", "no_tumour_sentence", "smallest_seen_ml"]

THICK_MM = 3.0
"""Slices further apart count as thick: half of a lesion of one millilitre then lies in one such slice."""

CONTRASTS = ("T1CE+FLAIR", "FLAIR", "T1CE")
"""The sequences that decide whether a small lesion is found; T1 and T2 add little to them."""


def contrast_of(sequences: Collection[str]) -> str:
    """Return which of `CONTRASTS` a study has; every study has at least one of T1CE and FLAIR."""
    return "+".join(name for name in (Role.T1CE, Role.FLAIR) if name in sequences)


def smallest_seen_ml(
    measured: Mapping[str, float], sequences: Collection[str], spacing_mm: Iterable[float]
) -> float | None:
    """Return the volume from which nine in ten lesions are found, or None where that was not measured.

    Parameters
    ----------
    measured
        From a manifest, by contrast and ``thin`` or ``thick``, such as ``FLAIR thick``.
    spacing_mm
        Of the reference; the largest is that of its slices.
    """
    return measured.get(f"{contrast_of(sequences)} {'thick' if max(spacing_mm) > THICK_MM else 'thin'}")


def no_tumour_sentence(smallest_ml: float | None, sequences: Collection[str]) -> str:
    """Return the sentence for a study in which no tumour was found, without a full stop."""
    if smallest_ml is None:
        return "No tumour found. How small a tumour the model can find in such images was not measured"
    return (
        f"No tumour found. The model finds nine in ten tumours of {smallest_ml:g} ml in such images "
        f"({contrast_of(sequences).replace('+', ' and ')}) and may miss smaller ones"
    )
