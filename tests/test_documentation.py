"""README, the manuals of the rooms, and the program say the same."""

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
ROOMS = ("conversion", "inference", "viewer_integration", "dicom_node")
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "dicom_node" / "README.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
PAGES = {
    path: path.read_text(encoding="utf-8")
    for path in (
        *ROOT.glob("*.md"),
        *(page for room in (*ROOMS, "config", "tests/acceptance") for page in (ROOT / room).rglob("*.md")),
    )
    if path.name != "CHANGELOG.md"
}
SCREENS = 80
"""Lines of README: a newcomer reads it from end to end."""
GROUPS = {"models", "routes", "rules"}


def test_every_setting_stands_in_its_manual_and_no_other() -> None:
    defaults = tomllib.loads((ROOT / "config" / "default.toml").read_text(encoding="utf-8"))
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", SETTINGS, flags=re.MULTILINE))
    assert {section: re.findall(r"`(\w+)`", keys) for section, keys in rows.items()} == {
        section: list(keys) for section, keys in defaults.items()
    }


@pytest.mark.parametrize("reason", [*ConversionReason, *InferenceReason, *ResultReason], ids=str)
def test_every_reason_stands_in_the_manual(reason: str) -> None:
    assert f"`{reason}`" in OPERATIONS


def test_every_decision_stands_in_the_manual_and_no_other() -> None:
    """Codes are the texts given as `code`, or first, to what makes a `Decision`."""
    made = re.compile(
        r"Decision\(\s*code=\"(\w+)\"|(?:_decision\(|series_decision\(ds,)\s*\"(\w+)\"|^REFUSED = \"(\w+)\"",
        flags=re.MULTILINE,
    )
    sources = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    codes = {code for path in sources for found in made.findall(path.read_text("utf-8")) for code in found if code}
    table = OPERATIONS.split("### Decisions")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (?:read|select|align|segment|encode) \| (.+) \|$", table, flags=re.MULTILINE)
    assert {code for row in rows for code in re.findall(r"`(\w+)`", row)} == codes


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - GROUPS))
def test_every_command_stands_in_the_manual_and_has_an_example(command: str) -> None:
    assert re.search(rf"`(glionode )?{command}\b", OPERATIONS)
    shown = subprocess.run(
        [sys.executable, "-m", "dicom_node.cli", command, "--help"], capture_output=True, text=True, check=True
    )
    assert f"Example: glionode {command}" in shown.stdout


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_names_only_commands_that_exist_and_links_to_what_is_there(path: Path) -> None:
    named = set(re.findall(r"`glionode ([a-z-]+)", PAGES[path])) - {"--config"}
    assert named <= {*COMMANDS, "--help"}
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", PAGES[path]):
        there = path.parent / target if target else path
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", PAGES[there.resolve()], flags=re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, (target, anchor)


def _anchor(heading: str) -> str:
    """Return the anchor of a heading as GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_the_eight_files_of_a_study_exist() -> None:
    pages = PAGES[ROOT / "CONTRIBUTING.md"]
    files = re.findall(r"`((?:conversion|inference|viewer_integration|dicom_node)/[\w/]+\.py)`", pages)
    assert len(files) == 8
    assert [path for path in files if not (ROOT / path).is_file()] == []


def test_every_table_of_figures_is_linked() -> None:
    linked = {name for text in PAGES.values() for name in re.findall(r"\]\((?:\.\./)*benchmarks/(\w+\.md)\)", text)}
    assert linked == {path.name for path in (ROOT / "benchmarks").glob("*.md")}


def test_readme_is_short_and_leads_to_every_manual() -> None:
    assert len(README.splitlines()) <= SCREENS
    for manual in (
        "dicom_node",
        "config",
        "dicom_node/access",
        "dicom_node/workbench",
        "inference",
        "inference/training",
    ):
        assert f"]({manual}/README.md" in README


def test_a_pacs_is_connected_in_at_most_ten_steps_by_what_exists() -> None:
    path = README.split("## Connect a PACS")[1].split("\n## ")[0]
    steps = re.findall(r"^(\d+)\. (.+)$", path, flags=re.MULTILINE)
    assert [int(number) for number, _ in steps] == list(range(1, len(steps) + 1))
    assert 0 < len(steps) <= 10
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)`", README)) | set(re.findall(r"^make (\w+)", README, re.MULTILINE)) <= set(
        targets
    )
    named = set(re.findall(r"^glionode ([a-z-]+)|`glionode (?:--config FILE )?([a-z]+)", README, re.MULTILINE))
    assert {one or other for one, other in named} <= set(COMMANDS)
    titles = re.findall(r"SetupStep\.\w+: \"([^\"]+)\"", (ROOT / "dicom_node/web/routes_setup.py").read_text("utf-8"))
    assert [title for title in titles[:-1] if f"*{title}*" not in path] == []
    buttons = (ROOT / "dicom_node/web/templates/setup_pacs.html").read_text("utf-8")
    assert all(f">{label}</button>" in buttons for label in ("C-ECHO", "Send a test study there and back"))


def test_each_step_of_the_path_was_measured() -> None:
    table = (ROOT / "benchmarks" / "first_steps.md").read_text("utf-8")
    path = README.split("## Connect a PACS")[1].split("\n## ")[0]
    measured = re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)
    assert measured == re.findall(r"^(\d+)\. ", path, flags=re.MULTILINE)


def test_the_pictures_of_the_walk_are_shown_and_small() -> None:
    folder = ROOT / "tests" / "acceptance" / "walk"
    shown = re.findall(r"^!\[.+\]\((\w+\.jpg)\)$", (folder / "README.md").read_text("utf-8"), flags=re.MULTILINE)
    assert sorted(shown) == sorted(path.name for path in folder.glob("*.jpg"))
    assert {path.name: path.stat().st_size for path in folder.glob("*.jpg") if path.stat().st_size > 150_000} == {}


def test_research_use_is_said_first() -> None:
    assert "Research use only" in README.split("## ")[0]
