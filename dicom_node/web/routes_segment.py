"""The workbench as JSON under ``/api/v1/segment``: send files, follow their progress, fetch the result."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from dicom_node.database.engine import Database
from dicom_node.database.states import JobState
from dicom_node.settings import Settings
from dicom_node.web.uploads import MOST_NAME, UPLOAD_PATH, UploadRefused, receive
from dicom_node.workbench.jobs import (
    ARCHIVE,
    EXAMPLE,
    Job,
    QueueFull,
    find_job,
    input_folder,
    jobs_of,
    new_job_id,
    remove_job,
    result_folder,
    submit,
)
from dicom_node.workbench.role_names import GROUND_TRUTH, guess_role, is_ground_truth

__all__ = ["JobModel", "Links", "SentFile", "owner_of", "roles", "segment_routes"]

MOST_NAMES = 100
NO_JOB = "There is no such upload, or it has been removed."


class SentFile(BaseModel):
    """One file of an upload, and the sequence that its sender stated."""

    name: str
    role: str


class Links(BaseModel):
    """Addresses that belong to an upload."""

    status: str
    result: str


class Names(BaseModel):
    """Names of files."""

    names: Annotated[list[Annotated[str, Field(max_length=MOST_NAME)]], Field(max_length=MOST_NAMES)]


class JobModel(BaseModel):
    """An upload and what has come of it."""

    id: str
    state: JobState
    step: str
    place: int
    reason: str
    created_at: datetime
    expires_at: datetime
    sent: list[SentFile]
    files: list[str]
    links: Links


def owner_of(request: Request) -> str:
    """Return whom an upload belongs to: set by the check of the login."""
    return str(request.state.owner)


Owner = Annotated[str, Depends(owner_of)]


def roles(body: Names) -> list[str]:
    """Return the sequence, or `truth` for a ground truth, that each name suggests; empty where it suggests none."""
    return [GROUND_TRUTH if is_ground_truth(name) else guess_role(name) or "" for name in body.names]


def segment_routes(settings: Settings, database: Database) -> APIRouter:
    """Return the API; each answers for the uploads of its caller alone."""
    routes = APIRouter(prefix=UPLOAD_PATH, tags=["workbench"])
    folder = settings.node.folder
    shown = _shown(folder)

    @routes.post("", status_code=202, responses={413: {}, 415: {}, 422: {}, 429: {}, 507: {}})
    async def send(request: Request, owner: Owner) -> JobModel:
        """Send files as a form: the fields t1, t1ce, t2, flair and truth state what a file is, others do not.

        The field `pixel_mm`, without a file, states the edge of a pixel of an image slice.
        """
        return shown(_found(database, await _take(request, settings, database, owner), owner))

    routes.add_api_route("/roles", roles, methods=["POST"])
    _add_example(routes, settings, database)

    @routes.get("")
    def list_own(owner: Owner) -> list[JobModel]:
        return [shown(job) for job in jobs_of(database, owner)]

    @routes.get("/{job_id}", responses={404: {}})
    def one(job_id: str, owner: Owner) -> JobModel:
        return shown(_found(database, job_id, owner))

    @routes.get("/{job_id}/result", response_class=FileResponse, responses={404: {}, 409: {}})
    def result(job_id: str, owner: Owner) -> Response:
        """Fetch everything as a ZIP archive."""
        return _file(folder, _found(database, job_id, owner), ARCHIVE)

    @routes.get("/{job_id}/files/{name}", response_class=FileResponse, responses={404: {}, 409: {}})
    def file(job_id: str, name: str, owner: Owner) -> Response:
        """Fetch one file of the result."""
        return _file(folder, _found(database, job_id, owner), name)

    @routes.delete("/{job_id}", status_code=204, responses={404: {}, 409: {}})
    def remove(job_id: str, owner: Owner) -> None:
        if not remove_job(database, folder, _found(database, job_id, owner).id, owner):
            raise HTTPException(409, "This upload is being computed. Remove it when it is done.")

    return routes


def _add_example(routes: APIRouter, settings: Settings, database: Database) -> None:
    @routes.post("/example", status_code=202, responses={429: {}})
    def example(owner: Owner) -> JobModel:
        """Ask for the synthetic example: a phantom study with a known tumour, which the node makes itself."""
        job_id = new_job_id()
        with _refused_when_full():
            submit(database, settings.workbench, job_id, owner, (EXAMPLE,))
        return _shown(settings.node.folder)(_found(database, job_id, owner))


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


def _result_files(folder: Path, job: Job) -> list[str]:
    place = result_folder(folder, job.id)
    return sorted(path.name for path in place.iterdir()) if job.state == JobState.DONE and place.is_dir() else []


def _file(folder: Path, job: Job, name: str) -> Response:
    if job.state != JobState.DONE:
        sentence = job.reason or "The result is not there yet."
        return JSONResponse({"detail": sentence}, status_code=409)
    if name not in _result_files(folder, job):
        raise HTTPException(404, "This result has no such file.")
    return FileResponse(result_folder(folder, job.id) / name, filename=name)


def _shown(folder: Path) -> Callable[[Job], JobModel]:
    def shown(job: Job) -> JobModel:
        address = f"{UPLOAD_PATH}/{job.id}"
        return JobModel(
            id=job.id,
            state=job.state,
            step=job.step,
            place=job.place,
            reason=job.reason,
            created_at=job.created_at,
            expires_at=job.expires_at,
            sent=[SentFile(name=file.name, role=file.role) for file in job.files],
            files=_result_files(folder, job),
            links=Links(status=address, result=f"{address}/result"),
        )

    return shown
