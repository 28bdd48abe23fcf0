"""
Citations: what of a knowledge base an answer is from.

The fields are those of the releases' code; no recording has any.
"""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from simulators.dify_release import Release

NEWER = (
    "hit_count",
    "word_count",
    "segment_position",
    "index_node_hash",
    "page",
    "doc_metadata",
    "title",
)


def retriever_resources(
    release: Release, citations: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The `retriever_resources` of an answer; what a citation does not say is made up, always alike."""
    return [_resource(release, place, one) for place, one in enumerate(citations, start=1)]


def _resource(release: Release, position: int, citation: Mapping[str, Any]) -> dict[str, Any]:
    document = str(citation.get("document_name", "手册.pdf"))
    resource: dict[str, Any] = {
        "position": position,
        "dataset_id": _id("dataset"),
        "dataset_name": "知识库",
        "document_id": _id(document),
        "document_name": document,
        "data_source_type": "upload_file",
        "segment_id": _id(f"{document}#{position}"),
        "retriever_from": "api",
        "score": round(1 - 0.1 * position, 2),
        "content": f"《{document}》里的一段。",
    }
    if release is Release.NEW:
        resource |= dict.fromkeys(NEWER)
    return resource | dict(citation)


def _id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))
