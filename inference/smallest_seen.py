"""How small a tumour may be that a model still finds, as measured on implanted lesions."""

from collections.abc import Collection, Iterable, Mapping

from conversion.sequences import Role

__all__ = ["CONTRASTS", "THICK_MM", "contrast_of", "no_tumour_sentence", "smallest_seen_ml"]

THICK_MM = 3.0
"""Slices further apart count as thick: half of a lesion of a millilitre lies in one such slice then."""

CONTRASTS = ("T1CE+FLAIR", "FLAIR", "T1CE")
"""What decides whether a small lesion is seen; T1 and T2 add little to these."""


def contrast_of(sequences: Collection[str]) -> str:
    """Return which of `CONTRASTS` some sequences have; at least one of T1CE and FLAIR is there in every study."""
    return "+".join(name for name in (Role.T1CE, Role.FLAIR) if name in sequences)


def smallest_seen_ml(
    measured: Mapping[str, float], sequences: Collection[str], spacing_mm: Iterable[float]
) -> float | None:
    """Return the volume from which nine in ten lesions are found, or None where that was not measured.

    Parameters
    ----------
    measured
        Of a manifest: by contrast and ``thin`` or ``thick``, such as ``FLAIR thick``.
    spacing_mm
        Of the reference; the largest is that of its slices.
    """
    return measured.get(f"{contrast_of(sequences)} {'thick' if max(spacing_mm) > THICK_MM else 'thin'}")


def no_tumour_sentence(smallest_ml: float | None, sequences: Collection[str]) -> str:
    """Return what is told of a study in which nothing was found."""
    if smallest_ml is None:
        return "No tumour found. From which volume on the model sees a tumour in such images was not measured"
    return (
        f"No tumour found. Of tumours of {smallest_ml:g} ml nine in ten are found in such images "
        f"({contrast_of(sequences).replace('+', ' and ')}); smaller ones may be missed"
    )
