"""The routing rules as JSON under ``/api/v1/routes``."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from dicom_node.database.engine import Database
from dicom_node.routing.rule import Operator, RoutingRule, as_documents, read_rules
from dicom_node.routing.trial import try_routes
from dicom_node.routing.versions import check_destinations, check_models, restore, routing_rules, save_rules, versions
from dicom_node.settings import Settings
from dicom_node.web.api_document import refusals

__all__ = ["routing_api"]


class ConditionModel(BaseModel):
    """A condition of a rule."""

    model_config = ConfigDict(extra="forbid")

    attribute: str
    operator: Operator
    value: str = ""


class RuleModel(BaseModel):
    """A routing rule; what is empty, it does not decide."""

    model_config = ConfigDict(extra="forbid")

    name: str
    conditions: list[ConditionModel] = []
    model: str = ""
    destinations: list[str] = []
    priority: str = ""
    keep_out: str = ""


class RulesModel(BaseModel):
    """All routing rules in their order, and why they are as they are."""

    model_config = ConfigDict(extra="forbid")

    rules: list[RuleModel]
    note: str = ""


class ChangeModel(BaseModel):
    """A study that would have gone another way."""

    model_config = ConfigDict(from_attributes=True)

    study_key: str
    before: str
    after: str


class TrialModel(BaseModel):
    """What other rules would do to the newest stored studies; `held` counts the studies in which a rule decides."""

    model_config = ConfigDict(from_attributes=True)

    looked_at: int
    changes: list[ChangeModel]
    held: dict[str, int]


class VersionModel(BaseModel):
    """A version of the rules."""

    number: int
    at: datetime
    who: str
    note: str
    rules: list[RuleModel]


class SavedModel(BaseModel):
    """The number of the version that was saved."""

    number: int


def routing_api(settings: Settings, database: Database) -> APIRouter:
    """Return the API; the application answers rules that cannot be used with 422."""
    routes = APIRouter(prefix="/api/v1/routes", tags=["routing"], responses=refusals(401))
    folder = settings.node.folder

    @routes.get("", summary="List the routing rules")
    def rules() -> RulesModel:
        """Return the rules in force, in their order."""
        return RulesModel(rules=_models(routing_rules(database)))

    @routes.put("", summary="Replace the routing rules")
    def save(body: RulesModel, request: Request) -> SavedModel:
        """Save all rules as a new version, which counts for studies that become complete from now on."""
        wanted = _rules(body)
        check_models(folder, wanted)
        return SavedModel(number=save_rules(database, wanted, request.state.user.name, body.note))

    @routes.post("/try", summary="Try rules against stored studies")
    def test(body: RulesModel) -> TrialModel:
        """Return which of the newest stored studies would have gone another way; nothing is saved."""
        wanted = _rules(body)
        check_destinations(database, wanted)
        check_models(folder, wanted)
        return TrialModel.model_validate(try_routes(database, folder, wanted))

    @routes.get("/versions", summary="List the versions of the routing rules")
    def list_versions() -> list[VersionModel]:
        """Return the newest versions, newest first; the first is in force."""
        return [
            VersionModel(number=one.number, at=one.at, who=one.who, note=one.note, rules=_models(one.rules))
            for one in versions(database)
        ]

    unknown: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such version."}}

    @routes.post("/versions/{number}/restore", summary="Restore a version of the routing rules", responses=unknown)
    def restore_one(number: int, request: Request) -> SavedModel:
        """Save an earlier version again, which undoes what came after it."""
        return SavedModel(number=restore(database, number, request.state.user.name))

    return routes


def _rules(body: RulesModel) -> tuple[RoutingRule, ...]:
    return read_rules([one.model_dump() for one in body.rules])


def _models(rules: tuple[RoutingRule, ...]) -> list[RuleModel]:
    return [RuleModel(**document) for document in as_documents(rules)]
