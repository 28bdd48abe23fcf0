"""Where the page's own files lie."""

from pathlib import Path

from app.console.assets import Asset, read_folder

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
TEMPLATES = FOLDER / "templates"


def read_assets(folder: Path = STATIC) -> dict[str, Asset]:
    """Read every file of the page, by its name."""
    return read_folder(folder)
