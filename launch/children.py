"""The programs the launcher starts: each with a log file, a clean environment and an orderly end."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from launch.progress import Problem

_TAIL_LINES = 25

_KEPT = frozenset(
    {
        *(
            "PATH",
            "HOME",
            "USER",
            "LOGNAME",
            "LANG",
            "LC_ALL",
            "LC_CTYPE",
            "TZ",
            "TMPDIR",
            "TEMP",
            "TMP",
        ),
        *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA"),
        *("LOCALAPPDATA", "LD_LIBRARY_PATH"),
    }
)
"""What a program needs of the operator's environment. No setting is among it, known or to come."""


def environment_of_child(settings: Mapping[str, str]) -> dict[str, str]:
    """Give *settings* and what the system itself needs; nothing else of this process's environment."""
    kept = {k: v for k, v in os.environ.items() if k.upper() in _KEPT}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", **settings}


class Child:
    """One program under the guard (launch/guard.py)."""

    def __init__(self, *, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    def start(
        cls,
        name: str,
        arguments: Sequence[str],
        *,
        python: Path,
        root: Path,
        log: Path,
        settings: Mapping[str, str],
    ) -> "Child":
        """Start ``python <arguments>`` in *root*; its output goes to *log*, which begins anew."""
        log.parent.mkdir(parents=True, exist_ok=True)
        new_group = (
            {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
            if sys.platform == "win32"
            else {"start_new_session": True}  # Ctrl-C is for the launcher, which stops all in order
        )
        with log.open("wb") as output:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                [str(python), str(root / "launch" / "guard.py"), *arguments],
                cwd=root,
                env=environment_of_child(settings),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                **new_group,
            )
        return cls(name=name, process=process, log=log)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """
        Raises:
            Problem: It has ended by itself; with the end of its log.
        """
        if self.exit_code is not None:
            raise Problem(
                f"{self.name} 意外退出(退出码 {self.exit_code})。日志 {self.log} 的结尾:\n{self.tail()}"
            )

    def tail(self) -> str:
        """Give the last lines of the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:]) or "(日志为空)"

    def stop(self, seconds: float) -> bool:
        """Ask the program to stop (by the guard's pipe), end it after *seconds*; tells if it obeyed."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # the pipe broke since the program is gone
                self._process.stdin.close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """End the program at once."""
        self._process.kill()
        self._process.wait()
