"""Which files an app takes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.dify.parsing import parse_parameters
from app.services.dify.uploads import (
    MEGABYTE,
    kind_of,
    mime_of,
    parse_uploads,
    picture_extension,
)
from app.services.dify.wire import UploadRules
from tests.unit.dify.captures import load

LOCAL = ["remote_url", "local_file"]


def test_a_real_app_says_what_it_takes() -> None:
    """As recorded."""
    rules = parse_parameters(json.loads(load("0.15.3/parameters").body)).uploads

    assert rules.kinds == {"image", "document"}
    assert rules.extensions == {".png", ".txt"}
    assert rules.most == 3
    assert rules.sizes["image"] == 10 * MEGABYTE
    assert rules.sizes["document"] == 15 * MEGABYTE


@pytest.mark.parametrize(
    ("upload", "kinds"),
    [
        ({"enabled": True, "allowed_file_types": ["image"]}, {"image"}),
        ({"image": {"enabled": True, "transfer_methods": LOCAL}}, {"image"}),
        ({"image": {"enabled": True, "transfer_methods": ["remote_url"]}}, set()),
        ({"image": {"enabled": False, "transfer_methods": LOCAL}}, set()),
        (
            {
                "enabled": True,
                "allowed_file_types": ["image"],
                "allowed_file_upload_methods": ["remote_url"],
            },
            set(),
        ),
        ({"enabled": "true", "allowed_file_types": ["image"]}, set()),
        ({}, set()),
        (None, set()),
    ],
)
def test_where_nothing_is_said_nothing_is_taken(upload: Any, kinds: set[str]) -> None:
    """Nor where only addresses are."""
    assert parse_uploads({"file_upload": upload}).kinds == kinds


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_is_said_there_are_rules(odd: Any) -> None:
    """Never an exception."""
    names = ("enabled", "image", "allowed_file_types", "number_limits")
    upload = dict.fromkeys(names, odd) | {"enabled": True}
    rules = parse_uploads({"file_upload": upload, "system_parameters": odd})

    assert rules.most >= 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("周报.XLSX", "document"),
        ("a.png", "image"),
        ("a.mp3", ""),
        ("a.exe", ""),
        ("a.dwg", "custom"),
        ("dwg", ""),
        ("", ""),
    ],
)
def test_a_file_is_taken_for_what_its_name_says(name: str, kind: str) -> None:
    """An app may take others by their ends."""
    rules = UploadRules(
        kinds=frozenset({"image", "document", "custom"}), extensions=frozenset({".dwg"})
    )

    assert kind_of(name, rules) == kind


@pytest.mark.parametrize(
    ("data", "extension"),
    [
        (b"\x89PNG\r\n\x1a\n123", ".png"),
        (b"\xff\xd8\xff\xe0", ".jpg"),
        (b"GIF89a", ".gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", ".webp"),
        (b"RIFF\x00\x00\x00\x00WAVE", ""),
        (b"<svg/>", ""),
        (b"", ""),
    ],
)
def test_a_picture_is_known_by_its_beginning(data: bytes, extension: str) -> None:
    """Whatever it is called."""
    assert picture_extension(data) == extension
    assert mime_of(f"a{extension}").startswith("image/" if extension else "application/")
