"""Memory of a process, as the kernel tells (Linux)."""

from pathlib import Path

KILOBYTE = 1024
MEGABYTE = 1024 * 1024


def peak_bytes(pid: int) -> int:
    """The most a process ever had at once (its RSS); 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return 0
    found = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0].split()[1]) * KILOBYTE if found else 0
