"""The pictures of a study for its page: sequences, labels and probabilities of its newest result."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from dicom_node.database.engine import Database
from dicom_node.settings import Settings
from dicom_node.studies.run_folder import RunFolder
from dicom_node.studies.status import shown_run

__all__ = ["picture_files", "picture_routes"]


def picture_routes(settings: Settings, database: Database) -> APIRouter:
    """Return the routes; names are those of `picture_files`, never paths."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/studies/{key}/pictures/{name}")
    def one(key: str, name: str) -> Response:
        if name not in picture_files(settings.node.folder, shown_run(database, key)):
            raise HTTPException(404, "No such picture")
        return FileResponse(RunFolder(settings.node.folder, shown_run(database, key)).pictures / name)

    return routes


def picture_files(folder: Path, run_id: str) -> list[str]:
    """Return the names of a run's pictures; none where it has no pictures, or is no run."""
    place = RunFolder(folder, run_id).pictures
    return sorted(path.name for path in place.iterdir()) if run_id and place.is_dir() else []
