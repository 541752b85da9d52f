"""Tunes a trained model on held-out patients alone: thresholds, smallest volumes, intervals and limits.

Each patient is segmented by the networks that were not trained on it. The values chosen on these predictions go into
the manifest. The figures beside them are cross-validated: each fold is scored with thresholds chosen on the others.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from conversion.errors import ConversionError
from conversion.sequences import Role
from conversion.volume import Grid
from inference.cases.case import AnnotatedCase, CaseReference, CaseSet
from inference.components import box_around
from inference.errors import UnreadableCase
from inference.evaluation.held_out import HeldOutSegmenters
from inference.evaluation.judging import ask
from inference.evaluation.overlap import count, overlap
from inference.labelling import PREDICTED, LabelRules, label_study
from inference.manifest import ModelManifest
from inference.regions import Region, region_mask
from inference.segmentation import Segmentation
from inference.uncertainty import doubt_ml, interval_factors, volume_interval

__all__ = ["HeldOutAnswer", "answers_of", "tune"]

THRESHOLDS = tuple(sorted((round(0.15 + 0.05 * step, 2) for step in range(12)), key=lambda limit: abs(limit - 0.5)))
"""Sorted by distance from 0.5: of thresholds with equal scores, the first is taken."""

SHARES = (0.0, 0.02, 0.05, 0.1)
LESIONS_ML = (0.0, 0.1, 0.3)
PARTS_ML = (0.0, 0.05, 0.1, 0.25, 0.5)
"""Candidates for the smallest islands and parts. Larger limits would lose true satellite lesions."""

SHOWN = 0.05
"""All candidate thresholds are above this probability, so a case is cropped to the box of the voxels above it."""

AGREEMENT_FLAGGED, AGREEMENT_REFUSED = 0.1, 0.5
"""Flagged is the tenth of held-out patients with the lowest agreement between predictions. Withheld are results that
agree half as well. Both are chosen, not measured on patients yet."""


LARGE_ML = 5.0
"""Smallest volume for which the width of an interval is meaningful: below it, partial volume alone is a third."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOutAnswer:
    """The prediction for a held-out patient, cropped to the voxels that are predicted or annotated.

    Attributes
    ----------
    kind
        ``slices`` or ``volume``: the input of the networks that made the prediction.
    grid
        Of the box. Only its voxel size is used, not its position.
    doubts_ml
        By region, over the complete study. Empty if the voxel size is unknown.
    """

    case_id: str
    patient: str
    fold: int
    kind: str
    grid: Grid
    probabilities: Mapping[Region, NDArray[np.float16]]
    reference: Mapping[Region, NDArray[np.bool_]]
    doubts_ml: Mapping[Region, float]
    agreement: float


def answers_of(
    segmenters: HeldOutSegmenters,
    case_set: CaseSet,
    sequences: Sequence[Role] = (),
    progress: Callable[[Sequence[CaseReference]], Iterable[CaseReference]] = iter,
) -> Iterator[HeldOutAnswer]:
    """Yield the held-out predictions for a data set. A case without a prediction cannot be used and is left out.

    Parameters
    ----------
    sequences
        Sequences that the networks are given. All of them when empty.
    """
    for reference in progress(segmenters.held_out(case_set).cases):
        try:
            segmenter, case = segmenters.for_case(reference), reference.read()
        except (UnreadableCase, ConversionError):
            continue
        found, fold = ask(segmenter, case, sequences).segmentation, segmenters.fold_of(reference.patient)
        if found is not None and fold is not None:
            yield _cut(case, found, fold)


def _cut(case: AnnotatedCase, found: Segmentation, fold: int) -> HeldOutAnswer:
    regions = [region for region in PREDICTED if region in case.regions and region in found.probabilities]
    shown = np.asarray(found.probabilities[Region.WT] > SHOWN)
    for region in regions:
        shown = shown | case.regions[region] | (found.probabilities[region] > SHOWN)
    box = box_around(torch.from_numpy(shown)) or (slice(0, 1), slice(0, 1), slice(0, 1))
    grid, voxel_ml = case.volumes.grid, case.volumes.grid.voxel_volume_ml
    shape = tuple(one.stop - one.start for one in box)
    probabilities = {region: torch.tensor(found.probabilities[region], dtype=torch.float32) for region in regions}
    return HeldOutAnswer(
        case_id=case.case_id,
        patient=case.patient,
        fold=fold,
        kind=found.quality.input,
        grid=Grid(
            shape=(shape[0], shape[1], shape[2]), affine=grid.affine, frame_of_reference_uid=grid.frame_of_reference_uid
        ),
        probabilities={region: found.probabilities[region][box].copy() for region in regions},
        reference={region: case.regions[region][box].copy() for region in regions},
        doubts_ml={region: doubt_ml(values, None, voxel_ml) for region, values in probabilities.items()}
        if case.spacing_known
        else {},
        agreement=found.quality.agreement[Region.WT],
    )


def tune(manifest: ModelManifest, answers: Sequence[HeldOutAnswer]) -> ModelManifest:
    """Return the manifest with the settings that give the best mean Dice over patients for these predictions."""
    judge = _Judge()
    chosen = _tuned(judge, manifest, answers)
    kinds = {answer.kind for answer in answers}
    metrics = {f"cross-validated {kind}": _cross_validated(judge, manifest, answers, kind) for kind in sorted(kinds)}
    held = {f"cross-validated intervals {kind}": _interval_figures(chosen, answers, kind) for kind in sorted(kinds)}
    metrics |= {name: figures for name, figures in held.items() if figures}
    for kind in sorted(kinds):
        chosen = _with_limits(chosen, kind, [answer for answer in answers if answer.kind == kind])
    return replace(chosen, metrics={**manifest.metrics, **metrics})


def _with_limits(manifest: ModelManifest, kind: str, answers: Sequence[HeldOutAnswer]) -> ModelManifest:
    """Return the manifest with volume intervals and limits of agreement for all networks of one input."""
    flag = float(np.quantile([answer.agreement for answer in answers], AGREEMENT_FLAGGED))
    limits: dict[str, Any] = {
        "interval_factors": _intervals(manifest, [answer for answer in answers if answer.doubts_ml]),
        "agreement_flag": round(flag, 3),
        "agreement_gate": round(flag * AGREEMENT_REFUSED, 3),
    }
    changed = tuple(replace(one, **limits) if one.input == kind else one for one in manifest.networks)
    return replace(manifest, networks=changed)


class _Judge:
    """Computes the Dice of a prediction under the settings of a manifest, and caches it."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], dict[Region, float]] = {}

    def mean(self, manifest: ModelManifest, answers: Sequence[HeldOutAnswer], region: Region) -> float:
        """Return the mean Dice over the patients in whom experts drew the region."""
        return float(np.mean([self.dice(manifest, one, region) for one in answers if region in one.reference]))

    def dice(self, manifest: ModelManifest, answer: HeldOutAnswer, region: Region) -> float:
        """Return the Dice of a region that experts drew."""
        limits = _limits(manifest, answer.kind)
        key: tuple[object, ...] = (answer.case_id, answer.kind, manifest.minimum_share, manifest.minimum_lesion_ml)
        wanted: tuple[Region, ...] = (Region.WT,)  # the settings of TC and ET do not change its outline
        key += (limits[0],)
        if region is not Region.WT:
            wanted = tuple(answer.reference)
            key += (*limits[1:], manifest.minimum_core_ml, manifest.minimum_enhancing_ml)
        if key not in self._known:
            masks = _masks(manifest, answer, wanted)
            self._known[key] = {known: overlap(count(masks[known], answer.reference[known])).dice for known in wanted}
        return self._known[key][region]


def _tuned(judge: _Judge, manifest: ModelManifest, answers: Sequence[HeldOutAnswer]) -> ModelManifest:
    """Choose the settings one after the other, each given the choices before it."""

    def best(candidates: Sequence[ModelManifest], group: Sequence[HeldOutAnswer], region: Region) -> ModelManifest:
        scores = [judge.mean(candidate, group, region) for candidate in candidates]
        return candidates[int(np.argmax(np.round(scores, 4)))]

    for kind in sorted({answer.kind for answer in answers}):
        group = [answer for answer in answers if answer.kind == kind]
        for place, region in enumerate(PREDICTED):
            if any(region in answer.reference for answer in group):
                candidates = [_with_threshold(manifest, kind, place, limit) for limit in THRESHOLDS]
                manifest = best(candidates, group, region)
    lesions = [
        replace(manifest, minimum_share=share, minimum_lesion_ml=least) for share in SHARES for least in LESIONS_ML
    ]
    manifest = best(lesions, answers, Region.WT)
    if any(Region.ET in answer.reference for answer in answers):
        manifest = best([replace(manifest, minimum_core_ml=least) for least in PARTS_ML], answers, Region.TC)
        manifest = best([replace(manifest, minimum_enhancing_ml=least) for least in PARTS_ML], answers, Region.ET)
    return manifest


def _with_threshold(manifest: ModelManifest, kind: str, place: int, limit: float) -> ModelManifest:
    networks = []
    for network in manifest.networks:
        limits = list(network.thresholds or manifest.thresholds)
        limits[place] = limit
        changed = replace(network, thresholds=(limits[0], limits[1], limits[2]))
        networks.append(changed if network.input == kind else network)
    return replace(manifest, networks=tuple(networks))


def _limits(manifest: ModelManifest, kind: str) -> tuple[float, float, float]:
    network = next((one for one in manifest.networks if one.input == kind), manifest.networks[0])
    return network.thresholds or manifest.thresholds


def _masks(
    manifest: ModelManifest, answer: HeldOutAnswer, wanted: Sequence[Region] = ()
) -> dict[Region, NDArray[np.bool_]]:
    settings = replace(manifest, thresholds=_limits(manifest, answer.kind))
    regions = [region for region in answer.probabilities if not wanted or region in wanted]
    probabilities = {region: torch.from_numpy(answer.probabilities[region]) for region in regions}
    labels = label_study(probabilities, LabelRules(manifest=settings, grid=answer.grid))[0].numpy()
    return {region: region_mask(labels, region) for region in regions}


def _cross_validated(
    judge: _Judge, manifest: ModelManifest, answers: Sequence[HeldOutAnswer], kind: str
) -> dict[str, float]:
    """Return the mean Dice by region, each fold with the settings chosen on the others."""
    values: dict[str, list[float]] = {}
    for fold in sorted({answer.fold for answer in answers}):
        others = [answer for answer in answers if answer.fold != fold] or list(answers)
        chosen = _tuned(judge, manifest, others)
        for answer in (one for one in answers if one.fold == fold and one.kind == kind):
            for region in answer.reference:
                values.setdefault(f"{region} mean Dice", []).append(judge.dice(chosen, answer, region))
    return {name: round(float(np.mean(group)), 4) for name, group in values.items()}


_Volumes = Mapping[Region, tuple[float, float, float, float]]
"""By region: the predicted volume, its doubt in ml, the agreement between predictions, and the true volume."""


def _intervals(manifest: ModelManifest, answers: Sequence[HeldOutAnswer]) -> dict[str, list[float]]:
    volumes = [_volumes(manifest, answer) for answer in answers]
    factors = {region: _factors(volumes, region) for region in PREDICTED}
    return {str(region): [round(one, 4) for one in pair] for region, pair in factors.items() if pair is not None}


def _interval_figures(manifest: ModelManifest, answers: Sequence[HeldOutAnswer], kind: str) -> dict[str, float]:
    """Return how many intervals contain the true volume, and how wide they are, with factors from the other folds."""
    volumes = [(one.fold, _volumes(manifest, one)) for one in answers if one.kind == kind and one.doubts_ml]
    figures: dict[str, float] = {}
    for region in PREDICTED:
        held, widths = list[bool](), list[float]()
        for fold in sorted({fold for fold, _ in volumes}):
            factors = _factors([one for other, one in volumes if other != fold], region)
            if factors is None:
                continue
            for found, doubt, agreement, truth in (
                one[region] for other, one in volumes if other == fold and region in one
            ):
                low, high = volume_interval(found, doubt, agreement, factors)
                held.append(low <= truth <= high)
                widths += [(high - low) / 2 / truth] if truth > LARGE_ML else []
        if held:
            figures[f"{region} held"] = round(float(np.mean(held)), 4)
            figures[f"{region} median half width"] = round(float(np.median(widths or [0.0])), 4)
    return figures


def _volumes(manifest: ModelManifest, answer: HeldOutAnswer) -> _Volumes:
    return {
        region: (_volume(mask, answer), answer.doubts_ml[region], answer.agreement, _volume(known, answer))
        for region, mask in _masks(manifest, answer).items()
        if (known := answer.reference.get(region)) is not None
    }


def _factors(volumes: Iterable[_Volumes], region: Region) -> tuple[float, float] | None:
    """Return the factors of a region's intervals, or None for too few patients: better none than a wrong interval."""
    known = [one[region] for one in volumes if region in one]
    try:
        return interval_factors(*zip(*known, strict=True)) if known else None
    except ValueError:
        return None


def _volume(mask: NDArray[np.bool_], answer: HeldOutAnswer) -> float:
    return int(np.count_nonzero(mask)) * answer.grid.voxel_volume_ml
