"""Changes of the models that the node uses, each checked first; panel and commands call the same."""

import json
import subprocess
import sys

from dicom_node.database.engine import Database
from dicom_node.models.roles import ModelChoice, ModelRole, as_chosen, choose, go_back
from dicom_node.settings import Settings
from inference.errors import InferenceReason, UnusableModel
from inference.registry import Registry, StoredModel

__all__ = ["end_shadow", "promote", "roll_back", "usable_model", "use_as_shadow"]


TRIAL_S = 300.0
"""Loading torch and building the networks takes some five seconds; on a busy machine with a slow disk a minute."""


def promote(database: Database, settings: Settings, name: str, version: str, who: str) -> None:
    """Put a model into production.

    Raises
    ------
    UnusableModel
        When there is none, one of its files has changed, or its networks cannot be built.
    """
    choose(database, ModelRole.PRODUCTION, usable_model(settings, name, version), who)


def use_as_shadow(database: Database, settings: Settings, name: str, version: str, who: str) -> None:
    """Run a model beside production; otherwise as `promote`."""
    choose(database, ModelRole.SHADOW, usable_model(settings, name, version), who)


def end_shadow(database: Database, who: str) -> None:
    """Run no model beside production."""
    choose(database, ModelRole.SHADOW, None, who)


def roll_back(database: Database, settings: Settings, who: str) -> ModelChoice:
    """Go back to the model before the last promotion.

    Raises
    ------
    UnusableModel
        When none was promoted, or one of that model's files has changed.
    """
    registry = Registry(settings.node.folder)

    def check(choice: ModelChoice) -> None:
        registry.verify(as_chosen(settings, choice) if choice.name else registry.resolve(settings.processing.model))

    return go_back(database, ModelRole.PRODUCTION, who, check)


def usable_model(settings: Settings, name: str, version: str) -> StoredModel:
    """Return a model after checking its files and building its networks; it raises as `promote`."""
    registry = Registry(settings.node.folder)
    model = registry.find(name, version)
    registry.verify(model)
    _try(str(model.folder))
    return model


def _try(folder: str) -> None:
    """Build the networks of a model in a child process.

    Raises
    ------
    UnusableModel
        When that is not possible.
    """
    command = [sys.executable, "-P", "-m", "dicom_node.models.trial", folder]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TRIAL_S, check=False)  # noqa: S603 - our own module
    except subprocess.TimeoutExpired as error:
        sentence = f"the model could not be loaded within {TRIAL_S:.0f} s"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence) from error
    if done.returncode == 0:
        return
    try:
        told = json.loads(done.stdout)
    except ValueError as error:
        sentence = f"the networks of the model cannot be built (the attempt ended with status {done.returncode})"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence) from error
    raise UnusableModel(InferenceReason(told["reason"]), told["sentence"])
