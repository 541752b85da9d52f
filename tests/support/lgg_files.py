"""Tiny cases in the layout of the public LGG set, whose tumour shows plainly."""

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["write_lgg_cases"]

SIZE, SLICES = 40, 5


def write_lgg_cases(root: Path, patients: int) -> None:
    """Write patients of five slices with T1, FLAIR, T1 after contrast as colours, and a bright tumour on FLAIR."""
    rows, columns = np.indices((SIZE, SIZE))
    head = np.hypot(rows - SIZE / 2, columns - SIZE / 2) < 17
    for number in range(patients):
        rng = np.random.default_rng(number)
        name = f"TCGA_{'CS' if number % 2 else 'DU'}_{4000 + number}_19990101"
        (root / name).mkdir(parents=True)
        centre = rng.uniform(14, 26, 2)
        for k in range(1, SLICES + 1):
            tumour = np.hypot(rows - centre[0], columns - centre[1]) < (6 if 1 < k < SLICES else 0)
            levels = np.stack([70 * head, 90 * head + 120 * tumour, 80 * head + 20 * tumour], axis=-1)
            noisy = (levels + rng.uniform(0, 12, levels.shape) * head[..., None]).astype(np.uint8)
            Image.fromarray(noisy).save(root / name / f"{name}_{k}.tif")
            Image.fromarray(tumour.astype(np.uint8) * 255).save(root / name / f"{name}_{k}_mask.tif")
