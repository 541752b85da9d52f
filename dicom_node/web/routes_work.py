"""The page of the work: the live queue, as a page to reload and as a stream that keeps it fresh."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates

from dicom_node.access.caller import Caller
from dicom_node.access.sessions import goes_on
from dicom_node.database.engine import Database
from dicom_node.database.tables import utc_now
from dicom_node.runs.operations import steps_to_replay
from dicom_node.runs.step import Step
from dicom_node.settings import Settings
from dicom_node.studies.live_queue import LiveQueue, read_queue
from dicom_node.web.auth import session_limits
from dicom_node.web.http_server import EVENTS
from dicom_node.web.job_events import EventStreams
from dicom_node.web.queue_feed import QueueFeed
from dicom_node.web.rights import may
from dicom_node.workbench.jobs import QueueCounts, count_jobs

__all__ = ["age", "work_routes"]

_ACT = "POST /studies/{key}/{action}"


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What the page shows; equal values look equal.

    Attributes
    ----------
    steps
        The steps with which a run that has ended can begin again, by run.
    """

    queue: LiveQueue
    uploads: QueueCounts
    steps: dict[str, tuple[Step, ...]]


def work_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the page and its stream."""
    routes = APIRouter(prefix="/work", include_in_schema=False)
    pages.env.filters["age"] = age
    read = partial(_read, settings, database)

    def draw(work: _Work, with_buttons: bool) -> str:  # noqa: FBT001 - as the feed calls it
        shown = {"work": work, "with_buttons": with_buttons, "now": utc_now()}
        return str(pages.get_template("work_queue.html").render(shown))

    feed, streams = QueueFeed(read=read, draw=draw), EventStreams()

    @routes.get("")
    def page(request: Request) -> Response:
        shown = {"work": read(), "with_buttons": may(request.state.user, _ACT), "now": utc_now()}
        return pages.TemplateResponse(request, "work.html", shown)

    @routes.get(f"/{EVENTS}")
    async def follow(request: Request) -> Response:
        """Send the queue whenever it changes, until the reader's session has ended."""
        caller: Caller = request.state.user
        lasts = partial(goes_on, database, caller.session, session_limits(settings.web))
        return streams.stream(feed.events(with_buttons=may(caller, _ACT), goes_on=lasts))

    return routes


def age(since: datetime, now: datetime) -> str:
    """Return how long something has lasted, in its largest unit: ``4 min``."""
    seconds = max(0, int((now - since).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _read(settings: Settings, database: Database) -> _Work:
    queue = read_queue(database)
    ended = (one for one in (*queue.needs_a_look, *queue.finished) if one.run_id)
    steps = {one.run_id: steps_to_replay(settings.node.folder, one.run_id, one.step) for one in ended}
    return _Work(queue=queue, uploads=count_jobs(database), steps=steps)
