"""Files of pages: read once, served under their names and no others."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import Response

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


def read_folder(folder: Path) -> dict[str, Asset]:
    """Read every file of a page's folder, by its name."""
    return {
        path.name: _read(path)
        for path in sorted(folder.iterdir())
        if path.suffix in MEDIA_TYPES and path.is_file()
    }


def serve(asset: Asset, known: str) -> Response:
    """
    The file, or that the browser has it.

    Args:
        known: what the browser says it has, as in ``If-None-Match``.
    """
    headers = {"Cache-Control": "no-cache", "ETag": asset.etag, "X-Content-Type-Options": "nosniff"}
    if known == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(
        body=body,
        media_type=MEDIA_TYPES[path.suffix],
        etag=f'"{hashlib.sha256(body).hexdigest()[:16]}"',
    )
