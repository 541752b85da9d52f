"""Process settings: defaults from ``config/default.toml``, overridden by a site file and the environment."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

__all__ = [
    "AssemblySettings",
    "DatabaseSettings",
    "LimitsSettings",
    "ListenerSettings",
    "NodeSettings",
    "ProcessingSettings",
    "RetentionSettings",
    "Settings",
    "SettingsError",
    "ViewerSettings",
    "WebSettings",
    "config_folder",
    "masked_settings",
    "read_settings",
]


WITHHOLDING = frozenset({"not_a_brain", "out_of_distribution", "low_agreement", "under_18"})
"""Flags that can withhold a result; a test holds them against `inference.flags`, which the listener never loads."""


ROLES = ("T1", "T1CE", "T2", "FLAIR")
"""Sequences that can be waited for; a test holds them against `conversion.sequences`."""


MEMORY_SHARE = 0.8


class SettingsError(ValueError):
    """A settings file or variable that cannot be used; the message says which key and what would work."""


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """Identity, address and folder of the node."""

    folder: Path
    ae_title: str
    bind: str
    dicom_port: int
    any_calling_ae: bool

    def __post_init__(self) -> None:
        """Refuse an AE title that DICOM does not allow (PS3.5 6.2, VR AE)."""
        if not 1 <= len(self.ae_title.strip()) <= 16 or not self.ae_title.isascii() or "\\" in self.ae_title:
            message = f"node.ae_title {self.ae_title!r}: an AE title has 1 to 16 ASCII characters and no backslash"
            raise SettingsError(message)


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings:
    """Where the node keeps its books."""

    url: str


@dataclass(frozen=True, kw_only=True)
class ListenerSettings:
    """Limits of the DICOM listener."""

    association_timeout_s: int
    dimse_timeout_s: int
    network_timeout_s: int
    maximum_associations: int
    waiting_connections: int
    processes: int

    def __post_init__(self) -> None:
        """Refuse a node that nobody could send to."""
        for key in (
            "association_timeout_s",
            "network_timeout_s",
            "maximum_associations",
            "waiting_connections",
            "processes",
        ):
            if getattr(self, key) < 1:
                message = f"listener.{key} {getattr(self, key)}: at least 1"
                raise SettingsError(message)


@dataclass(frozen=True, kw_only=True)
class AssemblySettings:
    """When a study counts as complete."""

    quiet_period_s: float
    wanted: str

    @property
    def wanted_roles(self) -> tuple[str, ...]:
        """Sequences that a study is waited for."""
        return tuple(role.strip().upper() for role in self.wanted.split(",") if role.strip())

    def __post_init__(self) -> None:
        """Refuse sequences that nobody knows."""
        if not self.wanted_roles or not set(self.wanted_roles) <= set(ROLES):
            message = f"assembly.wanted {self.wanted!r}: use some of {', '.join(ROLES)}"
            raise SettingsError(message)


@dataclass(frozen=True, kw_only=True)
class ProcessingSettings:
    """What changes a result; its hash is part of every result's UID."""

    reference: str
    model: str
    device: str
    threads: int
    admit: str

    @property
    def admitted(self) -> frozenset[str]:
        """Codes of the flags that do not withhold a result at this site."""
        return frozenset(code.strip() for code in self.admit.split(",") if code.strip())

    def __post_init__(self) -> None:
        """Refuse a reference on which no result can lie, and flags that withhold nothing."""
        if unknown := sorted(self.admitted - WITHHOLDING):
            message = f"processing.admit {', '.join(unknown)!r}: use some of {', '.join(sorted(WITHHOLDING))}"
            raise SettingsError(message)
        if self.reference not in ("T1CE", "FLAIR"):
            message = f'processing.reference {self.reference!r}: use "T1CE" or "FLAIR"'
            raise SettingsError(message)


@dataclass(frozen=True, kw_only=True)
class LimitsSettings:
    """What a step and the disk are allowed."""

    step_time_s: float
    step_memory_gib: float
    free_disk_gib: float
    data_set_gib: float

    @property
    def data_set_bytes(self) -> int:
        """The largest data set that is taken."""
        return round(self.data_set_gib * 2**30)

    @property
    def memory_bytes(self) -> int:
        """Memory that a step may take; by default four fifths of the machine's."""
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return round(self.step_memory_gib * 2**30) if self.step_memory_gib else round(machine * MEMORY_SHARE)


@dataclass(frozen=True, kw_only=True)
class RetentionSettings:
    """How long what is done with is kept, in days; 0 keeps it for ever."""

    pixels_days: float
    results_days: float
    history_days: float


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """Address of the panel."""

    bind: str
    port: int


@dataclass(frozen=True, kw_only=True)
class ViewerSettings:
    """Address of OHIF and the folder it was unpacked to."""

    bind: str
    port: int
    folder: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All sections; see ``config/default.toml`` for the meaning of each key."""

    node: NodeSettings
    database: DatabaseSettings
    listener: ListenerSettings
    assembly: AssemblySettings
    processing: ProcessingSettings
    limits: LimitsSettings
    retention: RetentionSettings
    web: WebSettings
    viewer: ViewerSettings

    @property
    def database_url(self) -> str:
        """The configured URL, or SQLite in the node's folder."""
        return self.database.url or f"sqlite:///{self.node.folder.absolute() / 'glionode.sqlite'}"


def config_folder() -> Path:
    """Return the folder of shipped configuration, in a wheel or in a source checkout."""
    installed = Path(__file__).parent / "_config"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "config"


def read_settings(site_file: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Merge defaults, site file and environment.

    Parameters
    ----------
    site_file
        TOML that overrides single keys; by default the file that GLIONODE_CONFIG names, if any.
    environment
        Variables to look at; by default the process's own.

    Raises
    ------
    SettingsError
        For an unreadable file, an unknown section or key, or a value of the wrong type.
    """
    variables = os.environ if environment is None else environment
    merged = _read_toml(config_folder() / "default.toml")
    named = variables.get("GLIONODE_CONFIG")
    path = site_file or (Path(named) if named else None)
    if path is not None:
        _override(merged, _read_toml(path), str(path))
    sections = get_type_hints(Settings)
    for section, keys in merged.items():
        for key in keys:
            name = f"GLIONODE_{section}_{key}".upper()
            if name in variables:
                keys[key] = _parse(variables[name], keys[key], name)
    built = {name: _section(cls, merged[name], name) for name, cls in sections.items()}
    return Settings(**built)


def _read_toml(path: Path) -> dict[str, dict[str, Any]]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"settings file {path}: {error.strerror}"
        raise SettingsError(message) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = f"settings file {path}: {error}"
        raise SettingsError(message) from error


def _override(merged: dict[str, dict[str, Any]], site: dict[str, dict[str, Any]], origin: str) -> None:
    for section, keys in site.items():
        if section not in merged or not isinstance(keys, dict):
            message = f"{origin}: unknown section [{section}]; known: {', '.join(merged)}"
            raise SettingsError(message)
        for key, value in keys.items():
            if key not in merged[section]:
                message = f"{origin}: unknown key {section}.{key}; known: {', '.join(merged[section])}"
                raise SettingsError(message)
            merged[section][key] = value


def _parse(text: str, default: object, name: str) -> object:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            message = f"{name}={text!r}: use true or false"
            raise SettingsError(message)
        return text.lower() == "true"
    try:
        return type(default)(text)  # type: ignore[call-arg]
    except ValueError as error:
        message = f"{name}={text!r}: a {type(default).__name__} is needed"
        raise SettingsError(message) from error


def _section(cls: type, values: Mapping[str, Any], section: str) -> Any:  # noqa: ANN401 - any of the classes above
    hints = get_type_hints(cls)
    converted = {}
    for field in fields(cls):
        value, wanted = values[field.name], hints[field.name]
        if wanted is Path and isinstance(value, str):
            value = Path(value)
        elif wanted is float and type(value) is int:
            value = float(value)
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            message = f"{section}.{field.name} = {value!r}: a {wanted.__name__} is needed"
            raise SettingsError(message)
        converted[field.name] = value
    return cls(**converted)


def masked_settings(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return every section as plain values, with the password of the database URL hidden."""
    shown: dict[str, dict[str, Any]] = asdict(settings)
    shown["node"]["folder"] = str(settings.node.folder)
    url = re.sub(r"(://[^:/@?]*):.*@", r"\1:***@", settings.database.url)
    shown["database"]["url"] = re.sub(r"([?&]password=)[^&]*", r"\1***", url)
    return shown
