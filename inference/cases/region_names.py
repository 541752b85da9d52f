"""The words that people use for the parts of a tumour in labels and segments, in one table."""

import re

from inference.regions import Region

__all__ = ["region_of_words"]

_ABBREVIATIONS = {region.value.lower(): region for region in Region} | {"net": Region.NCR, "ncr/net": Region.NCR}
"""Names that must match the complete text."""

_WORDS = (
    (r"necro|non[\s-]*enhanc", Region.NCR),
    (r"o?edema", Region.ED),
    (r"enhanc", Region.ET),
    (r"tumou?r[\s-]*core|core[\s-]*of[\s-]*(the[\s-]*)?tumou?r", Region.TC),
    (r"whole[\s-]*tumou?r", Region.WT),
    (r"tumou?r|neoplasm|\bgtv", Region.WT),
)
"""The first match decides: "non-enhancing tumour core" is NCR, "enhancing tumour" ET, "peritumoural edema" ED,
and a plain "tumour" the whole tumour."""


def region_of_words(text: str) -> Region | None:
    """Return the part of the tumour that a text names, or None where it names none.

    >>> region_of_words("Peritumoral oedema")
    <Region.ED: 'ED'>
    """
    plain = re.sub(r"[\s_]+", " ", text).strip().lower()
    if plain in _ABBREVIATIONS:
        return _ABBREVIATIONS[plain]
    return next((region for words, region in _WORDS if re.search(words, plain)), None)
