"""The settings as they may be shown: values in force, where they come from, secrets as stars. Pure."""

import json
from typing import Any
from urllib.parse import urlsplit

from config import LoadedSettings
from settings.addresses import KEY_LENGTH
from settings.tree import leaves

MASK = "***"


def effective_rows(loaded: LoadedSettings) -> list[dict[str, Any]]:
    """Every setting: its names, the value as it may be shown, and where that comes from."""
    rows = []
    for leaf in leaves().values():
        value = leaf.value_in(loaded.settings)
        rows.append(
            {
                "name": leaf.name,
                "env": leaf.env,
                "value": mask_value(value) if leaf.is_secret else plain_value(value),
                "source": str(loaded.sources[leaf.name]),
                "description": leaf.field.description or "",
                "is_changed": value != leaf.field.get_default(call_default_factory=True),
            }
        )
    return rows


def mask_value(value: Any) -> str:
    """A secret as it may be shown: addresses without their login, everything else as stars (pure)."""
    text = value.get_secret_value() if hasattr(value, "get_secret_value") else ""
    if not text:
        return f"{MASK}({len(value)})" if isinstance(value, tuple) and value else ""
    parts = urlsplit(text)
    if "://" not in text:
        return MASK
    login, at, host = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    query = f"?{MASK}" if parts.query else ""
    path = _without_keys(parts.path) if parts.scheme in {"http", "https"} else parts.path
    return f"{parts.scheme}://{f'{user}:{MASK}' if at else ''}{at}{host}{path}{query}"


def _without_keys(path: str) -> str:
    """The path of a robot's address: some have the key in it."""
    return "/".join(MASK if len(part) >= KEY_LENGTH else part for part in path.split("/"))


def plain_value(value: Any) -> str:
    """A value that is no secret, as it would be typed (pure)."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, tuple | dict) else str(value)
