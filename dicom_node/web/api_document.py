"""What the OpenAPI document says beside the addresses: title, groups, error answers."""

from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel

__all__ = ["OPENAPI", "TOKEN", "Refusal", "api_application", "content", "refusals"]

OPENAPI = "/api/openapi.json"

TOKEN = Depends(
    HTTPBearer(
        auto_error=False,
        description=(
            "A token of the page Tokens or of `glionode tokens add NAME --scope SCOPE`; the panel's login will do too."
        ),
    )
)
"""States that an address takes a token; it is checked before, with everything else about the login."""

_DESCRIPTION = (
    "A DICOM node for brain tumours. A token needs the scope `workbench`, `peers` or `routes`, a user of the panel the "
    "role. "
    "Research use only, not a medical device."
)
_TAGS = (
    {
        "name": "workbench",
        "description": "Send files, follow their progress, fetch the result. Each caller sees its own.",
    },
    {"name": "peers", "description": "The AE titles that the node talks to."},
    {"name": "routing", "description": "Which studies go where, with what priority, or are kept out."},
)
_MEANINGS = {
    401: "Neither logged in nor a valid token.",
    403: "The token does not have the scope, or the user not the role.",
    404: "There is no such thing, or it is somebody else's.",
    409: "There is no result, or not yet; the sentence says why.",
    413: "More data or more files than allowed.",
    415: "Not a form with files.",
    422: "What was sent is not valid.",
    429: "As many uploads wait as may; try again later.",
    503: "As many streams are open as may be.",
    507: "The node's disk is full.",
}


class Refusal(BaseModel):
    """Why a request was refused."""

    detail: str


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what the document says about the answers of these statuses."""
    return {status: {"model": Refusal, "description": _MEANINGS[status]} for status in statuses}


def content(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    """Return what the document says about an answer that is a file or a stream."""
    return {200: {"content": {media_type: {}}, "description": description}}


def api_application() -> FastAPI:
    """Return an application whose document is at `OPENAPI`, without pages of the framework's own."""
    return FastAPI(
        title="GlioNode",
        version=version("glionode"),
        description=_DESCRIPTION,
        openapi_tags=[dict(tag) for tag in _TAGS],
        generate_unique_id_function=_operation_id,
        docs_url=None,
        redoc_url=None,
        openapi_url=OPENAPI,
    )


def _operation_id(route: APIRoute) -> str:
    """Return the name that generated clients give to an operation, such as ``workbench_send``."""
    return "_".join([*map(str, route.tags), route.name])
