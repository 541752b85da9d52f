"""An upload as the API shows it."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from dicom_node.database.states import JobState
from dicom_node.web.http_server import EVENTS
from dicom_node.web.uploads import UPLOAD_PATH
from dicom_node.workbench.jobs import Job, result_folder

__all__ = ["JobModel", "Links", "SentFile", "job_models", "result_files"]


class SentFile(BaseModel):
    """One file of an upload, and the sequence that its sender stated."""

    name: str
    role: str


class Links(BaseModel):
    """Addresses that belong to an upload."""

    status: str
    events: str
    result: str


class JobModel(BaseModel):
    """An upload and what has come of it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    state: JobState
    step: str
    """What a worker does, while it runs: read, select, convert, align, segment or encode."""
    place: int
    """Its place in the queue, 1 for the next; 0 unless it waits."""
    reason: str
    """Why there is no result, where it failed."""
    created_at: datetime
    expires_at: datetime
    """When it is removed with its result."""
    sent: list[SentFile]
    files: list[str]
    """The files of the result, once it is done."""
    links: Links


def result_files(folder: Path, job: Job) -> list[str]:
    """Return the names of the files of a result; none while there is none."""
    place = result_folder(folder, job.id)
    return sorted(path.name for path in place.iterdir()) if job.state == JobState.DONE and place.is_dir() else []


def job_models(folder: Path) -> Callable[[Job], JobModel]:
    """Return what makes the model of a job whose files lie in this folder of a node."""

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
            files=result_files(folder, job),
            links=Links(status=address, events=f"{address}/{EVENTS}", result=f"{address}/result"),
        )

    return shown
