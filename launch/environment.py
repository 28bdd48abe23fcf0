"""The virtual environment ``.venv``: made once, filled with hashed requirements, checked at each start."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from launch import pip
from launch.progress import Problem, Progress, say

MARKER = "ecloud-dify.json"
"""In ``.venv``: says that the folder is ours and which requirements are installed in it."""

_ASK = "import sys, pip; print('%d.%d' % sys.version_info[:2])"


class Environment:
    """The folder ``.venv`` below *root*."""

    def __init__(self, *, root: Path, progress: Progress) -> None:
        self.root = root
        self.folder = root / ".venv"
        self._progress = progress

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        if os.name == "nt":
            return self.folder / "Scripts" / "python.exe"
        return self.folder / "bin" / "python"

    def prepare(self, *requirements: str) -> None:
        """
        Take the three first steps: check this Python, make ``.venv``, install *requirements*.

        Raises:
            Problem: Something is missing that a person has to put right.
        """
        self._progress.step("检查 Python")
        check_python()
        check_folder(self.root)
        self._progress.done(f"Python {sys.version.split()[0]}")
        self._progress.step("准备虚拟环境 .venv")
        self._progress.done(self._make())
        self._progress.step("安装依赖")
        self._progress.done(self._install(requirements))

    def _make(self) -> str:
        if not self.folder.exists():
            self._create()
            return "已创建"
        ours = MARKER in (entry.name for entry in self.folder.iterdir())
        version = self._version()
        if version == _this_version():
            if not ours:
                self._progress.note("已有的 .venv 不是本程序创建的,依赖会安装到它里面。")
                self._write_marker({"adopted": True})
            return "已就绪"
        state = f"是 Python {version} 的" if version else "已损坏"
        if not ours or self._read_marker().get("adopted"):
            raise Problem(
                f"{self.folder} {state},而且不是本程序创建的,所以没有改动它。\n"
                f"请先把它改名或删除,再运行一次:mv .venv .venv.old",
            )
        if Path(sys.prefix) == self.folder:
            raise Problem(
                "请用系统的 Python 运行,而不是 .venv 里的:先执行 deactivate,再 python3 start.py"
            )
        self._progress.note(f".venv {state},重新创建。")
        shutil.rmtree(self.folder)
        self._create()
        return "已重新创建"

    def _create(self) -> None:
        self.folder.mkdir()
        self._write_marker({})  # first, so that a start that is cut short here knows its own folder
        base = getattr(sys, "_base_executable", None) or sys.executable
        done = subprocess.run(
            [base, "-m", "venv", str(self.folder)],
            env=pip.clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode != 0 or self._version() is None:
            raise Problem(f"虚拟环境创建失败:\n{done.stdout.strip()}\n{venv_hint()}")

    def _version(self) -> str | None:
        """Give the "3.11" of the environment's Python, or None when it or its pip does not run."""
        try:
            done = subprocess.run(
                [str(self.python), "-c", _ASK],
                env=pip.clean_environment(),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def _install(self, requirements: tuple[str, ...]) -> str:
        marker = self._read_marker()
        installed: dict[str, str] = marker.get("installed", {})
        missing = [n for n in requirements if installed.get(n) != _digest(self.root / n)]
        for name in missing:
            pip.install(
                python=self.python,
                requirements=self.root / name,
                log=self.root / "data" / "install.log",
                progress=self._progress,
            )
            installed = {**installed, name: _digest(self.root / name)}
            self._write_marker({**marker, "installed": installed})
        return f"已安装 {'、'.join(missing)}" if missing else "没有变化,无需安装"

    def _read_marker(self) -> dict[str, Any]:
        try:
            marker = json.loads((self.folder / MARKER).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return marker if isinstance(marker, dict) else {}

    def _write_marker(self, content: dict[str, Any]) -> None:
        text = json.dumps(content, indent=1)
        (self.folder / MARKER).write_text(text, encoding="utf-8")


def check_python() -> None:
    """
    Check that this Python can make virtual environments.

    Raises:
        Problem: With the command that installs what is missing.
    """
    if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        raise Problem(
            f"这个 Python({sys.executable})缺少 venv / ensurepip,不能创建虚拟环境。\n{venv_hint()}"
        )


def venv_hint() -> str:
    """Give the command that installs venv and pip on this system."""
    sudo = "" if hasattr(os, "geteuid") and os.geteuid() == 0 else "sudo "
    if Path("/etc/debian_version").exists():
        return (
            f"请安装后重试:{sudo}apt install python{_this_version()}-venv\n"
            f"(没有这个包时:{sudo}apt install python3-venv)"
        )
    for tool, package in (("dnf", "python3-pip"), ("apk", "py3-pip"), ("pacman", "python-pip")):
        if shutil.which(tool):
            verb = {"dnf": "install", "apk": "add", "pacman": "-S"}[tool]
            return f"请安装后重试:{sudo}{tool} {verb} {package}"
    return "请安装带有 venv 和 pip 的完整 Python 3.11+,再运行一次。"


def check_folder(root: Path) -> None:
    """
    Check that this user may write in *root*, and say so when its files belong to another one.

    Raises:
        Problem: The folder is not writable.
    """
    owner = _owner(root)
    if not os.access(root, os.W_OK | os.X_OK):
        belongs = f"(属于 {owner})" if owner else ""
        raise Problem(
            f"没有写入权限:{root}{belongs}\n"
            f"请把项目复制到自己的目录,或执行:sudo chown -R \"$(id -un)\" '{root}'",
        )
    if owner and owner != _me():
        say(f"      注意:{root} 属于 {owner},接下来创建的文件会属于 {_me()}。")


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, NotImplementedError, OSError):
        return ""


def _me() -> str:
    if os.name == "nt":
        return ""
    import pwd  # noqa: PLC0415 - not on Windows

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _this_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
