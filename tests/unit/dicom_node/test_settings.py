"""Settings: every key from file and environment, errors that name the key, secrets that stay hidden."""

import tomllib
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from dicom_node.settings import SettingsError, config_folder, masked_settings, read_settings

DEFAULTS: dict[str, dict[str, Any]] = tomllib.loads((config_folder() / "default.toml").read_text(encoding="utf-8"))
KEYS = [(section, key) for section, keys in DEFAULTS.items() for key in keys]
OTHER_VALUES = {
    "reference": "FLAIR",
    "ae_title": "OTHER",
    "further_ae_titles": "STAT, NIGHT",
    "admit": "under_18",
    "wanted": "T1CE,FLAIR",
    "address": "https://other.example.org",
    "proxy": "192.0.2.1",
    "issuer": "https://login.example.org",
    "scopes": "openid groups",
    "email_to": "anna@example.org",
    "email_from": "node@example.org",
    "smtp_security": "tls",
    "webhook": "https://other.example.org",
    "endpoint": "http://127.0.0.1:4318",
}


def _other(section: str, key: str) -> str | int | float | bool:
    """Return an allowed value that is not the default."""
    default = DEFAULTS[section][key]
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return default + 1
    return OTHER_VALUES.get(key, f"other-{key}")


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _write(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_defaults_are_what_is_read() -> None:
    assert masked_settings(read_settings(environment={})) == DEFAULTS


def test_the_node_may_have_several_ae_titles_and_each_must_be_one() -> None:
    node = read_settings(environment={"GLIONODE_NODE_FURTHER_AE_TITLES": " STAT ,, NIGHT"}).node
    assert node.ae_titles == ("GLIONODE", "STAT", "NIGHT")
    for wrong in ("STAT," + 17 * "A", "A\\B"):
        with pytest.raises(SettingsError, match=r"node\.further_ae_titles '"):
            read_settings(environment={"GLIONODE_NODE_FURTHER_AE_TITLES": wrong})


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_can_be_set_by_a_file(tmp_path: Path, section: str, key: str) -> None:
    wanted = _other(section, key)
    settings = read_settings(_write(tmp_path, f"[{section}]\n{key} = {_toml(wanted)}\n"), environment={})
    expected = {name: dict(keys) for name, keys in DEFAULTS.items()}
    expected[section][key] = wanted
    assert masked_settings(settings) == expected


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_can_be_set_by_a_variable_which_wins_over_the_file(tmp_path: Path, section: str, key: str) -> None:
    site = _write(tmp_path, f"[{section}]\n{key} = {_toml(DEFAULTS[section][key])}\n")
    wanted = _other(section, key)
    variables = {f"GLIONODE_{section}_{key}".upper(): str(wanted), "GLIONODE_CONFIG": str(site)}
    assert masked_settings(read_settings(environment=variables))[section][key] == wanted


@pytest.mark.parametrize(("section", "key"), [pair for pair in KEYS if not isinstance(DEFAULTS[pair[0]][pair[1]], str)])
def test_a_variable_of_the_wrong_type_is_named(section: str, key: str) -> None:
    name = f"GLIONODE_{section}_{key}".upper()
    with pytest.raises(SettingsError, match=f"{name}='many'"):
        read_settings(environment={name: "many"})


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_a_file_with_a_value_of_the_wrong_type_names_the_key(tmp_path: Path, section: str, key: str) -> None:
    wrong = "1" if isinstance(DEFAULTS[section][key], str) else '"text"'
    if key == "folder" and section == "node":
        wrong = "[1]"
    with pytest.raises(SettingsError, match=rf"{section}\.{key}"):
        read_settings(_write(tmp_path, f"[{section}]\n{key} = {wrong}\n"), environment={})


def test_a_whole_number_does_where_a_fraction_may_stand(tmp_path: Path) -> None:
    site = _write(tmp_path, "[assembly]\nquiet_period_s = 5\n")
    assert read_settings(site, environment={}).assembly.quiet_period_s == 5.0


def test_the_file_that_is_given_wins_over_the_one_that_a_variable_names(tmp_path: Path) -> None:
    site = _write(tmp_path, '[node]\nae_title = "GIVEN"\n')
    assert read_settings(site, environment={"GLIONODE_CONFIG": "/absent.toml"}).node.ae_title == "GIVEN"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[nodes]\nport = 1\n", r"unknown section \[nodes\]; did you mean node\?"),
        ("[printer]\nport = 1\n", r"unknown section \[printer\]; known: node, "),
        ("[node]\ndicomport = 1\n", r"unknown key node\.dicomport; did you mean dicom_port\?"),
        ("[node]\nx = 1\n", r"unknown key node\.x; known: folder, "),
        ('ae_title = "X"\n', r"unknown section \[ae_title\]"),
        ("[node\n", "site.toml: "),
        ('[node]\nae_title = ""\n', r"node\.ae_title"),
        ('[node]\nae_title = "SEVENTEENLETTERS1"\n', r"node\.ae_title"),
        ('[node]\nae_title = "A\\\\B"\n', r"node\.ae_title"),
        ('[processing]\nreference = "T2"\n', r"processing\.reference"),
        ('[oidc]\nissuer = "http://login.example.org"\n', r"oidc\.issuer 'http://login\.example\.org'"),
        ('[oidc]\nissuer = "https://a:b@login.example.org"\n', r"oidc\.issuer"),
        ('[oidc]\nscopes = "profile"\n', r'oidc\.scopes .*"openid" must be one of them'),
        ('[oidc]\nroles_claim = ""\n', r"oidc\.roles_claim .*must not be empty"),
        ('[processing]\nadmit = "under_18, small_lesion"\n', r"processing\.admit 'small_lesion': use some of "),
    ],
)
def test_an_unusable_file_is_explained(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        read_settings(_write(tmp_path, text), environment={})


def test_an_absent_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"/absent\.toml: No such file"):
        read_settings(Path("/absent.toml"), environment={})


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(b'[node]\nae_title = "\xff\xfe"\n')
    with pytest.raises(SettingsError, match=r"site\.toml"):
        read_settings(path, environment={})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("postgresql+psycopg://host/db", "postgresql+psycopg://host/db"),
        ("postgresql+psycopg://user@host/db", "postgresql+psycopg://user@host/db"),
        ("postgresql+psycopg://user:sesame@host/db", "postgresql+psycopg://user:***@host/db"),
        ("postgresql+psycopg://:sesame@host/db", "postgresql+psycopg://:***@host/db"),
        ("postgresql+psycopg://user:se:s@me@host/db", "postgresql+psycopg://user:***@host/db"),
        (
            "postgresql+psycopg://host/db?user=u&password=sesame&x=1",
            "postgresql+psycopg://host/db?user=u&password=***&x=1",
        ),
        (
            "postgresql+psycopg://host/db?user=u&sslpassword=sesame&passfile=/p",
            "postgresql+psycopg://host/db?user=u&sslpassword=***&passfile=***",
        ),
    ],
)
def test_the_password_of_the_database_is_masked(url: str, shown: str) -> None:
    settings = read_settings(environment={"GLIONODE_DATABASE_URL": url})
    assert masked_settings(settings)["database"]["url"] == shown
    assert settings.database.url == url


def test_the_database_is_sqlite_in_the_folder_unless_a_url_is_given(tmp_path: Path) -> None:
    folder = {"GLIONODE_NODE_FOLDER": str(tmp_path)}
    assert read_settings(environment=folder).database_url == f"sqlite:///{tmp_path}/glionode.sqlite"
    url = {"GLIONODE_DATABASE_URL": "postgresql+psycopg://host/db"}
    assert read_settings(environment={**folder, **url}).database_url == url["GLIONODE_DATABASE_URL"]


def test_settings_do_not_change() -> None:
    settings = read_settings(environment={})
    with pytest.raises(FrozenInstanceError):
        settings.node.folder = Path("elsewhere")  # type: ignore[misc]


def test_a_node_needs_a_listener() -> None:
    with pytest.raises(SettingsError, match=r"listener\.processes 0: must be at least 1"):
        read_settings(environment={"GLIONODE_LISTENER_PROCESSES": "0"})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GLIONODE_NODE_DICOMPORT", "GLIONODE_NODE_DICOM_PORT"),
        ("GLIONODE_LIMITS_FREE_DISK_GB", "GLIONODE_LIMITS_FREE_DISK_GIB"),
        ("GLIONODE_PROCESING_MODEL", "GLIONODE_PROCESSING_MODEL"),
    ],
)
def test_a_variable_that_nobody_knows_is_an_error_with_the_nearest_name(name: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown variable {name}; did you mean {meant}\\?"):
        read_settings(environment={name: "1"})


@pytest.mark.parametrize(
    "name",
    [
        "GLIONODE_DICOMWEB_AUTHORIZATION_PACS",
        "GLIONODE_ORTHANC_PASSWORD",
        "GLIONODE_PORT_8040_TCP_ADDR",  # of Kubernetes, where a service has this name
        "GLIONODE_SERVICE_HOST",
    ],
)
def test_variables_that_are_no_settings_are_left_alone(name: str) -> None:
    assert read_settings(environment={name: "tcp://10.0.0.1:8040"}) == read_settings(environment={})


def test_what_a_file_says_in_words_is_no_number(tmp_path: Path) -> None:
    site = _write(tmp_path, '[web]\nport = "many"\n')
    with pytest.raises(SettingsError, match=r"web\.port = 'many': input should be a valid integer"):
        read_settings(site, environment={})


@pytest.mark.parametrize(("gib", "size"), [("2", 2**31), ("0.5", 2**29), ("1e-9", 1)])
def test_limits_in_gib_are_bytes(gib: str, size: int) -> None:
    environment = {"GLIONODE_LIMITS_DATA_SET_GIB": gib, "GLIONODE_LIMITS_STEP_MEMORY_GIB": gib}
    limits = read_settings(environment=environment).limits
    assert (limits.data_set_bytes, limits.memory_bytes) == (size, size)


def test_a_step_without_a_limit_may_take_four_fifths_of_the_machine() -> None:
    known = Path("/proc/meminfo").read_text(encoding="ascii").split()
    machine = int(known[known.index("MemTotal:") + 1]) * 1024
    limits = read_settings(environment={"GLIONODE_LIMITS_STEP_MEMORY_GIB": "0"}).limits
    assert limits.memory_bytes == pytest.approx(0.8 * machine, rel=1e-3)


@pytest.mark.parametrize(
    ("wanted", "roles"), [("T1CE", ("T1CE",)), (" t1ce , flair,", ("T1CE", "FLAIR")), ("T1,T1", ("T1", "T1"))]
)
def test_wanted_sequences_are_read_in_any_case(wanted: str, roles: tuple[str, ...]) -> None:
    assert read_settings(environment={"GLIONODE_ASSEMBLY_WANTED": wanted}).assembly.wanted_roles == roles


@pytest.mark.parametrize("wanted", ["", " , ", "T1CE,DWI", "T1CE;FLAIR"])
def test_wanted_sequences_that_do_not_exist_are_told_with_those_that_do(wanted: str) -> None:
    with pytest.raises(SettingsError, match=r"assembly\.wanted '.*': use some of T1, T1CE, T2, FLAIR"):
        read_settings(environment={"GLIONODE_ASSEMBLY_WANTED": wanted})


def test_flags_that_are_admitted_are_separated_by_commas() -> None:
    admitted = read_settings(environment={"GLIONODE_PROCESSING_ADMIT": " under_18 ,, not_a_brain"}).processing.admitted
    assert admitted == {"under_18", "not_a_brain"}
    with pytest.raises(SettingsError, match=r"processing\.admit 'A, Z': use some of low_agreement, not_a_brain, "):
        read_settings(environment={"GLIONODE_PROCESSING_ADMIT": "Z,under_18,A"})


@pytest.mark.parametrize(
    "key", ["association_timeout_s", "network_timeout_s", "maximum_associations", "waiting_connections"]
)
@pytest.mark.parametrize("number", ["0", "-1"])
def test_a_limit_at_which_no_sender_could_reach_the_node_is_refused(key: str, number: str) -> None:
    with pytest.raises(SettingsError, match=rf"listener\.{key} {number}: must be at least 1"):
        read_settings(environment={f"GLIONODE_LISTENER_{key.upper()}": number})
