"""What is recorded of a request to panel or viewer, by route: whoever adds a route adds a line here.

A test lists the routes of both ports and holds that each has its line. A route without one is recorded all the same,
as what its method suggests (`unknown_route`).
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from starlette.routing import compile_path

from dicom_node.audit.codes import Action, EventType

__all__ = ["PANEL", "VIEWER", "Kind", "RouteTable", "Rule", "unknown_route"]


class Kind(enum.Enum):
    """What a request is in terms of PS3.15 A.5.3."""

    NOTHING = "nothing"  # shows no patient data, changes nothing
    LOOK = "look"  # DICOM Instances Accessed, read
    STUDY_CHANGE = "study change"  # DICOM Instances Accessed, update
    SEARCH = "search"  # Query
    CHANGE = "change"  # Security Alert, with the type of the change
    LOGIN = "login"  # User Authentication
    LOGOUT = "logout"
    IMPORT = "import"  # files come to the workbench
    EXPORT = "export"  # files leave it
    LOG_USED = "log used"  # Audit Log Used


@dataclass(frozen=True)
class Rule:
    """What is recorded of requests to one route.

    Attributes
    ----------
    study
        Parameter of the path or the query that names the study, by key or UID.
    kind_of_change
        Of a `Kind.CHANGE`.
    what
        What the message says was changed or done; for `Kind.NOTHING`, why nothing is recorded.
    """

    kind: Kind
    what: str = ""
    study: str = "key"
    kind_of_change: EventType = EventType.SOFTWARE_CONFIGURATION

    @property
    def is_refusable(self) -> bool:
        """Whether a request is refused while it cannot be recorded; a login is not, so that one can see why."""
        return self.kind not in (Kind.NOTHING, Kind.LOGIN, Kind.LOGOUT)

    @property
    def action(self) -> Action:
        """EventActionCode."""
        return Action.READ if self.kind is Kind.LOOK else Action.UPDATE


def _nothing(why: str) -> Rule:
    return Rule(Kind.NOTHING, why)


_PAGE = _nothing("shows no patient data")
_NODE = _nothing("an answer about the node alone")
_OWN = _nothing("their own uploads, which nobody else sees")
_PEERS = Rule(Kind.CHANGE, "peers", kind_of_change=EventType.NETWORK_CONFIGURATION)
_RULES = Rule(Kind.CHANGE, "site rules")
_ROUTING = Rule(Kind.CHANGE, "routing rules")
_USERS = Rule(Kind.CHANGE, "users", kind_of_change=EventType.USER_CHANGED)
_TOKENS = Rule(Kind.CHANGE, "tokens of programs", kind_of_change=EventType.SECURITY_CONFIGURATION)
_SEGMENT = "/api/v1/segment"

PANEL: Mapping[tuple[str, str], Rule] = MappingProxyType(
    {
        ("GET", "/"): _PAGE,
        ("GET", "/login"): _PAGE,
        ("POST", "/login"): Rule(Kind.LOGIN),
        ("GET", "/login/oidc"): _nothing("leads to the provider, where the login begins"),
        ("GET", "/login/oidc/callback"): Rule(Kind.LOGIN),
        ("POST", "/logout"): Rule(Kind.LOGOUT),
        ("GET", "/healthz"): _NODE,
        ("GET", "/readyz"): _NODE,
        ("GET", "/metrics"): _NODE,
        ("GET", "/static/{path:path}"): _PAGE,
        ("GET", "/niivue/{path:path}"): _PAGE,
        ("GET", "/swagger/{path:path}"): _PAGE,
        ("GET", "/docs"): _PAGE,
        ("GET", "/help"): _PAGE,
        ("GET", "/api/openapi.json"): _PAGE,
        ("GET", "/system"): _NODE,
        ("GET", "/system/configuration.toml"): _NODE,
        ("GET", "/system/configuration"): _NODE,
        ("POST", "/system/configuration"): _nothing("a preview"),
        ("POST", "/system/configuration/confirmed"): Rule(Kind.CHANGE, "configuration"),
        ("POST", "/system/support-bundle"): _NODE,
        ("POST", "/system/models/{action}"): Rule(Kind.CHANGE, "models"),
        ("GET", "/system/conformance"): _NODE,
        ("GET", "/system/conformance.pdf"): _NODE,
        ("GET", "/system/conformance.json"): _NODE,
        ("GET", "/system/notifications"): _NODE,
        ("POST", "/system/notifications/test"): _nothing("sends a sentence about the node alone"),
        ("GET", "/studies"): Rule(Kind.SEARCH, "studies"),
        ("POST", "/studies"): Rule(Kind.SEARCH, "studies"),
        ("GET", "/studies/{key}"): Rule(Kind.LOOK, "page of the study"),
        ("GET", "/studies/{key}/pictures/{name}"): Rule(Kind.LOOK, "page of the study"),
        ("POST", "/studies/{key}/opinion"): Rule(Kind.STUDY_CHANGE, "opinion"),
        ("POST", "/studies/{key}/{action}"): Rule(Kind.STUDY_CHANGE, "run"),
        ("GET", "/work"): Rule(Kind.SEARCH, "work"),
        ("GET", "/work/events"): Rule(Kind.SEARCH, "work"),
        ("GET", "/fetch"): _PAGE,
        ("POST", "/fetch"): _nothing("the fetching itself records the query and what arrives"),
        ("POST", "/maintenance/{state}"): Rule(Kind.CHANGE, "maintenance"),
        ("GET", "/setup"): _PAGE,
        ("GET", "/setup/name"): _NODE,
        ("POST", "/setup/name"): _nothing("shows lines for the settings file, and changes nothing"),
        ("GET", "/setup/pacs"): _NODE,
        ("POST", "/setup/pacs"): _PEERS,
        ("POST", "/setup/pacs/echo"): _NODE,
        ("POST", "/setup/pacs/test"): _nothing("a synthetic study"),
        ("GET", "/setup/orthanc"): _PAGE,
        ("POST", "/setup/orthanc"): _PEERS,
        ("GET", "/setup/there"): _NODE,
        ("GET", "/setup/end"): _NODE,
        ("POST", "/setup/end"): _nothing("which page was left, and nothing that the node acts on"),
        ("POST", "/setup/next"): _nothing("which page was left, and nothing that the node acts on"),
        ("GET", "/peers"): _NODE,
        ("POST", "/peers"): _PEERS,
        ("GET", "/peers.toml"): _NODE,
        ("GET", "/peers-import"): _NODE,
        ("POST", "/peers-import"): _nothing("a preview"),
        ("POST", "/peers-import/confirmed"): _PEERS,
        ("GET", "/peers/{name}"): _NODE,
        ("POST", "/peers/{name}"): _PEERS,
        ("POST", "/peers/{name}/echo"): _NODE,
        ("POST", "/peers/{name}/test"): _nothing("a synthetic study"),
        ("GET", "/peers/{name}/remove"): _NODE,
        ("POST", "/peers/{name}/remove"): _PEERS,
        ("POST", "/peers/{name}/{action}"): _PEERS,
        ("GET", "/api/v1/peers.toml"): _NODE,
        ("PUT", "/api/v1/peers.toml"): _PEERS,
        ("GET", "/api/v1/peers"): _NODE,
        ("POST", "/api/v1/peers"): _PEERS,
        ("GET", "/api/v1/peers/{name}"): _NODE,
        ("PATCH", "/api/v1/peers/{name}"): _PEERS,
        ("PUT", "/api/v1/peers/{name}"): _PEERS,
        ("DELETE", "/api/v1/peers/{name}"): _PEERS,
        ("POST", "/api/v1/peers/{name}/echo"): _NODE,
        ("GET", "/api/v1/peers/{name}/tests"): _NODE,
        ("POST", "/api/v1/peers/{name}/tests"): _nothing("a synthetic study"),
        ("GET", "/api/peers"): _NODE,
        ("POST", "/api/peers"): _PEERS,
        ("GET", "/api/peers/{name}"): _NODE,
        ("PATCH", "/api/peers/{name}"): _PEERS,
        ("PUT", "/api/peers/{name}"): _PEERS,
        ("DELETE", "/api/peers/{name}"): _PEERS,
        ("POST", "/api/peers/{name}/echo"): _NODE,
        ("GET", "/routing"): _NODE,
        ("POST", "/routing"): _ROUTING,
        ("GET", "/routing/rule"): _NODE,
        ("GET", "/routing/export"): _NODE,
        ("POST", "/routing/preview"): _nothing("changes nothing, and shows keys of studies alone"),
        ("POST", "/routing/up"): _ROUTING,
        ("POST", "/routing/remove"): _ROUTING,
        ("POST", "/routing/restore"): _ROUTING,
        ("GET", "/api/v1/routes"): _NODE,
        ("PUT", "/api/v1/routes"): _ROUTING,
        ("POST", "/api/v1/routes/try"): _nothing("changes nothing, and shows keys of studies alone"),
        ("GET", "/api/v1/routes/versions"): _NODE,
        ("POST", "/api/v1/routes/versions/{number}/restore"): _ROUTING,
        ("GET", "/users"): _NODE,
        ("POST", "/users"): _USERS,
        ("POST", "/users/{name}/role"): Rule(Kind.CHANGE, "role", kind_of_change=EventType.ROLES_CHANGED),
        ("POST", "/users/{name}/{action}"): _USERS,
        ("GET", "/account"): _PAGE,
        ("POST", "/account/password"): Rule(Kind.CHANGE, "own password", kind_of_change=EventType.USER_CHANGED),
        ("POST", "/account/logout-everywhere"): Rule(Kind.LOGOUT),
        ("GET", "/tokens"): _NODE,
        ("POST", "/tokens"): _TOKENS,
        ("POST", "/tokens/remove"): _TOKENS,
        ("GET", "/rules"): _NODE,
        ("GET", "/rules/export"): _NODE,
        ("POST", "/rules/preview"): _nothing("changes nothing, and shows keys of studies alone"),
        ("POST", "/rules"): _RULES,
        ("POST", "/rules/remove"): _RULES,
        ("POST", "/rules/move"): _RULES,
        ("GET", "/workbench"): _OWN,
        ("GET", "/workbench/{job_id}"): _OWN,
        ("GET", _SEGMENT): _OWN,
        ("POST", _SEGMENT): Rule(Kind.IMPORT, "files for the workbench"),
        ("POST", f"{_SEGMENT}/roles"): _OWN,
        ("POST", f"{_SEGMENT}/example"): _nothing("a synthetic study"),
        ("GET", f"{_SEGMENT}/{{job_id}}"): _OWN,
        ("GET", f"{_SEGMENT}/{{job_id}}/events"): _OWN,
        ("GET", f"{_SEGMENT}/{{job_id}}/result"): Rule(Kind.EXPORT, "result of the workbench", study="job_id"),
        ("GET", f"{_SEGMENT}/{{job_id}}/files/{{name}}"): Rule(Kind.EXPORT, "result of the workbench", study="job_id"),
        ("DELETE", f"{_SEGMENT}/{{job_id}}"): _OWN,
    }
)
"""Routes of the panel, in the order in which they are tried."""

_ROOT = "/dicom-web"
_STUDY = _ROOT + "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"
_QIDO = Rule(Kind.SEARCH, "QIDO-RS")
_STORE = Rule(Kind.IMPORT, "segmentations or reports by STOW-RS")
_WADO = Rule(Kind.LOOK, "viewer or DICOMweb", study="study")

VIEWER: Mapping[tuple[str, str], Rule] = MappingProxyType(
    {
        ("GET", _ROOT + "/studies"): _QIDO,
        ("GET", _STUDY + "/series"): _QIDO,
        ("GET", _STUDY + "/instances"): _QIDO,
        ("GET", _SERIES + "/instances"): _QIDO,
        ("GET", _STUDY): _WADO,
        ("GET", _STUDY + "/metadata"): _WADO,
        ("GET", _SERIES): _WADO,
        ("GET", _SERIES + "/metadata"): _WADO,
        ("GET", _INSTANCE): _WADO,
        ("GET", _INSTANCE + "/metadata"): _WADO,
        ("GET", _INSTANCE + "/frames/{frames}"): _WADO,
        ("GET", _INSTANCE + "/bulkdata/{path:path}"): _WADO,
        ("POST", _ROOT + "/studies"): _STORE,
        ("POST", _STUDY): _STORE,
        ("GET", "/wado"): Rule(Kind.LOOK, "viewer or DICOMweb", study="studyUID"),
        ("GET", "/open/{key}"): Rule(Kind.LOOK, "viewer or DICOMweb"),
        ("GET", "/correct/{key}"): Rule(Kind.LOOK, "viewer or DICOMweb"),
        ("GET", "/dicom-web/{path:path}"): _nothing("answered by 404"),
        ("GET", "/app-config.js"): _PAGE,
        ("GET", "/{path:path}"): _PAGE,
    }
)
"""Routes of the viewer's port, in the order in which they are tried."""


def unknown_route(method: str, path: str) -> Rule:
    """Return what is recorded of a route that the table does not know."""
    if method in ("GET", "HEAD"):
        return _PAGE
    return Rule(Kind.CHANGE, path.split("/")[1][:40] if "/" in path else "panel")


class RouteTable:
    """Finds the line of a request.

    Parameters
    ----------
    lines
        Rules by method and path, as the routes state them.
    """

    def __init__(self, lines: Mapping[tuple[str, str], Rule]) -> None:
        self._lines = [(method, compile_path(path)[0], rule) for (method, path), rule in lines.items()]

    def rule_of(self, method: str, path: str) -> tuple[Rule, dict[str, str]]:
        """Return what is recorded of a request, and the parameters in its path."""
        asked = "GET" if method == "HEAD" else method
        for known, pattern, rule in self._lines:
            if known == asked and (found := pattern.match(path)):
                return rule, found.groupdict()
        return unknown_route(asked, path), {}
