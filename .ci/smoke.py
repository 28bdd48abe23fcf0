"""
``python3 start.py`` as a newcomer runs it: a fresh clone in a path with spaces, an empty ``.venv``.

``smoke.py`` starts it, asks the bridge whether it is ready, says something in the playground and
waits for the answer, stops it with Ctrl-C's signal, and does it again to time the second start. What the first start installed is the README's ``pip install -r
requirements.txt``; that it is enough for ``pytest tests/`` is tried, too. Standard library only.
"""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIRST_START_SECONDS = 300.0
SECOND_START_SECONDS = 20.0
ANSWER_SECONDS = 30.0
POLL_SECONDS = 0.05


def clone_to(folder: Path) -> Path:
    """Clone this repository, committed files only, and give the clone."""
    clone = folder / "a fresh clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)  # noqa: S603, S607 - our own repository
    return clone


def start_once(clone: Path, limit: float) -> tuple[float, float]:
    """
    Start, try and stop the playground; gives the seconds from the command to the address, and to the answer.

    Raises:
        RuntimeError: It did not start, was not ready, gave no answer, or did not stop cleanly.
    """
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "start.py", "--no-browser"],
        cwd=clone,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        address = _address(process)
        seconds = time.monotonic() - begun
        for path in ("readyz", "playground/"):
            url = address.replace("playground/", path)
            with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - our own address
                print(f"smoke: {url} {response.status}")
        _await_answer(address, _say(address))
        answered = time.monotonic() - begun
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
    finally:
        process.kill()
    if code != 0:
        raise RuntimeError(f"start.py ended with {code}")
    if seconds > limit:
        raise RuntimeError(f"the start took {seconds:.1f} s, more than {limit} s")
    return seconds, answered


def _say(address: str) -> str:
    """Say something as somebody in the playground's group; gives the message's newMsgId."""
    page = _read(address).decode()
    gateway = page.partition('data-gateway="')[2].partition('"')[0]
    group = json.loads(_read(f"{gateway}/_sim/world"))["groups"][0]
    person = next(one["wcId"] for one in group["members"] if not one["bot"])
    order = {"group": group["groupId"], "person": person, "text": "几点开始?", "mention_bot": True}
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{gateway}/_sim/say",
        data=json.dumps(order).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - our own address
        return str(json.loads(response.read())["newMsgId"])


def _await_answer(address: str, new_msg_id: str) -> None:
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        try:
            way = json.loads(_read(f"{address}api/messages/{new_msg_id}"))
        except urllib.error.HTTPError:
            way = {}  # its callback is under way
        if any(one["sent_ms"] is not None for one in way.get("segments", ())):
            return
        time.sleep(POLL_SECONDS)
    raise RuntimeError("nobody answered in the playground")


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - our own address
        body: bytes = response.read()
        return body


def collect_tests(clone: Path) -> None:
    """
    Import every test with what ``requirements.txt`` alone has brought.

    Raises:
        RuntimeError: Something that a test imports is not in it.
    """
    python = next(path for path in clone.glob(".venv/*/python*") if path.stem == "python")
    command = [str(python), "-m", "pytest", "tests/", "--collect-only", "-qq"]
    begun = time.monotonic()
    done = subprocess.run(command, cwd=clone, capture_output=True, encoding="utf-8", check=False)  # noqa: S603 - the clone's own
    if done.returncode != 0:
        raise RuntimeError(f"the tests cannot be collected:\n{done.stdout}{done.stderr}")
    files = len(done.stdout.strip().splitlines())
    print(f"smoke: {files} files of tests collected in {time.monotonic() - begun:.1f} s")


def _address(process: subprocess.Popen[str]) -> str:
    if process.stdout is not None:
        for line in process.stdout:
            print(f"smoke: | {line}", end="")
            if line.strip().startswith("http"):
                return line.strip()
    raise RuntimeError(f"start.py ended with {process.wait()} and gave no address")


def main() -> int:
    """Start twice; gives the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="smoke-"))
    try:
        begun = time.monotonic()
        clone = clone_to(folder)
        cloned = time.monotonic() - begun
        first, answered = start_once(clone, FIRST_START_SECONDS)
        second, _ = start_once(clone, SECOND_START_SECONDS)
        collect_tests(clone)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"smoke: first start {first:.1f} s, second start {second:.1f} s")
    print(f"smoke: from git clone to the first answer {cloned + answered:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
