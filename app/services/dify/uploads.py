"""Which files an app takes, as ``/parameters`` says it. Pure."""

import mimetypes
from collections.abc import Mapping
from typing import Any, Final

from app.services.dify.wire import UploadRules

MEGABYTE: Final = 1024 * 1024
_SIZES: Final = {
    "image": "image_file_size_limit",
    "document": "file_size_limit",
    "custom": "file_size_limit",
    "audio": "audio_file_size_limit",
    "video": "video_file_size_limit",
}
_LOCAL: Final = "local_file"
_KINDS: Final[Mapping[str, frozenset[str]]] = {
    "image": frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".svg"}),
    "document": frozenset(
        {
            ".txt",
            ".md",
            ".mdx",
            ".markdown",
            ".pdf",
            ".html",
            ".htm",
            ".xlsx",
            ".xls",
            ".doc",
            ".docx",
            ".csv",
            ".eml",
            ".msg",
            ".ppt",
            ".pptx",
            ".xml",
            ".epub",
        }
    ),
    "audio": frozenset({".mp3", ".m4a", ".wav", ".amr", ".mpga"}),
    "video": frozenset({".mp4", ".mov", ".mpeg", ".webm"}),
}
_PICTURES: Final = (
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF8", ".gif"),
)


def parse_uploads(body: Mapping[str, Any]) -> UploadRules:
    """The rules; where nothing is said, no file is taken."""
    upload = _object(body.get("file_upload"))
    image = _object(upload.get("image"))
    if upload.get("enabled") is True:
        methods, kinds = upload.get("allowed_file_upload_methods"), upload.get("allowed_file_types")
        most = upload.get("number_limits")
    elif image.get("enabled") is True:
        methods, kinds = image.get("transfer_methods"), ["image"]
        most = image.get("number_limits")
    else:
        return UploadRules()
    if methods is not None and _LOCAL not in _words(methods):
        return UploadRules()
    limits = _object(body.get("system_parameters"))
    sizes = {kind: _count(limits.get(name)) * MEGABYTE for kind, name in _SIZES.items()}
    return UploadRules(
        kinds=_words(kinds),
        extensions=frozenset(
            word.lower() for word in _words(upload.get("allowed_file_extensions"))
        ),
        most=_count(most),
        sizes={kind: size for kind, size in sizes.items() if size},
    )


def kind_of(name: str, rules: UploadRules) -> str:
    """What an app takes a file of this name for; empty: it does not take it."""
    extension = extension_of(name)
    kind = next((kind for kind, known in _KINDS.items() if extension in known), "")
    if kind in rules.kinds:
        return kind
    return "custom" if "custom" in rules.kinds and extension in rules.extensions else ""


def extension_of(name: str) -> str:
    """In lower case with the dot; empty: it has none."""
    stem, dot, last = name.rpartition(".")
    return f".{last.lower()}" if dot and stem and last else ""


def picture_extension(data: bytes) -> str:
    """What a picture is by its first bytes, whatever it is called; empty: none that an app takes."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return next((extension for mark, extension in _PICTURES if data.startswith(mark)), "")


def mime_of(name: str) -> str:
    """Of a name."""
    return mimetypes.guess_type(f"a{extension_of(name)}")[0] or "application/octet-stream"


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(value: Any) -> frozenset[str]:
    items = value if isinstance(value, list) else []
    return frozenset(one for one in items if isinstance(one, str))


def _count(value: Any) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 < value < MEGABYTE else 0
