"""Default plans: for stacks of slices, for volumes and for the autoencoder."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from inference.cases.prepared import Preparation
from inference.novelty import GRID_SHAPE
from inference.training.plan import RECONSTRUCT, TrainingPlan

__all__ = ["AUTOENCODER", "DIMENSIONS", "PRESETS", "VIEWS", "plan_for", "preparation_for"]

VIEWS, AUTOENCODER = "views", "autoencoder"

# Chosen for training in hours on two CPU cores. Rates and shares are usual values; they were not searched (`--search`).
_SLICES: dict[str, Any] = {
    "network": {"dimensions": 2, "context": 1, "fold": 2, "filters": [32, 64, 128, 192, 256]},
    "crop": (1, 192, 192),
    "batch_size": 16,
    "steps": 5000,
    "learning_rate": 1e-3,
    "drop": (0.1, 0.1, 0.1, 0.03),
}
_VIEWS: dict[str, Any] = {
    "views": 3,
    "network": {"dimensions": 2, "context": 2, "fold": 2, "filters": [32, 64, 128, 192, 256]},
    "crop": (1, 160, 160),
    "batch_size": 16,
    "steps": 6000,
    "learning_rate": 1e-3,
    "head_share": 0.3,
    "drop": (0.0, 0.0, 0.0, 0.0),
    "subset_share": 0.6,
    "carved_share": (0.5, 0.2),
    "cavity_share": 0.08,
    "tight_share": 0.2,
}
_VOLUME: dict[str, Any] = {
    "network": {"dimensions": 3, "fold": 2, "filters": [48, 64, 128, 192, 256]},
    "crop": (96, 96, 96),
    "batch_size": 2,
    "steps": 4000,
    "learning_rate": 1.5e-3,
    "head_share": 0.3,
    "drop": (0.25, 0.12, 0.25, 0.06),
}

_HEADS: dict[str, Any] = {
    "task": RECONSTRUCT,
    "network": {"filters": [32, 64, 128], "narrow": 32},
    "crop": GRID_SHAPE,
    "batch_size": 8,
    "steps": 2000,
    "learning_rate": 2e-3,
}

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "2d": _SLICES | {"network": _SLICES["network"] | {"context": 0}},
        "2.5d": _SLICES,
        VIEWS: _VIEWS,
        "3d": _VOLUME,
        AUTOENCODER: _HEADS,
    }
)
DIMENSIONS = tuple(PRESETS)


def plan_for(dimensions: str, variant: str = "plain", **changes: Any) -> TrainingPlan:  # noqa: ANN401 - any field
    """Return the plan of a preset.

    Parameters
    ----------
    dimensions
        One of `DIMENSIONS`.
    variant
        One of `inference.unet.VARIANTS`.
    changes
        Fields of `TrainingPlan` that differ from the preset. A ``network`` is merged with that of the preset.
    """
    preset = PRESETS[dimensions]
    shape = {} if dimensions == AUTOENCODER else {"variant": variant}
    network = preset["network"] | shape | changes.pop("network", {})
    return TrainingPlan(**{**preset, **changes, "network": network})


def preparation_for(plan: TrainingPlan, *, n4: bool = False) -> Preparation:
    """Return how cases have to be prepared for a plan: at 1 mm in plane, for volumes along every axis."""
    cubes = plan.task == RECONSTRUCT or plan.views == 3 or plan.network["dimensions"] == 3
    return Preparation(spacing_mm=1.0, cubes=cubes, n4=n4)
