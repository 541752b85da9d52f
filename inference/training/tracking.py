"""Writes the curves of a training to TensorBoard and MLflow. Both are optional, and neither sends telemetry."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inference.errors import InferenceReason, UnusableModel
from inference.training.loop import Progress
from inference.training.plan import TrainingPlan

__all__ = ["missing_extra", "tracked"]

Tracker = Callable[[Progress], None]

EVERY = 10
"""Number of steps between two points of a curve."""


@contextmanager
def tracked(plan: TrainingPlan, *, tensorboard: Path | None = None, mlflow: str = "") -> Iterator[Tracker]:
    """Yield a function that writes the progress of a training to the chosen trackers.

    Parameters
    ----------
    tensorboard
        Folder for event files.
    mlflow
        Tracking URI, for example ``sqlite:////data/mlflow.db`` or ``http://host:5000``.

    Raises
    ------
    UnusableModel
        When a required package is not installed.
    """
    with ExitStack() as stack:
        trackers: list[Tracker] = []
        if tensorboard is not None:
            trackers.append(stack.enter_context(_tensorboard(tensorboard)))
        if mlflow:
            trackers.append(stack.enter_context(_mlflow(mlflow, plan)))

        def track(progress: Progress) -> None:
            if progress.step % EVERY == 0 or progress.step == progress.steps:
                for tracker in trackers:
                    tracker(progress)

        yield track


def _curves(progress: Progress) -> Mapping[str, float]:
    points = {"loss": progress.loss, "learning_rate": progress.rate, "step_s": progress.step_s}
    return points if progress.dice is None else points | {"dice": progress.dice}


def missing_extra(package: str) -> UnusableModel:
    """Return the error for a missing library of the extra ``training``."""
    sentence = f"{package} is not installed; install glionode[training]"
    return UnusableModel(InferenceReason.MODEL_MISSING, sentence)


@contextmanager
def _tensorboard(folder: Path) -> Iterator[Tracker]:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter  # noqa: PLC0415 - optional
    except ImportError as error:
        raise missing_extra("tensorboard") from error
    writer = SummaryWriter(str(folder))

    def write(progress: Progress) -> None:
        for name, value in _curves(progress).items():
            writer.add_scalar(name, value, progress.step)

    try:
        yield write
    finally:
        writer.close()


@contextmanager
def _mlflow(uri: str, plan: TrainingPlan) -> Iterator[Tracker]:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("DO_NOT_TRACK", "true")
    try:
        import mlflow  # noqa: PLC0415 - optional
    except ImportError as error:
        raise missing_extra("mlflow-skinny") from error
    mlflow.set_tracking_uri(uri)
    with mlflow.start_run(run_name=plan.sha256[:8]):
        mlflow.log_params({name: _short(value) for name, value in asdict(plan).items()})

        def write(progress: Progress) -> None:
            mlflow.log_metrics(dict(_curves(progress)), step=progress.step)

        yield write


def _short(value: Any) -> str:  # noqa: ANN401 - a field of any type
    return str(value)[:500]
