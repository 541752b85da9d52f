"""The child process that computes uploads: it yields to clinical studies, and what happens in it ends no worker."""

from typing import TYPE_CHECKING

from dicom_node.runs.child_process import Perform, serve_steps
from dicom_node.settings import Settings

if TYPE_CHECKING:
    from dicom_node.database.engine import Database

__all__: list[str] = []


def _job_steps(settings: Settings, database: "Database") -> Perform:
    from dicom_node.workbench.job_steps import JobSteps  # noqa: PLC0415 - loaded when logs are set up

    return JobSteps(settings, database).perform


if __name__ == "__main__":
    serve_steps(_job_steps)
