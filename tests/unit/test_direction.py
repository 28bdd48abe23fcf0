"""The direction of imports where import-linter cannot look: modules that are no packages."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {
    path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
}


def imported(file: Path) -> set[str]:
    """The first names of all imports in a file, those inside functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize(
    ("file", "allowed"),
    [
        ("config.py", {"settings"}),
        ("main.py", {"app", "config"}),
        ("start.py", {"launch"}),
    ],
)
def test_a_file_at_the_top_imports_of_ours_only_what_it_may(file: str, allowed: set[str]) -> None:
    """``main -> app -> config -> settings``, and apart from them ``start -> launch``."""
    assert {"app", "bench", "launch", "settings", "simulators", "tests"} <= OURS
    assert imported(ROOT / file) & OURS <= allowed


def test_a_process_on_servers_loads_nothing_that_it_has_no_use_for() -> None:
    """Alembic, the engine of the embedded Redis and the templates are 16 MB of it."""
    program = "import main, sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    loaded = set(found.stdout.split())
    assert "sqlalchemy" in loaded
    assert not loaded & {"alembic", "mako", "fakeredis", "jinja2", "pymysql", "rich"}


def test_every_package_of_ours_has_a_place_in_the_directions() -> None:
    """A new folder is named in ``.importlinter``, or is a user of all the others."""
    text = (ROOT / ".importlinter").read_text("utf-8")
    roots = text.split("root_packages =")[1].split("include_external")[0].split()

    assert {*roots, "tests", "bench"} == {name for name in OURS if (ROOT / name).is_dir()}
