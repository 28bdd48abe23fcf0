"""Image, compose file and lock files hold together; no Docker engine needed."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from settings.tree import leaves
from tests.fixtures import image
from tests.fixtures.image import ROOT
from tests.fixtures.ports import free_port

COMPOSE = ROOT / "docker-compose.yml"
ENV_EXAMPLE = ROOT / ".env.example"
LOCKS = (
    "requirements.txt",
    "requirements-runtime.txt",
    "requirements-e2e.txt",
    "requirements-otel.txt",
    "requirements-dev.txt",
)
#: Of Python, of pip and of the image itself; no settings of ours.
FOREIGN = re.compile(r"^(PYTHON|PIP_)|^(PATH|HOME|USER)$")


def known_names() -> set[str]:
    """Every environment variable that is a setting."""
    every = leaves().values()
    return {leaf.env for leaf in every} | {f"{leaf.env}_FILE" for leaf in every}


def documented_names() -> set[str]:
    """Every variable that has a line in ``.env.example``, commented out or not."""
    return set(
        re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", ENV_EXAMPLE.read_text("utf-8"), re.MULTILINE)
    )


def set_names() -> set[str]:
    """Every variable that a plain copy of ``.env.example`` sets to something."""
    return set(re.findall(r"^([A-Z][A-Z0-9_]+)=.+$", ENV_EXAMPLE.read_text("utf-8"), re.MULTILINE))


def compose() -> dict[str, Any]:
    """Read the compose file with its anchors resolved."""
    yaml = pytest.importorskip("yaml", reason="needs requirements-dev.txt (PyYAML)")
    content: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return content


def tool(name: str) -> str:
    """Give the path of a development tool of this environment."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        pytest.skip(f"needs requirements-dev.txt ({name})")
    return str(path)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("hadolint", ["Dockerfile"]),
        ("check-jsonschema", ["--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]),
        (
            "check-jsonschema",
            ["--builtin-schema", "vendor.github-workflows", ".github/workflows/ci.yml"],
        ),
        ("yamllint", ["--strict", "."]),
        ("codespell", []),
    ],
    ids=["hadolint", "compose schema", "workflow schema", "yamllint", "codespell"],
)
def test_files_pass_their_linters(name: str, arguments: list[str]) -> None:
    """The same checks as ``make files`` and ``make spelling``."""
    done = subprocess.run(
        [tool(name), *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_programs_of_the_commit_hooks_are_installed_by_the_lock_file() -> None:
    """Each hook is a tool of ``.venv`` or a target of the Makefile."""
    yaml = pytest.importorskip("yaml", reason="needs requirements-dev.txt (PyYAML)")
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    [repository] = yaml.safe_load(text)["repos"]
    commands = [hook["entry"].split() for hook in repository["hooks"]]

    folder = Path(tool("pre-commit")).parent

    assert len(commands) > 5
    for program, *arguments in commands:
        if program == "make":
            assert set(arguments) <= set(targets)
        else:
            assert Path(program).parent == Path(".venv/bin")
            assert (folder / Path(program).name).exists(), program


def test_workflow_has_the_linters_for_the_tests_and_judges_every_report() -> None:
    """A run that skipped what the runner can do is no success."""
    yaml = pytest.importorskip("yaml", reason="needs requirements-dev.txt (PyYAML)")
    text = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    steps = [step.get("run", "") for step in yaml.safe_load(text)["jobs"]["test"]["steps"]]
    [install, tests, judge] = [
        next(number for number, run in enumerate(steps) if run.startswith(command))
        for command in ("make install", "python3 start.py test", "python3 .ci/judge.py")
    ]
    written = re.findall(r'--junitxml="(.+?)"', " ".join(steps))
    named = re.findall(r"(tests/\S+\.py)::(\w+)", " ".join(steps))

    assert install < tests < judge
    assert len(written) == 2
    assert re.findall(r'"(.+?)"', steps[judge]) == written
    assert all(f"def {test}(" in (ROOT / file).read_text("utf-8") for file, test in named)


def test_every_copied_file_exists_and_is_let_through_by_dockerignore() -> None:
    """A build fails late when either is wrong."""
    allowed = [
        line[1:].rstrip("/")
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    ]

    for source, _ in image.copied():
        assert (ROOT / source).exists(), source
        assert source.rstrip("/") in allowed


def test_image_holds_everything_that_the_bridge_imports() -> None:
    """Each import of ours, at the top or inside a function, is among the copied files."""
    sources = [ROOT / source for source, goal in image.copied() if not goal.startswith("/")]
    files = [
        f for s in sources for f in (s.rglob("*.py") if s.is_dir() else [s]) if f.suffix == ".py"
    ]
    ours = {p.stem for p in ROOT.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    in_image = {p.stem for p in sources}
    imported = {
        name.split(".")[0]
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }

    assert len(files) > 10
    assert imported & ours <= in_image


def test_image_runs_as_a_number_without_a_shell() -> None:
    """Kubernetes can check a number; an exec form gets the signals itself."""
    last = dict(image.instructions())

    assert last["USER"] == f"{image.USER_ID}:{image.USER_ID}"
    assert image.last_list("ENTRYPOINT") == ["python", "main.py"]
    assert image.last_list("HEALTHCHECK") == ["python", "-m", "app.cli", "healthcheck"]
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert set(image.last_list("VOLUME")) == {"/app/data", "/app/logs"}


def test_every_variable_of_the_image_is_a_setting_or_a_foreign_one() -> None:
    """A renamed setting must not live on in the Dockerfile."""
    ours = {name for name in image.variables() if not FOREIGN.search(name)}

    assert ours <= known_names()


def test_every_variable_compose_reads_has_a_line_in_env_example() -> None:
    """What stops the start when it is missing is set by a plain copy."""
    text = re.sub(r"\$\$", "", COMPOSE.read_text("utf-8"))
    read = set(re.findall(r"\$\{([A-Z_]+)", text))
    required = set(re.findall(r"\$\{([A-Z_]+):\?", text))

    assert required == {"MYSQL_PASSWORD", "MYSQL_ROOT_PASSWORD"}
    assert required <= set_names()
    assert read <= documented_names()


def test_compose_gives_the_bridge_settings_that_exist() -> None:
    """Hides the one that is in ``.env`` for the database alone, and says where the others come from."""
    environment = compose()["services"]["app"]["environment"]

    assert environment.pop("MYSQL_ROOT_PASSWORD") == ""
    assert environment.pop("BRIDGE_ENVIRONMENT_FROM") == compose()["services"]["app"]["env_file"]
    assert set(environment) <= known_names()
    assert re.sub(r"\$\{(\w+):[^}]*\}", r"<\1>", environment["DATABASE_URL"]) == (
        "mysql+pymysql://<MYSQL_USER>:<MYSQL_PASSWORD>@mysql:3306/<MYSQL_DATABASE>"
    )
    assert environment["REDIS_URL"] == "redis://redis:6379/0"


def test_compose_starts_in_order_and_shows_no_database_to_the_network() -> None:
    """Migrated before the bridge starts, healthy before that; databases on 127.0.0.1 only."""
    services = compose()["services"]
    app, migrate, mysql, redis = (services[n] for n in ("app", "migrate", "mysql", "redis"))

    assert set(services) == {"app", "migrate", "mysql", "redis"}
    assert app["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert app["depends_on"]["redis"]["condition"] == "service_healthy"
    assert migrate["depends_on"]["mysql"]["condition"] == "service_healthy"
    assert migrate["entrypoint"] == ["python", "app/utils/database_init.py"]
    assert mysql["image"].endswith("mysql:8.4")
    assert "mysqladmin" not in str(mysql["healthcheck"])
    assert {"--appendonly", "noeviction"} <= set(redis["command"])
    assert mysql["ports"] == ["127.0.0.1:${MYSQL_PORT:-3306}:3306"]
    assert redis["ports"] == ["127.0.0.1:${REDIS_PORT:-6379}:6379"]
    for server in (mysql, redis):
        assert server["volumes"]
    for ours in (app, migrate):
        assert ours["read_only"] is True
        assert ours["cap_drop"] == ["ALL"]
        assert ours["security_opt"] == ["no-new-privileges:true"]
        assert ours["stop_grace_period"] == "40s"


def test_lock_files_have_hashes_and_name_no_index() -> None:
    """Each pin is checked against hashes, and the operator's own index serves them."""
    for name in LOCKS:
        text = (ROOT / name).read_text("utf-8")
        pins = re.findall(r"^[a-z0-9][^ ]*==.*?(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
        assert pins, name
        assert all("--hash=sha256:" in pin for pin in pins), name
        assert "://" not in text, name
        assert not re.search(
            r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links)\b", text, re.MULTILINE
        )


def test_lock_files_agree_with_each_other() -> None:
    """A package has one version, whichever file it is installed from."""
    versions: dict[str, set[str]] = {}
    for name in LOCKS:
        for package, version in re.findall(
            r"^([a-z0-9._-]+)(?:\[.*?\])?==(\S+)", (ROOT / name).read_text("utf-8"), re.MULTILINE
        ):
            versions.setdefault(package, set()).add(version)

    assert {package: found for package, found in versions.items() if len(found) > 1} == {}


def test_test_requirements_are_all_that_this_run_uses() -> None:
    """The plain ``pip install -r requirements.txt`` of the README brings pytest and its plugins."""
    text = (ROOT / "requirements.txt").read_text("utf-8")

    for package in ("pytest", "pytest-asyncio", "pytest-timeout", "hypothesis"):
        assert f"{package}=={metadata.version(package)}" in text


def container_environment(service: str, env_file: str) -> dict[str, str]:
    """What a container of compose's gets: the image's, those of ``.env``, then its own."""
    own = compose()["services"][service]["environment"]
    stores = {"DATABASE_URL": "sqlite:///data/bridge.db", "REDIS_URL": "embedded://"}
    given = {name: value or "" for name, value in dotenv_values(stream=StringIO(env_file)).items()}
    path = {"PATH": os.environ["PATH"], "HOSTNAME": "0a1b2c", "LANG": "C.UTF-8"}
    return {**image.variables(), **path, **given, **own, **stores}


def run_in_container(
    folder: Path, service: str, env_file: str, *command: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command as in a container, where there is no ``.env`` and the image's files alone."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=container_environment(service, env_file),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_misspelt_name_in_env_stops_both_containers(tmp_path: Path) -> None:
    """As ``.env.example`` promises, also where compose has turned the file into environment."""
    image.lay_out(tmp_path / "app")
    env_file = ENV_EXAMPLE.read_text("utf-8") + "DIFY_API_KEYY=hidden\n"
    commands = {
        "app": image.last_list("ENTRYPOINT"),
        "migrate": compose()["services"]["migrate"]["entrypoint"],
    }

    for service, command in commands.items():
        done = run_in_container(tmp_path / "app", service, env_file, *command[1:])
        assert done.returncode == 1
        assert "没有名为 DIFY_API_KEYY 的设置;是不是想写 DIFY_API_KEY" in done.stderr
        assert "来自 .env" in done.stderr
        assert "hidden" not in done.stderr
        assert not list((tmp_path / "app" / "data").iterdir())


def test_plain_copy_of_env_example_is_taken_without_a_warning_in_the_container(
    tmp_path: Path,
) -> None:
    """What the image, the platform and the other services put there is nobody's mistake."""
    image.lay_out(tmp_path / "app")

    done = run_in_container(
        tmp_path / "app", "app", ENV_EXAMPLE.read_text("utf-8"), "-m", "app.cli", "settings"
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_copied_files_alone_start_answer_and_stop(tmp_path: Path) -> None:
    """In a folder with nothing but what the Dockerfile copies: 200, healthy, and a clean end."""
    app = tmp_path / "app"
    image.lay_out(app)
    port = free_port()
    env = {
        **{k: v for k, v in image.variables().items() if k != "PATH"},
        "PATH": os.environ["PATH"],
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": str(port),
        "SERVER_DRAIN_DELAY": "0",
    }
    python = [sys.executable, *image.last_list("ENTRYPOINT")[1:]]
    health = [sys.executable, *image.last_list("HEALTHCHECK")[1:]]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            python, cwd=app, env=env, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        status = wait_for_status(f"http://127.0.0.1:{port}/healthz", process)
        assert status == 200, log.read_text("utf-8")
        check = subprocess.run(health, cwd=app, env=env, check=False, capture_output=True)
        assert check.returncode == 0, check.stderr.decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) in (0, -signal.SIGTERM)
        check = subprocess.run(health, cwd=app, env=env, check=False, capture_output=True)
        assert check.returncode == 1
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text("utf-8")
    shutil.rmtree(app)


def wait_for_status(url: str, process: subprocess.Popen[bytes], seconds: float = 40) -> int:
    """Give the status once something answers; 0 when the process ended or time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own http address
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            time.sleep(0.1)
    return 0
