"""
Files of answers, as the frames and the records of the releases tell them; all pure.

Not recorded: `message_file` and the elements of `files` follow from the documentation and from
the file that a recorded run was given.
"""

import uuid
from typing import Any
from urllib.parse import urlsplit

IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp")


def message_file(url: str) -> dict[str, Any]:
    """What a `message_file` event, and an element of a message's `message_files`, tells."""
    return {"id": _id(url), "type": file_type(url), "belongs_to": "assistant", "url": url}


def file_object(url: str) -> dict[str, Any]:
    """An element of `files` at the end of an answer, and a file among the outputs of a run."""
    name = urlsplit(url).path.rpartition("/")[2]
    return {
        "dify_model_identity": "__dify__file__",
        "id": None,
        "type": file_type(url),
        "transfer_method": "tool_file",
        "remote_url": url,
        "related_id": _id(url),
        "filename": name,
        "extension": "." + name.rpartition(".")[2],
        "mime_type": "image/png" if file_type(url) == "image" else "application/octet-stream",
        "size": 70,
        "url": url,
    }


def file_type(url: str) -> str:
    """By the end of its path."""
    return "image" if urlsplit(url).path.lower().endswith(IMAGES) else "document"


def _id(url: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, url))
