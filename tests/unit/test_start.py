"""``start.py`` on a machine that has nothing but Python: the real launcher, venv and pip."""

import ast
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.environment import MARKER
from tests.fixtures.launcher import ROOT, Clone, Started
from tests.fixtures.ports import free_port

ADDRESS = "/playground/"

pytestmark = pytest.mark.timeout(300)  # real virtual environments, on a machine that may be busy


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """Give a fresh clone."""
    return Clone(tmp_path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a ``.venv`` that the launcher has made once for this file."""
    clone = Clone(tmp_path_factory.mktemp("prepared"))
    clone.write("tests/test_one.py", "def test_one(): pass\n")
    clone.run("test", CHROMIUM="/nowhere")  # pytest is not in it: only the environment counts
    return clone.root / ".venv"


@pytest.fixture
def ready(clone: Clone, prepared: Path) -> Clone:
    """Give a clone whose environment is there, so that a start takes no time."""
    shutil.copytree(prepared, clone.root / ".venv", symlinks=True)
    return clone


@pytest.fixture
def start() -> Iterator[Callable[..., Started]]:
    """Give the function that starts ``start.py``; what still runs in the end is killed."""
    started: list[Started] = []

    def begin(clone: Clone, *arguments: str, **variables: str) -> Started:
        started.append(Started(clone, "--no-browser", *arguments, **variables))
        return started[-1]

    yield begin
    for each in started:
        each.close()


def record(clone: Clone, name: str) -> dict[str, Any]:
    """Read what a stand-in wrote down about how it was started."""
    content: dict[str, Any] = json.loads((clone.root / "data" / f"{name}.json").read_text("utf-8"))
    return content


def lives(pid: int) -> bool:
    """Tell whether a process runs (and is not just waiting to be reaped)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def test_an_old_python_can_read_the_file_and_is_told_what_is_needed() -> None:
    """No syntax beyond Python 3.7 (the oldest grammar known here), and a sentence with the version."""
    source = (ROOT / "start.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 7))
    pretend = (
        "import sys\n"
        "sys.version_info = (3, 9, 2, 'final', 0)\n"
        "sys.version = '3.9.2 (default)'\n"
        f"exec(compile({source!r}, 'start.py', 'exec'), {{'__name__': '__main__'}})\n"
    )

    assert not any(isinstance(n, ast.JoinedStr | ast.AnnAssign) for n in ast.walk(tree))
    for path, words in (("/nowhere", "apt install python3.11"), (None, "")):
        env = {**os.environ, "PATH": path or os.environ["PATH"]}
        done = subprocess.run(
            [sys.executable, "-c", pretend],
            env=env,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 1
        assert "需要 Python 3.11" in done.stderr
        assert "3.9.2" in done.stderr
        assert words in done.stderr


def test_missing_ensurepip_stops_with_the_command_that_installs_it(clone: Clone) -> None:
    """Debian without python3-venv: exit code 1 and a line one can paste."""
    script = (
        "import runpy, sys\n"
        "sys.modules['ensurepip'] = None\n"
        f"sys.argv = ['start.py', '--no-browser']\n"
        f"runpy.run_path({str(clone.root / 'start.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=False
    )

    assert done.returncode == 1
    assert "ensurepip" in done.stdout
    if Path("/etc/debian_version").exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        assert f"apt install python{version}-venv" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_first_start_installs_and_the_second_only_starts(
    clone: Clone, start: Callable[..., Started]
) -> None:
    """From nothing to the playground, then again without pip; Ctrl-C is a clean end."""
    first = start(clone, "--port", str(free_port()))
    address = first.until(ADDRESS)
    installed = subprocess.run(
        [clone.root / ".venv/bin/python", "-c", "import tinything; print(tinything.version)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert first.end(signal.SIGINT) == 0
    assert installed.stdout == "1.0\n"
    assert "[1/5]" in first.output
    assert "[5/5]" in first.output
    assert address.strip().startswith("http://127.0.0.1:")
    assert "已停止" in first.output
    assert (clone.root / "data" / "ends").read_text("utf-8").split() == [
        "bridge",
        "dify",
        "gateway",
    ]

    second = start(clone, "--port", str(free_port()))
    second.until(ADDRESS)
    assert second.end(signal.SIGTERM) == 0
    assert "没有变化,无需安装" in second.output


def test_changed_requirements_are_installed_at_the_next_start(
    ready: Clone, start: Callable[..., Started]
) -> None:
    """An upgrade of the project brings its new versions along."""
    ready.require("1.1")
    started = start(ready)
    started.until(ADDRESS)
    done = subprocess.run(
        [ready.root / ".venv/bin/python", "-c", "import tinything; print(tinything.version)"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "1.1\n"


def test_a_file_with_another_hash_is_refused(ready: Clone) -> None:
    """What the index serves has to be what was locked."""
    ready.require("1.3")
    text = (ready.root / "requirements.txt").read_text("utf-8")
    ready.write("requirements.txt", text[:-9] + "00000000\n")
    done = ready.run("--no-browser")

    assert done.returncode == 1
    assert "校验值不一致" in done.stdout


def test_network_failure_prints_the_mirror_line(ready: Clone) -> None:
    """An index that cannot be reached: the reason, and how to name another one."""
    ready.require("1.2")
    done = ready.run(
        "--no-browser",
        PIP_NO_INDEX="0",
        PIP_FIND_LINKS="",
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_RETRIES="0",
    )

    assert done.returncode == 1
    assert "PIP_INDEX_URL=https://<镜像地址>/simple python3 start.py" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_operators_settings_never_reach_the_playground(
    ready: Clone, start: Callable[..., Started]
) -> None:
    """Neither variables of the environment nor files: the three programs get explicit settings only."""
    foreign = {
        "DATABASE_URL": "mysql+pymysql://real/db",
        "REDIS_URL": "redis://real",
        "ECLOUD_AUTHORIZATION": "real-secret",
        "DIFY_API_KEY_FILE": "/run/secrets/real",
        "CONSOLE_PASSWORD": "real",
        "A_SECTION_TO_COME": "real",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "PYTHONPATH": "/real",
    }
    started = start(ready, **foreign)
    started.until(ADDRESS)
    bridge = record(ready, "bridge")["environment"]
    gateway = record(ready, "gateway")

    for child in (bridge, gateway["environment"], record(ready, "dify")["environment"]):
        assert not [value for value in child.values() if "real" in value]
        assert "A_SECTION_TO_COME" not in child
        assert "HTTP_PROXY" not in child
    assert bridge["BRIDGE_ENV_FILE"] == ""
    assert bridge["BRIDGE_CONFIG_FILE"] == ""
    assert bridge["DATABASE_URL"] == "sqlite+aiosqlite:///./data/playground/bridge.db"
    assert bridge["REDIS_URL"] == "embedded://"
    assert bridge["PLAYGROUND_ENABLED"] == "true"
    assert record(ready, "bridge")["cwd"] == str(ready.root)
    arguments = dict(zip(gateway["argv"][::2], gateway["argv"][1::2], strict=True))
    assert (
        arguments["--callback-url"] == f"http://127.0.0.1:{bridge['SERVER_PORT']}/api/v1/callback"
    )
    assert arguments["--authorization"] == bridge["ECLOUD_AUTHORIZATION"]
    assert bridge["PLAYGROUND_GATEWAY_URL"] == f"http://127.0.0.1:{arguments['--port']}"


def test_a_taken_port_that_was_asked_for_is_an_error(ready: Clone) -> None:
    """``--port`` is a wish to be kept or refused, never changed silently."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = ready.run("--no-browser", "--port", str(port))

    assert done.returncode == 1
    assert f"端口 {port} 已被占用" in done.stdout


def test_a_program_that_dies_is_reported_with_the_end_of_its_log(
    ready: Clone, start: Callable[..., Started]
) -> None:
    """The bridge fails at its start: exit code 1, its last words, nothing left running."""
    ready.write("main.py", "import sys\nprint('line before')\nsys.exit('the port is on fire')\n")
    started = start(ready)

    assert started.wait() == 1
    assert "桥 意外退出(退出码 1)" in started.output
    assert "the port is on fire" in started.output
    assert not lives(record(ready, "gateway")["pid"])
    assert not lives(record(ready, "dify")["pid"])


def test_a_program_that_dies_later_ends_the_playground(
    ready: Clone, start: Callable[..., Started]
) -> None:
    """A simulator that is killed after the start is noticed too."""
    started = start(ready)
    started.until(ADDRESS)
    os.kill(record(ready, "dify")["pid"], signal.SIGKILL)

    assert started.wait() == 1
    assert "模拟 Dify 意外退出(退出码 -9)" in started.output
    assert not lives(record(ready, "bridge")["pid"])


@pytest.mark.skipif(sys.platform == "win32", reason="looks into /proc")
def test_killed_launcher_leaves_nothing_running(
    ready: Clone, start: Callable[..., Started]
) -> None:
    """SIGKILL gives the launcher no chance; the programs end by themselves, in order."""
    started = start(ready)
    started.until(ADDRESS)
    pids = [record(ready, name)["pid"] for name in ("bridge", "gateway", "dify")]
    started.end(signal.SIGKILL)

    deadline = time.monotonic() + 60
    while any(map(lives, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(lives, pids))
    assert sorted((ready.root / "data/ends").read_text("utf-8").split()) == [
        "bridge",
        "dify",
        "gateway",
    ]


def test_second_launcher_says_where_the_first_one_is(
    ready: Clone, start: Callable[..., Started]
) -> None:
    """Two playgrounds on one data folder would fight."""
    address = ""
    started = start(ready)
    address = started.until(ADDRESS).strip()
    done = ready.run("--no-browser")

    assert done.returncode == 1
    assert address in done.stdout


def test_broken_environment_of_ours_is_made_again(
    ready: Clone, start: Callable[..., Started]
) -> None:
    """A Python that was upgraded away leaves a dead link behind."""
    python = ready.root / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    started = start(ready)
    started.until(ADDRESS)

    assert "已损坏,重新创建" in started.output


def test_start_cut_short_while_making_the_environment_is_repaired(
    clone: Clone, start: Callable[..., Started]
) -> None:
    """The half-made folder is known as ours, whenever the power went."""
    cut_short = subprocess.Popen(
        clone.command(["--no-browser"]),
        env=clone.environment({}),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    python = clone.root / ".venv" / "bin" / "python"
    deadline = time.monotonic() + 30
    while not python.is_symlink() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(cut_short.pid, signal.SIGKILL)
    cut_short.wait()
    started = start(clone)
    started.until(ADDRESS)

    assert "已损坏,重新创建" in started.output


def test_broken_environment_of_somebody_else_is_left_alone(clone: Clone) -> None:
    """A folder the launcher did not make is not removed."""
    (clone.root / ".venv").mkdir()
    (clone.root / ".venv" / "precious").touch()
    done = clone.run("--no-browser")

    assert done.returncode == 1
    assert "没有改动它" in done.stdout
    assert (clone.root / ".venv" / "precious").exists()


def test_working_environment_of_somebody_else_is_used_and_that_is_said(
    ready: Clone, start: Callable[..., Started]
) -> None:
    """Requirements go into it, with a word, and it is never removed later."""
    (ready.root / ".venv" / MARKER).unlink()
    started = start(ready)
    started.until(ADDRESS)
    started.end(signal.SIGINT)

    assert "已有的 .venv 不是本程序创建的" in started.output
    assert json.loads((ready.root / ".venv" / MARKER).read_text("utf-8"))["adopted"] is True
    (ready.root / ".venv/bin/python").unlink()
    assert "没有改动它" in ready.run("--no-browser").stdout


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to become somebody else"
)
def test_folder_of_another_user_is_named_with_its_owner(clone: Clone) -> None:
    """A clone made by root and started by a plain user: who owns it and what to do."""
    python = next(filter(_is_new_enough, ("/usr/bin/python3", sys.executable)), None)
    if python is None:
        pytest.skip("no Python 3.11 that a plain user may run")
    for folder in clone.root.parents:
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):  # noqa: S108 - pytest's own folder
            folder.chmod(0o755)
    done = subprocess.run(
        [python, clone.root / "start.py", "--no-browser"],
        user=65534,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert done.returncode == 1
    assert f"没有写入权限:{clone.root}(属于 root)" in done.stdout


def test_help_and_bad_port_are_answered_in_chinese(clone: Clone) -> None:
    """``--help`` exits 0 and explains; a port that cannot be is refused with its range."""
    assert "演练场" in clone.run("--help").stdout
    bad = clone.run("--port", "70000")
    assert bad.returncode == 2
    assert "1 到 65535" in bad.stderr


@pytest.fixture
def testable(ready: Clone) -> Clone:
    """Give a clone whose environment also has what this one has, pytest above all."""
    packages = next((ready.root / ".venv").glob("lib/python*/site-packages"))
    (packages / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    for path in ("tests/__init__.py", "tests/fixtures/__init__.py", "tests/fixtures/summary.py"):
        ready.write(path, (ROOT / path).read_text(encoding="utf-8"))
    return ready


def test_tests_run_and_what_was_skipped_is_said_with_its_reason(testable: Clone) -> None:
    """Two suites, one of them skipped: pytest's exit code, and a line per reason and folder."""
    testable.write("tests/unit/test_one.py", "def test_one():\n    pass\n")
    testable.write(
        "tests/integration/test_two.py",
        "import pytest\npytestmark = pytest.mark.skip(reason='no redis-server here')\n"
        "def test_a():\n    pass\ndef test_b():\n    pass\n",
    )
    done = testable.run("test", "-q", CHROMIUM="/nowhere")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "跳过 2 个:no redis-server here — tests/integration(2)" in done.stdout
    assert "测试通过" in done.stdout


def test_module_that_skips_itself_is_named_too(testable: Clone) -> None:
    """``importorskip`` skips before there is a test to count."""
    testable.write("tests/unit/test_one.py", "def test_one():\n    pass\n")
    testable.write(
        "tests/e2e/test_page.py", "import pytest\npytest.importorskip('nothing_of_that_name')\n"
    )
    done = testable.run("test", CHROMIUM="/nowhere")

    assert done.returncode == 0
    assert "could not import 'nothing_of_that_name'" in done.stdout
    assert "— tests/e2e(1)" in done.stdout


@pytest.mark.parametrize(
    "source",
    ["", "import pytest\n@pytest.mark.skip(reason='all')\ndef test_one():\n    pass\n"],
    ids=["no test", "all skipped"],
)
def test_run_without_a_test_is_a_failure(testable: Clone, source: str) -> None:
    """Nothing that ran is nothing that passed."""
    testable.write("tests/test_one.py", source)
    done = testable.run("test", CHROMIUM="/nowhere")

    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "没有运行任何测试" in done.stdout


def test_failing_test_gives_pytests_exit_code_and_arguments_reach_pytest(testable: Clone) -> None:
    """``-k`` chooses among the tests, and a failure is a failure."""
    testable.write(
        "tests/test_one.py", "def test_good():\n    pass\ndef test_bad():\n    assert False\n"
    )

    assert testable.run("test", "-k", "good", CHROMIUM="/nowhere").returncode == 0
    assert testable.run("test", CHROMIUM="/nowhere").returncode == 1
    one = testable.run("test", "tests/test_one.py::test_good", CHROMIUM="/nowhere")
    assert one.returncode == 0
    assert "1 passed" in one.stdout


def _is_new_enough(python: str) -> bool:
    ask = [python, "-c", "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"]
    try:
        return subprocess.run(ask, user=65534, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def test_launcher_imports_nothing_that_has_to_be_installed() -> None:
    """It runs before there is an environment."""
    for file in (ROOT / "start.py", *(ROOT / "launch").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] in {*sys.stdlib_module_names, "launch"}, f"{file}: {name}"
