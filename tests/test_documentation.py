"""README and the program say the same."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from conversion.errors import ConversionReason
from dicom_node.cli.main import COMMANDS
from inference.errors import InferenceReason
from viewer_integration.errors import ResultReason

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROOMS = ("conversion", "inference", "viewer_integration", "dicom_node")
GROUPS = {"models", "routes", "rules"}


def test_every_setting_stands_in_readme_and_no_other() -> None:
    defaults = tomllib.loads((ROOT / "config" / "default.toml").read_text(encoding="utf-8"))
    table = README.split("## Settings")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", table, flags=re.MULTILINE))
    assert {section: re.findall(r"`(\w+)`", keys) for section, keys in rows.items()} == {
        section: list(keys) for section, keys in defaults.items()
    }


@pytest.mark.parametrize("reason", [*ConversionReason, *InferenceReason, *ResultReason], ids=str)
def test_every_reason_stands_in_readme(reason: str) -> None:
    assert f"`{reason}`" in README


def test_every_decision_stands_in_readme_and_no_other() -> None:
    """Codes are the texts given as `code`, or first, to what makes a `Decision`."""
    made = re.compile(
        r"Decision\(\s*code=\"(\w+)\"|(?:_decision\(|series_decision\(ds,)\s*\"(\w+)\"|^REFUSED = \"(\w+)\"",
        flags=re.MULTILINE,
    )
    sources = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    codes = {code for path in sources for found in made.findall(path.read_text("utf-8")) for code in found if code}
    table = README.split("### Decisions")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (?:read|select|align|segment|encode) \| (.+) \|$", table, flags=re.MULTILINE)
    assert {code for row in rows for code in re.findall(r"`(\w+)`", row)} == codes


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - GROUPS))
def test_every_command_stands_in_readme_and_has_an_example(command: str) -> None:
    assert re.search(rf"`(glionode )?{command}\b", README)
    shown = subprocess.run(
        [sys.executable, "-m", "dicom_node.cli", command, "--help"], capture_output=True, text=True, check=True
    )
    assert f"Example: glionode {command}" in shown.stdout


def test_readme_names_only_commands_that_exist() -> None:
    named = set(re.findall(r"`glionode ([a-z-]+)", README)) - {"--config"}
    assert named <= {*COMMANDS, "--help"}


def test_the_eight_files_of_a_study_exist() -> None:
    for path in re.findall(r"`((?:conversion|inference|viewer_integration|dicom_node)/[\w/]+\.py)`", README):
        assert (ROOT / path).is_file()


def test_every_table_that_is_linked_exists() -> None:
    linked = set(re.findall(r"\]\((benchmarks/\w+\.md)\)", README))
    assert linked == {f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.md")}


def test_research_use_is_said_first() -> None:
    assert "Research use only" in README.split("## ")[0]
