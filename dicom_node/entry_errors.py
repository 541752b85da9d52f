"""What a person entered and cannot be used, field by field; the same for peers and for rules, on page and command."""

from dataclasses import dataclass

__all__ = ["EntryError", "EntryProblem"]


@dataclass(frozen=True, kw_only=True)
class EntryProblem:
    """What is wrong with one field, as one sentence for the person who entered it."""

    field: str
    sentence: str


class EntryError(ValueError):
    """An entry that cannot be used.

    Parameters
    ----------
    *problems
        One for each field that has to change; the text of the error is all their sentences.
    """

    def __init__(self, *problems: EntryProblem) -> None:
        super().__init__(" ".join(problem.sentence for problem in problems))
        self.problems = problems
