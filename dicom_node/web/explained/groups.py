"""All explanations in the order of the page Help."""

from dicom_node.web.explained.decisions import DECISIONS
from dicom_node.web.explained.explanation import Group
from dicom_node.web.explained.flags import FLAGS
from dicom_node.web.explained.reasons import FAULTS, REASONS
from dicom_node.web.explained.refusals import REFUSALS
from dicom_node.web.explained.states import DELIVERIES, FETCHES, RUNS, STUDIES, UPLOADS

__all__ = ["GROUPS"]

GROUPS: tuple[Group, ...] = (
    STUDIES,
    RUNS,
    DELIVERIES,
    FLAGS,
    REASONS,
    FAULTS,
    DECISIONS,
    REFUSALS,
    FETCHES,
    UPLOADS,
)
