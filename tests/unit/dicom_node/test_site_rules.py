"""Site rules: what is a valid one, what the books hold, and TOML that comes back as it went."""

import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversion.recognition.site_rules import SiteRule
from conversion.study import Acquisition, Series, SeriesUID
from dicom_node.database.engine import Database
from dicom_node.rules.site_rules import (
    PATTERNS,
    RuleError,
    UnknownRule,
    add_rule,
    export_rules,
    free_name,
    import_rules,
    make_rule,
    merged_rules,
    move_rule,
    parse_rules,
    patterns_of,
    remove_rule,
    seed_rules,
    site_rules,
)
from dicom_node.settings import config_folder

AFTER = SiteRule(name="After contrast", kind="T1CE", description="*km*", manufacturer="philips*")
DARK = SiteRule(name="Dark fluid", kind="FLAIR", protocol="t2_tirm*")
SCOUT = SiteRule(name="Scout", kind="localizer", station="MR1", technique="fl2d?")

_TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=40)


def _names(database: Database) -> list[str]:
    return [rule.name for rule in site_rules(database)]


def _series(**values: str) -> Series:
    return Series(
        series_uid=SeriesUID("1.2"),
        number=4,
        sop_class_uid="1.3",
        frame_of_reference_uid="1.4",
        acquisition=Acquisition(**values),  # type: ignore[arg-type]
        images=(),
    )


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"name": " "}, ["name"]),
        ({"name": "x" * 65}, ["name"]),
        ({"name": "a\nb"}, ["name"]),
        ({"kind": ""}, ["kind"]),
        ({"kind": "T1C"}, ["kind"]),
        ({"kind": "unknown"}, ["kind"]),
        ({"description": " "}, ["description"]),
        ({"description": "x" * 256}, ["description"]),
        ({"station": "a\x7fb"}, ["station"]),
        ({"name": "", "kind": "", "description": ""}, ["name", "kind", "description"]),
    ],
)
def test_an_entry_that_cannot_be_used_is_told_by_its_field(changed: dict[str, str], wrong: list[str]) -> None:
    with pytest.raises(RuleError) as caught:
        make_rule({"name": "A", "kind": "T1", "description": "*", **changed})
    assert [problem.field for problem in caught.value.problems] == wrong
    assert str(caught.value) == " ".join(problem.sentence for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("entered", "kind"), [("t1ce", "T1CE"), (" flair ", "FLAIR"), ("dwi", "DWI"), ("T2*", "T2*"), ("Other", "other")]
)
def test_a_kind_is_known_in_any_case_of_letters(entered: str, kind: str) -> None:
    assert make_rule({"name": " A ", "kind": entered, "station": " MR1 "}) == SiteRule(
        name="A", kind=kind, station="MR1"
    )


@given(st.fixed_dictionaries(dict.fromkeys(PATTERNS, _TEXT)))
def test_the_patterns_of_a_series_fit_it_and_nothing_that_differs(values: dict[str, str]) -> None:
    series = _series(**{key: text.strip() for key, text in values.items()})
    patterns = patterns_of(series)
    if not any(patterns.values()):
        return
    rule = SiteRule(name="A", kind="T1", **patterns)
    assert rule.matches(series)
    for key in PATTERNS:
        other = replace(
            series, acquisition=replace(series.acquisition, **{key: getattr(series.acquisition, key) + "!"})
        )
        assert rule.matches(other) == (not patterns[key])


def test_the_newest_rule_is_asked_first(database: Database) -> None:
    assert site_rules(database) == ()
    for rule in (AFTER, DARK, SCOUT):
        add_rule(database, rule)
    assert site_rules(database) == (SCOUT, DARK, AFTER)


def test_a_name_is_given_once(database: Database) -> None:
    add_rule(database, AFTER)
    with pytest.raises(RuleError, match="called 'After contrast' exists already"):
        add_rule(database, replace(DARK, name="After contrast"))
    assert site_rules(database) == (AFTER,)


@pytest.mark.parametrize(
    ("place", "order"),
    [
        (1, ["After contrast", "Dark fluid", "Scout"]),
        (2, ["Dark fluid", "After contrast", "Scout"]),
        (99, ["Dark fluid", "Scout", "After contrast"]),
        (-1, ["After contrast", "Dark fluid", "Scout"]),
    ],
)
def test_a_rule_can_be_moved(database: Database, place: int, order: list[str]) -> None:
    import_rules(database, [DARK, AFTER, SCOUT])
    move_rule(database, "After contrast", place)
    assert _names(database) == order


def test_a_rule_can_be_removed(database: Database) -> None:
    import_rules(database, [DARK, AFTER, SCOUT])
    remove_rule(database, "After contrast")
    assert site_rules(database) == (DARK, SCOUT)


def test_an_unknown_rule_is_said_to_be_unknown(database: Database) -> None:
    with pytest.raises(UnknownRule, match="No site rule is called 'Ghost'"):
        remove_rule(database, "Ghost")
    with pytest.raises(UnknownRule, match="No site rule is called 'Ghost'"):
        move_rule(database, "Ghost", 1)


def test_imported_rules_come_first_and_replace_their_namesakes(database: Database) -> None:
    import_rules(database, [DARK, AFTER])
    newer = replace(AFTER, description="*gd*")
    import_rules(database, [SCOUT, newer])
    assert site_rules(database) == (SCOUT, newer, DARK)
    import_rules(database, [AFTER], replace=True)
    assert site_rules(database) == (AFTER,)


@given(st.lists(st.tuples(_TEXT, *(_TEXT for _ in PATTERNS)), max_size=4))
def test_what_is_exported_is_read_again(texts: list[tuple[str, ...]]) -> None:
    rules = [
        make_rule({"name": f"{name} {number}", "kind": "T1", "station": "x", **dict(zip(PATTERNS, rest, strict=True))})
        for number, (name, *rest) in enumerate(texts)
        if any(text.strip() for text in rest)
    ]
    assert parse_rules(export_rules(rules), "export") == tuple(rules)


def test_hard_characters_survive_toml() -> None:
    rule = SiteRule(
        name='A "b" \\ é', kind="T1", description="#[x]' = \U0001f9e0 [*]", protocol='"""', station="\x7f\t"
    )
    text = export_rules([rule])
    values = {field.name: getattr(rule, field.name) for field in fields(SiteRule) if getattr(rule, field.name)}
    assert tomllib.loads(text) == {"rule": [values]}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[rule]]\nname = 'A'\nkind = 'T1'\n", "rules.toml, rule 1: A rule needs at least one pattern"),
        ("[[rule]]\nname = 'A'\nstation = 'x'\n", "rules.toml, rule 1: The kind must be"),
        ("[[rule]]\nname = 'A'\nkind = 1\n", "rule 1: kind = 1, but a text in quotes is needed"),
        ("[[rule]]\ncolour = 'red'\n", "unknown key 'colour'; known: name, kind, manufacturer"),
        ("[[rule]]\nname = 'A'\nkind = 'T1'\nstation = 'x'\n" * 2, "two rules have the same name"),
        ("[node]\nfolder = 'x'\n", "only [[rule]] tables are read here, not node"),
        ("[rule]\nname = 'A'\n", "not this form"),
        ("rule = [1]\n", "rule 1: a table is needed"),
        ("[[rule", "rules.toml: "),
    ],
)
def test_a_document_that_cannot_be_used_says_why(text: str, sentence: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rules(text, "rules.toml")
    assert sentence in str(caught.value)


def test_a_site_file_seeds_an_empty_table_once(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    peers = (config_folder() / "site.example.toml").read_text(encoding="utf-8")
    path.write_text(peers + export_rules([AFTER, DARK]), encoding="utf-8")
    assert seed_rules(database, path) == 3  # one stands in the example itself
    assert site_rules(database)[1:] == (AFTER, DARK)
    remove_rule(database, site_rules(database)[0].name)
    remove_rule(database, "After contrast")
    assert seed_rules(database, path) == 0
    assert site_rules(database) == (DARK,)
    with pytest.raises(RuleError, match="No such file"):
        seed_rules(database, tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("taken", "free"),
    [
        ([], "Rule 1"),
        (["Rule 1", "Rule 2"], "Rule 3"),
        (["Rule 1", "Rule 3"], "Rule 2"),
        (["Rule 2"], "Rule 1"),
        (["rule 1", "Rule 01", "A"], "Rule 1"),
        (["Rule 10", "Rule 1"], "Rule 2"),
    ],
)
def test_a_new_rule_is_given_the_first_name_that_is_free(taken: list[str], free: str) -> None:
    assert free_name([replace(AFTER, name=name) for name in taken]) == free


def test_merged_rules_are_the_new_ones_and_then_those_of_other_names() -> None:
    newer = replace(DARK, kind="T2")
    assert merged_rules([newer, SCOUT], [AFTER, DARK]) == (newer, SCOUT, AFTER)
    assert merged_rules([], [AFTER, DARK]) == merged_rules([AFTER, DARK], []) == (AFTER, DARK)
    assert merged_rules([newer], [DARK]) == (newer,)
