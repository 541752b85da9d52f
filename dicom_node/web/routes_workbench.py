"""The pages of the workbench: drop files, follow their progress, look at the result."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates
from starlette.exceptions import HTTPException

from conversion.sequences import Role
from dicom_node.database.engine import Database
from dicom_node.database.worker_slots import list_workers
from dicom_node.settings import Settings
from dicom_node.web.routes_segment import NO_JOB, Owner
from dicom_node.web.viewer_assets import niivue_folder
from dicom_node.workbench.jobs import find_job, jobs_of

__all__ = ["workbench_routes"]

STEPS = (
    ("read", "Reading the files"),
    ("select", "Recognising the sequences"),
    ("convert", "Reading the voxels"),
    ("align", "Aligning the sequences"),
    ("segment", "Looking for a tumour"),
    ("encode", "Writing the results"),
)
"""What a person sees while a worker computes."""


def workbench_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the pages; what they show comes from ``/api/v1/segment``."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/workbench")
    def start(request: Request, owner: Owner) -> Response:
        context = {
            "jobs": jobs_of(database, owner),
            "limits": settings.workbench,
            "roles": list(Role),
            "has_worker": any(worker.alive for worker in list_workers(database)),
        }
        return pages.TemplateResponse(request, "workbench.html", context)

    @routes.get("/workbench/{job_id}")
    def one(request: Request, job_id: str, owner: Owner) -> Response:
        job = find_job(database, job_id, owner)
        if job is None:
            raise HTTPException(404, NO_JOB)
        context = {
            "job": job,
            "steps": STEPS,
            "viewer": (niivue_folder(settings) / "index.js").is_file(),
        }
        return pages.TemplateResponse(request, "workbench_result.html", context)

    return routes
