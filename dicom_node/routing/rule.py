"""A routing rule: its conditions and what it decides."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from dicom_node.database.states import Priority
from dicom_node.invalid_entry import FieldProblem, InvalidEntryError

__all__ = ["CALLED", "CALLING", "Condition", "Operator", "RoutingError", "RoutingRule", "as_documents", "read_rules"]

CALLED, CALLING = "CalledAETitle", "CallingAETitle"
"""Of the associations that brought the study; every other attribute is a DICOM keyword (PS3.6)."""

LONGEST = 255
MOST_RULES = 100
MOST_CONDITIONS = 20

_NOT_TEXT = ("SQ", "OB", "OW", "OB or OW", "OD", "OF", "OL", "OV", "UN")


class RoutingError(InvalidEntryError):
    """A routing rule that cannot be used."""


class Operator(enum.StrEnum):
    """How a value is compared; without regard to case, and each value of an attribute by itself."""

    EQUALS = "equals"
    CONTAINS = "contains"
    MATCHES = "matches"  # a pattern with * and ?
    ONE_OF = "one_of"  # texts separated by commas
    AT_LEAST = "at_least"  # a number, a date, or an age in years
    AT_MOST = "at_most"
    ABSENT = "absent"  # no image that was looked at has a value


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition.

    Attributes
    ----------
    attribute
        `CALLED`, `CALLING`, or a DICOM keyword such as StudyDescription.
    """

    attribute: str
    operator: Operator
    value: str = ""

    def __post_init__(self) -> None:
        """Refuse an unknown attribute, and a value that the operator cannot use."""
        object.__setattr__(self, "operator", Operator(self.operator))
        if sentence := self._problem():
            raise RoutingError(FieldProblem(field="conditions", sentence=sentence))

    def _problem(self) -> str:
        if self.attribute not in (CALLED, CALLING):
            tag = tag_for_keyword(self.attribute)
            if tag is None or dictionary_VR(tag) in _NOT_TEXT:
                return f"{self.attribute!r} is no DICOM keyword of a text or number, such as StudyDescription."
        if self.operator is not Operator.ABSENT and not self.value.strip():
            return f"{self.attribute}: enter what to compare with."
        if len(self.value) > LONGEST:
            return f"{self.attribute}: a value has at most {LONGEST} characters."
        if self.operator in (Operator.AT_LEAST, Operator.AT_MOST) and not _is_number(self.value):
            return f"{self.attribute}: at least and at most need a number (an age in years, a date as 20260131)."
        return ""


@dataclass(frozen=True, kw_only=True)
class RoutingRule:
    """One rule; what is empty, it does not decide.

    Attributes
    ----------
    model
        ``NAME`` or ``NAME/VERSION``.
    destinations
        Names of peers.
    priority
        ``stat``, ``high`` or ``routine``.
    keep_out
        The reason for which studies are kept out.
    """

    name: str
    conditions: tuple[Condition, ...] = ()
    model: str = ""
    destinations: tuple[str, ...] = ()
    priority: str = ""
    keep_out: str = ""

    def __post_init__(self) -> None:
        """Refuse a rule that decides nothing, or contradicts itself."""
        problems = []
        if not self.name.strip() or len(self.name) > 64:
            problems.append(FieldProblem(field="name", sentence="A rule needs a name of 1 to 64 characters."))
        if self.priority and self.priority.upper() not in Priority.__members__:
            problems.append(FieldProblem(field="priority", sentence="A priority is stat, high or routine."))
        if not (self.model or self.destinations or self.priority or self.keep_out):
            sentence = "A rule decides something: a model, destinations, a priority, or that studies are kept out."
            problems.append(FieldProblem(field="keep_out", sentence=sentence))
        if self.keep_out and (self.model or self.destinations or self.priority):
            sentence = "A study that is kept out needs no model, destination or priority."
            problems.append(FieldProblem(field="keep_out", sentence=sentence))
        if len(self.conditions) > MOST_CONDITIONS or max(len(self.model), len(self.keep_out)) > LONGEST:
            sentence = f"At most {MOST_CONDITIONS} conditions, and texts of {LONGEST} characters."
            problems.append(FieldProblem(field="conditions", sentence=sentence))
        if problems:
            raise RoutingError(*problems)


def as_documents(rules: Sequence[RoutingRule]) -> list[dict[str, Any]]:
    """Return rules as plain values, which `read_rules` reads."""
    return [
        asdict(rule)
        | {
            "destinations": list(rule.destinations),
            "conditions": [
                {"attribute": one.attribute, "operator": str(one.operator), "value": one.value}
                for one in rule.conditions
            ],
        }
        for rule in rules
    ]


def read_rules(documents: Any) -> tuple[RoutingRule, ...]:  # noqa: ANN401 - whatever was sent or stored
    """Return the rules that plain values state.

    Raises
    ------
    RoutingError
        With the place of what cannot be used.
    """
    if not isinstance(documents, list) or len(documents) > MOST_RULES:
        raise RoutingError(FieldProblem(field="rules", sentence=f"There are at most {MOST_RULES} rules, in a list."))
    rules = tuple(_rule(one, number) for number, one in enumerate(documents, start=1))
    if len({rule.name for rule in rules}) != len(rules):
        raise RoutingError(FieldProblem(field="name", sentence="Two rules have the same name."))
    return rules


_TEXTS = ("name", "model", "priority", "keep_out")


def _rule(document: Any, number: int) -> RoutingRule:  # noqa: ANN401 - as `read_rules`
    known = {*_TEXTS, "conditions", "destinations"}
    if not isinstance(document, Mapping) or set(document) - known:
        raise RoutingError(FieldProblem(field="rules", sentence=f"Rule {number}: its keys are {', '.join(known)}."))
    values = {key: document.get(key, "") for key in _TEXTS}
    destinations, conditions = document.get("destinations", []), document.get("conditions", [])
    texts = [*values.values(), *(destinations if isinstance(destinations, list | tuple) else [None])]
    if not all(isinstance(text, str) for text in texts) or not isinstance(conditions, list | tuple):
        raise RoutingError(FieldProblem(field="rules", sentence=f"Rule {number}: a value is of the wrong kind."))
    try:
        made = tuple(_condition(one) for one in conditions)
        values = {key: text.strip() for key, text in values.items()} | {"priority": values["priority"].strip().lower()}
        return RoutingRule(**values, destinations=tuple(destinations), conditions=made)
    except RoutingError as error:
        told = (FieldProblem(field=one.field, sentence=f"Rule {number}: {one.sentence}") for one in error.problems)
        raise RoutingError(*told) from error


def _condition(document: Any) -> Condition:  # noqa: ANN401 - as `read_rules`
    try:
        values = {key: str(document[key]).strip() for key in ("attribute", "operator")}
        return Condition(**values, value=str(document.get("value", "")).strip())  # type: ignore[arg-type]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, RoutingError):
            raise
        sentence = f"A condition has an attribute, one of {', '.join(Operator)}, and a value."
        raise RoutingError(FieldProblem(field="conditions", sentence=sentence)) from error


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) < float("inf")
    except ValueError:
        return False
