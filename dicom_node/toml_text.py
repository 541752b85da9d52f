"""Values as TOML writes them, for what is exported and read again."""

import json

__all__ = ["toml_value"]


def toml_value(value: str | float) -> str:
    """Return a TOML basic string, number or boolean: JSON's form, but without surrogate pairs or a raw DELETE."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
