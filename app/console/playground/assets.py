"""The page's own files: read once, served under their names and no others."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
TEMPLATES = FOLDER / "templates"

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Asset:
    """One file."""

    body: bytes
    media_type: str
    #: As in the header, with its quotes.
    etag: str


def read_assets(folder: Path = STATIC) -> dict[str, Asset]:
    """Read every file of the page, by its name."""
    return {
        path.name: _read(path)
        for path in sorted(folder.iterdir())
        if path.suffix in MEDIA_TYPES and path.is_file()
    }


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(
        body=body,
        media_type=MEDIA_TYPES[path.suffix],
        etag=f'"{hashlib.sha256(body).hexdigest()[:16]}"',
    )
