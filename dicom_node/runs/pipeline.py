"""The main job on one screen: what is done with every study, from its files to the objects of its result.

A node executes the list in durable steps (`durable.py`, begun by `workflow.py`) and delivers what came of it; `glionode
segment` executes it in memory (`in_memory.py`). Both are the same list of the same functions, each in the file of its
name, so that no rule stands in one of them only.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from dicom_node.runs.align import align
from dicom_node.runs.convert import convert
from dicom_node.runs.encode import encode
from dicom_node.runs.run import Run
from dicom_node.runs.segment import segment
from dicom_node.runs.select import select
from dicom_node.runs.step import Step

__all__ = ["STEPS", "find_tumour"]

STEPS: Mapping[Step, Callable[[Run], None]] = MappingProxyType(
    {
        Step.SELECT: select,  # images, site rules        -> which series has which role, which is the reference
        Step.CONVERT: convert,  # chosen series           -> volumes, each on its own grid
        Step.ALIGN: align,  # volumes                     -> volumes on the reference's grid, and how they got there
        Step.SEGMENT: segment,  # aligned volumes         -> labels, probabilities, findings, flags
        Step.ENCODE: encode,  # reference, labels         -> SEG and SR, proved
    }
)


def find_tumour(run: Run) -> None:
    """Perform all steps, one after the other.

    Raises
    ------
    ConversionError, InferenceError, ResultError
        With the sentence that says why there is no result.
    """
    for step in STEPS.values():
        step(run)
