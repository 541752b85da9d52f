"""The hash of the settings and rules with which a site can change a result."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict

from conversion.recognition.site_rules import SiteRule
from dicom_node.settings import ProcessingSettings

__all__ = ["processing_sha256"]


def processing_sha256(processing: ProcessingSettings, rules: Sequence[SiteRule]) -> str:
    """Return the hash of the settings, except the number of threads, and of the site's rules."""
    effective = asdict(processing) | {"threads": None, "rules": [asdict(rule) for rule in rules]}
    return hashlib.sha256(json.dumps(effective, sort_keys=True).encode()).hexdigest()
