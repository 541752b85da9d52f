"""The shadow: results of another model on a study that production has finished; stored with it and never sent."""

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from conversion.nifti import write_nifti
from dicom_node.database.engine import Database
from dicom_node.database.tables import RunRow
from dicom_node.models.roles import ModelRole, as_chosen, chosen
from dicom_node.runs.artifacts import Artifacts
from dicom_node.runs.segmenters import Segmenters
from dicom_node.runs.shadow_results import begin_shadow, end_shadow, fail_shadow
from dicom_node.settings import Settings
from dicom_node.storage.durable import write_durably
from inference.errors import InferenceReason
from inference.evaluation.overlap import count, overlap
from inference.measurements import measure
from inference.segmentation import Segmentation

__all__ = ["compare", "keep_shadow", "look_again"]


def look_again(run_id: str, settings: Settings, database: Database, segmenters: Segmenters) -> None:
    """Run the shadow model on a study that production has delivered or stored; nothing of it is sent."""
    choice, artifacts = chosen(database, ModelRole.SHADOW), Artifacts(settings.node.folder, run_id)
    if choice is None:
        return
    with database.session() as session:
        withheld = session.get_one(RunRow, run_id).summary.get("withheld")
    if withheld:
        begin_shadow(database, run_id, choice)
        reason = "production withheld its result, so there is nothing to compare with"
        fail_shadow(database, run_id, InferenceReason.WITHHELD, reason)
        return
    if not artifacts.has_arrays():  # this step was done before
        return
    begin_shadow(database, run_id, choice)
    found = segmenters.of(ModelRole.SHADOW, as_chosen(settings, choice)).segment(artifacts.load_aligned())
    keep_shadow(database, settings.node.folder, run_id, artifacts.load_segmentation(), found)


def compare(production: Segmentation, shadow: Segmentation) -> dict[str, dict[str, float]]:
    """Return Dice and volumes in ml for each region that both models segment; two empty regions agree."""
    delivered, found = measure(production), measure(shadow)
    figures = {}
    for region in (known for known in production.regions if known in shadow.regions):
        dice = overlap(count(shadow.mask_of(region), production.mask_of(region))).dice
        volume_ml, production_ml = found.of(region).volume_ml, delivered.of(region).volume_ml
        figures[str(region)] = {
            "dice": round(dice, 4),
            "volume_ml": round(volume_ml, 3),
            "production_ml": round(production_ml, 3),
            "difference_ml": round(volume_ml - production_ml, 3),
        }
    return figures


def keep_shadow(database: Database, folder: Path, run_id: str, production: Segmentation, shadow: Segmentation) -> None:
    """Store labels, findings and figures; repeated, it stores the same."""
    with database.session() as session:
        study_uid = session.get_one(RunRow, run_id).study_uid
    relative = Path("results", study_uid, run_id, "shadow", shadow.model.sha256[:16])
    figures = compare(production, shadow)
    findings = {
        "model": asdict(shadow.model),
        "production": asdict(production.model),
        "sequences": shadow.sequences,
        "volumes_ml": {finding.region: round(finding.volume_ml, 3) for finding in measure(shadow).regions},
        "regions": figures,
        "quality": asdict(shadow.quality),
        "flags": [asdict(flag) for flag in shadow.flags],
        "decisions": [asdict(decision) for decision in shadow.decisions],
    }
    with TemporaryDirectory() as scratch:
        write_nifti(shadow.label_volume, Path(scratch, "labels.nii.gz"))
        write_durably(folder / relative / "labels.nii.gz", Path(scratch, "labels.nii.gz").read_bytes())
    write_durably(folder / relative / "findings.json", json.dumps(findings, indent=1).encode())
    end_shadow(database, run_id, shadow.model.sha256, production.model.sha256, figures, str(relative / "labels.nii.gz"))
