"""The main job on one screen: what is done with every study, from its files to its result objects.

A node executes the list in durable steps (`durable.py`, started by `workflow.py`) and delivers the results. `glionode
segment` executes it in memory (`in_memory.py`). Both use the same list of the same functions, each in the file of its
name, so that every rule applies to both.
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
        Step.SELECT: select,  # images, site rules        -> one series for each role, one of them as the reference
        Step.CONVERT: convert,  # chosen series           -> volumes, each on its own grid
        Step.ALIGN: align,  # volumes                     -> volumes on the reference's grid, and their transforms
        Step.SEGMENT: segment,  # aligned volumes         -> labels, probabilities, findings, flags
        Step.ENCODE: encode,  # reference, labels         -> SEG and SR, verified
    }
)


def find_tumour(run: Run, entering: Callable[[Step], None] = lambda _step: None) -> None:
    """Perform all steps, one after the other, each after `entering` was called with its name.

    Raises
    ------
    ConversionError, InferenceError, ResultError
        With the sentence that states why there is no result.
    """
    for name, step in STEPS.items():
        entering(name)
        step(run)
