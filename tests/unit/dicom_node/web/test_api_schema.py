"""The API answers all that its document allows, and much that it does not, as the document says: by schemathesis."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from dicom_node.access.tokens import add_token
from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import TokenScope
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from dicom_node.web.uploads import UPLOAD_PATH
from tests.support.panel_client import log_in
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

EXAMPLES = 8
"""Requests of each operation, of each kind, by each caller; the same ones each time."""

CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Database]]:
    """Give the address of a panel and its database, with a peer to be found."""
    folder = tmp_path_factory.mktemp("node")
    chosen = read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder)})
    database = open_database(chosen.database_url)
    put_peer(database, Peer(name="PACS", ae_title="PACS"))
    with served(panel_app(chosen, database), uploads=UPLOAD_PATH) as url:
        yield url, database
    database.engine.dispose()


@pytest.fixture(scope="module")
def document(node: tuple[str, Database]) -> dict[str, Any]:
    """Return the document, which a token does not open."""
    url, database = node
    with httpx.Client(base_url=url, timeout=ANSWER_S) as client:
        log_in(client, database)
        found: dict[str, Any] = client.get("/api/openapi.json").json()
        return found


@pytest.fixture(scope="module", params=["administrator", "token"])
def caller(request: pytest.FixtureRequest, node: tuple[str, Database]) -> Iterator[httpx.Client]:
    """Give an administrator, and a program whose token may do all that a token can."""
    url, database = node
    with httpx.Client(base_url=url, timeout=ANSWER_S) as client:
        if request.param == "token":
            client.headers["Authorization"] = f"Bearer {add_token(database, 'program', scopes=tuple(TokenScope))}"
        else:
            log_in(client, database)
        yield client


@schemathesis.serializer("application/toml")
def _toml(_context: object, value: object) -> bytes:
    """Write what is drawn for a TOML document, which the API has to refuse unless it is one."""
    return value if isinstance(value, bytes) else str(value).encode()


def _checked(caller: httpx.Client, operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode) -> None:
    """Call one operation with what is drawn for it."""

    @settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=[*HealthCheck]
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def call(case: Case[Any]) -> None:
        case.headers.pop("Authorization", None)  # the caller's own is sent
        case.call_and_validate(
            base_url=str(caller.base_url).rstrip("/"),
            headers=dict(caller.headers),
            cookies=dict(caller.cookies),
            checks=CHECKS,
            timeout=ANSWER_S,
        )

    call()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
def test_each_operation_answers_as_its_document_says(
    caller: httpx.Client, document: dict[str, Any], mode: GenerationMode
) -> None:
    operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
    assert len(operations) == sum(len(ways) for ways in document["paths"].values())
    for operation in operations:
        takes_nothing = not (operation.path_parameters or operation.query or operation.body)
        if mode is GenerationMode.POSITIVE or not takes_nothing:  # nothing can be invalid there
            _checked(caller, operation, mode)
