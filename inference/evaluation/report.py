"""The report: one self-contained HTML page with its pictures embedded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from inference.evaluation.classification import report_text
from inference.evaluation.figures import OVERLAP, Measure
from inference.evaluation.intervals import REPLICATES, Estimate
from inference.evaluation.lesions import LEAST_LESION_MM3
from inference.evaluation.palette import INK, MINUS, WORDS
from inference.evaluation.plots import dice_plot, difference_plot, reliability_plot, volume_plot
from inference.evaluation.result import CaseResult, Evaluation, Shown
from inference.evaluation.surface import NO_SURFACE_MM, SURFACE_TOLERANCE_MM
from inference.evaluation.tiles import CONFIDENCE_COLOURS, EXPERTS, MODEL, case_tiles
from inference.regions import Region

__all__ = ["report_html"]

_NAMES: Mapping[Measure, str] = {
    Measure.DICE: "Dice (F1)",
    Measure.IOU: "IoU",
    Measure.PRECISION: "Precision",
    Measure.RECALL: "Recall",
    Measure.SPECIFICITY: "Specificity",
    Measure.ACCURACY: "Accuracy",
    Measure.HD95: "HD95, mm",
    Measure.SURFACE_DICE: f"Surface Dice at {SURFACE_TOLERANCE_MM:g} mm",
    Measure.LESION_DICE: "Lesion-wise Dice",
    Measure.LESION_HD95: "Lesion-wise HD95, mm",
    Measure.VOLUME: "Model volume, ml",
    Measure.REFERENCE: "Experts' volume, ml",
}
_UNKNOWN = "\N{EN DASH}"
_MEDIANS = (Measure.DICE, Measure.HD95, Measure.LESION_DICE)
_IN_SUBGROUPS = (Measure.DICE, Measure.HD95)


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One row of a table of figures: a name, and a cell for each region."""

    name: str
    cells: tuple[str, ...]


def report_html(evaluation: Evaluation, *, data: str, made_by: str) -> str:
    """Return the page.

    Parameters
    ----------
    data
        Name of the data set as the reader sees it: the name of a folder.
    made_by
        Name and version of the program.
    """
    environment = Environment(
        loader=PackageLoader("inference.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        evaluation=evaluation,
        data=data,
        made_by=made_by,
        words=WORDS,
        dice=Measure.DICE,
        hd95=Measure.HD95,
        figure=_figure,
        figure_range=_range,
        ink=INK,
        cell=_cell,
        case_cell=_case_cell,
        tables=_tables(evaluation),
        dice_plot=dice_plot(evaluation.cases, evaluation.regions),
        panels=_panels(evaluation),
        galleries=(("Worst cases", _gallery(evaluation.worst, "w")), ("Best cases", _gallery(evaluation.best, "b"))),
        experts=EXPERTS,
        model=MODEL,
        ramp=Markup(", ").join(f"rgb{colour}" for colour in CONFIDENCE_COLOURS),
        subgroups=_subgroups(evaluation),
        reports=_reports(evaluation),
        ranked=sorted(evaluation.cases, key=lambda case: -1.0 if case.dice is None else case.dice),
        patients=len({case.patient for case in evaluation.cases}),
        noted=[case for case in evaluation.cases if case.problem or case.lacking],
        rule={
            "replicates": REPLICATES,
            "no_surface": f"{NO_SURFACE_MM:g}",
            "tolerance": f"{SURFACE_TOLERANCE_MM:g}",
            "least": f"{LEAST_LESION_MM3:g}",
        },
    )


def _figure(found: Estimate | None, digits: int = 3) -> str:
    return _number(None if found is None else found.value, digits)


def _number(value: float | None, digits: int) -> str:
    return _UNKNOWN if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def _range(found: Estimate, digits: int = 3) -> str:
    return f"{_number(found.low, digits)} to {_number(found.high, digits)}"


def _cell(found: Estimate | None, digits: int = 3) -> str:
    """Return a figure with its interval."""
    if found is None:
        return _UNKNOWN
    if found.low is None or found.high is None:
        return _number(found.value, digits)
    return f"{_number(found.value, digits)} ({_range(found, digits)})"


def _case_cell(case: CaseResult, region: Region, measure: Measure) -> str:
    figures = case.regions.get(region)
    value = None if figures is None else figures.values[measure]
    return _number(value, _digits(measure))


def _digits(measure: Measure) -> int:
    if measure.endswith(("_mm", "_ml")):
        return 1
    return 4 if measure in (Measure.SPECIFICITY, Measure.ACCURACY) else 3


def _tables(evaluation: Evaluation) -> list[tuple[str, list[_Row]]]:
    summaries = evaluation.regions.values()

    def row(part: str, measure: Measure) -> _Row:
        found = [getattr(summary, part)[measure] for summary in summaries]
        return _Row(name=_NAMES[measure], cells=tuple(_cell(one, _digits(measure)) for one in found))

    pooled = [row("pooled", measure) for measure in OVERLAP if measure in _NAMES]
    volume = [
        _Row(name="Bias (model minus experts), ml", cells=tuple(_cell(one.volume.bias, 2) for one in summaries)),
        _Row(name="Lin's concordance", cells=tuple(_cell(one.volume.concordance) for one in summaries)),
        _Row(
            name="Volume intervals that contain the experts' volume",
            cells=tuple(f"{one.intervals_held} of {one.intervals}" if one.intervals else "-" for one in summaries),
        ),
        _Row(name="Expected calibration error", cells=tuple(_cell(one.calibration_error, 4) for one in summaries)),
        _Row(
            name="Lesions found, missed, false",
            cells=tuple(f"{one.lesions_found}, {one.lesions_missed}, {one.lesions_false}" for one in summaries),
        ),
    ]
    tables = [
        ("Mean over cases", [row("mean", measure) for measure in _NAMES]),
        ("Median over cases", [row("median", measure) for measure in _MEDIANS]),
        ("Voxels of all cases pooled", pooled),
        ("Volume, calibration, lesions", volume),
    ]
    return [(title, [one for one in rows if set(one.cells) != {_UNKNOWN}]) for title, rows in tables]


def _panels(evaluation: Evaluation) -> list[tuple[str, str, list[tuple[str, Markup]]]]:
    """Return the panels of small plots: title, note, and one plot for each region that has it."""
    rows: list[tuple[str, str, list[tuple[str, Markup | None]]]] = [
        (
            "Volumes: model against experts",
            "Each point is a case. On the dashed line, both volumes are equal.",
            [(WORDS[region], volume_plot(evaluation.cases, region)) for region in evaluation.regions],
        ),
        (
            "Volume differences (Bland-Altman)",
            "Solid line: bias. Dashed lines: limits of agreement, which hold 95 % of normally distributed differences.",
            [
                (WORDS[region], difference_plot(evaluation.cases, region, summary))
                for region, summary in evaluation.regions.items()
            ],
        ),
        (
            "Calibration",
            "Voxels inside the head by probability. Below the dashed line: overconfident. Larger points: more voxels.",
            [(WORDS[region], reliability_plot(region, summary)) for region, summary in evaluation.regions.items()],
        ),
    ]
    return [(title, text, [(name, plot) for name, plot in plots if plot is not None]) for title, text, plots in rows]


def _gallery(shown: Sequence[Shown], key: str) -> list[tuple[Shown, list[tuple[str, Markup]]]]:
    return [(one, case_tiles(one.picture, f"{key}{place}")) for place, one in enumerate(shown)]


def _subgroups(evaluation: Evaluation) -> list[tuple[str, list[tuple[str, int, list[tuple[str, str]]]]]]:
    """Return the kinds of subgroups with more than one group, each group with its figures and intervals."""
    kinds: dict[str, list[tuple[str, int, list[tuple[str, str]]]]] = {}
    for group in evaluation.subgroups:
        means = [group.regions.get(region) for region in evaluation.regions]
        cells = [_with_interval(None if mean is None else mean[m], _digits(m)) for mean in means for m in _IN_SUBGROUPS]
        kinds.setdefault(group.kind, []).append((group.name, group.cases, cells))
    return [(kind, groups) for kind, groups in kinds.items() if len(groups) > 1]


def _with_interval(found: Estimate | None, digits: int) -> tuple[str, str]:
    if found is None or found.low is None:
        return _figure(found, digits), ""
    return _figure(found, digits), _range(found, digits)


def _reports(evaluation: Evaluation) -> list[tuple[str, str]]:
    reports = (
        ("Whole tumour against background", evaluation.whole_tumour_report),
        ("By label", evaluation.label_report),
    )
    return [(title, report_text(report, 3)) for title, report in reports if report is not None]
