"""Records requests in the audit trail, in one place for each port; the table of the routes says what.

A look at patient data is recorded before the answer goes out, and refused (503) where it cannot be. A change is refused
before it is made where it could not be recorded; it is recorded once it was made, with its outcome.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from pydicom.datadict import dictionary_VR, tag_for_keyword
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_node.audit.codes import EventType, Outcome, Role
from dicom_node.audit.events import WITHHELD, Actor, SearchAsked
from dicom_node.audit.message import AuditMessage
from dicom_node.audit.trail import AuditTrail
from dicom_node.web.audit_table import Kind, RouteTable, Rule

__all__ = ["Recorded", "without_names"]

REFUSED = "This is not shown or changed at the moment, because that cannot be recorded: {why}. Tell the administrator."

_DENIED = (401, 403)
_SHOWN_VRS = ("UI", "DA", "TM", "DT", "CS", "IS", "US")
"""Values of a query that name nobody; a Patient ID is shown as well, as a message states it anyway."""

_OF_THE_QUERY = ("limit", "offset", "includefield", "fuzzymatching")


class Recorded:
    """Records what the table says of each request.

    Parameters
    ----------
    app
        Panel or viewer.
    table
        Its routes.
    nobody
        Who a caller without a name is, such as ``viewer``.
    """

    def __init__(self, app: ASGIApp, trail: AuditTrail, table: RouteTable, nobody: str = "") -> None:
        self._app, self._trail, self._table, self._nobody = app, trail, table, nobody

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        rule, parameters = self._table.rule_of(scope["method"], scope["path"])
        if rule.is_refusable and (why := await run_in_threadpool(self._trail.refusal)):
            await _refusal(why)(scope, receive, send)
            return
        is_refused = False

        async def send_recorded(message: Message) -> None:
            nonlocal is_refused
            if message["type"] == "http.response.start":
                done = await run_in_threadpool(self._record, scope, rule, parameters, message["status"])
                is_refused = not done and rule.kind in (Kind.LOOK, Kind.SEARCH, Kind.EXPORT)
                if is_refused:
                    await _refusal("the audit trail cannot be written")(scope, receive, send)
            if not is_refused:
                await send(message)

        await self._app(scope, receive, send_recorded)

    def _record(self, scope: Scope, rule: Rule, parameters: Mapping[str, str], status: int) -> bool:
        """Record one request once its status is known; return whether that was possible."""
        actor = self._actor(scope)
        if status in _DENIED and rule.kind is not Kind.LOGIN:
            return self._record_denied(actor, status)
        if rule.kind is Kind.LOGIN:
            return self._record_login(scope, actor, status)
        if rule.kind is Kind.NOTHING or status >= 400 or not actor.name:
            return True  # nobody saw or changed anything
        return self._record_done(scope, rule, parameters, actor)

    def _record_login(self, scope: Scope, actor: Actor, status: int) -> bool:
        """Record a login, and what it changed about the user as an identity provider states it."""
        report = self._trail.report
        outcome = Outcome.SUCCESS if status < 400 else Outcome.MINOR
        done = self._trail.record(report.authentication(actor, EventType.LOGIN, outcome))
        if changed := (scope.get("state") or {}).get("user_changed"):
            subject = f"users {actor.name} {changed}"
            alert = report.alert(actor.participant(), EventType.USER_CHANGED, "identity provider", subject)
            done = self._trail.record(alert) and done
        return done

    def _record_done(self, scope: Scope, rule: Rule, parameters: Mapping[str, str], actor: Actor) -> bool:
        name = parameters.get(rule.study) or _query(scope).get(rule.study, "")
        if rule.kind is Kind.SEARCH:
            return self._record_search(scope, rule, actor)
        if rule.kind is Kind.LOOK:
            return self._record_look(rule, name, actor)
        if rule.kind is Kind.EXPORT:
            message = self._trail.report.exported(actor, [], actor.address or "unknown", f"{rule.what} {name}")
            return self._trail.record_once((rule.what, name, actor), message)
        return self._trail.record(self._message(rule, name, parameters, actor))

    def _message(self, rule: Rule, name: str, parameters: Mapping[str, str], actor: Actor) -> AuditMessage:
        """Return what is recorded of a request each time."""
        report = self._trail.report
        match rule.kind:
            case Kind.LOGOUT:
                return report.authentication(actor, EventType.LOGOUT, Outcome.SUCCESS)
            case Kind.IMPORT:
                return report.imported(actor, rule.what)
            case Kind.LOG_USED:
                return report.log_used(actor, self._trail.uri)
            case Kind.STUDY_CHANGE:
                what = " ".join([rule.what, parameters.get("action", "")]).strip()
                return report.accessed(actor, self._trail.study(name), rule.action, what)
            case _:
                subject = " ".join([rule.what, *parameters.values()])
                return report.alert(actor.participant(), rule.kind_of_change, rule.what, subject)

    def _record_look(self, rule: Rule, name: str, actor: Actor) -> bool:
        what = (rule.what, name, actor)
        if self._trail.was_recorded(what):  # one of hundreds of slices of one study
            return True
        message = self._trail.report.accessed(actor, self._trail.study(name), rule.action, rule.what)
        return self._trail.record_once(what, message)

    def _record_search(self, scope: Scope, rule: Rule, actor: Actor) -> bool:
        text = without_names(scope["path"], scope["query_string"].decode("latin-1"))
        search = SearchAsked(text=text.encode(), what=rule.what)
        asking, answering = actor.participant(Role.SOURCE), self._trail.report.itself(Role.DESTINATION)
        return self._trail.record_once((rule.what, text, actor), self._trail.report.asked(asking, answering, search))

    def _record_denied(self, actor: Actor, status: int) -> bool:
        kind = EventType.RESTRICTED_FUNCTION
        alert = self._trail.report.alert(actor.participant(), kind, "panel", f"refused: {status}", Outcome.MINOR)
        self._trail.record_once(("denied", status, actor), alert)
        return True

    def _actor(self, scope: Scope) -> Actor:
        """Return who calls, as the panel's login names it; of a login, who is logged in by it."""
        state = scope.get("state") or {}
        user = state.get("logged_in_as") or state.get("user") or ""
        name = str(getattr(user, "name", user)) or self._nobody
        return Actor(name=name, address=_address(scope), token=str(getattr(user, "token", "")))


def without_names(path: str, query: str) -> str:
    """Return a query as it is recorded: its fields, and only values that name nobody."""
    shown = []
    for name, value in parse_qsl(query, keep_blank_values=True)[:100]:
        tag = None
        if name not in _OF_THE_QUERY:
            tag = int(name, 16) if _is_tag(name) else tag_for_keyword(name)
            if tag is None:
                continue  # no attribute: whatever it is, it was not searched for
        shown.append((name, value if tag is None or _names_nobody(tag) else WITHHELD))
    return f"{path}?{urlencode(shown)}" if shown else path


_PATIENT_ID = 0x00100020


def _is_tag(name: str) -> bool:
    return len(name) == 8 and all(letter in "0123456789abcdefABCDEF" for letter in name)


def _names_nobody(tag: int) -> bool:
    try:
        return tag == _PATIENT_ID or dictionary_VR(tag) in _SHOWN_VRS
    except KeyError:
        return False


def _address(scope: Scope) -> str:
    """Return the caller's IP address; a proxy on this machine states it in a header, where anything may stand."""
    stated = str((scope.get("client") or ("",))[0])
    try:
        return str(ipaddress.ip_address(stated))
    except ValueError:
        return ""


def _query(scope: Scope) -> QueryParams:
    return QueryParams(scope["query_string"].decode("latin-1"))


def _refusal(why: str) -> PlainTextResponse:
    headers = {"Cache-Control": "no-store", "Retry-After": "60"}
    return PlainTextResponse(REFUSED.format(why=why) + "\n", 503, headers=headers)
