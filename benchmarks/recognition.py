"""Measures how well voxels alone show the weighting of a volume, and T1 before from T1 after contrast agent.

    python -m benchmarks.recognition [--learn]      # about 20 minutes; writes benchmarks/recognition.md

Measures every volume of the shared data (GLIONODE_TEST_DATA), cross-validates by patient over the two training sets
(lgg, brats) and applies the shipped parameters to the other sets (dicom, native, vendors). With --learn it first trains
the parameters on all patients of lgg and brats, writes tissue_contrast.npz and prints SCALES and WEIGHTS for
enhancement.py, both in conversion/recognition. Needs tifffile, imagecodecs and nibabel.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.recognition_data import data_folder
from benchmarks.recognition_measuring import (
    FOLDS,
    LEARNED,
    Pair,
    Sample,
    held_out,
    judged,
    learn_all,
    learned,
    measured,
    ordered,
)
from conversion.recognition.enhancement import CONFIDENT as ORDER_CONFIDENT
from conversion.recognition.tissue_contrast import CONFIDENT, WEIGHTINGS, shipped_model

Shares = NDArray[np.float64] | None

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
ANSWERS = (*WEIGHTINGS, "none")
SOURCES = ("lgg", "brats", "native", "dicom", "vendors")
ROLES = ("T1", "T1CE", "T2", "FLAIR")

HEAD = """# Recognition by voxels alone

Made by `python -m benchmarks.recognition`. No header, no time and no name is read. The figures for lgg and
brats come from {folds}-fold cross-validation by patient. dicom, native and vendors were never trained on. The
shipped parameters were trained on all patients of lgg and brats, so those patients must not be used to evaluate
them.

The spacing of lgg is not recorded. Pixels of 0.94 mm and slices over 140 mm (1.5 to 6.5 mm apart) are assumed.
"""


CHOICES = """## Method, and choices made with these data in view

- `conversion/recognition/tissue_contrast.py` uses 58 named measurements: percentiles of the rim, middle and depth of
  the brain, depth and gradient of each tenth of the tissue, brightness beside fluid, lean of small structures. Three
  classes share one covariance (shrinkage 0.05) and Student tails (60 degrees of freedom). They were trained on each
  volume as it is and on four changed versions of it.
- `conversion/recognition/enhancement.py` uses four logarithms of counts and a logistic regression without offset
  (penalty 0.01), so that swapped volumes give exactly the opposite result.
- Both thresholds are 0.8. The tables show no wrong result for an unchanged volume even at 0.5, but results below 0.8
  are right only two times in three.
- Only the training is held out. The measurements themselves, shrinkage, tails and penalty were chosen with the
  cross-validation of the same patients in view. Two rules were added after failures: "no dark fluid, no FLAIR" after
  the T2 of BraTS2021_01478 (nearly without bright fluid) had been recognised as FLAIR at 0.95 when held out, and
  "speckles around a masked brain" after the Philips ADC and DWI. The measurements were made independent of the amount
  of fluid after the Philips FLAIR 701 (a wide ventricle) had been recognised with only 0.7. Figures on other data may
  be worse.
- By these measurements, DWI and ADC resemble FLAIR and T2 (0.98 and 1.00 without that rule). One study is thin
  evidence, so headers should rule out diffusion first.
- T2 with a skull was never trained on (brats is skull-stripped). Both such volumes, of two studies, are right.
"""

ROLES_TEXT = """## Roles: both steps together

`alone`: a T1-weighted volume of a patient without a second one to compare it with. It only has to be recognised as
T1-weighted.
"""

WEIGHTING_TEXT = """## Weighting of one volume

Confident from {confident}. T1 includes T1 after contrast agent.
"""

CHANGED_TEXT = """Changed at random (gain curve, shading, blur, noise, fewer slabs, skull removed, mask grown or
shrunk), held-out patients: {line}.

Calibration over held-out volumes, unchanged and changed:
"""

TRANSFER_TEXT = "Transfer: trained on some sets, tested on another.\n"

ORDER_TEXT = """## T1 before and after contrast agent

Confident from {confident}. The weights are four numbers in `conversion/recognition/enhancement.py`.
"""

ONE_BY_ONE_TEXT = """## Single volumes and pairs: those never trained on, and all others that are not right

T1 / T1 and T1CE / T1CE are pairs of the same kind, which should stay undecided (none). ADC and DWI should be none.
"""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def answer(shares: Shares, threshold: float = CONFIDENT) -> str:
    """Return the recognised weighting or ``none``."""
    return WEIGHTINGS[int(shares.argmax())] if shares is not None and shares.max() >= threshold else "none"


def confusion(samples: Sequence[Sample], predicted: dict[int, Shares]) -> str:
    """Return results against truth for each data set."""
    count = Counter((s.source, s.truth, answer(predicted[id(s)])) for s in samples)
    keys = sorted({(source, truth) for source, truth, _ in count}, key=lambda key: (SOURCES.index(key[0]), key[1]))
    return table(
        ("set", "truth", *(f"result {name}" for name in ANSWERS)),
        ((*key, *(count[*key, name] for name in ANSWERS)) for key in keys),
    )


def by_threshold(samples: Sequence[Sample], predicted: dict[int, Shares]) -> str:
    """Return wrong results and abstentions at several thresholds."""
    rows = []
    for threshold in THRESHOLDS:
        answers = [(s.truth, answer(predicted[id(s)], threshold)) for s in samples]
        wrong = sum(a not in (t, "none") for t, a in answers)
        none = sum(a == "none" for _, a in answers)
        rows.append((threshold, len(answers), wrong, f"{none} ({none / len(answers):.1%})"))
    return table(("threshold", "volumes", "wrong", "abstentions"), rows)


def calibration(samples: Sequence[Sample], predicted: dict[int, list[Shares]]) -> str:
    """Return how often results with a given confidence are right, over volumes unchanged and changed."""
    confidence, right = [], []
    for s in samples:
        for shares in predicted[id(s)]:
            if shares is not None:
                confidence.append(float(shares.max()))
                right.append(answer(shares, 0) == s.truth)
    edges = (0.0, 0.6, 0.8, 0.9, 0.95, 0.99, 1.001)
    place = np.digitize(confidence, edges) - 1
    rows = []
    for k in range(len(edges) - 1):
        here = place == k
        if here.any():
            means = (float(np.array(confidence)[here].mean()), float(np.array(right)[here].mean()))
            rows.append((f"{edges[k]} to {min(edges[k + 1], 1.0)}", int(here.sum()), *(f"{v:.3f}" for v in means)))
    return table(("confidence", "volumes", "mean confidence", "share right"), rows)


def transfer(samples: Sequence[Sample]) -> str:
    """Return the results for a data set with a model trained on other sets only."""
    rows = []
    for sources, target in ((("brats",), "lgg"), (("lgg", "brats"), "dicom"), (("lgg", "brats"), "native")):
        model = learned([s for s in samples if s.source in sources])
        tried = [s for s in samples if s.source == target and s.truth in WEIGHTINGS]
        answers = [(s.truth, answer(judged(model, s.measurements))) for s in tried]
        wrong, none = sum(a not in (t, "none") for t, a in answers), sum(a == "none" for _, a in answers)
        rows.append((" + ".join(sources), target, len(answers), wrong, none))
    return table(("trained on", "tested on", "volumes", "wrong", "abstentions"), rows)


def roles(
    samples: Sequence[Sample], predicted: dict[int, Shares], couples: Sequence[Pair], after: dict[int, float]
) -> str:
    """Return the results for the four roles: the weighting of each volume, then the order of T1-weighted volumes."""
    order: dict[tuple[str, str], list[float]] = {}
    for pair in (p for p in couples if not p.alike):
        first, second = pair.name.split(" / ")
        order.setdefault((pair.patient, first), []).append(1 - after[id(pair)])
        order.setdefault((pair.patient, second), []).append(after[id(pair)])
    count: Counter[tuple[str, str, str]] = Counter()
    for s in (s for s in samples if s.sequence in ROLES):
        role = answer(predicted[id(s)])
        if role == "T1":
            found = order.get((s.patient, f"{s.sequence} {s.number}".strip()), [])
            best = max(found, key=lambda p: abs(p - 0.5), default=None)
            role = "alone" if best is None else _role(best)
        count[s.source, s.sequence, role] += 1
    answers = (*ROLES, "none", "alone")
    keys = sorted({key[:2] for key in count}, key=lambda key: (SOURCES.index(key[0]), ROLES.index(key[1])))
    rows = [(*key, *(count[*key, name] for name in answers)) for key in keys]
    total = sum(n for (_, _, role), n in count.items() if role != "alone")
    wrong = sum(n for (_, truth, role), n in count.items() if role not in (truth, "none", "alone"))
    none = sum(n for (_, _, role), n in count.items() if role == "none")
    line = f"\n**{total} volumes: {wrong} wrong, {none} abstentions ({none / total:.1%}).**\n"
    return table(("set", "truth", *(f"result {name}" for name in answers)), rows) + line


def _role(after: float) -> str:
    if max(after, 1 - after) < ORDER_CONFIDENT:
        return "none"
    return "T1CE" if after > 0.5 else "T1"


def order_table(couples: Sequence[Pair], after: dict[int, float]) -> str:
    """Return how often the order of a pair is recognised, at several thresholds."""
    rows = []
    for threshold in THRESHOLDS:
        for sources in (LEARNED, ("native", "dicom")):
            values = [after[id(p)] for p in couples if p.source in sources and not p.alike]
            wrong = sum(v <= 1 - threshold for v in values)
            none = sum(1 - threshold < v < threshold for v in values)
            rows.append((threshold, " + ".join(sources), len(values), wrong, f"{none} ({none / len(values):.1%})"))
    return table(("threshold", "sets", "pairs", "wrong", "abstentions"), rows)


def strangers(
    samples: Sequence[Sample], predicted: dict[int, Shares], couples: Sequence[Pair], after: dict[int, float]
) -> str:
    """Return single volumes and pairs: all that were not trained on, and all others that are not right."""
    rows = []
    for s in samples:
        shares = predicted[id(s)]
        if s.source != "vendors" and (s.source not in LEARNED or answer(shares) != s.truth):
            text = s.why or "rejected: its fluid contradicts the result, or it is too far from every class"
            if shares is not None:
                text = ", ".join(f"{n} {v:.3f}" for n, v in zip(WEIGHTINGS, shares, strict=True))
            rows.append((s.source, s.patient, f"{s.sequence} {s.number}", answer(shares), text))
    rows += [
        (p.source, p.patient, p.name, _role(after[id(p)]), f"second is after contrast agent: {after[id(p)]:.3f}")
        for p in couples
        if p.source not in LEARNED or after[id(p)] < ORDER_CONFIDENT
    ]
    return table(("set", "patient", "volume or pair", "result", "probabilities"), rows)


def report(samples: Sequence[Sample], couples: Sequence[Pair]) -> str:
    """Return the complete report."""
    held = held_out(samples)
    after = ordered(couples)
    model = shipped_model()
    predicted: dict[int, Shares] = {
        id(s): held[id(s)][0] if id(s) in held else judged(model, s.measurements) for s in samples
    }
    own = [s for s in samples if s.source in LEARNED]
    known = [s for s in samples if s.truth in WEIGHTINGS]
    every = {id(s): held[id(s)] for s in own}
    changes = {id(s): held[id(s)][1:] for s in own}
    flat = [(s, shares) for s in own for shares in changes[id(s)]]
    wrong = sum(answer(shares) not in (s.truth, "none") for s, shares in flat)
    none = sum(answer(shares) == "none" for s, shares in flat)
    changed_line = f"{len(flat)} volumes, {wrong} wrong, {none} abstentions ({none / len(flat):.1%}) at {CONFIDENT}"
    parts = [
        HEAD.format(folds=FOLDS),
        CHOICES,
        ROLES_TEXT,
        roles(samples, predicted, couples, after),
        WEIGHTING_TEXT.format(confident=CONFIDENT),
        confusion(samples, predicted),
        "Wrong results and abstentions at other thresholds (all sets):\n",
        by_threshold(known, predicted),
        CHANGED_TEXT.format(line=changed_line),
        calibration(own, every),
        TRANSFER_TEXT,
        transfer(samples),
        ORDER_TEXT.format(confident=ORDER_CONFIDENT),
        order_table(couples, after),
        ONE_BY_ONE_TEXT,
        strangers(samples, predicted, couples, after),
    ]
    return "\n".join(parts)


def main() -> None:
    """Measure, train if ``--learn`` is given, and write the report."""
    samples, couples = measured(data_folder())
    if "--learn" in sys.argv[1:]:
        learn_all(samples, couples)
    text = report(samples, couples)
    (Path(__file__).parent / "recognition.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
