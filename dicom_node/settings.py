"""Process settings: defaults from ``config/default.toml``, overridden by a site file and the environment."""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from dicom_node.oidc_settings import OidcSettings
from dicom_node.outward_settings import NotificationSettings, TelemetrySettings, masked_url
from dicom_node.settings_error import SettingsError
from dicom_node.web_settings import ViewerSettings, WebSettings, WorkbenchSettings

__all__ = [
    "AssemblySettings",
    "DatabaseSettings",
    "LimitsSettings",
    "ListenerSettings",
    "NodeSettings",
    "NotificationSettings",
    "OidcSettings",
    "ProcessingSettings",
    "RetentionSettings",
    "Settings",
    "SettingsError",
    "TelemetrySettings",
    "ViewerSettings",
    "WebSettings",
    "WorkbenchSettings",
    "config_folder",
    "masked_settings",
    "read_settings",
]
WITHHOLDING = frozenset({"not_a_brain", "out_of_distribution", "low_agreement", "under_18"})
"""Flags that can withhold a result; a test compares them with `inference.flags`, which the listener never loads."""
ROLES = ("T1", "T1CE", "T2", "FLAIR")
"""Sequences that the node can wait for; a test compares them with `conversion.sequences`."""

MEMORY_SHARE = 0.8
PREFIX = "GLIONODE_"
OTHER_VARIABLES = re.compile(
    r"CONFIG|OIDC_CLIENT_SECRET|(DICOMWEB|NOTIFY|ORTHANC|TEST|FUZZ)_\w+|ARRIVALS|WITHOUT_TORCH|UPDATE_SCREENSHOT"
    r"|SERVICE_\w+|PORT(_\w+)?"  # what Kubernetes sets for a service of this name
)
"""Variables that begin like settings but are not."""

_NOTHING_ELSE = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_NOTHING_ELSE)
class NodeSettings:
    """Identity, address and folder of the node."""

    folder: Path
    ae_title: str
    further_ae_titles: str
    bind: str
    dicom_port: int
    any_calling_ae: bool

    @property
    def ae_titles(self) -> tuple[str, ...]:
        """Every AE title by which the node may be called; it calls others by the first."""
        return tuple(one.strip() for one in (self.ae_title, *self.further_ae_titles.split(",")) if one.strip())

    def __post_init__(self) -> None:
        """Refuse AE titles that DICOM does not allow (PS3.5 6.2, VR AE)."""
        for title in (self.ae_title.strip(), *self.ae_titles):
            if not 1 <= len(title) <= 16 or not title.isascii() or "\\" in title:
                key = "ae_title" if title == self.ae_title.strip() else "further_ae_titles"
                message = f"node.{key} {title!r}: an AE title has 1 to 16 ASCII characters and no backslash"
                raise SettingsError(message)


@dataclass(frozen=True, kw_only=True, config=_NOTHING_ELSE)
class DatabaseSettings:
    """Where the node keeps its database."""

    url: str


@dataclass(frozen=True, kw_only=True, config=_NOTHING_ELSE)
class ListenerSettings:
    """Limits of the DICOM listener."""

    association_timeout_s: int
    dimse_timeout_s: int
    network_timeout_s: int
    maximum_associations: int
    waiting_connections: int
    processes: int

    def __post_init__(self) -> None:
        """Refuse limits with which no sender could reach the node."""
        for key in (
            "association_timeout_s",
            "network_timeout_s",
            "maximum_associations",
            "waiting_connections",
            "processes",
        ):
            if getattr(self, key) < 1:
                message = f"listener.{key} {getattr(self, key)}: must be at least 1"
                raise SettingsError(message)


@dataclass(frozen=True, kw_only=True, config=_NOTHING_ELSE)
class AssemblySettings:
    """When a study counts as complete."""

    quiet_period_s: float
    wanted: str

    @property
    def wanted_roles(self) -> tuple[str, ...]:
        """Sequences that the node waits for."""
        return tuple(role.strip().upper() for role in self.wanted.split(",") if role.strip())

    def __post_init__(self) -> None:
        """Refuse unknown sequences."""
        if not self.wanted_roles or not set(self.wanted_roles) <= set(ROLES):
            message = f"assembly.wanted {self.wanted!r}: use some of {', '.join(ROLES)}"
            raise SettingsError(message)


@dataclass(frozen=True, kw_only=True, config=_NOTHING_ELSE)
class ProcessingSettings:
    """Settings that change a result; their hash is part of every result's UID."""

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
        """Refuse a reference on whose grid no result can be made, and flags that withhold nothing."""
        if unknown := sorted(self.admitted - WITHHOLDING):
            message = f"processing.admit {', '.join(unknown)!r}: use some of {', '.join(sorted(WITHHOLDING))}"
            raise SettingsError(message)
        if self.reference not in ("T1CE", "FLAIR"):
            message = f'processing.reference {self.reference!r}: use "T1CE" or "FLAIR"'
            raise SettingsError(message)


@dataclass(frozen=True, kw_only=True, config=_NOTHING_ELSE)
class LimitsSettings:
    """Limits of a step, of the disk and of a data set."""

    step_time_s: float
    step_memory_gib: float
    free_disk_gib: float
    data_set_gib: float

    @property
    def data_set_bytes(self) -> int:
        """The largest data set that is accepted."""
        return round(self.data_set_gib * 2**30)

    @property
    def memory_bytes(self) -> int:
        """Memory that a step may take; by default four fifths of the machine's."""
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return round(self.step_memory_gib * 2**30) if self.step_memory_gib else round(machine * MEMORY_SHARE)


@dataclass(frozen=True, kw_only=True, config=_NOTHING_ELSE)
class RetentionSettings:
    """How long data of finished studies are kept, in days; 0 keeps them for ever."""

    pixels_days: float
    results_days: float
    history_days: float


@dataclass(frozen=True, kw_only=True, config=_NOTHING_ELSE)
class Settings:
    """All sections; see ``config/default.toml`` for the meaning of each key."""

    node: NodeSettings
    database: DatabaseSettings
    listener: ListenerSettings
    assembly: AssemblySettings
    processing: ProcessingSettings
    limits: LimitsSettings
    retention: RetentionSettings
    workbench: WorkbenchSettings
    notifications: NotificationSettings
    telemetry: TelemetrySettings
    web: WebSettings
    oidc: OidcSettings
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
        Environment variables; by default the process's own.

    Raises
    ------
    SettingsError
        For an unreadable file, an unknown section, key or variable, or a value of the wrong type.
    """
    variables = os.environ if environment is None else environment
    named = variables.get("GLIONODE_CONFIG")
    path = site_file or (Path(named) if named else None)
    defaults = _read_toml(config_folder() / "default.toml")
    if path is not None:
        _check_names(defaults, _read_toml(path), str(path))
    _check_variables(defaults, variables)

    class Sources(_Sections):
        @classmethod
        def settings_customise_sources(  # type: ignore[override]  # none of the library's own sources is used
            cls, settings_cls: type[BaseSettings], **_sources: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            files = [path] if path is not None else []
            read = [TomlConfigSettingsSource(settings_cls, one) for one in (*files, config_folder() / "default.toml")]
            return _Variables(settings_cls, variables), *read

    try:
        sections = Sources()  # type: ignore[call-arg]  # its sources give the arguments
    except ValidationError as error:
        raise SettingsError(_sentence(error, variables)) from error
    return Settings(**{name: getattr(sections, name) for name in Sources.model_fields})


class _Sections(BaseSettings):
    """The sections as the library reads them: a variable is GLIONODE_<SECTION>_<KEY>."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="_", env_nested_max_split=1, extra="forbid", frozen=True
    )
    node: NodeSettings
    database: DatabaseSettings
    listener: ListenerSettings
    assembly: AssemblySettings
    processing: ProcessingSettings
    limits: LimitsSettings
    retention: RetentionSettings
    workbench: WorkbenchSettings
    notifications: NotificationSettings
    telemetry: TelemetrySettings
    web: WebSettings
    oidc: OidcSettings
    viewer: ViewerSettings


class _Variables(EnvSettingsSource):
    """Given variables instead of the process's own."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str]) -> None:
        others = {name for name in variables if OTHER_VARIABLES.fullmatch(name.removeprefix(PREFIX))}
        self._given = {name.lower(): text for name, text in variables.items() if name not in others}
        super().__init__(settings_cls)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._given


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"settings file {path}: {error.strerror}"
        raise SettingsError(message) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = f"settings file {path}: {error}"
        raise SettingsError(message) from error


def _check_names(known: Mapping[str, Mapping[str, Any]], site: Mapping[str, Any], origin: str) -> None:
    for section, keys in site.items():
        if section not in known or not isinstance(keys, dict):
            message = f"{origin}: unknown section [{section}]; {_nearest(section, known)}"
            raise SettingsError(message)
        for key in keys:
            if key not in known[section]:
                message = f"{origin}: unknown key {section}.{key}; {_nearest(key, known[section])}"
                raise SettingsError(message)


def _check_variables(known: Mapping[str, Mapping[str, Any]], variables: Iterable[str]) -> None:
    names = [f"{PREFIX}{section}_{key}".upper() for section, keys in known.items() for key in keys]
    for name in variables:
        if name.startswith(PREFIX) and name not in names and not OTHER_VARIABLES.fullmatch(name.removeprefix(PREFIX)):
            message = f"unknown variable {name}; {_nearest(name, names)}"
            raise SettingsError(message)


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return the name that was probably meant, or all known names."""
    found = get_close_matches(name, list(known), n=1)
    return f"did you mean {found[0]}?" if found else f"known: {', '.join(known)}"


def _sentence(error: ValidationError, variables: Mapping[str, str]) -> str:
    """Return the first error, with the name of the key or of the variable that caused it."""
    first = error.errors(include_url=False)[0]
    if isinstance(own := first.get("ctx", {}).get("error"), SettingsError):
        return str(own)
    key, message = ".".join(str(part) for part in first["loc"]), first["msg"][:1].lower() + first["msg"][1:]
    variable = f"{PREFIX}{key.replace('.', '_')}".upper()
    if variable in variables:
        return f"{variable}={variables[variable]!r}: {message}"
    return f"{key} = {first['input']!r}: {message}"


def masked_settings(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return every section as plain values, with what may be secret in addresses hidden."""
    shown: dict[str, dict[str, Any]] = asdict(settings)
    shown["node"]["folder"] = str(settings.node.folder)
    for section, key in (("notifications", "webhook"), ("telemetry", "endpoint")):
        shown[section][key] = masked_url(shown[section][key])
    url = re.sub(r"(://[^:/@?]*):.*@", r"\1:***@", settings.database.url)
    shown["database"]["url"] = re.sub(r"([?&]\w*pass\w*=)[^&]*", r"\1***", url)
    return shown
