"""Run the environment's pip, show how far it is, and explain what went wrong."""

import os
import queue
import re
import subprocess
import threading
from pathlib import Path

from launch.progress import Problem, Progress

_PINNED = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[^\]]*\])?==", re.MULTILINE)
_PACKAGE = re.compile(r"^(?:Collecting|Requirement already satisfied:) ([A-Za-z0-9._-]+)")
_SIZE = re.compile(r"^\s+Downloading \S+ \(([^)]+)\)")
_NETWORK = re.compile(
    r"Retrying \(|ConnectionError|NewConnectionError|NameResolutionError|ProxyError|SSLError|ReadTimeout"
    r"|timed out|Could not fetch URL|No matching distribution|Temporary failure in name resolution",
)
_TAIL = 15


def install(*, python: Path, requirements: Path, log: Path, progress: Progress) -> None:
    """
    Install *requirements*, every file checked against its hash, from the index pip is set up for.

    Raises:
        Problem: pip failed; with the end of its output, and the mirror line after network errors.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    # Compiling all of it takes longer than what the programs really import does at their first start.
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--require-hashes",
        "--no-input",
        "--no-compile",
    ]
    with subprocess.Popen(
        [*command, "--disable-pip-version-check", "-r", str(requirements)],
        cwd=requirements.parent,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            lines = _follow(process, requirements, progress)
        except BaseException:
            process.terminate()
            raise
        code = process.wait()
    log.write_text("".join(lines), encoding="utf-8")
    if code != 0:
        tail = "".join(lines[-_TAIL:]).strip()
        raise Problem(f"依赖安装失败(完整输出:{log}):\n{tail}\n{_hint(lines)}")


def clean_environment() -> dict[str, str]:
    """Give this process's environment without what would lead pip or venv out of the environment."""
    misleading = {"PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__", "PIP_TARGET", "PIP_PREFIX"}
    environment = {k: v for k, v in os.environ.items() if k not in misleading}
    return {**environment, "PIP_USER": "0", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}


def _follow(process: subprocess.Popen[str], requirements: Path, progress: Progress) -> list[str]:
    """Read pip's output to its end; the line on the screen also moves while pip is silent."""
    total = len(_PINNED.findall(requirements.read_text(encoding="utf-8")))
    arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process, arrived), daemon=True).start()
    lines: list[str] = []
    seen: set[str] = set()
    now = "正在启动 pip"
    while True:
        try:
            line = arrived.get(timeout=1)
        except queue.Empty:
            progress.moving(now)
            continue
        if line is None:
            return lines
        lines.append(line)
        if package := _PACKAGE.match(line):
            seen.add(package[1])
            now = f"{len(seen)}/{total} {package[1]}"
        elif size := _SIZE.match(line):
            now = f"{len(seen)}/{total} 下载 {size[1]}"
        elif line.startswith("Installing collected packages"):
            now = "写入虚拟环境"
        elif "Retrying (" in line and not any("Retrying (" in old for old in lines[:-1]):
            progress.note("网络没有响应,pip 正在重试……")
        progress.moving(now)


def _read(process: subprocess.Popen[str], arrived: queue.SimpleQueue[str | None]) -> None:
    if process.stdout is not None:
        for line in process.stdout:
            arrived.put(line)
    arrived.put(None)


def _hint(lines: list[str]) -> str:
    text = "".join(lines)
    if "No space left" in text:
        return "磁盘空间不足:大约需要 400 MB。"
    if "THESE PACKAGES DO NOT MATCH THE HASHES" in text:
        return "下载到的文件与锁定的校验值不一致:请换一个软件源,或清除 pip 缓存后重试(pip cache purge)。"
    if _NETWORK.search(text):
        return (
            "看起来是网络问题。可以指定一个离你近的 PyPI 镜像后重试:\n"
            "  PIP_INDEX_URL=https://<镜像地址>/simple python3 start.py\n"
            "需要代理时:HTTPS_PROXY=http://<代理地址> python3 start.py"
        )
    return "修正后再运行一次即可,已完成的部分会保留。"
