"""The house's own rules, held by tests."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.datadict import tag_for_keyword

ROOT = Path(__file__).parents[1]
ROOMS = ("conversion", "inference", "viewer_integration", "dicom_node")
HTTPX = {f"httpx.{name}" for name in ("get", "post", "put", "delete", "head", "request", "stream", "Client")}
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_import_directions_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    for function in _functions(path):
        docstring = ast.get_docstring(function, clean=False) or ""
        body = (function.end_lineno or 0) - function.lineno + 1 - len(docstring.splitlines())
        assert body <= 50, f"{function.name} has {body} lines"


def test_pipeline_is_one_screen() -> None:
    (page,) = (ROOT / "dicom_node").rglob("pipeline.py")
    assert len(page.read_text().splitlines()) <= 60


def test_nothing_prints_but_by_click() -> None:
    for path in SOURCES:
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        prints = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
        assert not prints, f"{path} prints"


def test_the_tests_ask_real_servers_with_more_patience_than_httpx_has() -> None:
    """Hold each request to a time of its own: httpx gives up after 5 s, which a busy machine may need."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        calls = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
        asking = [c for c in calls if isinstance(c.func, ast.Attribute) and ast.unparse(c.func) in HTTPX]
        hasty = [c.lineno for c in asking if "timeout" not in {keyword.arg for keyword in c.keywords}]
        assert hasty == [], path


def test_packages_say_what_they_are_and_hold_no_code() -> None:
    for path in SOURCES:
        if path.name == "__init__.py":
            body = ast.parse(path.read_text()).body
            assert len(body) == 1, path
            assert isinstance(body[0], ast.Expr), path


@pytest.mark.parametrize(
    ("role", "heavy"),
    [
        ("dicom_node.cli.serve", {"torch", "SimpleITK", "scipy", "highdicom", "dbos", "fastapi", "alembic"}),
        ("dicom_node.reception.listener", {"torch", "SimpleITK", "scipy", "highdicom", "dbos", "fastapi", "alembic"}),
        ("dicom_node.runs.worker", {"torch", "monai", "nilearn", "highdicom", "scipy.ndimage", "scipy.optimize"}),
        ("dicom_node.web.app", {"torch", "scipy.ndimage", "scipy.optimize"}),
        ("dicom_node.web.viewer", {"torch", "scipy"}),
        ("dicom_node.cli.demo", {"torch", "monai", "sklearn", "pandas"}),
        ("dicom_node.cli.segment", {"torch", "SimpleITK", "scipy", "highdicom"}),
        pytest.param("dicom_node.workbench.job_steps", {"monai", "sklearn", "pandas"}, marks=pytest.mark.torch),
    ],
)
def test_a_role_loads_only_what_it_needs(role: str, heavy: set[str]) -> None:
    code = f"import sys, {role}; sys.exit(', '.join({heavy!r} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


RAW_READS = {
    # what pydicom and pynetdicom make themselves, and bytes that are no text or number
    "": {"AffectedSOPClassUID", "AffectedSOPInstanceUID", "ErrorComment", "ExtendedOffsetTable",
         "MediaStorageSOPClassUID", "ExtendedOffsetTableLengths", "MediaStorageSOPInstanceUID",
         "MessageIDBeingRespondedTo", "PixelData",
         "Status", "TransferSyntaxUID"},
    # demographics that were read already
    "dicom_node/retrieval/fetch.py": {"PatientID"},
    "dicom_node/peers/query.py": {"PatientBirthDate", "PatientSex"},
    # of a request that pynetdicom has read
    "dicom_node/reception/acceptor/stock_association.py": {"MessageID"},
    # headers that `source_header` wrote anew, value by value
    "viewer_integration/source_header.py": {"SliceThickness"},
}  # fmt: skip
"""Attributes that are read as pydicom gives them, by file."""

MADE_HERE = ("result.py", "report_object.py", "segmentation_object.py", "provenance.py", "largest_slice.py")
"""Files of viewer_integration that read nothing but the objects of this product, while and after it makes them."""


def _raw_read(node: ast.AST) -> str:
    """Return the attribute that an expression reads past `conversion.values`, if it does."""
    match node:
        case ast.Attribute(value=ast.Name(id="sa" | "hd")):
            return ""
        case ast.Attribute(attr=str(keyword), ctx=ast.Load()):
            pass
        case ast.Call(func=ast.Attribute(attr="get" | "get_item"), args=[ast.Constant(value=str(keyword)), *_]):
            pass
        case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(keyword)), *_]):
            pass
        case ast.Subscript(slice=ast.Constant(value=str(keyword)), ctx=ast.Load()):
            pass
        case _:
            return ""
    return keyword if keyword and tag_for_keyword(keyword) is not None else ""


def test_headers_are_read_by_the_one_lenient_reader() -> None:
    """Pydicom raises for whatever breaks the standard, and a number with a comma is another one to each raw read."""
    for path in SOURCES:
        name = str(path.relative_to(ROOT))
        if "migrations" in path.parts or (path.parent.name == "viewer_integration" and path.name in MADE_HERE):
            continue
        read = {_raw_read(node) for node in ast.walk(ast.parse(path.read_text("utf-8")))} - {""}
        raw = read - RAW_READS[""] - RAW_READS.get(name, set())
        assert not raw, f"{name} reads {sorted(raw)}: use conversion.values or conversion.attributes"
        assert RAW_READS.get(name, set()) <= read, f"{name} does not read that any more"


@pytest.mark.parametrize(
    "source", ["float(ds.EchoTime)", "ds.get('Rows')", "ds['Rows'].value", "getattr(ds, 'Rows', 0)", "a.b.Rows + 1"]
)
def test_a_raw_read_is_found_however_it_is_written(source: str) -> None:
    assert {_raw_read(node) for node in ast.walk(ast.parse(source))} - {""} in ({"Rows"}, {"EchoTime"})


RUN_MODELS = {
    *(f"dicom_node.workbench.{name}" for name in ("comparison", "job_steps", "segment_files")),
    *(f"dicom_node.cli.{name}" for name in ("evaluate", "model_making", "train")),
    "dicom_node.models.trial",
}
"""What loads torch at once beside the room `inference`; a worker's child and `glionode segment` load it later."""

_IMPORTS_WITHOUT_TORCH = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
loading = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] != "torch":
            raise
        loading.append(name)
print(*loading)
"""


def test_the_other_rooms_load_without_torch() -> None:
    """A Python without it runs all of the node but the models, and `make pythons` would lose what begins to need it."""
    paths = [path for path in SOURCES if "migrations" not in path.parts and path.name != "__init__.py"]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    others = [name for name in names if not name.startswith("inference.")]
    command = [sys.executable, "-c", _IMPORTS_WITHOUT_TORCH, *others]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == RUN_MODELS


MANY = 10
"""A folder with more files than this has a page that says in which order to read them."""


@pytest.mark.parametrize(
    "room",
    sorted({path.parent for path in SOURCES if "migrations" not in path.parts}),
    ids=lambda room: str(room.relative_to(ROOT)),
)
def test_a_large_room_has_a_page_that_names_each_of_its_files(room: Path) -> None:
    files = {path.name for path in room.glob("*.py")} - {"__init__.py", "__main__.py"}
    page = room / "README.md"
    if len(files) > MANY:
        assert page.exists(), room
    if page.exists():
        assert set(re.findall(r"^\| `(\w+\.py)` \|", page.read_text("utf-8"), flags=re.MULTILINE)) == files
