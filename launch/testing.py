"""``start.py test``: the whole test-suite with what this machine has."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from launch.environment import Environment
from launch.progress import Progress, say

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_TESTS = "tests/"
#: Most tests wait for servers and timers, so more of them than cores run side by side.
_SIDE_BY_SIDE = ("-n", "auto", "--dist", "worksteal")


def run(*, root: Path, arguments: Sequence[str], progress: Progress) -> int:
    """Install what the tests need and run them; gives pytest's exit code. Raises Problem."""
    chromium = find_chromium()
    environment = Environment(root=root, progress=progress)
    environment.prepare("requirements.txt", *(["requirements-e2e.txt"] if chromium else []))
    progress.step("运行测试")
    is_part = any((root / a.split("::")[0]).exists() for a in arguments)
    where = [] if is_part else [*_SIDE_BY_SIDE, _TESTS]
    command = [str(environment.python), "-m", "pytest", "-p", "tests.fixtures.summary"]
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    if chromium:
        variables["CHROMIUM"] = chromium
    code = _wait([*command, *where, *arguments], root, {**variables, "PYTHONUTF8": "1"})
    say("测试通过。" if code == 0 else f"测试没有通过(pytest 退出码 {code})。")
    return code


def find_chromium() -> str | None:
    """Give the path of the browser the page tests can drive: ``CHROMIUM``, else the system's."""
    wanted = os.environ.get("CHROMIUM")
    names = (wanted,) if wanted else _BROWSERS
    return next((path for name in names if (path := shutil.which(name))), None)


def _wait(command: list[str], root: Path, variables: dict[str, str]) -> int:
    """Run pytest in this terminal; when this process is told to end, it is too, and cleans up."""
    with subprocess.Popen(command, cwd=root, env=variables) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
