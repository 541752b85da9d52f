"""The roles of models on this node: a history in the database, of which the last row is in force.

Without a promotion the setting ``processing.model`` applies. A choice also contains the hash of the model's manifest:
the model on disk must still be the one that was chosen.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.tables import ModelChoiceRow
from dicom_node.settings import Settings
from inference.errors import InferenceReason, UnusableModel
from inference.registry import Registry, StoredModel

__all__ = [
    "ModelChoice",
    "ModelRole",
    "add_choice",
    "as_chosen",
    "choose",
    "chosen",
    "go_back",
    "history",
    "model_folder",
    "production_model",
]


class ModelRole(enum.StrEnum):
    """What a model is used for."""

    PRODUCTION = "production"  # its results are sent
    SHADOW = "shadow"  # runs afterwards on each study; its results are stored, never sent


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """One row of the history.

    Attributes
    ----------
    name
        Empty where the role was taken from a model and given to no other.
    """

    action: str
    at: str
    who: str
    name: str
    version: str
    sha256: str


def choose(database: Database, role: ModelRole, model: StoredModel | None, who: str) -> None:
    """Give a role to a model; None ends the shadow."""
    with database.session() as session:
        add_choice(session, role, model, who)


def add_choice(session: Session, role: ModelRole, model: StoredModel | None, who: str) -> None:
    """Give a role to a model within a transaction of the caller."""
    action = "off" if model is None else {ModelRole.PRODUCTION: "promote", ModelRole.SHADOW: "shadow"}[role]
    before = _last(session, role)
    row = ModelChoiceRow(role=role, action=action, who=who[:64], before_id=before.id if before else None)
    if model is not None:
        row.name, row.version, row.sha256 = model.name, model.version, model.sha256
    session.add(row)


def go_back(database: Database, role: ModelRole, who: str, check: Callable[[ModelChoice], object]) -> ModelChoice:
    """Undo the choice that is in force; called again, undo the one before it.

    Parameters
    ----------
    check
        Called with the choice that will be in force; if it raises, nothing is changed.

    Returns
    -------
    ModelChoice
        The choice that is in force now; its name is empty where the setting applies again.

    Raises
    ------
    UnusableModel
        When no model was chosen.
    """
    with database.session() as session:
        last = _last(session, role)
        if last is None or not last.name:
            sentence = "no model was promoted, so there is no promotion to undo"
            raise UnusableModel(InferenceReason.MODEL_MISSING, sentence)
        before = session.get(ModelChoiceRow, last.before_id) if last.before_id is not None else None
        row = ModelChoiceRow(role=role, action="rollback", who=who[:64], before_id=before.before_id if before else None)
        row.name, row.version, row.sha256 = (before.name, before.version, before.sha256) if before else ("", "", "")
        session.add(row)
        session.flush()
        now = _choice(row)
        check(now)
        return now


def chosen(database: Database, role: ModelRole) -> ModelChoice | None:
    """Return the choice in force, or None where there is none."""
    with database.session() as session:
        last = _last(session, role)
        return _choice(last) if last is not None and last.name else None


def history(database: Database, role: ModelRole) -> tuple[ModelChoice, ...]:
    """Return every choice, oldest first."""
    with database.session() as session:
        rows = session.scalars(sa.select(ModelChoiceRow).filter_by(role=role).order_by(ModelChoiceRow.id))
        return tuple(_choice(row) for row in rows)


def production_model(database: Database, settings: Settings) -> StoredModel:
    """Return the model whose results are sent: the promoted one, otherwise the one in the setting.

    Raises
    ------
    UnusableModel
        When it is missing, or its manifest is no longer the one that was promoted.
    """
    choice = chosen(database, ModelRole.PRODUCTION)
    if choice is None:
        return Registry(settings.node.folder).resolve(settings.processing.model)
    return as_chosen(settings, choice)


def model_folder(settings: Settings, name: str = "") -> str:
    """Return the folder of a model by its name; without a name, of the model in the setting.

    Raises
    ------
    UnusableModel
        When there is no such model.
    """
    return str(Registry(settings.node.folder).resolve(name or settings.processing.model).folder)


def as_chosen(settings: Settings, choice: ModelChoice) -> StoredModel:
    """Return the model that a choice names.

    Raises
    ------
    UnusableModel
        When it is missing, or its manifest is no longer the one that was chosen.
    """
    model = Registry(settings.node.folder).find(choice.name, choice.version)
    if model.sha256 != choice.sha256:
        sentence = (
            f"model {choice.name} {choice.version}: its manifest differs from the one chosen by {choice.who} "
            f"(SHA-256 {choice.sha256[:12]}...); add the model again, or choose another"
        )
        raise UnusableModel(InferenceReason.MODEL_CHANGED, sentence)
    return model


def _last(session: Session, role: ModelRole) -> ModelChoiceRow | None:
    newest = sa.select(ModelChoiceRow).filter_by(role=role).order_by(ModelChoiceRow.id.desc()).limit(1)
    return session.scalar(newest)


def _choice(row: ModelChoiceRow) -> ModelChoice:
    return ModelChoice(
        action=row.action,
        at=row.at.isoformat(timespec="seconds"),
        who=row.who,
        name=row.name,
        version=row.version,
        sha256=row.sha256,
    )
