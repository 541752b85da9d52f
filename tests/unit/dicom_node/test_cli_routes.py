"""`glionode routes` as scripts see it."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from dicom_node.cli.routes import routes

TOML = """
[[route]]
name = "Children"
keep_out = "adults alone"
[[route.conditions]]
attribute = "PatientAge"
operator = "at_most"
value = "17"
"""


def _routes(folder: Path, *arguments: str | Path) -> Result:
    """Run the group in this process: the way in and the log are held by `test_cli.py`."""
    unset: dict[str, str | None] = {key: None for key in os.environ if key.startswith("GLIONODE_")}
    with capture_logs():
        return CliRunner().invoke(
            routes, list(map(str, arguments)), env={**unset, "GLIONODE_NODE_FOLDER": str(folder / "node")}
        )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "routes.toml"
    path.write_text(TOML, encoding="utf-8")
    return path


def test_rules_are_tried_imported_exported_and_undone(tmp_path: Path, file: Path) -> None:
    assert _routes(tmp_path, "list").stdout == "no routing rules; every study goes the same way\n"
    tried = json.loads(_routes(tmp_path, "try", file, "--json").stdout)
    assert tried == {"looked_at": 0, "changes": [], "held": {"Children": 0}}
    assert _routes(tmp_path, "list").stdout == "no routing rules; every study goes the same way\n"
    line = "  1  Children: PatientAge at_most 17 -> kept out: adults alone\n"
    assert _routes(tmp_path, "import", file).stdout == line
    exported = tmp_path / "exported.toml"
    exported.write_text(_routes(tmp_path, "export").stdout, encoding="utf-8")
    (tmp_path / "none.toml").write_text("", encoding="utf-8")
    assert json.loads(_routes(tmp_path, "import", tmp_path / "none.toml", "--json").stdout) == {"rules": []}
    assert _routes(tmp_path, "undo").stdout == line
    assert json.loads(_routes(tmp_path, "import", exported, "--json").stdout)["rules"][0]["name"] == "Children"


def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path, file: Path) -> None:
    assert _routes(tmp_path, "undo").exit_code == 2
    file.write_text(TOML.replace("at_most", "below"), encoding="utf-8")
    for command in ("import", "try"):
        wrong = _routes(tmp_path, command, file)
        assert (wrong.exit_code, wrong.stderr.count("\n")) == (1, 1)
        assert "Rule 1: A condition has an attribute" in wrong.stderr
    assert _routes(tmp_path, "undo", "--version", "7").exit_code == 1
