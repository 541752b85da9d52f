"""Answers for programs that watch the node: whether it lives, whether it is ready, and the metrics for Prometheus."""

import sqlalchemy as sa
from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from dicom_node.database.engine import Database
from dicom_node.monitoring.metrics import CONTENT_TYPE, Metrics
from dicom_node.monitoring.readiness import Readiness
from dicom_node.settings import Settings

__all__ = ["health_routes"]


def health_routes(settings: Settings, database: Database) -> APIRouter:
    """Return the addresses. The first two are open to everyone, and tell nothing but names of checks."""
    routes = APIRouter(include_in_schema=False)
    metrics, readiness = Metrics(settings, database), Readiness(settings, database)

    @routes.get("/healthz")
    def healthz() -> dict[str, str]:
        """Report health once the database has answered."""
        with database.session() as session:
            session.execute(sa.text("SELECT 1"))
        return {"status": "ok"}

    @routes.get("/readyz")
    def readyz() -> Response:
        """Report whether the node can take and keep images, with each check; 503 while it cannot."""
        report = readiness.report()
        shown = {"ready": report.ready, "checks": report.passed, "worker": report.worker}
        return JSONResponse(shown, status_code=200 if report.ready else 503)

    @routes.get("/metrics")
    def scraped() -> Response:
        """Answer Prometheus, which shows a token with the scope ``metrics``."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return routes
