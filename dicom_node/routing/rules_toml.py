"""Routing rules as TOML."""

import tomllib
from collections.abc import Sequence

from dicom_node.invalid_entry import FieldProblem
from dicom_node.routing.rule import RoutingError, RoutingRule, read_rules
from dicom_node.toml_text import toml_value

__all__ = ["rules_as_toml", "rules_of_toml"]


def rules_as_toml(rules: Sequence[RoutingRule]) -> str:
    """Return rules as TOML that `rules_of_toml` reads."""
    return "\n".join(_toml(rule) for rule in rules)


def _toml(rule: RoutingRule) -> str:
    lines = ["[[route]]", f"name = {toml_value(rule.name)}"]
    lines += [
        f"{key} = {toml_value(text)}" for key in ("model", "priority", "keep_out") if (text := getattr(rule, key))
    ]
    if rule.destinations:
        lines.append(f"destinations = [{', '.join(map(toml_value, rule.destinations))}]")
    for one in rule.conditions:
        lines += ["", "[[route.conditions]]", f"attribute = {toml_value(one.attribute)}"]
        lines.append(f"operator = {toml_value(str(one.operator))}")
        if one.value:
            lines.append(f"value = {toml_value(one.value)}")
    return "\n".join(lines) + "\n"


def rules_of_toml(text: str) -> tuple[RoutingRule, ...]:
    """Return the rules of a TOML text with ``[[route]]`` tables.

    Raises
    ------
    RoutingError
        For a text that is not TOML, an unknown key, or a rule that cannot be used.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RoutingError(FieldProblem(field="rules", sentence=f"This is not TOML: {error}.")) from error
    if set(document) - {"route"}:
        raise RoutingError(FieldProblem(field="rules", sentence="Only [[route]] tables are allowed here."))
    return read_rules(document.get("route", []))
