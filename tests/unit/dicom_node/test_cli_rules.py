"""`glionode rules` as scripts see it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from dicom_node.cli.rules import rules
from dicom_node.database.engine import open_database
from tests.support.held_study import hold_small_study

AFTER = {
    "name": "After contrast",
    "kind": "T1CE",
    "manufacturer": "",
    "station": "",
    "description": "*nach km*",
    "protocol": "",
    "technique": "",
}
SCOUT = {**AFTER, "name": "Scout", "kind": "localizer", "description": "", "protocol": 'sc"out*'}


def _rules(folder: Path, *arguments: str | Path) -> Result:
    """Run the group in this process: the way in and the log are held by `test_cli.py`."""
    unset: dict[str, str | None] = {key: None for key in os.environ if key.startswith("GLIONODE_")}
    with capture_logs():
        return CliRunner().invoke(
            rules, list(map(str, arguments)), env={**unset, "GLIONODE_NODE_FOLDER": str(folder / "node")}
        )


def _document(done: Result) -> dict[str, Any]:
    assert (done.exit_code, done.stderr) == (0, "")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_the_command_leads_to_the_rules_and_logs_nothing(tmp_path: Path) -> None:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GLIONODE_")}
    done = subprocess.run(
        [sys.executable, "-m", "dicom_node.cli", "rules", "add", "A", "--kind", "T1", "--station", "MR1"],
        env={**inherited, "GLIONODE_NODE_FOLDER": str(tmp_path / "node")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "  1  T1          A: station 'MR1'\n", "")


def test_rules_go_through_their_life(tmp_path: Path) -> None:
    assert _rules(tmp_path, "list").stdout == "no site rules; only the built-in ones apply\n"
    added = _rules(tmp_path, "add", "Scout", "--kind", "Localizer", "--protocol", 'sc"out*', "--json")
    assert _document(added) == {"rules": [SCOUT]}
    _rules(tmp_path, "add", "After contrast", "--kind", "t1ce", "--description", "*nach km*")
    file = tmp_path / "rules.toml"
    file.write_text(_rules(tmp_path, "export").stdout, encoding="utf-8")
    assert _document(_rules(tmp_path, "move", "Scout", "1", "--json")) == {"rules": [SCOUT, AFTER]}
    assert _document(_rules(tmp_path, "remove", "Scout", "--json")) == {"rules": [AFTER]}
    assert _document(_rules(tmp_path, "import", file, "--replace", "--json")) == {"rules": [AFTER, SCOUT]}
    assert _document(_rules(tmp_path, "export", "--json")) == {"rules": [AFTER, SCOUT]}


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["add", "A", "--kind", "T1C", "--station", "x"], 1, "glionode: The kind must be one of T1, T1CE"),
        (["add", "A", "--kind", "T1"], 1, "at least one pattern"),
        (["remove", "Ghost"], 1, "glionode: No site rule is called 'Ghost'."),
        (["import", __file__], 1, "test_cli_rules.py: "),
        (["move", "A", "0"], 2, "0 is not in the range"),
        (["import", "absent.toml"], 2, "does not exist"),
        (["test", "--kind", "T1", "--file", __file__], 2, "not both"),
    ],
)
def test_what_cannot_be_done_is_told(tmp_path: Path, arguments: list[str], status: int, says: str) -> None:
    done = _rules(tmp_path, *arguments)
    assert (done.exit_code, done.stdout) == (status, "")
    assert says in done.stderr
    assert status == 2 or done.stderr.count("\n") == 1


def test_a_rule_is_tested_on_stored_studies(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'node' / 'glionode.sqlite'}")
    hold_small_study(database, tmp_path / "node", "a1b2c3", ["FLAIR"])
    database.engine.dispose()
    found = _document(_rules(tmp_path, "test", "--kind", "T2", "--description", "flair", "--json"))
    change = {"study_key": "a1b2c3", "series": "series 1", "description": "FLAIR", "before": "FLAIR", "after": "T2"}
    counts = {"fitting": 1, "overruled": 0, "studies": 1, "not_tried": 0, "looked_at": 1, "unreadable": 0}
    assert found == {"changes": [change], **counts, "pixels": False}
    file = tmp_path / "rules.toml"
    file.write_text('[[rule]]\nname = "A"\nkind = "T2"\ndescription = "flair"\n', encoding="utf-8")
    text = _rules(tmp_path, "test", "--file", file).stdout
    assert text.startswith("a1b2c3 series 1: FLAIR -> T2  'FLAIR'\n1 series would change, 1 match (by headers;")
    assert _document(_rules(tmp_path, "list", "--json")) == {"rules": []}
