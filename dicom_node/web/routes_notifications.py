"""The page of the notifications, for administrators: where they go, what became of the newest, and a test."""

from collections.abc import Sequence

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates

from dicom_node.database.engine import Database
from dicom_node.database.notice_tables import ConditionRow
from dicom_node.database.states import NodeEvent
from dicom_node.notifications.channels import Tested, channels, newest_notices, problems, send_tests
from dicom_node.notifications.wording import Happened, sentence
from dicom_node.settings import Settings

__all__ = ["notification_routes"]

NEWEST = 50


def notification_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the page and the target of its button."""
    routes = APIRouter(prefix="/system/notifications", include_in_schema=False)

    def show(request: Request, tested: Sequence[Tested] = ()) -> Response:
        context = {
            "channels": channels(settings),
            "problems": problems(settings),
            "conditions": _conditions(database),
            "notices": newest_notices(database, NEWEST),
            "told": settings.notifications,
            "tested": tested,
        }
        return pages.TemplateResponse(request, "notifications.html", context)

    @routes.get("")
    def listed(request: Request) -> Response:
        return show(request)

    @routes.post("/test")
    def test(request: Request) -> Response:
        """Send a test by each channel and show the answers, within the time limits of each."""
        return show(request, send_tests(settings))

    return routes


def _conditions(database: Database) -> list[tuple[str, ConditionRow]]:
    """Return what is wrong at present, each with its sentence; empty where notifications are off."""
    with database.session() as session:
        rows = session.scalars(sa.select(ConditionRow).where(ConditionRow.noted).order_by(ConditionRow.since)).all()
    return [
        (sentence(NodeEvent(row.code), [Happened(subject=row.subject, detail=row.detail)], count=1, ended=False), row)
        for row in rows
    ]
