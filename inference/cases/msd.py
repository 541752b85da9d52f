"""Task01_BrainTumour of the Medical Segmentation Decathlon: four sequences in one file, labels in another order.

The meaning of channels and labels is read from ``dataset.json``; neither is assumed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from conversion.sequences import Role
from inference.cases.case import AnnotatedCase, CaseSet, SkippedCase
from inference.cases.one_grid import as_delivered, read_image, read_labels, regions_of, volume_of
from inference.cases.region_names import region_of_words
from inference.cases.stored_case import StoredCase, empty_set, unreadable
from inference.regions import Label, Region

__all__ = ["LAYOUT", "open_msd"]

LAYOUT = (
    "dataset.json with 'modality' and 'labels', imagesTr/<case>.nii.gz (four-dimensional) and labelsTr/<case>.nii.gz"
)

_ROLES = {
    "flair": Role.FLAIR, "t1": Role.T1, "t1w": Role.T1, "t1gd": Role.T1CE, "t1ce": Role.T1CE, "t2": Role.T2,
    "t2w": Role.T2,
}  # fmt: skip
_LABELS = {Region.NCR: Label.NCR, Region.ED: Label.ED, Region.ET: Label.ET}


@dataclass(frozen=True, kw_only=True)
class _Meaning:
    """Channels and labels as stated in `dataset.json`."""

    channels: tuple[Role, ...]
    values: Mapping[int, Label]


def open_msd(root: Path) -> CaseSet:
    """Find the cases of the set. Names contain neither patient nor site, so each case counts as a patient.

    The archive contains many files beginning with ``._``, left over from the computer it was packed on. They are
    ignored.
    """
    if not (root / "dataset.json").exists() and (root / "Task01_BrainTumour").is_dir():
        root = root / "Task01_BrainTumour"
    meaning = _meaning(root / "dataset.json")
    images = {path.name: path for path in _volumes(root / "imagesTr")}
    labels = {path.name: path for path in _volumes(root / "labelsTr")}
    cases = tuple(
        _reference(root, images[name], labels[name], meaning) for name in sorted(images.keys() & labels.keys())
    )
    skipped = [
        SkippedCase(name=name, reason=f"{'labelsTr' if name in images else 'imagesTr'}/{name} is missing")
        for name in sorted(images.keys() ^ labels.keys())
    ]
    tests = _volumes(root / "imagesTs")
    if tests:
        skipped.append(SkippedCase(name="imagesTs", reason=f"{len(tests)} test images without labels"))
    return CaseSet(source="msd", cases=cases, skipped=tuple(skipped))


def _volumes(folder: Path) -> list[Path]:
    found = (path for pattern in ("*.nii.gz", "*.nii") for path in folder.glob(pattern))
    return sorted(path for path in found if not path.name.startswith("._"))


def _meaning(path: Path) -> _Meaning:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        modality = {int(number): str(name) for number, name in content["modality"].items()}
        labels = {int(value): str(name) for value, name in content["labels"].items()}
    except OSError as error:
        raise empty_set(f"{path}: no such file; Task01_BrainTumour needs {LAYOUT}") from error
    except (ValueError, KeyError, AttributeError) as error:
        raise empty_set(f"{path}: needs 'modality' and 'labels', each an object of names by number") from error
    roles = {number: _ROLES.get(name.strip().lower().replace("-", "")) for number, name in modality.items()}
    parts = {value: region_of_words(name) for value, name in labels.items() if value != 0}
    unknown = [modality[number] for number, role in roles.items() if role is None]
    unknown += [labels[value] for value, part in parts.items() if part not in _LABELS]
    if unknown or set(roles) != set(range(len(roles))):
        what = f"'{unknown[0]}' is not recognised" if unknown else "the channels are not numbered 0, 1, 2, ..."
        raise empty_set(
            f"{path}: {what}; known sequences are {', '.join(_ROLES)}; labels name edema, non-enhancing, enhancing"
        )
    channels = tuple(role for number in range(len(roles)) if (role := roles[number]) is not None)
    values = {value: _LABELS[part] for value, part in parts.items() if part is not None}
    return _Meaning(channels=channels, values=values)


def _reference(root: Path, image: Path, labels: Path, meaning: _Meaning) -> StoredCase:
    case_id = image.name.removesuffix(".gz").removesuffix(".nii")
    return StoredCase(
        case_id=case_id,
        patient=case_id,
        site="",
        read=partial(_read, case_id, image, labels, meaning),
        root=root,
        files=(image, labels, root / "dataset.json"),
    )


def _read(case_id: str, path: Path, labels_path: Path, meaning: _Meaning) -> AnnotatedCase:
    image = read_image(path)
    if image.GetDimension() != 4 or image.GetSize()[3] != len(meaning.channels):
        size = " x ".join(str(n) for n in image.GetSize())
        raise unreadable(f"{path.name}: {size} voxels where dataset.json names {len(meaning.channels)} sequences")
    volumes = {
        role: volume_of(image[:, :, :, channel], f"{path.name}, {role}", "msd")
        for channel, role in enumerate(meaning.channels)
    }
    aligned = as_delivered(case_id, volumes)
    labels = read_labels(labels_path, aligned.grid)
    if unknown := set(np.unique(labels).tolist()) - {0, *meaning.values}:
        raise unreadable(f"{labels_path.name}: label {min(unknown)} is not in dataset.json")
    regions = regions_of(labels, meaning.values)
    return AnnotatedCase(case_id=case_id, patient=case_id, site="", volumes=aligned, regions=regions)
