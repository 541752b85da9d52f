"""The site's own rules about its series: stored in the database, imported and exported as TOML."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from conversion.recognition.site_rules import SiteRule
from conversion.sequences import PRIORS, REFORMAT, Role
from conversion.study import Series
from dicom_node.database.engine import Database
from dicom_node.database.tables import SiteRuleRow
from dicom_node.invalid_entry import FieldProblem, InvalidEntryError
from dicom_node.toml_text import toml_value

__all__ = [
    "KINDS",
    "OTHER",
    "PATTERNS",
    "RuleError",
    "UnknownRule",
    "add_rule",
    "export_rules",
    "free_name",
    "import_rules",
    "make_rule",
    "merged_rules",
    "move_rule",
    "parse_rules",
    "patterns_of",
    "remove_rule",
    "rules_of_tables",
    "seed_rules",
    "site_rules",
    "write_rules",
]

PATTERNS = ("manufacturer", "station", "description", "protocol", "technique")
"""The attributes of a series that a rule can match."""

OTHER = "other"
"""Kind of a series that is none of the others; it means only that the series is not used."""

KINDS = tuple(dict.fromkeys((*map(str, Role), *PRIORS, REFORMAT, OTHER)))
"""Kinds that a rule can assign, the roles first. The list is closed, so that a typing error is not a new kind."""

LONGEST_NAME, LONGEST_PATTERN = 64, 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_log = structlog.get_logger()


class RuleError(InvalidEntryError):
    """A rule that cannot be used."""


class UnknownRule(RuleError):  # noqa: N818 - named by what happened
    """No rule has that name."""

    def __init__(self, name: str) -> None:
        super().__init__(FieldProblem(field="name", sentence=f"No site rule is called {name!r}."))


def make_rule(entered: Mapping[str, str]) -> SiteRule:
    """Make a rule of what a person entered; surrounding spaces are removed.

    Parameters
    ----------
    entered
        Text by field of `SiteRule`; a missing pattern matches everything.

    Raises
    ------
    RuleError
        When a field cannot be used; it lists every such field.
    """
    rule = {field.name: entered.get(field.name, "").strip() for field in fields(SiteRule)}
    rule["kind"] = next((kind for kind in KINDS if kind.lower() == rule["kind"].lower()), rule["kind"])
    problems = [problem for key, text in rule.items() if (problem := _problem(key, text)) is not None]
    if not any(rule[key] for key in PATTERNS):
        sentence = "A rule needs at least one pattern, otherwise it would match every series."
        problems.append(FieldProblem(field="description", sentence=sentence))
    if problems:
        raise RuleError(*problems)
    return SiteRule(**rule)


def _problem(field: str, text: str) -> FieldProblem | None:
    if _CONTROL.search(text):
        return FieldProblem(field=field, sentence=f"The {field} must not contain line breaks or control characters.")
    if field == "name" and not 1 <= len(text) <= LONGEST_NAME:
        return FieldProblem(field=field, sentence=f"A rule needs a name of 1 to {LONGEST_NAME} characters.")
    if field == "kind" and text not in KINDS:
        return FieldProblem(field=field, sentence=f"The kind must be one of {', '.join(KINDS)}.")
    if len(text) > LONGEST_PATTERN:
        return FieldProblem(field=field, sentence=f"The {field} may have {LONGEST_PATTERN} characters at most.")
    return None


def patterns_of(series: Series) -> dict[str, str]:
    """Return patterns that match a series literally, for a person to loosen; wildcard characters are bracketed."""
    return {key: re.sub(r"([*?\[])", r"[\1]", getattr(series.acquisition, key).strip()) for key in PATTERNS}


def free_name(rules: Sequence[SiteRule]) -> str:
    """Return a name that no rule has: ``Rule 1``, ``Rule 2``, ..."""
    taken = {rule.name for rule in rules}
    return next(name for number in range(1, len(rules) + 2) if (name := f"Rule {number}") not in taken)


def site_rules(database: Database) -> tuple[SiteRule, ...]:
    """Return every rule, in the order in which they are applied."""
    with database.session() as session:
        return tuple(_rule(row) for row in _rows(session))


def add_rule(database: Database, rule: SiteRule) -> None:
    """Add a rule before the others, so that the newest correction takes precedence.

    Raises
    ------
    RuleError
        When another rule has that name.
    """

    def added(rules: list[SiteRule]) -> list[SiteRule]:
        if any(each.name == rule.name for each in rules):
            sentence = f"A site rule called {rule.name!r} exists already: choose another name."
            raise RuleError(FieldProblem(field="name", sentence=sentence))
        return [rule, *rules]

    _change(database, added)
    _log.info("site_rule_added", kind=rule.kind)  # only the kind: names and patterns are free text


def remove_rule(database: Database, name: str) -> None:
    """Remove a rule.

    Raises
    ------
    UnknownRule
        When no rule has that name.
    """

    def without(rules: list[SiteRule]) -> list[SiteRule]:
        gone = _named(rules, name)
        return [rule for rule in rules if rule is not gone]

    _change(database, without)
    _log.info("site_rule_removed")


def move_rule(database: Database, name: str, place: int) -> None:
    """Move a rule to a place, counted from 1; the first rule that matches a series decides.

    Raises
    ------
    UnknownRule
        When no rule has that name.
    """

    def moved(rules: list[SiteRule]) -> list[SiteRule]:
        rule = _named(rules, name)
        others = [each for each in rules if each is not rule]
        others.insert(min(max(place, 1), len(rules)) - 1, rule)
        return others

    _change(database, moved)
    _log.info("site_rule_moved")


def import_rules(database: Database, rules: Sequence[SiteRule], *, replace: bool = False) -> None:
    """Insert rules before the others, in their order; a rule of the same name is replaced.

    Parameters
    ----------
    replace
        Remove all other rules.
    """
    _change(database, lambda kept: list(merged_rules(rules, () if replace else kept)))
    _log.info("site_rules_imported", rules=len(rules))


def merged_rules(new: Sequence[SiteRule], present: Sequence[SiteRule]) -> tuple[SiteRule, ...]:
    """Return the rules with new ones before those present; a present one of the same name is replaced."""
    names = {rule.name for rule in new}
    return (*new, *(rule for rule in present if rule.name not in names))


def export_rules(rules: Sequence[SiteRule]) -> str:
    """Return rules as TOML that `parse_rules` reads."""
    return "\n".join(_toml(rule) for rule in rules)


def parse_rules(text: str, origin: str) -> tuple[SiteRule, ...]:
    """Read the ``[[rule]]`` tables of a TOML document, which may contain ``[[peer]]`` tables as well.

    Parameters
    ----------
    origin
        Name of the document in errors.

    Raises
    ------
    RuleError
        For an unreadable document, an unknown key, or a rule that cannot be used.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _file_error(f"{origin}: {error}.") from error
    unknown = [key for key in document if key not in ("rule", "peer")]
    tables = document.get("rule", [])
    if unknown or not isinstance(tables, list):
        raise _file_error(f"{origin}: only [[rule]] tables are read here, not {', '.join(unknown) or 'this form'}.")
    return rules_of_tables(tables, origin)


def rules_of_tables(tables: Sequence[Any], origin: str) -> tuple[SiteRule, ...]:
    """Return the rules of ``[[rule]]`` tables that were parsed already; otherwise as `parse_rules`."""
    rules = tuple(_read_table(table, f"{origin}, rule {number}") for number, table in enumerate(tables, start=1))
    if len({rule.name for rule in rules}) != len(rules):
        raise _file_error(f"{origin}: two rules have the same name.")
    return rules


def seed_rules(database: Database, path: Path) -> int:
    """Fill an empty table from a site file; do nothing when there are rules already.

    Returns
    -------
    int
        How many rules were added.

    Raises
    ------
    RuleError
        As `parse_rules`, or for a file that cannot be read.
    """
    try:
        rules = parse_rules(path.read_text(encoding="utf-8"), f"Site file {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise _file_error(f"Site file {path}: {error}.") from error
    if not rules or site_rules(database):
        return 0
    import_rules(database, rules)
    return len(rules)


def _rows(session: Session) -> Sequence[SiteRuleRow]:
    return session.scalars(sa.select(SiteRuleRow).order_by(SiteRuleRow.place, SiteRuleRow.name)).all()


def _change(database: Database, change: Callable[[list[SiteRule]], list[SiteRule]]) -> None:
    """Replace the rules in one transaction, so that their places are always 1, 2, 3, ..."""
    with database.session() as session:
        write_rules(session, change([_rule(row) for row in _rows(session)]))


def write_rules(session: Session, rules: Sequence[SiteRule]) -> None:
    """Replace all rules within a transaction of the caller."""
    session.execute(sa.delete(SiteRuleRow))
    for place, rule in enumerate(rules, start=1):
        values = {field.name: getattr(rule, field.name) for field in fields(SiteRule)}
        session.add(SiteRuleRow(place=place, **values))


def _named(rules: Sequence[SiteRule], name: str) -> SiteRule:
    found = next((rule for rule in rules if rule.name == name), None)
    if found is None:
        raise UnknownRule(name)
    return found


def _rule(row: SiteRuleRow) -> SiteRule:
    return SiteRule(**{field.name: getattr(row, field.name) for field in fields(SiteRule)})


def _toml(rule: SiteRule) -> str:
    values = {field.name: getattr(rule, field.name) for field in fields(SiteRule)}
    lines = [f"{key} = {toml_value(text)}" for key, text in values.items() if text]
    return "\n".join(("[[rule]]", *lines)) + "\n"


def _read_table(table: Any, origin: str) -> SiteRule:  # noqa: ANN401 - whatever TOML contains at that place
    if not isinstance(table, dict):
        raise _file_error(f"{origin}: a table is needed.")
    known = [field.name for field in fields(SiteRule)]
    for key, value in table.items():
        if key not in known:
            raise _file_error(f"{origin}: unknown key {key!r}; known: {', '.join(known)}.")
        if not isinstance(value, str):
            raise _file_error(f"{origin}: {key} = {value!r}, but a text in quotes is needed.")
    try:
        return make_rule(table)
    except RuleError as error:
        problems = (FieldProblem(field=each.field, sentence=f"{origin}: {each.sentence}") for each in error.problems)
        raise RuleError(*problems) from error


def _file_error(sentence: str) -> RuleError:
    return RuleError(FieldProblem(field="file", sentence=sentence))
