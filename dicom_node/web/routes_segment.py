"""The workbench as JSON under ``/api/v1/segment``: send files, follow their progress, fetch the result."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from dicom_node.database.engine import Database
from dicom_node.database.states import JobState
from dicom_node.settings import Settings
from dicom_node.web.api_document import TOKEN, content, refusals
from dicom_node.web.http_server import EVENTS
from dicom_node.web.job_events import EventStreams
from dicom_node.web.job_model import JobModel, job_models, result_files
from dicom_node.web.uploads import (
    LEAST_PIXEL_MM,
    MOST_NAME,
    MOST_PIXEL_MM,
    PIXEL_FIELD,
    ROLE_FIELDS,
    UPLOAD_PATH,
    UploadRefused,
    receive,
)
from dicom_node.workbench.jobs import (
    ARCHIVE,
    EXAMPLE,
    Job,
    QueueFull,
    Removal,
    find_job,
    input_folder,
    jobs_of,
    new_job_id,
    remove_job,
    result_folder,
    submit,
)
from dicom_node.workbench.role_names import GROUND_TRUTH, guess_role_by_path, is_ground_truth

__all__ = ["NO_JOB", "Owner", "owner_of", "roles", "segment_routes"]

MOST_NAMES = 100
NO_JOB = "There is no such upload, or it has been removed."

_STOPPING: dict[int | str, dict[str, Any]] = {
    202: {"model": JobModel, "description": "A worker computes it: that is ended first."}
}
_FILE = {"type": "string", "format": "binary"}
_FORM = {
    "type": "object",
    "properties": {
        **dict.fromkeys(ROLE_FIELDS, _FILE),
        "files": {"type": "array", "items": _FILE},
        PIXEL_FIELD: {"type": "number", "minimum": LEAST_PIXEL_MM, "maximum": MOST_PIXEL_MM},
    },
}


class Names(BaseModel):
    """Names of files, with or without their folders."""

    names: Annotated[list[Annotated[str, Field(max_length=MOST_NAME)]], Field(max_length=MOST_NAMES)]


def owner_of(request: Request) -> str:
    """Return whom an upload belongs to: set by the check of the login."""
    return str(request.state.user.owner)


Owner = Annotated[str, Depends(owner_of)]


def roles(body: Names) -> list[str]:
    """Return the sequence, or `truth` for a ground truth, that a name and its folders suggest; empty where none."""
    return [
        GROUND_TRUTH if is_ground_truth(name.rpartition("/")[2]) else guess_role_by_path(name) or ""
        for name in body.names
    ]


def segment_routes(settings: Settings, database: Database) -> APIRouter:
    """Return the API; each answers for the uploads of its caller alone."""
    routes = APIRouter(prefix=UPLOAD_PATH, tags=["workbench"], responses=refusals(401, 403), dependencies=[TOKEN])
    shown = job_models(settings.node.folder)
    form = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}

    @routes.post(
        "", status_code=202, summary="Send files", responses=refusals(413, 415, 422, 429, 507), openapi_extra=form
    )
    async def send(request: Request, owner: Owner) -> JobModel:
        """Send files as a form: the fields t1, t1ce, t2, flair and truth state what a file is, others do not.

        Without such a field, the sequence of a volume or image is guessed from its name and the folders in it. The
        field `pixel_mm`, without a file, states the edge of a pixel of an image slice.
        """
        return shown(_found(database, await _take(request, settings, database, owner), owner))

    routes.add_api_route("/roles", roles, methods=["POST"], summary="Guess sequences by names")
    _add_example(routes, settings, database)

    @routes.get("", summary="List the uploads")
    def list_own(owner: Owner) -> list[JobModel]:
        """Return the uploads of the caller, newest first."""
        return [shown(job) for job in jobs_of(database, owner)]

    routes.include_router(_one_upload(settings.node.folder, database))
    return routes


def _one_upload(folder: Path, database: Database) -> APIRouter:
    routes = APIRouter(prefix="/{job_id}", responses=refusals(404))
    shown = job_models(folder)
    streams = EventStreams()
    told = content("text/event-stream", "The upload as JSON, once for each change; `event: removed` if it was removed.")
    zipped = content("application/zip", "All files of the result.")
    one_file = content("application/octet-stream", "The file.")

    @routes.get("", summary="Get an upload")
    def one(job_id: str, owner: Owner) -> JobModel:
        """Return an upload and what has come of it."""
        return shown(_found(database, job_id, owner))

    @routes.get(
        f"/{EVENTS}", summary="Follow an upload", response_class=StreamingResponse, responses={**told, **refusals(503)}
    )
    def events(job_id: str, owner: Owner) -> Response:
        """Follow an upload by server-sent events: it comes as JSON at once and whenever it changes, until it ends."""
        _found(database, job_id, owner)

        def ask() -> JobModel | None:
            job = find_job(database, job_id, owner)
            return None if job is None else shown(job)

        return streams.answer(ask)

    @routes.get(
        "/result", summary="Fetch the result", response_class=FileResponse, responses={**zipped, **refusals(409)}
    )
    def result(job_id: str, owner: Owner) -> Response:
        """Fetch everything as a ZIP archive."""
        return _file(folder, _found(database, job_id, owner), ARCHIVE)

    @routes.get(
        "/files/{name}", summary="Fetch one file", response_class=FileResponse, responses={**one_file, **refusals(409)}
    )
    def file(job_id: str, name: str, owner: Owner) -> Response:
        """Fetch one file of the result, by the name under which the upload lists it."""
        return _file(folder, _found(database, job_id, owner), name)

    @routes.delete("", summary="Remove or cancel an upload", status_code=204, responses=_STOPPING)
    def remove(job_id: str, owner: Owner) -> Response:
        """Remove an upload with its result; one that is being computed is stopped first (202), within seconds."""
        left = _remove(database, folder, job_id, owner)
        if left is None:
            return Response(status_code=204)
        return JSONResponse(shown(left).model_dump(mode="json"), status_code=202)

    return routes


def _add_example(routes: APIRouter, settings: Settings, database: Database) -> None:
    @routes.post("/example", status_code=202, summary="Ask for the synthetic example", responses=refusals(429))
    def example(owner: Owner) -> JobModel:
        """Have the node make a phantom study with a known tumour, and segment it as if it had been sent."""
        job_id = new_job_id()
        with _refused_when_full():
            submit(database, settings.workbench, job_id, owner, (EXAMPLE,))
        return job_models(settings.node.folder)(_found(database, job_id, owner))


async def _take(request: Request, settings: Settings, database: Database, owner: str) -> str:
    """Store the files of a request and add them to the queue; return the name of the job."""
    job_id = new_job_id()
    place = input_folder(settings.node.folder, job_id)
    least_free = round(settings.limits.free_disk_gib * 2**30)
    content_type = request.headers.get("content-type", "")
    try:
        files = await receive(content_type, request.stream(), place, settings.workbench, least_free=least_free)
        with _refused_when_full():
            await run_in_threadpool(submit, database, settings.workbench, job_id, owner, files)
    except BaseException as error:  # a sender that goes away included
        await run_in_threadpool(shutil.rmtree, place.parent, ignore_errors=True)
        if isinstance(error, UploadRefused):
            raise HTTPException(error.status, str(error)) from error
        raise
    return job_id


@contextmanager
def _refused_when_full() -> Iterator[None]:
    try:
        yield
    except QueueFull as error:
        raise HTTPException(429, str(error), {"Retry-After": "60"}) from error


def _found(database: Database, job_id: str, owner: str) -> Job:
    job = find_job(database, job_id, owner)
    if job is None:
        raise HTTPException(404, NO_JOB)
    return job


def _remove(database: Database, folder: Path, job_id: str, owner: str) -> Job | None:
    """Remove a job; return it as it is where a worker has to end it first."""
    removal = remove_job(database, folder, job_id, owner)
    if removal is Removal.NO_JOB:
        raise HTTPException(404, NO_JOB)
    return find_job(database, job_id, owner) if removal is Removal.BEGUN else None


def _file(folder: Path, job: Job, name: str) -> Response:
    if job.state != JobState.DONE:
        sentence = job.reason or "The result is not there yet."
        return JSONResponse({"detail": sentence}, status_code=409)
    if name not in result_files(folder, job):
        raise HTTPException(404, "This result has no such file.")
    return FileResponse(result_folder(folder, job.id) / name, filename=name)
