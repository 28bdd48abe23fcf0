"""The pages keep their word: commands run, names exist, links lead somewhere, tables are up to date."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from app.cli import app
from app.commands.settings import TABLE_BEGIN, TABLE_END, settings_table
from app.models import tables
from app.models.flow import IgnoreReason, RefuseReason, Trigger, WcId
from app.models.message import MessageState
from app.models.segment import SegmentState
from app.services import errors
from app.services.decide import GroupRules
from app.services.groups import Groups, GroupSettings
from app.services.outbox import ANSWERED, ANSWERED_NOTHING, CUT_SHORT
from app.services.store import Store
from app.utils.database_init import migrate
from app.utils.db import make_engines
from app.workers.retry import CRASHED, Bury, RetryPolicy
from config import describe_settings, load_settings
from settings.tree import leaves
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Bridge, Stores, peer_variables, read_rows
from tests.fixtures.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
ENGLISH = ROOT / "README.en.md"
OPERATIONS = ROOT / "docs/operations.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
GUIDES = sorted((ROOT / "docs/guide").glob("*.md"))
PAGES = [README, ENGLISH, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]

USER = "wxid_ynu1tgjz156j22"
#: The chapters that have always been there, in their order.
CHAPTERS = [
    "功能特性",
    "系统架构",
    "技术栈",
    "快速开始",
    "API接口",
    "消息处理流程",
    "数据库表结构",
    "配置说明",
    "日志管理",
    "监控和维护",
    "故障排除",
    "开发指南",
    "许可证",
]


@dataclass(frozen=True, kw_only=True)
class Block:
    """One code block of a page."""

    language: str
    #: The nearest heading above it.
    heading: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Its lines without comments and prompts."""
        lines = (line.removeprefix("> ").strip() for line in self.text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def blocks(page: Path) -> list[Block]:
    """All code blocks of a page, in order."""
    found = []
    heading = language = ""
    lines: list[str] | None = None
    for line in page.read_text("utf-8").splitlines():
        if lines is not None and line.startswith("```"):
            found.append(Block(language=language, heading=heading, text="\n".join(lines)))
            lines = None
        elif lines is not None:
            lines.append(line)
        elif line.startswith("```"):
            language, lines = line.removeprefix("```"), []
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return found


def block(language: str, heading: str) -> Block:
    """The first code block of the README in that language below that heading."""
    return next(one for one in blocks(README) if (one.language, one.heading) == (language, heading))


def text_of(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def python_sources() -> str:
    """Everything the bridge is made of, in one text."""
    files = [ROOT / "main.py", ROOT / "config.py", *(ROOT / "app").rglob("*.py")]
    return "\n".join(file.read_text("utf-8") for file in files)


# Structure -----------------------------------------------------------------------------------


def test_chapters_stand_in_their_order_behind_the_two_commands() -> None:
    """Who knows the old page finds everything where it was."""
    headings = re.findall(r"^## (.+)$", text_of(README), re.MULTILINE)
    first, second = blocks(README)[:2]

    assert headings == ["一分钟体验", *CHAPTERS]
    assert first.commands == ["python3 start.py"]
    assert second.commands == ["python3 start.py test"]


def test_english_page_has_the_same_chapters_and_commands() -> None:
    """Both pages show the same things to type, in the same order."""

    def typed(page: Path) -> list[str]:
        shown = [one for one in blocks(page) if one.language in ("bash", "env", "json")]
        words = re.compile(
            r"用户ID|USER|应用名 群编号|APP GROUP|(?:on|--group) 群编号|(?:on|--group) GROUP|地址|ADDRESS|http://\S+:8000"
        )
        lines = [words.sub("…", line) for one in shown for line in one.commands]
        return [re.sub(r"\s+", " ", line.split(" #")[0]).strip() for line in lines]

    def depth(page: Path) -> list[str]:
        return re.findall(r"^(#+) ", text_of(page), re.MULTILINE)

    assert typed(ENGLISH) == typed(README)
    assert depth(ENGLISH) == depth(README)


@pytest.mark.parametrize("heading", ["流式模式说明|Streaming", "常见问题|Common problems"])
def test_english_page_says_as_much_as_the_chinese(heading: str) -> None:
    """Point by point, in the sections an operator reads when something is wrong or slow."""

    def points(page: Path, name: str) -> list[int]:
        section = text_of(page).partition(f"### {name}\n")[2].partition("\n#")[0]
        return [len(indent) for indent in re.findall(r"^( *)(?:-|\d\.) ", section, re.MULTILINE)]

    chinese, english = heading.split("|")
    assert points(ENGLISH, english) == points(README, chinese) != []


def test_every_picture_is_shown_in_both_readmes() -> None:
    """A picture that nobody sees is not kept up to date either."""
    pictures = {
        f"docs/images/{path.name}" for path in (ROOT / "docs/images").iterdir() if path.is_file()
    }

    for page in (README, ENGLISH):
        shown = {target for of, target in links() if of == page and "docs/images/" in target}
        assert shown == pictures


def test_every_picture_of_the_guides_is_shown_in_one_of_them() -> None:
    """And each guide shows at least one, and is linked from both READMEs."""
    pictures = {path.resolve() for path in (ROOT / "docs/images/guide").iterdir()}
    shown = {(of, (of.parent / target).resolve()) for of, target in links() if of in GUIDES}

    assert len(GUIDES) == 4
    assert pictures == {
        picture
        for _, picture in shown
        if picture.parent.name == "guide" and picture.suffix == ".png"
    }
    assert {of for of, picture in shown if picture.suffix == ".png"} == set(GUIDES)
    for page in (README, ENGLISH):
        linked = {(page.parent / target).resolve() for of, target in links() if of == page}
        assert set(GUIDES) <= linked


def links() -> Iterator[tuple[Path, str]]:
    """Every link and image of every page that stays within the project."""
    for page in PAGES:
        text = text_of(page)
        targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
        for target in targets:
            if not re.match(r"[a-z]+:", target):
                yield page, target


@pytest.mark.parametrize(
    ("document", "target"),
    [pytest.param(page, target, id=f"{page.name}-{target}") for page, target in links()],
)
def test_link_leads_somewhere(document: Path, target: str) -> None:
    """Files exist, and so do the headings behind ``#``."""
    path, _, anchor = target.partition("#")
    file = (document.parent / path).resolve() if path else document

    assert file.exists(), f"{document.name}: {target}"
    assert file.is_relative_to(ROOT)
    if anchor:
        headings = re.findall(r"^#+ (.+)$", text_of(file), re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", name).strip().replace(" ", "-") for name in headings}
        assert anchor in {name.lower() for name in anchors}


def test_every_decision_is_in_the_index_and_fits_one_screen() -> None:
    """The index is how a reader finds them."""
    index = (ROOT / "docs/adr/README.md").read_text("utf-8")
    pages = sorted((ROOT / "docs/adr").glob("0*.md"))

    assert len(pages) > 10
    for page in pages:
        text = page.read_text("utf-8")
        assert f"({page.name})" in index
        assert len(text) < 1500
        assert re.findall(r"^\*\*(.+)\*\*$", text, re.MULTILINE) == [
            "背景",
            "决定",
            "后果",
            "在哪里守住",
        ]


# Settings ------------------------------------------------------------------------------------


def test_settings_table_is_up_to_date() -> None:
    """If this fails: python -m app.cli settings --into README.md"""
    text = README.read_text("utf-8")
    table = text.partition(TABLE_BEGIN)[2].partition(TABLE_END)[0].strip()

    assert table == settings_table()


def test_english_settings_table_has_every_setting_and_default() -> None:
    """Its meanings are written by hand, the rest must agree."""
    rows = re.findall(
        r"^\| (?:–|`([^`]+)`) \| `([^`]+)` \| (?:\(empty\)|`([^`]*)`) \| (.+) \|$",
        ENGLISH.read_text("utf-8"),
        re.MULTILINE,
    )
    expected = [
        (row.name if "." in row.name else "", row.env, row.default) for row in describe_settings()
    ]

    assert [row[:3] for row in rows] == expected


def test_no_setting_is_without_effect() -> None:
    """A name nobody reads must not look like a switch."""
    sources = python_sources()
    read_by_name = {"callback_token": "callback_tokens", "base_url": "base_url"}
    # By the kind of robot, all in one.
    robots = ["wecom_url", "dingtalk_url", "dingtalk_secret", "feishu_url", "feishu_secret"]
    robots += ["webhook_url", "webhook_secret", "channels"]
    read_by_name |= dict.fromkeys(robots, "every_channel")
    unused = {
        leaf.name
        for leaf in leaves().values()
        if not re.search(rf"\.{read_by_name.get(leaf.key, leaf.key)}\b(?!\")", sources)
    }

    assert unused == set()


@pytest.mark.parametrize("document", [README, ENGLISH, *DOCS], ids=lambda page: page.name)
def test_every_setting_that_is_named_exists(document: Path) -> None:
    """Neither a misspelt one nor one that was renamed."""
    every = leaves()
    sections = {leaf.section for leaf in every.values() if leaf.section}
    text = document.read_text("utf-8")
    sources = python_sources()
    dotted = set(re.findall(r"`(?:[^`]*[ (])?([a-z_]+\.[a-z_]+)[^`]*`", text))
    no_settings = (".py", ".json", ".md", ".sql", ".db", ".log", ".lua", ".yml", ".txt")

    wrong = [
        name
        for name in dotted - every.keys()
        if name.split(".")[0] in sections
        and not name.endswith(no_settings)
        and f'"{name}' not in sources  # an event of the log
    ]
    assert wrong == []


@pytest.mark.parametrize("document", [README, ENGLISH, *DOCS], ids=lambda page: page.name)
def test_every_variable_that_is_named_exists(document: Path) -> None:
    """It is a setting, or ``.env.example`` has a line for it."""
    envs = {leaf.env for leaf in leaves().values()}
    ways = {"BRIDGE_ENV_FILE", "BRIDGE_CONFIG_FILE", "BRIDGE_ENVIRONMENT_FROM"}
    known = envs | {f"{name}_FILE" for name in envs} | ways
    example = (ROOT / ".env.example").read_text("utf-8")
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", document.read_text("utf-8")))

    assert {name for name in named - known if f"{name}=" not in example} <= {"YYYYMMDD_HH"}


def test_config_example_loads(tmp_path: Path) -> None:
    """The README's ``config.json`` for streaming."""
    file = tmp_path / "config.json"
    file.write_text(block("json", "流式模式说明").text, "utf-8")

    settings = load_settings(environ={}, env_file=None, config_file=file).settings

    assert settings.dify.streaming_enabled is True
    assert settings.dify.streaming_timeout == 180


def test_env_example_of_the_page_is_understood_and_its_placeholders_are_warned_of(
    tmp_path: Path,
) -> None:
    """Every name is a setting; who forgets to replace a value hears of it."""
    file = tmp_path / ".env"
    file.write_text(block("env", "2. 配置环境变量").text, "utf-8")

    loaded = load_settings(environ={}, env_file=file, config_file=None)

    assert loaded.settings.dify.base_url == "https://api.dify.ai/v1"
    assert loaded.settings.redis_url.get_secret_value() == "redis://localhost:6379/0"
    assert loaded.settings.database_url.get_secret_value().endswith("@localhost:3306/ecloud_dify")
    assert len([text for text in loaded.warnings if "占位值" in text]) == 3


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("dify.streaming_enabled", "false"),
        ("dify.streaming_timeout", "120"),
        ("message_processing.max_retry_count", "3"),
        ("message_processing.retry_delay", "5"),
        ("message_processing.queue_timeout", "300"),
    ],
)
def test_promised_defaults_hold(name: str, default: str) -> None:
    """The page's figures and the program's are the same."""
    [row] = [row for row in describe_settings() if row.name == name]
    [line] = [
        line for line in README.read_text("utf-8").splitlines() if line.startswith(f"- `{name}`")
    ]

    assert row.default == default
    assert default in line


# Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["contacts", "conversations"])
def test_columns_of_the_page_exist(table: str) -> None:
    """Every column named in the README is in the schema, under the same name."""
    section = README.read_text("utf-8").partition(f"### {table}(")[2].partition("\n#")[0]
    listed = "\n".join(line for line in section.splitlines() if line.startswith("- "))
    named = set(re.findall(r"`([a-z0-9_]+)`", listed))
    columns = set(tables.Base.metadata.tables[table].columns.keys())

    assert {"id"} < named <= columns


def test_unique_key_of_conversations_is_the_promised_one() -> None:
    """(from_user, conversation_id, group, hour)."""
    text = README.read_text("utf-8")
    [promised] = re.findall(r"唯一性约束: \((.+)\)", text)
    constraints = tables.Conversation.__table__.constraints  # type: ignore[attr-defined]
    keys = [[column.name for column in one.columns] for one in constraints]

    assert promised.split(", ") in keys


def test_every_table_is_named_in_the_architecture() -> None:
    """And nothing is named that is no table."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    section = text.partition("| 表 | 内容 |")[2].partition("| Redis 键 |")[0]
    named = {
        name
        for line in section.splitlines()
        if line.startswith("|")
        for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])
    }

    assert named == set(tables.Base.metadata.tables)


def test_files_and_folders_of_the_pages_exist() -> None:
    """The tree in the README, and every path in the documents."""
    tree = blocks(README)[-2].text
    names = re.findall(r"── (\S+)", tree)
    for name in names:
        # Made at the first start.
        candidates = [ROOT / name, ROOT / "app" / name]
        assert name == "logs/" or any(path.exists() for path in candidates), name
    paths = {
        path
        for page in PAGES
        for path in re.findall(r"`((?:app|tests|migrations|settings)/[\w./*-]+)`", text_of(page))
    }
    assert len(paths) > 20
    assert {path for path in paths if not list(ROOT.glob(path.rstrip("/")))} == set()


def test_every_verdict_and_state_is_explained() -> None:
    """An operator looks up a word of the table and finds it."""
    text = OPERATIONS.read_text("utf-8")
    words: list[str] = [*IgnoreReason, *RefuseReason, *MessageState, *SegmentState]
    words += [ANSWERED, ANSWERED_NOTHING, CUT_SHORT]
    policy = RetryPolicy(max_retries=0, delay=0, crash_limit=1, outage_max_wait=1)
    failures = [*concrete_errors(errors.DifyError), *concrete_errors(errors.VoiceError)]
    failures += [errors.InputLacking, TimeoutError, RuntimeError]
    decisions = [policy.decide(kind("x"), attempts=9, age=9) for kind in failures]
    reasons = {one.reason for one in decisions if isinstance(one, Bury)} | {CRASHED}
    in_code = set(re.findall(r'"(failed:\w+)"', python_sources()))

    assert {word for word in words if f"`{word}`" not in text} == set()
    assert {f"failed:{reason}" for reason in reasons} | in_code == set(
        re.findall(r"^\| `(failed:\w+)`", text, re.MULTILINE)
    )


def concrete_errors(root: type[Exception]) -> list[type[Exception]]:
    """The leaves of the error tree below *root*."""
    return [one for kind in root.__subclasses__() for one in (concrete_errors(kind) or [kind])]


def test_every_event_in_the_log_table_is_logged() -> None:
    """Whoever greps for it finds it."""
    section = OPERATIONS.read_text("utf-8").partition("| 事件 |")[2].partition("\n\n")[0]
    events = re.findall(r"`([a-z]+\.[a-z_]+)`", section)
    sources = python_sources()

    assert len(events) > 20
    words = ("accepted", "duplicate", "noted", "refused", "left")
    receipts = {f"callback.{word}" for word in words}
    assert {name for name in events if f'"{name}' not in sources} <= receipts
    assert 'f"callback.{kind}"' in sources


def test_metrics_of_the_table_are_the_metrics() -> None:
    """All of them, and no other."""
    from app.services.metrics import Metrics

    rows = re.findall(r"^\| (`bridge_[^|]+)", OPERATIONS.read_text("utf-8"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(bridge_\w+)", row)}
    families = Metrics(version="1").registry.collect()
    real = {one.name + ("_total" if one.type == "counter" else "") for one in families}

    assert named == {name for name in real if not name.startswith("process_")}


# Commands ------------------------------------------------------------------------------------


def test_docker_blocks_name_services_that_exist() -> None:
    """``docker-compose up -d mysql redis`` and ``logs -f app``."""
    yaml = pytest.importorskip("yaml", reason="needs requirements-dev.txt (PyYAML)")
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    commands = [
        shlex.split(line)
        for one in (*blocks(README), *blocks(OPERATIONS))
        for line in one.commands
        if line.startswith("docker-compose ")
    ]
    named = {word for command in commands for word in command[2:] if not word.startswith("-")}

    assert ["docker-compose", "up", "-d"] in commands
    assert named == {"app", "mysql", "redis"}
    assert named <= set(services)


def test_management_commands_exist() -> None:
    """Each is known to the program with these words."""
    pages = (README, *GUIDES)
    shown = [line for page in pages for one in blocks(page) for line in one.commands]
    shown += [line for page in GUIDES for line in re.findall(r"`([^`\n]+)`", text_of(page))]
    lines = list(dict.fromkeys(line for line in shown if line.startswith("python -m app.cli")))

    assert len(lines) > 20
    for line in lines:
        words = shlex.split(line, comments=True)[3:]
        known = [word for word in words if re.fullmatch(r"[a-z]+", word)]
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", *known, "--help"],
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, line
        options = [word for word in words if word.startswith("--")]
        assert all(option in done.stdout for option in options), line


@pytest.mark.parametrize(
    ("document", "begins"), [(README, "目前还没有:"), (ENGLISH, "Not there yet:")], ids=["zh", "en"]
)
def test_commands_that_the_page_calls_missing_are_missing(document: Path, begins: str) -> None:
    """Whoever adds one takes it off the list."""
    [line] = [line for line in document.read_text("utf-8").splitlines() if line.startswith(begins)]
    named = [words.split() for words in re.findall(r"`([^`]+)`", line)]

    assert [words for words in named if is_command(words)] == []
    assert is_command(["queue", "list"])


def is_command(words: list[str]) -> bool:
    """Whether ``python -m app.cli`` knows this command."""
    command: Any = typer.main.get_command(app)
    for word in words:
        command = getattr(command, "commands", {}).get(word)
    return command is not None


def copy_of_tree(goal: Path) -> Path:
    """What a clone holds, with the changes of the working folder."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git working folder")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (goal / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, goal / name)
    return goal


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the tree in a folder whose name has a space."""
    goal = tmp_path / "a clone"
    goal.mkdir()
    return copy_of_tree(goal)


def run_line(line: str, folder: Path, **variables: str) -> str:
    """Run one command of a page; ``python`` is this environment's."""
    words = shlex.split(line)
    if words[0] in ("python", "pytest"):
        words[:1] = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "pytest"]
    done = subprocess.run(
        words, cwd=folder, env=plain_environment(**variables), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return done.stdout.decode()


def plain_environment(**variables: str) -> dict[str, str]:
    """A shell's environment without settings of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", **variables}


async def test_copied_env_file_database_init_and_start_work_as_they_stand(clone: Path) -> None:
    """The README's way by hand, on a clone, with nothing changed but the port."""
    by_hand = block("bash", "4. 手动部署").commands
    [copy] = block("bash", "2. 配置环境变量").commands
    init, start = by_hand[2:]
    assert (copy, init, start) == (
        "cp .env.example .env",
        "python app/utils/database_init.py",
        "python main.py",
    )

    run_line(copy, clone)
    first = run_line(init, clone)
    again = run_line(init, clone)
    async with started(clone, free_port()) as bridge:
        status, report = await bridge.get("/api/v1/health")
        answer = await bridge.post(block("json", "回调接口").text.encode())

    assert "已执行迁移" in first
    assert "数据库已是最新" in again
    assert (status, report["status"]) == (200, "incomplete")
    assert answer == (200, b'{"code":"1000","message":"success","data":null}')
    [row] = read_rows(f"sqlite:///{clone}/data/bridge.db", "SELECT * FROM messages")
    assert (row["state"], row["new_msg_id"]) == ("received", "1497474118261484795")
    assert (clone / "logs/app.log").exists()
    assert (clone / "logs/app_error.log").exists()


@asynccontextmanager
async def started(clone: Path, port: int) -> AsyncIterator[Bridge]:
    """``python main.py`` in a clone, stopped by SIGTERM; its end is clean."""
    stores = Stores(name="clone", database_url="", redis_url="", folder=clone)
    bridge = Bridge(stores, {}, port=port)
    with (clone / f"{port}.log").open("ab") as output:
        bridge.process = subprocess.Popen(
            [sys.executable, "main.py"],
            cwd=clone,
            env=plain_environment(SERVER_PORT=str(port), SERVER_DRAIN_DELAY="0"),
            stdout=output,
            stderr=output,
        )
    try:
        await bridge.until_ready()
        yield bridge
        assert await bridge.stop() == 0, bridge.log
    finally:
        bridge.kill()
    assert "Traceback" not in bridge.log


def test_requirements_of_the_page_are_installed_and_the_tests_can_be_collected() -> None:
    """
    ``pip install -r requirements.txt`` brings what ``pytest tests/`` needs.

    The installation itself, half a minute, is done once in CI: ``.ci/smoke.py`` lets ``start.py``
    install that file into an empty environment and collects the tests there. Here they are
    collected with what this environment has.
    """
    assert "pip install -r requirements.txt" in block("bash", "4. 手动部署").commands
    assert 'prepare("requirements.txt")' in (ROOT / "launch/main.py").read_text("utf-8")
    for file in (".ci/run", ".github/workflows/ci.yml"):
        assert ".ci/smoke.py" in (ROOT / file).read_text("utf-8")
    [command] = block("bash", "运行测试").commands

    run_line(f"{command} --collect-only -q -p no:cacheprovider", ROOT)


async def test_the_pages_callback_is_answered(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The README's JSON goes in, the answer comes out in that group, both as the page says."""
    body = block("json", "回调接口").text
    envelope = json.loads(body)
    group, bot = envelope["data"]["fromGroup"], envelope["wcId"]
    gateway.world.add_account(bot, "小助手").w_id = envelope["data"]["wId"]
    gateway.world.add_person(USER, "阿珍")
    gateway.world.add_group(group, "售后群", [bot, USER])
    await idle_bridge.start(**peer_variables(gateway, dify))

    status, answer = await idle_bridge.post(body.encode())
    [sent] = await gateway.wait_for_sent(1)
    healthy = await idle_bridge.get("/api/v1/health")

    assert (status, json.loads(answer)) == (
        200,
        {"code": "1000", "message": "success", "data": None},
    )
    assert f"`{status} {answer.decode()}`" in README.read_text("utf-8")
    assert sent.to == group
    assert envelope["data"]["content"] in sent.content
    assert (healthy[0], healthy[1]["status"]) == (200, "up")


async def test_redis_commands_show_the_queue_and_the_work(
    idle_bridge: Bridge, gateway: EcloudSimulator
) -> None:
    """The four lines, typed into redis-cli as they stand, with the user's id put in."""
    if not shutil.which("redis-cli"):
        pytest.skip("redis-cli is not installed on this machine")
    queues = block("bash", "查看队列状态").commands
    leases = block("bash", "查看处理状态").commands
    await idle_bridge.start()
    group = next(iter(gateway.world.groups.values()))
    user = next(one for one in group.members if one not in gateway.world.accounts)
    gateway.say(group.group_id, user, "慢一点 [[wait=90]]")
    gateway.say(group.group_id, user, "然后这个")
    await idle_bridge.until_rows("SELECT 1 FROM messages WHERE state = 'processing'")
    await idle_bridge.until_rows("SELECT 1 FROM messages GROUP BY from_user HAVING count(*) = 2")

    typed = "\n".join([*queues[1:], *leases]).replace("用户ID", user)
    port = idle_bridge.stores.redis_url.rsplit(":", 1)[1].split("/")[0]
    shown = await asyncio.to_thread(
        subprocess.run,
        [queues[0], "-p", port],
        input=typed,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    listed = await asyncio.to_thread(cli_output, idle_bridge, "queue", "list", "--json")

    keys, length, lease_keys, lease = shown.stdout.split()
    assert keys == f"ecloud_queue:{user}"
    assert length == "2"
    assert lease_keys == f"ecloud_processing:{user}"
    assert re.fullmatch(r"\d+:[^:]+:\d+", lease)
    [one] = json.loads(listed)["queues"]
    assert (one["user"], one["depth"], one["lease"]) == (user, 2, lease)


def cli_output(bridge: Bridge, *arguments: str) -> str:
    """What a management command prints about a running bridge."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=ROOT,
        env=plain_environment(
            BRIDGE_ENV_FILE="", BRIDGE_CONFIG_FILE="", REDIS_URL=bridge.stores.redis_url
        ),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_group_rules_by_sql_do_what_the_page_says(tmp_path: Path) -> None:
    """The three statements of the operations page, one after the other."""
    off, prefix, back = block_of(OPERATIONS, "群规则").text.replace("\n", " ").split(";")[:3]
    url = f"sqlite:///{tmp_path}/bridge.db"
    migrate(url)
    store = Store(*make_engines(url))
    groups = Groups(store, GroupSettings(rules=GroupRules()))
    bot, group = WcId("wxid_bot"), WcId("25411981800@chatroom")
    groups.note(bot, group)
    await groups.save()

    async def after(statement: str) -> GroupRules:
        async with store.write() as connection:
            await connection.exec_driver_sql(statement)
        await groups.load()
        return groups.settings(bot, group).rules

    without, with_prefix, as_before = [await after(one) for one in (off, prefix, back)]
    await store.close()

    assert without.is_enabled is False
    assert (with_prefix.trigger, with_prefix.prefixes) == (Trigger.PREFIX, ("/ai",))
    assert as_before == GroupRules()


def block_of(page: Path, heading: str) -> Block:
    """The one code block below a heading of any page."""
    [found] = [one for one in blocks(page) if one.heading == heading]
    return found


def test_queries_of_the_operations_page_run(tmp_path: Path) -> None:
    """Column and table names are right."""
    url = f"sqlite:///{tmp_path}/bridge.db"
    migrate(url)
    queries = [one.text for one in blocks(OPERATIONS) if one.text.startswith("SELECT")]

    assert len(queries) == 2
    for query in queries:
        assert read_rows(url, query) == []
