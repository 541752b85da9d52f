"""How the login by OpenID Connect is set up: the addresses that the provider leads back to, and what is missing."""

from dicom_node.access.openid.secret import client_secret
from dicom_node.oidc_settings import is_safe_address
from dicom_node.settings import Settings, SettingsError
from dicom_node.web.addresses import panel_address
from dicom_node.web.secure_login import is_loopback

__all__ = ["CALLBACK", "PROVIDER_LOGIN", "redirect_uri", "unusable_provider", "what_to_register"]

PROVIDER_LOGIN = "/login/oidc"
CALLBACK = PROVIDER_LOGIN + "/callback"


def redirect_uri(settings: Settings) -> str:
    """Return the address to which the provider leads back: a declared one, whatever host a request states."""
    return panel_address(settings) + CALLBACK


def unusable_provider(settings: Settings) -> str:
    """Return why nobody could log in by OpenID Connect with these settings; empty if they can, or it is off."""
    oidc = settings.oidc
    if not oidc.is_on:
        return ""
    if not oidc.client_id:
        return "oidc.client_id: state the ID that this node has at the provider of oidc.issuer"
    if not any(oidc.groups(role) for role in ("viewer", "operator", "administrator")):
        return "oidc.viewer, oidc.operator and oidc.administrator: state groups for one of them at least"
    if problem := _unusable_address(settings):
        return problem
    try:
        client_secret(oidc)
    except SettingsError as error:
        return str(error)
    return ""


def _unusable_address(settings: Settings) -> str:
    if not settings.web.address and not is_loopback(settings.web.bind):
        return "oidc.issuer needs web.address: how browsers reach the panel, such as https://node.example.org"
    if not is_safe_address(panel_address(settings)):
        return f"oidc.issuer needs HTTPS, and web.address is {settings.web.address!r}"
    return ""


def what_to_register(settings: Settings) -> str:
    """Return what an administrator of the provider enters there for this node."""
    return f"Log in with {settings.oidc.name}: register the redirect URI {redirect_uri(settings)}"
