"""The OpenAPI document describes the typed API and nothing else, and its page says what is missing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dicom_node.database.engine import open_database
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from dicom_node.web.viewer_assets import SWAGGER
from tests.support.panel_client import new_login_link
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

OPERATIONS = [
    "peers_list_all", "peers_add", "peers_one", "peers_replace", "peers_change", "peers_remove", "peers_call",
    "routing_rules", "routing_save", "routing_test", "routing_list_versions", "routing_restore_one",
    "peers_export", "peers_import_all", "peers_test", "peers_tests", "workbench_list_own", "workbench_send",
    "workbench_roles", "workbench_example", "workbench_one", "workbench_remove", "workbench_events",
    "workbench_result", "workbench_file",
]  # fmt: skip


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the node looks for what pages consist of."""
    return tmp_path_factory.mktemp("assets")


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory, assets: Path) -> Iterator[httpx.Client]:
    """Give a person who is logged in."""
    folder = tmp_path_factory.mktemp("node")
    settings = read_settings(
        environment={"GLIONODE_NODE_FOLDER": str(folder), "GLIONODE_VIEWER_FOLDER": str(assets / "ohif")}
    )
    database = open_database(settings.database_url)
    with (
        served(panel_app(settings, database)) as url,
        httpx.Client(base_url=url, timeout=ANSWER_S) as client,
    ):
        client.post("/login", data={"token": httpx.URL(new_login_link(database, url)).params["token"]})
        yield client
    database.engine.dispose()


@pytest.fixture(scope="module")
def document(person: httpx.Client) -> Any:  # noqa: ANN401 - JSON
    return person.get("/api/openapi.json").json()


def _operations(document: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - JSON
    return [(path, one) for path, ways in document["paths"].items() for one in ways.values()]


def test_it_has_the_typed_api_and_no_page(document: Any) -> None:  # noqa: ANN401 - JSON
    assert sorted(one["operationId"] for _, one in _operations(document)) == sorted(OPERATIONS)
    assert all(path.startswith("/api/") for path in document["paths"])
    assert "text/html" not in str(document)
    assert (document["info"]["title"], bool(document["info"]["description"])) == ("GlioNode", True)


def test_each_address_says_what_it_does_and_how_it_refuses(document: Any) -> None:  # noqa: ANN401 - JSON
    groups = {tag["name"] for tag in document["tags"]}
    for path, one in _operations(document):
        assert set(one["tags"]) <= groups, path
        assert one["summary"], path
        assert one["description"].endswith("."), path
        assert "401" in one["responses"], path
        assert ("404" in one["responses"]) == ("{" in path), path
        assert all(answer["description"] for answer in one["responses"].values()), path


def test_the_workbench_takes_a_token_and_a_form_with_files(document: Any) -> None:  # noqa: ANN401 - JSON
    for path, one in _operations(document):
        assert "security" in one, path
    form = document["paths"]["/api/v1/segment"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"t1", "t1ce", "t2", "flair", "truth", "files", "pixel_mm"}
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    refused = document["paths"]["/api/v1/segment"]["post"]["responses"]["429"]["content"]["application/json"]
    assert refused["schema"]["$ref"].endswith("/Refusal")


def test_its_page_says_what_is_missing_and_draws_it_once_it_is_there(person: httpx.Client, assets: Path) -> None:
    page = person.get("/docs").text
    assert "Swagger UI, which draws this page, is not installed on the node: run <code>make viewer</code>" in page
    assert '<script src="/swagger' not in page
    assert person.get("/swagger/swagger-ui-bundle.js").status_code == 404
    folder = assets / f"swagger-{SWAGGER.version}"
    folder.mkdir()
    (folder / "swagger-ui-bundle.js").write_text("drawn")
    page = person.get("/docs").text
    assert '<script src="/swagger/swagger-ui-bundle.js" defer>' in page
    assert "not installed" not in page
    assert person.get("/swagger/swagger-ui-bundle.js").text == "drawn"


def test_its_page_is_for_those_who_are_logged_in_and_linked_for_them(person: httpx.Client) -> None:
    for path in ("/docs", "/swagger/swagger-ui-bundle.js"):
        answer = httpx.get(person.base_url.join(path), timeout=ANSWER_S)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    link = '<a href="/docs">API</a>'
    assert link not in httpx.get(person.base_url.join("/login"), timeout=ANSWER_S).text
    assert person.get("/peers").text.count(link) == 1
    assert person.get("/workbench").text.count(link) == 2
