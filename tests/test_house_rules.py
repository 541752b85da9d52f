"""Rules of the house about single lines of code: who may catch whatever is raised, and who may turn an array."""

import ast
import gzip
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("conversion", "inference", "viewer_integration", "dicom_node")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))

STRANGERS = {
    "conversion/pixels.py": 1,
    "conversion/reading.py": 1,
    "conversion/values.py": 3,
    "dicom_node/audit/studies.py": 1,
    "dicom_node/reception/listener.py": 1,
    "dicom_node/retrieval/round_trip.py": 1,
    "dicom_node/routing/study_facts.py": 2,
    "dicom_node/runs/reading.py": 1,
    "dicom_node/studies/identities.py": 1,
    "dicom_node/studies/instance_versions.py": 1,
    "dicom_node/studies/received_study.py": 1,
    "dicom_node/studies/rule_trial.py": 1,
    "dicom_node/web/dicomweb_origin.py": 2,
    "dicom_node/web/study_page.py": 1,
    "inference/cases/annotations.py": 1,
    "inference/cases/dicom_studies.py": 1,
    "viewer_integration/dicom_json.py": 1,
    "viewer_integration/dicomweb.py": 1,
    "viewer_integration/study_values.py": 1,
    "viewer_integration/transport/delivery.py": 3,
    "viewer_integration/transport/requestor.py": 1,
    "viewer_integration/transport/stow.py": 1,
}
"""A stranger's file, value or line: no reader names all that can be wrong in one, and the others must be served."""

GOES_ON = {
    "dicom_node/delivery/lanes.py": 1,
    "dicom_node/delivery/outbox.py": 3,
    "dicom_node/notifications/notifier.py": 1,
    "dicom_node/reception/acceptor/prompt_association.py": 1,
    "dicom_node/reception/acceptor/upper_layer.py": 1,
    "dicom_node/reception/filing.py": 1,
    "dicom_node/reception/listener.py": 1,
    "dicom_node/retrieval/connection_tests.py": 1,
    "dicom_node/retrieval/fetch_requests.py": 1,
    "dicom_node/runs/child_process.py": 1,
    "dicom_node/runs/durable.py": 1,
    "dicom_node/runs/worker.py": 3,
    "dicom_node/runs/workflow.py": 1,
    "dicom_node/studies/assembly.py": 1,
    "dicom_node/telemetry/spans.py": 1,
    "dicom_node/web/guard.py": 1,
}
"""A loop, a thread or an answer that must go on whatever one study, one sender or one request does to it; each logs or
tells what was raised."""

TURNED = {
    "dicom_node/phantom/anatomy.py": "the atlas's own axes to those of the phantom",
    "dicom_node/phantom/smooth_noise.py": "a factor of noise, which has no sides",
    "viewer_integration/overlay.py": "a picture for people, by `Grid.permuted`",
    "inference/atlas_axes.py": "the atlas's own axes",
    "inference/brain_network.py": "by `Grid.permuted`",
    "inference/cases/prepared.py": "by `Grid.permuted`",
    "inference/evaluation/picture.py": "a picture for people, by `Grid.permuted`",
    "inference/foreign_network.py": "predicts on the mirror image, and mirrors the prediction back",
    "inference/forward.py": "predicts along other axes and on the mirror image, and reorients the prediction back",
    "inference/image_noise.py": "differences along each axis",
    "inference/labelling.py": "the slices' axis to the front and back again",
    "inference/resampling.py": "by `Grid.permuted`, and the order of axes of torch's samplers",
    "inference/segmenter.py": "by `Grid.permuted`",
    "inference/training/windows.py": "training samples are turned and mirrored with what was drawn on them",
    "inference/unet.py": "slices of a window as channels",
}
"""Files outside of `conversion` that flip or permute an array, and why nothing lies mirrored afterwards."""

_TURNS = {"flip", "flipud", "fliplr", "moveaxis", "movedim", "permute", "permuted", "rot90", "swapaxes", "transpose"}


_ADAPTS_PYNETDICOM = (
    "dicom_node/reception/acceptor/",
    "viewer_integration/transport/requestor.py",
    "dicom_node/logs.py",
)
"""Where pynetdicom's private names may be used: the accepting side, the requesting side, and its handler of logs."""


def _uses_private_names(path: Path) -> bool:
    """Return whether a file that imports pynetdicom uses a private name of anything but its own class."""
    source = path.read_text("utf-8")
    if "import pynetdicom" not in source and "from pynetdicom" not in source:
        return False
    names = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute))
    return any(
        node.attr.startswith("_") and not node.attr.startswith("__") and ast.unparse(node.value) not in {"self", "cls"}
        for node in names
    )


def _blind(path: Path) -> int:
    """Return how many handlers of a file take whatever is raised, and do not raise again."""
    handlers = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ExceptHandler))
    return sum(_takes_all(one) and not any(isinstance(node, ast.Raise) for node in ast.walk(one)) for one in handlers)


def _takes_all(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return bool({"Exception", "BaseException"} & {ast.unparse(kind) for kind in kinds})


def _turns(path: Path) -> bool:
    calls = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
    return any(isinstance(call.func, ast.Attribute) and call.func.attr in _TURNS for call in calls)


def test_whatever_is_raised_is_caught_for_two_reasons_only() -> None:
    found = {str(path.relative_to(ROOT)): count for path in SOURCES if (count := _blind(path))}
    assert Counter(found) == Counter(STRANGERS) + Counter(GOES_ON)


def test_arrays_are_turned_in_conversion_and_where_it_is_known_why() -> None:
    turning = {str(path.relative_to(ROOT)) for path in SOURCES if _turns(path)}
    assert {name for name in turning if not name.startswith("conversion/")} == set(TURNED)


def test_private_names_of_pynetdicom_are_used_where_its_version_is_checked() -> None:
    using = {str(path.relative_to(ROOT)) for path in SOURCES if _uses_private_names(path)}
    assert len(using) > 3
    assert {name for name in using if not name.startswith(_ADAPTS_PYNETDICOM)} == set()


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("try:\n    f()\nexcept Exception:\n    pass", 1),
        ("try:\n    f()\nexcept (ValueError, BaseException):\n    pass", 1),
        ("try:\n    f()\nexcept:\n    pass", 1),
        ("try:\n    f()\nexcept Exception as e:\n    raise ValueError from e", 0),
        ("try:\n    f()\nexcept OSError:\n    pass", 0),
    ],
)
def test_a_blind_handler_is_found_however_it_is_written(tmp_path: Path, source: str, count: int) -> None:
    path = tmp_path / "source.py"
    path.write_text(source, encoding="utf-8")
    assert _blind(path) == count


@pytest.mark.parametrize("content", [gzip.compress(b"a"), b"\x00", "text", 1])
def test_no_name_of_a_test_holds_bytes_it_is_given(request: pytest.FixtureRequest, content: object) -> None:
    """Packed bytes differ by the second; names that differ between the processes of a run end it."""
    name = request.node.name.removesuffix("]").rpartition("[")[2]
    assert name.startswith("content") if isinstance(content, bytes) else name == str(content)


REGION = r'[">](?:Enhancing tumour|Whole tumour|Tumour core)["<]'
"""The name of a region as a text of its own. The prose of Help has others around it, and DICOM its own spelling."""


def test_names_of_regions_stand_in_one_place() -> None:
    kinds = (".py", ".js", ".html")
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.suffix in kinds]
    named = {str(path.relative_to(ROOT)) for path in files if re.search(REGION, path.read_text("utf-8"))}
    assert named == {"inference/regions.py"}
