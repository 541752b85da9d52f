"""Plans to begin with: one for stacks of slices, one for volumes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from inference.cases.prepared import Preparation
from inference.training.plan import TrainingPlan

__all__ = ["DIMENSIONS", "PRESETS", "plan_for", "preparation_for"]

# Chosen by what two CPU cores can do in hours; rates and shares are usual ones and were not searched (`--search` does).
_SLICES: dict[str, Any] = {
    "network": {"dimensions": 2, "context": 1, "fold": 2, "filters": [32, 64, 128, 192, 256]},
    "crop": (1, 192, 192),
    "batch_size": 16,
    "steps": 5000,
    "learning_rate": 2e-3,
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

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "2d": _SLICES | {"network": _SLICES["network"] | {"context": 0}},
        "2.5d": _SLICES,
        "3d": _VOLUME,
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
        Fields of `TrainingPlan` that differ from the preset; a ``network`` is merged with the preset's.
    """
    preset = PRESETS[dimensions]
    network = preset["network"] | {"variant": variant} | changes.pop("network", {})
    return TrainingPlan(**{**preset, **changes, "network": network})


def preparation_for(plan: TrainingPlan, *, n4: bool = False) -> Preparation:
    """Return how cases have to be prepared for a plan: 1 mm in plane, for volumes along every axis."""
    return Preparation(spacing_mm=1.0, cubes=plan.network["dimensions"] == 3, n4=n4)
