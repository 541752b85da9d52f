"""Searches hyper-parameters with Optuna: short trainings, of which only the promising ones run to their end."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from inference.training.loop import Progress
from inference.training.plan import TrainingPlan
from inference.training.run import TrainingTask, run_training
from inference.training.tracking import missing_extra

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["search"]

SHARE_OF_STEPS = 0.1
"""Share of the plan's steps that one trial runs: enough to rank learning rates, not to train."""

VALIDATIONS = 4
"""Validations in one trial. After each, a trial below the median of the others is stopped."""

WIDTHS = (0.5, 0.75, 1.0)
"""Factors of the plan's feature maps."""


def search(task: TrainingTask, trials: int, watch: Callable[[int, Progress], None]) -> TrainingPlan:
    """Return the best plan found in a number of trials.

    Parameters
    ----------
    task
        Its plan is the starting point of the search. The score on its held-out fold decides.
    trials
        Total number of trials, including those of an interrupted search.
    watch
        Called after each step of a trial, with the number of the trial.

    Raises
    ------
    UnusableModel
        When Optuna is not installed.
    """
    try:
        import optuna  # noqa: PLC0415 - optional
        from optuna.trial import TrialState  # noqa: PLC0415
    except ImportError as error:
        raise missing_extra("optuna") from error
    task.out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=task.sha256,
        storage=f"sqlite:///{task.out / 'search.sqlite'}",
        sampler=optuna.samplers.TPESampler(seed=task.plan.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
        direction="maximize",
        load_if_exists=True,
    )
    done = len(study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)))
    study.optimize(lambda trial: _try(task, trial, watch), n_trials=max(0, trials - done))
    best: dict[str, float] = study.best_params
    return _changed(task.plan, **best)


def _try(task: TrainingTask, trial: "Trial", watch: Callable[[int, Progress], None]) -> float:
    from optuna import TrialPruned  # noqa: PLC0415 - installed, since a trial exists

    plan = _changed(
        task.plan,
        learning_rate=trial.suggest_float("learning_rate", 2e-4, 5e-3, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-5, 1e-2, log=True),
        tumour_share=trial.suggest_float("tumour_share", 0.4, 0.9),
        width=trial.suggest_categorical("width", WIDTHS),
    )
    steps = max(VALIDATIONS, round(plan.steps * SHARE_OF_STEPS))
    every = steps // VALIDATIONS
    plan = replace(plan, steps=every * VALIDATIONS, validate_every=every, patience=0, checkpoint_every=every)

    def follow(progress: Progress) -> None:
        watch(trial.number, progress)
        if progress.step % every == 0 and progress.dice is not None:
            trial.report(progress.dice, progress.step)
            if trial.should_prune():
                raise TrialPruned

    report = run_training(replace(task, plan=plan, out=Path(task.out, f"trial-{trial.number}")), follow)
    return sum(report.mean.values()) / len(report.mean)


def _changed(
    plan: TrainingPlan, *, learning_rate: float, weight_decay: float, tumour_share: float, width: float
) -> TrainingPlan:
    filters = [max(4, round(width * count)) for count in plan.network["filters"]]
    network = plan.network | {"filters": filters}
    return replace(
        plan, learning_rate=learning_rate, weight_decay=weight_decay, tumour_share=tumour_share, network=network
    )
