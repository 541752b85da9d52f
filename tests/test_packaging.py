"""What a wheel carries, and that nobody else's packages answer to our generic names."""

import ast
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ROOMS = ("conversion", "inference", "viewer_integration", "dicom_node")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_holds_rooms_configuration_migrations_and_model(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for needed in (
        "dicom_node/_config/default.toml",
        "dicom_node/_config/orthanc/route-to-glionode.lua",
        "dicom_node/database/migrations/versions/0001_initial_tables.py",
        "dicom_node/web/static/help/t1ce.png",
        "dicom_node/web/templates/base.html",
        "inference/models/glioma/slices-0.safetensors",
        "inference/models/glioma/volume-0.safetensors",
        "inference/models/glioma/autoencoder.safetensors",
        "inference/models/glioma/SHA256SUMS",
        "inference/models/glioma/LICENSE-WEIGHTS",
    ):
        assert needed in names
    tops = {name.split("/")[0] for name in names if not name.startswith("glionode-")}
    assert tops == set(ROOMS)


def test_no_foreign_distribution_owns_our_names() -> None:
    owners = packages_distributions()
    assert {name for room in ROOMS for name in owners.get(room, [])} <= {"glionode"}


def test_cannot_be_uploaded_by_accident_and_names_both_licences() -> None:
    metadata = distribution("glionode").metadata
    assert "Private :: Do Not Upload" in (metadata.get_all("Classifier") or [])
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Creative Commons" in (ROOT / "inference/models/glioma/LICENSE-WEIGHTS").read_text()


def test_everything_but_torch_is_pinned_with_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    pinned = [line for line in lock.splitlines() if "==" in line and not line.startswith((" ", "#"))]
    assert len(pinned) > 50
    assert lock.count("--hash=sha256:") >= len(pinned)
    assert not any(line.startswith("torch==") for line in pinned)
    assert not any(line.lower().startswith(("pylibjpeg-libjpeg", "panoptica")) for line in pinned)


def _as_make_would_run(target: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS")}
    command = ["make", "--dry-run", target, "FOUND=python"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def test_what_make_leaves_out_of_a_run_is_there() -> None:
    """Pytest ignores what is not there without a word, so a file of a new name would run again."""
    left_out = re.findall(r"--ignore (\S+)", _as_make_would_run("tests-on-3.13"))
    assert len(left_out) > 5
    assert [path for path in left_out if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("targets", [("tests", "browser", "phantoms"), ("unit", "integration", "browser", "phantoms")])
def test_make_runs_every_file_of_tests_once(targets: tuple[str, ...]) -> None:
    """Make names the files one by one, so one that no name stands for would never run."""
    named = [word for one in targets for word in _as_make_would_run(one).split() if word.startswith("tests/")]
    assert sorted(named) == sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))


def test_every_library_that_a_room_imports_is_declared() -> None:
    """What comes along with another library goes with it, too."""
    requires = [Requirement(text) for text in distribution("glionode").requires or []]
    declared = {canonicalize_name(one.name) for one in requires if "test" not in str(one.marker)}
    imported = {name for room in ROOMS for path in (ROOT / room).rglob("*.py") for name in _imported_by(path)}
    owners = packages_distributions()
    foreign = sorted(imported - set(sys.stdlib_module_names) - set(ROOMS))
    lacking = {
        name for name in foreign if not {canonicalize_name(owner) for owner in owners.get(name, [name])} & declared
    }
    assert lacking == set()
    assert len(foreign) > 20


def _imported_by(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    relative = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in plain | relative}
