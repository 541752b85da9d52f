"""What one step of a run stores for the next: files below ``<folder>/work/<run>``, complete or absent.

Arrays never go through the queue. A step that is done according to the workflow's database is not repeated after a
power cut, so its files are on the disk by then.
"""

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from conversion.alignment import AlignedVolumes
from conversion.decision import Decision
from conversion.recognition.site_rules import SiteRule
from conversion.registration.register import Registration
from conversion.selection import SeriesSelection
from conversion.sequences import Role
from conversion.study import PatientFacts, SeriesUID, Study
from conversion.volume import Grid, ImageVolume, LabelVolume
from dicom_node.studies.run_folder import RunFolder
from inference.flags import Flag, FlagCode
from inference.regions import Region
from inference.segmentation import ModelIdentity, Quality, Segmentation

__all__ = ["Artifacts"]


class Artifacts(RunFolder):
    """The files of one run on a node; implements `dicom_node.runs.run.Kept`."""

    def save_rules(self, rules: Sequence[SiteRule]) -> None:
        """Store the site rules given to recognition; a rule that is changed meanwhile applies to the next run."""
        self._save_json("rules", {"rules": [asdict(rule) for rule in rules]})

    def load_rules(self) -> tuple[SiteRule, ...]:
        """Return the site rules given to recognition."""
        return tuple(SiteRule(**rule) for rule in self._load_json("rules")["rules"])

    def save_gate(self, admitted: Collection[str], settings_sha256: str) -> None:
        """Store the flags that withhold no result, and the settings of the run; a change applies to the next run."""
        self._save_json("gate", {"admitted": sorted(admitted), "settings_sha256": settings_sha256})

    def load_gate(self) -> tuple[frozenset[str], str]:
        """Return the flags that withhold no result, and the hash of the settings in force at the measurement."""
        kept = self._load_json("gate")
        return frozenset(kept["admitted"]), str(kept["settings_sha256"])

    def save_patient(self, patient: PatientFacts) -> None:
        """Store the patient's age and operations from the headers; this identifies no one."""
        self._save_json("patient", asdict(patient))

    def load_patient(self) -> PatientFacts:
        """Return the patient's age and operations from the headers."""
        return PatientFacts(**self._load_json("patient"))

    def save_selection(self, selection: SeriesSelection) -> None:
        """Store which series has which role."""
        self._save_json(
            "selection",
            {
                "series": {role: series.key for role, series in selection.series.items()},
                "reference": selection.reference,
                "decisions": [asdict(decision) for decision in selection.decisions],
            },
        )

    def load_selection(self, study: Study) -> SeriesSelection:
        """Return the stored selection, with the study's headers."""
        kept = self._load_json("selection")
        by_key = {series.key: series for series in study.series}
        return SeriesSelection(
            study_uid=study.study_uid,
            series={Role(role): by_key[SeriesUID(uid), part] for role, (uid, part) in kept["series"].items()},
            reference=Role(kept["reference"]),
            decisions=tuple(Decision.restored(decision) for decision in kept["decisions"]),
        )

    def save_volumes(self, volumes: Mapping[Role, ImageVolume]) -> None:
        """Store the sequences on their own grids."""
        self._save_volumes("volumes", volumes)

    def load_volumes(self) -> dict[Role, ImageVolume]:
        """Return the sequences on their own grids."""
        return self._load_volumes("volumes")

    def save_aligned(self, aligned: AlignedVolumes) -> None:
        """Store the sequences on the reference's grid, and their transforms."""
        self._save_volumes("aligned", aligned.volumes)
        registrations = {
            role: asdict(registration) | {"matrix": registration.matrix.tolist()}
            for role, registration in aligned.registrations.items()
        }
        decisions = [asdict(decision) for decision in aligned.decisions]
        self._save_json("alignment", {"reference": aligned.reference, "moves": registrations, "decisions": decisions})

    def load_aligned(self) -> AlignedVolumes:
        """Return the sequences on the reference's grid."""
        kept = self._load_json("alignment")
        registrations = {
            Role(role): Registration(**(values | {"matrix": np.array(values["matrix"])}))
            for role, values in kept["moves"].items()
        }
        return AlignedVolumes(
            reference=Role(kept["reference"]),
            volumes=self._load_volumes("aligned"),
            registrations=registrations,
            decisions=tuple(Decision.restored(decision) for decision in kept["decisions"]),
        )

    def load_alignment_decisions(self) -> tuple[Decision, ...]:
        """Return the decisions of the alignment, without the voxels."""
        return tuple(Decision.restored(decision) for decision in self._load_json("alignment")["decisions"])

    def save_segmentation(self, segmentation: Segmentation) -> None:
        """Store labels and probabilities, and the model, sequences, decisions and flags behind them."""
        arrays = {f"probability {region}": values for region, values in segmentation.probabilities.items()}
        arrays |= {f"uncertainty {region}": values for region, values in segmentation.uncertainty.items()}
        self._save_arrays(
            "segmentation",
            arrays | {"labels": segmentation.label_volume.labels, "affine": segmentation.label_volume.grid.affine},
        )
        self._save_json(
            "findings",
            {
                "frame_of_reference_uid": segmentation.label_volume.grid.frame_of_reference_uid,
                "regions": segmentation.regions,
                "model": asdict(segmentation.model),
                "sequences": segmentation.sequences,
                "decisions": [asdict(decision) for decision in segmentation.decisions],
                "quality": asdict(segmentation.quality),
                "flags": [asdict(flag) for flag in segmentation.flags],
            },
        )

    def load_segmentation(self) -> Segmentation:
        """Return the stored segmentation."""
        kept = self._load_json("findings")
        with np.load(self._folder / "segmentation.npz") as arrays:
            labels = arrays["labels"]
            grid = Grid(
                shape=labels.shape, affine=arrays["affine"], frame_of_reference_uid=kept["frame_of_reference_uid"]
            )
            probabilities, uncertainty = (
                {Region(name.removeprefix(kind)): arrays[name] for name in arrays.files if name.startswith(kind)}
                for kind in ("probability ", "uncertainty ")
            )
        return Segmentation(
            label_volume=LabelVolume(grid=grid, labels=labels),
            regions=tuple(Region(region) for region in kept["regions"]),
            probabilities=probabilities,
            uncertainty=uncertainty,
            model=ModelIdentity(**kept["model"]),
            sequences=tuple(kept["sequences"]),
            decisions=tuple(Decision.restored(decision) for decision in kept["decisions"]),
            quality=_quality(kept["quality"]),
            flags=tuple(Flag(**flag | {"code": FlagCode(flag["code"])}) for flag in kept["flags"]),
        )

    def _save_volumes(self, name: str, volumes: Mapping[Role, ImageVolume]) -> None:
        arrays: dict[str, Any] = {}
        for role, volume in volumes.items():
            arrays[f"{role} voxels"], arrays[f"{role} affine"] = volume.voxels, volume.grid.affine
        self._save_arrays(name, arrays)
        frames = {role: volume.grid.frame_of_reference_uid for role, volume in volumes.items()}
        self._save_json(name, {"frames": frames})

    def _load_volumes(self, name: str) -> dict[Role, ImageVolume]:
        frames = self._load_json(name)["frames"]
        volumes = {}
        with np.load(self._folder / f"{name}.npz") as arrays:
            for role, frame in frames.items():
                voxels = arrays[f"{role} voxels"]
                grid = Grid(shape=voxels.shape, affine=arrays[f"{role} affine"], frame_of_reference_uid=frame)
                volumes[Role(role)] = ImageVolume(grid=grid, voxels=voxels)
        return volumes

    def _save_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        self._write(f"{name}.npz", buffer.getvalue())


def _quality(kept: Mapping[str, Any]) -> Quality:
    return Quality(
        input=kept.get("input", ""),
        looks=kept["looks"],
        agreement={Region(region): value for region, value in kept["agreement"].items()},
        interval_ml={Region(region): (low, high) for region, (low, high) in kept["interval_ml"].items()},
        novelty=kept["novelty"],
        smallest_seen_ml=kept.get("smallest_seen_ml"),
        arithmetic=kept.get("arithmetic", ""),
    )
