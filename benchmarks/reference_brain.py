"""Writes what the published reference network (MindGrab) calls brain, to be measured beside.

    python benchmarks/reference_brain.py --weights mindgrab.npz --heads DIR --out DIR [NAME ...]

Its brains, ``<name>.npy`` on each head's axial order, are what benchmarks/brain.py takes as --masks. One to two minutes
a head on two cores. The weights are no part of the program.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional as F

from benchmarks.brain_heads import axial_file

DILATIONS = (16, 8, 4, 2, 1) * 5
LARGEST = 256
CLIPPED = (2.0, 98.0)


def main() -> None:
    """Ask about every head that has no mask yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--heads", type=Path, required=True, help="unpacked heads")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("names", nargs="*", help="files without .nii.gz; all real heads when empty")
    chosen = parser.parse_args()
    with np.load(chosen.weights) as kept:
        layers = [torch.from_numpy(kept[name]).float() for name in sorted(kept.files)]
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name in chosen.names or _real_heads(chosen.heads):
        path = chosen.out / f"{name}.npy"
        if not path.exists():
            image, spacing_mm = axial_file(chosen.heads / f"{name}.nii.gz")
            np.save(path, reference_brain(layers, image, spacing_mm))
            print(name, flush=True)


def reference_brain(
    layers: list[torch.Tensor], image: NDArray[np.float32], spacing_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Return the brain of a head whose axes run up, to the back and to the left, on its own grid."""
    fine = ndimage.zoom(image, spacing_mm, order=1)
    turned = fine.transpose(2, 0, 1)[:, ::-1, ::-1]  # to the left, down, to the front
    turned = turned[tuple(slice(0, LARGEST) for _ in range(3))]
    low, high = np.percentile(turned, CLIPPED)
    scaled = np.clip((turned - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
    brain = np.zeros(turned.shape, bool)
    brain[:] = _largest(_forward(layers, torch.from_numpy(scaled.copy())))
    back = np.zeros(fine.shape, np.float32)
    shown = brain[:, ::-1, ::-1].transpose(1, 2, 0)
    back[tuple(slice(0, size) for size in shown.shape)] = shown
    found = ndimage.zoom(back, np.array(image.shape) / np.array(fine.shape), order=1)
    return np.asarray(found >= 0.5)


@torch.inference_mode()
def _forward(layers: list[torch.Tensor], image: torch.Tensor) -> NDArray[np.bool_]:
    values = image[None, None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for weights, dilation in zip(layers, DILATIONS, strict=False):
            values = F.conv3d(values, weights, padding=dilation, dilation=dilation)
            values = F.gelu(F.instance_norm(values.float()))
        answer = F.conv3d(values.float(), layers[-2], layers[-1])
    return np.asarray((answer[0, 1] > answer[0, 0]).numpy())


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, count = ndimage.label(mask)
    if not count:
        return mask
    return np.asarray(parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])))


def _real_heads(folder: Path) -> list[str]:
    names = [path.name.removesuffix(".nii.gz") for path in sorted(folder.glob("*.nii.gz"))]
    return [
        name
        for name in names
        if name.startswith(("elderly", "ms", "postop")) and not name.endswith(("structures", "enhancing"))
    ]


if __name__ == "__main__":
    main()
