"""The route of a study: what the rules decide, and which of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dicom_node.database.states import Priority
from dicom_node.routing.matching import holds
from dicom_node.routing.rule import RoutingRule

__all__ = ["Facts", "Route", "keeps", "model_of", "route_of", "why_routed"]

Facts = Callable[[str], Sequence[str]]
"""Returns the values of an attribute of a study."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """What was decided for a study.

    Attributes
    ----------
    model, priority, keep_out
        Empty where no rule decides it.
    destinations
        Names of peers; None where no rule decides it: all.
    by
        Name of the rule that decided, by what it decided.
    """

    model: str = ""
    destinations: tuple[str, ...] | None = None
    priority: str = ""
    keep_out: str = ""
    by: Mapping[str, str] = field(default_factory=dict)

    @property
    def rank(self) -> Priority:
        """The priority of its runs."""
        return Priority[self.priority.upper()] if self.priority else Priority.ROUTINE

    @property
    def text(self) -> str:
        """The route in words."""
        if self.keep_out:
            return f"kept out: {self.keep_out}"
        parts = [f"model {self.model}"] if self.model else []
        parts += [f"to {', '.join(self.destinations)}"] if self.destinations is not None else []
        parts += [f"priority {self.priority}"] if self.priority else []
        return "; ".join(parts) or "as without rules"

    def as_document(self) -> dict[str, Any]:
        """Return what a run keeps of it; empty where no rule decided anything."""
        if not self.by:
            return {}
        sent_to = None if self.destinations is None else list(self.destinations)
        return {"model": self.model, "destinations": sent_to, "priority": self.priority, "by": dict(self.by)}


def route_of(rules: Sequence[RoutingRule], facts: Facts) -> Route:
    """Return the route of a study; for each thing to decide, the first rule that holds and decides it counts."""
    decided: dict[str, Any] = {}
    by: dict[str, str] = {}
    for rule in rules:
        wanted = [key for key in ("keep_out", "model", "destinations", "priority") if getattr(rule, key)]
        if set(wanted) <= set(decided) or not all(holds(one, facts(one.attribute)) for one in rule.conditions):
            continue
        for key in wanted:
            if key not in decided:
                decided[key], by[key] = getattr(rule, key), rule.name
    if "keep_out" in decided:
        return Route(keep_out=decided["keep_out"], by={"keep_out": by["keep_out"]})
    return Route(**decided, by=by)


def keeps(document: Mapping[str, Any], destination: str) -> bool:
    """Return whether a run with this route is sent to a destination."""
    names = document.get("destinations")
    return names is None or destination in names


def model_of(document: Mapping[str, Any]) -> str:
    """Return the model that a rule chose for a run; empty where none did."""
    return str(document.get("model", ""))


def why_routed(document: Mapping[str, Any]) -> str:
    """Return in a sentence what the rules decided for a run, and which did; empty where none decided anything."""
    what = {
        "model": f"model {document.get('model')}",
        "destinations": f"sent to {', '.join(document.get('destinations') or [])} alone",
        "priority": f"priority {document.get('priority')}",
    }
    by = document.get("by", {})
    return "; ".join(f"{what[key]} (rule {by[key]!r})" for key in what if key in by)
