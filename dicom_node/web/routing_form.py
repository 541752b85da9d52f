"""The form of a routing rule as entered, so that it can be shown again with what is wrong with it."""

from itertools import zip_longest
from typing import Any, Self

from pydantic import BaseModel

from dicom_node.routing.rule import RoutingRule, as_documents, read_rules

__all__ = ["RoutingForm"]

SPARE_ROWS = 2
"""Empty rows for further conditions; each preview offers as many again, and a button adds them at once."""


class RoutingForm(BaseModel):
    """The fields of the form; conditions are three lists of equal length."""

    place: int = 0
    name: str = ""
    attribute: list[str] = []
    operator: list[str] = []
    value: list[str] = []
    model: str = ""
    destinations: list[str] = []
    priority: str = ""
    keep_out: str = ""

    @classmethod
    def of(cls, rule: RoutingRule, place: int) -> Self:
        """Return the form that shows a rule."""
        (document,) = as_documents([rule])
        rows = document.pop("conditions")
        columns: dict[str, Any] = {key: [row[key] for row in rows] for key in ("attribute", "operator", "value")}
        return cls(**columns | document | {"place": place})

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """The conditions that were entered, and spare rows."""
        return [*self._entered, *[("", "equals", "")] * SPARE_ROWS]

    def rule(self) -> RoutingRule:
        """Return the rule.

        Raises
        ------
        RoutingError
            With what is wrong with it.
        """
        conditions = [{"attribute": one, "operator": how, "value": value} for one, how, value in self._entered]
        values = self.model_dump(include={"name", "model", "destinations", "priority", "keep_out"})
        (rule,) = read_rules([values | {"conditions": conditions}])
        return rule

    @property
    def _entered(self) -> list[tuple[str, str, str]]:
        rows = zip_longest(self.attribute, self.operator, self.value, fillvalue="")
        return [(one.strip(), how, value) for one, how, value in rows if one.strip() or value.strip()]
