"""Tiny patients to train on, whose tumour shows plainly."""

import numpy as np

from inference.cases.prepared import PreparedCase

__all__ = ["SMALL_NETWORKS", "training_case"]

SMALL_NETWORKS = {
    "2D": {"dimensions": 2, "filters": [4, 6, 8]},
    "2.5D": {"dimensions": 2, "context": 1, "fold": 2, "filters": [4, 6, 8]},
    "3D": {"dimensions": 3, "fold": 2, "filters": [4, 6, 8]},
    "residual": {"dimensions": 2, "variant": "residual", "filters": [8, 8, 8]},
    "attention": {"dimensions": 3, "variant": "attention", "filters": [4, 6, 8]},
    "supervised": {"dimensions": 2, "context": 1, "deep_supervision": True, "filters": [4, 6, 8, 8]},
}


def training_case(source: str, number: int) -> PreparedCase:
    """Return a patient whose tumour is bright on FLAIR; an LGG one has neither T2 nor a drawn core."""
    rng = np.random.default_rng(number)
    images = rng.uniform(0.8, 1.2, (4, 12, 30, 34))
    images[:, :, :3] = 0
    regions = np.zeros((3, 12, 30, 34), bool)
    regions[0, 2:9, 8:20, 10:22] = True
    lgg = source == "lgg"
    if not lgg:
        regions[1, 4:8, 10:18, 12:20] = True
        regions[2, 4:8, 10:13, 12:20] = True
    images[3][regions[0]] += 1.5
    images[1][regions[2]] += 2.0
    present = (True, True, not lgg, True)
    images *= np.array(present)[:, None, None, None]
    return PreparedCase(
        case_id=f"{source}{number}",
        site="",
        spacing_mm=None if lgg else (1.0, 1.0, 1.0),
        patient=f"{source}{number}",
        source=source,
        images=images.astype(np.float16),
        present=present,
        regions=regions,
        annotated=(True, not lgg, not lgg),
        stripped=not lgg,
    )
