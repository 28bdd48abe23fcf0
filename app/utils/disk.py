"""Room on the disk."""

import shutil
from pathlib import Path


def nearest_folder(folder: Path) -> Path:
    """The folder, or the one above it in which it would be made."""
    whole = folder.absolute()
    return next(path for path in (whole, *whole.parents) if path.exists())


def free_bytes(folder: Path) -> int:
    """
    How much can still be written there.

    Raises:
        OSError: the disk does not tell.
    """
    return shutil.disk_usage(nearest_folder(folder)).free
