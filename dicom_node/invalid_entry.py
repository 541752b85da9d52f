"""Entries of a person that are not valid, field by field; for peers and rules, on pages and in commands."""

from dataclasses import dataclass

__all__ = ["FieldProblem", "InvalidEntryError"]


@dataclass(frozen=True, kw_only=True)
class FieldProblem:
    """What is wrong with one field, as one sentence for the person who entered it."""

    field: str
    sentence: str


class InvalidEntryError(ValueError):
    """An entry that cannot be used.

    Parameters
    ----------
    *problems
        One for each field that has to change; the error's text consists of their sentences.
    """

    def __init__(self, *problems: FieldProblem) -> None:
        super().__init__(" ".join(problem.sentence for problem in problems))
        self.problems = problems
