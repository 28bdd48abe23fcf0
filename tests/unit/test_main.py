"""The end of a process that meets an error nobody foresaw."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import main
from app.utils.redact import HIDDEN

ROOT = Path(__file__).parents[2]
SECRET = "s3cr3t/key+with=signs"
#: Breaks what is built first; the process is otherwise as an operator starts it.
BROKEN = """
import sys, main
def broken(*_):
    raise RuntimeError("unforeseen " + sys.argv[1])
main.open_runtime = broken
sys.exit(main.main([]))
"""


def set_up(monkeypatch: pytest.MonkeyPatch, folder: Path, form: str) -> None:
    """As an operator has it in a folder of his own, with one secret."""
    monkeypatch.chdir(folder)
    for name in list(os.environ):
        if name not in ("PATH", "HOME"):
            monkeypatch.delenv(name)
    for name, value in {"LOG_FORMAT": form, "DIFY_API_KEY": SECRET}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("form", ["text", "json"])
def test_unforeseen_error_is_logged_and_ends_the_process_with_1(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In app_error.log and on the console, without the secret; nothing is raised to the interpreter."""
    set_up(monkeypatch, tmp_path, form)

    def broken(*_: object) -> None:
        raise RuntimeError(f"unforeseen {SECRET}")

    monkeypatch.setattr(main, "open_runtime", broken)

    code = main.main([])

    shown = capsys.readouterr()
    kept = (tmp_path / "logs" / "app_error.log").read_text("utf-8")
    assert code == 1
    for text in (shown.err, kept):
        assert "process.crashed" in text
        assert f"RuntimeError: unforeseen {HIDDEN}" in text
        assert SECRET not in text


@pytest.mark.parametrize(("form", "own_lines"), [("text", None), ("json", 1)])
def test_console_of_a_crashed_process_holds_the_log_alone(
    form: str, own_lines: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a child: exit code 1; in JSON exactly one line; no second, raw traceback."""
    set_up(monkeypatch, tmp_path, form)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    done = subprocess.run(
        [sys.executable, "-c", BROKEN, SECRET], capture_output=True, encoding="utf-8", check=False
    )

    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("Traceback") == 1
    assert SECRET not in done.stderr
    assert "process.crashed" in (tmp_path / "logs" / "app_error.log").read_text("utf-8")
    if own_lines is not None:
        assert len(lines) == own_lines
        entry = json.loads(lines[0])
        assert (entry["level"], entry["message"]) == ("CRITICAL", "process.crashed")
        assert f"unforeseen {HIDDEN}" in entry["exc"]
