"""The step `select`: from the images of a study and the site's rules to one series for each role."""

from conversion.selection import best_of_each_role, select_series
from conversion.sequences import Role
from dicom_node.runs.reading import cores, recognise_run
from dicom_node.runs.run import Run
from dicom_node.runs.step import Step

__all__ = ["select"]


def select(run: Run) -> None:
    """Recognise the series, by headers and pixels, and choose one for each role.

    Stores what is known of the patient, the rules that were applied, and the selection.
    """
    versions = run.came_again()
    run.decided(Step.SELECT, versions)
    study, rules = run.study(), run.rules()
    run.kept.save_patient(study.patient)
    run.kept.save_rules(rules)
    recognitions = recognise_run(study, rules, threads=cores(run.processing.threads))
    run.recognised(recognitions)
    incomplete = run.incomplete()
    # Before anything can be refused, so that a refused study has the same decisions as any other.
    best = best_of_each_role(recognitions, incomplete)
    run.decided(Step.SELECT, [*versions, *study.decisions, *best.decisions])
    selection = select_series(study, recognitions, Role(run.processing.reference), incomplete)
    run.kept.save_selection(selection)
    run.chose(selection)
