"""A provider that signs with a key of its own, a panel whose users log in there, and a person's browser."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dicom_node.database.engine import Database
from dicom_node.settings import Settings
from tests.support.oidc_panel import browser, oidc_settings, panel_with_provider
from tests.support.signing_provider import CLIENT_ID, SigningProvider, signing_provider


@pytest.fixture
def provider() -> Iterator[SigningProvider]:
    """Run the provider."""
    with signing_provider() as started:
        yield started


@pytest.fixture
def settings(provider: SigningProvider, folder: Path) -> Settings:
    """Return settings of a panel whose users log in there."""
    return oidc_settings(folder, provider.url, CLIENT_ID)


@pytest.fixture
def panel(settings: Settings, database: Database) -> Iterator[str]:
    """Serve that panel, and give its address."""
    with panel_with_provider(settings, database) as url:
        yield url


@pytest.fixture
def person(panel: str) -> Iterator[httpx.Client]:
    """Give a browser of its own."""
    with browser(panel) as client:
        yield client
