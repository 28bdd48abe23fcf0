"""The version is written in one place that people read and one that programs read: the same."""

import re
import tomllib
from pathlib import Path

from app.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


def test_the_package_has_the_version_of_the_program() -> None:
    """``/api/v1/health`` shows what ``pip`` would."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert project["version"] == VERSION


def test_the_changelog_names_the_version() -> None:
    """Whoever updates finds out what changed."""
    assert f"[{VERSION}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_a_version_of_the_changelog_has_its_date_or_is_called_unreleased() -> None:
    """Nobody looks for a release that never was."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)

    assert headings
    assert all(
        re.fullmatch(r"\[未发布\]|\[[\d.]+\] - (?:\d{4}-\d\d-\d\d|未发布)", one) for one in headings
    )
