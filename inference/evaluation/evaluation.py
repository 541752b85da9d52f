"""Runs a model over a set of annotated cases, one at a time, and keeps only the figures and a few small pictures."""

from collections.abc import Callable, Sequence
from types import MappingProxyType

from conversion.errors import ConversionError
from conversion.sequences import Role
from inference.cases.case import CaseReference, CaseSet
from inference.errors import InferenceReason, UnreadableCase, UnsuitableInput
from inference.evaluation.judging import Segments, ask, judge, show
from inference.evaluation.result import REGIONS, CaseResult, Evaluation, Shown
from inference.evaluation.subgroups import make_subgroups
from inference.evaluation.summary import summarise
from inference.evaluation.voxel_reports import label_report, whole_tumour_report
from inference.segmentation import ModelIdentity

__all__ = ["GALLERY", "evaluate"]

GALLERY = 4
"""How many of the worst and of the best cases are shown."""


def evaluate(
    segmenter: Segments | Callable[[CaseReference], Segments],
    case_set: CaseSet,
    sequences: Sequence[Role] = (),
    progress: Callable[[CaseResult], None] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Compare a model with the experts' annotations of a set.

    Parameters
    ----------
    segmenter
        One for all cases, or a function that returns the segmenter for a case.
    sequences
        The sequences that the model is given; empty for all that a case has. A case that lacks one of them is evaluated
        with the others, and marked.
    progress
        Called with each case after it was evaluated.
    seed
        Seed of the bootstrap.

    Raises
    ------
    UnreadableCase
        When no case could be read.
    UnsuitableInput
        When no case suits the model.
    """
    choose = segmenter if callable(segmenter) else lambda _: segmenter
    run = _Run(choose, tuple(sequences))
    for reference in case_set.cases:
        result = run.add(reference)
        if progress is not None:
            progress(result)
    run.require_answers()
    regions = {region: summarise(run.cases, region, seed) for region in REGIONS}
    shown = sum(case.dice is not None for case in run.cases)
    half = (shown + 1) // 2  # no case is in both galleries
    return Evaluation(
        source=case_set.source,
        sequences=tuple(str(role) for role in sequences),
        models=tuple(run.models),
        cases=tuple(run.cases),
        skipped=case_set.skipped,
        regions=MappingProxyType({region: summary for region, summary in regions.items() if summary is not None}),
        subgroups=make_subgroups(run.cases, seed),
        whole_tumour_report=whole_tumour_report(run.cases),
        label_report=label_report(run.cases),
        worst=tuple(run.worst[:half]),
        best=tuple(run.best[: shown - half]),
    )


class _Run:
    """The results that are kept while the cases are evaluated one by one."""

    def __init__(self, choose: Callable[[CaseReference], Segments], sequences: tuple[Role, ...]) -> None:
        self._choose, self._sequences = choose, sequences
        self.cases: list[CaseResult] = []
        self.models: list[ModelIdentity] = []
        self.worst: list[Shown] = []
        self.best: list[Shown] = []

    def add(self, reference: CaseReference) -> CaseResult:
        """Read, segment and judge one case; its volumes are released on return."""
        try:
            case = reference.read()
        except (UnreadableCase, ConversionError) as refusal:
            result = CaseResult(
                case_id=reference.case_id,
                patient=reference.patient,
                site=reference.site,
                problem=str(refusal),
                regions=MappingProxyType({}),
            )
            self.cases.append(result)
            return result
        answer = ask(self._choose(reference), case, self._sequences)
        if answer.segmentation is not None and answer.segmentation.model not in self.models:
            self.models.append(answer.segmentation.model)
        result = judge(case, answer)
        self.cases.append(result)
        if result.dice is not None:
            self._keep(Shown(case=result, picture=show(case, answer)))
        return result

    def _keep(self, shown: Shown) -> None:
        def dice(one: Shown) -> float:
            return -1.0 if one.case.dice is None else one.case.dice

        self.worst = sorted([*self.worst, shown], key=dice)[:GALLERY]
        self.best = sorted([*self.best, shown], key=dice, reverse=True)[:GALLERY]

    def require_answers(self) -> None:
        """Raise the problem of the first case when no case was segmented."""
        if self.models:
            return
        read = [case for case in self.cases if case.regions]
        problem = next((case.problem for case in read or self.cases), "the set contains no cases")
        if read:
            raise UnsuitableInput(InferenceReason.SEQUENCES_MISSING, f"no case could be segmented: {problem}")
        raise UnreadableCase(InferenceReason.NO_CASES, f"no case could be evaluated: {problem}")
