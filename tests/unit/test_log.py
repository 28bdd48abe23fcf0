"""Logging: where lines go, what they carry, and that neither secrets nor texts break out of them."""

import asyncio
import gzip
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from loguru import logger
from typing_extensions import override

from app.utils import log as log_module
from app.utils.log import Logging, configure_logging, message_context, text_digest
from app.utils.log_files import DeleteOlder, compress_file
from app.utils.redact import HIDDEN, Redactor, escape_controls
from config import LogSettings, load_settings

ROOT = Path(__file__).parents[2]
SECRET = "s3cr3t/key+with=signs"
LINE = re.compile(
    r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d \| [A-Z]+ +\| \S+ \| \[\S+\] "
)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


@dataclass(frozen=True, kw_only=True)
class Logs:
    """A configured logging, its console and its files."""

    handle: Logging
    console: io.StringIO
    folder: Path

    def lines(self, name: str = "app.log") -> list[str]:
        return (self.folder / name).read_text(encoding="utf-8").split("\n")[:-1]


@pytest.fixture
def open_logs(tmp_path: Path) -> Iterator[Callable[..., Logs]]:
    """Configures logging into a folder of the test; undone after it."""
    opened: list[Logging] = []

    def start(*, level: str = "INFO", form: str = "text", **rest: object) -> Logs:
        console = io.StringIO()
        folder = tmp_path / "logs"
        options = LogSettings.model_validate({"level": level, "dir": str(folder), "format": form})
        handle = configure_logging(options, secrets=[SECRET], console=console, **rest)  # type: ignore[arg-type]
        opened.append(handle)
        return Logs(handle=handle, console=console, folder=folder)

    yield start
    for handle in opened:
        handle.close()


def fail(error: Exception) -> NoReturn:
    raise error


@pytest.fixture
def logs(open_logs: Callable[..., Logs]) -> Logs:
    return open_logs()


# ── Where lines go ──────────────────────────────────────────────────────────


def test_errors_stand_in_both_files_and_the_rest_in_one(logs: Logs) -> None:
    """app.log has everything from the level on, app_error.log only ERROR and above."""
    logger.debug("one")
    logger.info("two")
    logger.warning("three")
    logger.error("four")
    logger.critical("five")

    assert [line.split("] ")[1] for line in logs.lines()] == ["two", "three", "four", "five"]
    assert [line.split("] ")[1] for line in logs.lines("app_error.log")] == ["four", "five"]
    assert logs.console.getvalue().count("\n") == 4


def test_level_of_the_settings_is_obeyed(open_logs: Callable[..., Logs]) -> None:
    """LOG_LEVEL=DEBUG shows debug lines, also those of the standard library."""
    logs = open_logs(level="DEBUG")
    logger.debug("ours")
    logging.getLogger("some.library").debug("theirs")
    logger.trace("too much")

    assert [line.split("] ")[1] for line in logs.lines()] == ["ours", "theirs"]


def test_name_parts_the_files_of_several_processes(open_logs: Callable[..., Logs]) -> None:
    """Two processes must not rotate one file."""
    logs = open_logs(name="worker-1")

    assert {path.name for path in logs.folder.iterdir()} == {"worker-1.log", "worker-1_error.log"}


def test_full_file_is_compressed_and_a_new_one_begun(open_logs: Callable[..., Logs]) -> None:
    """At the given size the file is closed and becomes a .gz; no line is lost."""
    logs = open_logs(rotation="2 KB")

    for number in range(400):
        logger.info("line", number=number, filler="x" * 50)
    logs.handle.close()

    archives = sorted(logs.folder.glob("app.*.log.gz"))
    text = "".join(gzip.decompress(path.read_bytes()).decode() for path in archives)
    text += "\n".join(logs.lines())
    assert len(archives) >= 2
    assert sorted(map(int, re.findall(r"number=(\d+)", text))) == list(range(400))
    assert {path.name for path in logs.folder.iterdir() if path not in archives} == {
        "app.log",
        "app_error.log",
    }


def test_old_files_are_deleted_at_the_next_rotation(open_logs: Callable[..., Logs]) -> None:
    """Files older than the retention go, younger ones stay."""
    logs = open_logs(rotation="2 KB")
    old, young = logs.folder / "app.2020-01-01.log.gz", logs.folder / "app.2026-01-01.log.gz"
    for path, days in ((old, 15), (young, 13)):
        path.write_bytes(b"")
        then = time.time() - days * 86_400
        os.utime(path, (then, then))

    for _ in range(40):
        logger.info("filler", text="x" * 80)
    logs.handle.close()

    assert not old.exists()
    assert young.exists()


def test_rotation_and_retention_are_the_promised_ones() -> None:
    """50 MB, two weeks."""
    assert ("50 MB", timedelta(days=14)) == (log_module.ROTATION, log_module.RETENTION)


def test_file_that_vanishes_while_old_ones_are_sought_is_passed_over(tmp_path: Path) -> None:
    """Compression takes files away meanwhile; the others are still dealt with."""
    old = tmp_path / "old.log.gz"
    old.touch()
    os.utime(old, (0, 0))

    DeleteOlder(timedelta(days=1))([str(tmp_path / "gone.log"), str(old)])

    assert not old.exists()


def test_old_file_that_cannot_be_deleted_is_said_and_stops_no_line(
    open_logs: Callable[..., Logs],
) -> None:
    """The rotation goes on, each line is written."""
    logs = open_logs(rotation="2 KB")
    stuck = logs.folder / "app.2020-01-01.log.gz"
    stuck.mkdir()
    (stuck / "inside").touch()
    os.utime(stuck, (0, 0))
    DeleteOlder(timedelta(days=1))([str(stuck)])
    for thread in [one for one in threading.enumerate() if one.name == "log-warning"]:
        thread.join()

    assert "log.delete_failed" in logs.lines()[-1]
    assert stuck.exists()


def test_file_that_cannot_be_compressed_stays(tmp_path: Path, logs: Logs) -> None:
    """A failing compression loses nothing and is said."""
    path = tmp_path / "full.log"
    path.write_text("kept")
    (tmp_path / "full.log.gz").mkdir()

    compress_file(path)

    assert path.read_text() == "kept"
    assert not (tmp_path / "full.log.gz.part").exists()
    assert "log.compress_failed file=full.log" in logs.lines()[-1]


def test_folder_that_cannot_be_written_leaves_the_console(tmp_path: Path) -> None:
    """In a read-only container logging goes on, with one warning."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    console = io.StringIO()

    with configure_logging(LogSettings(dir=str(blocked / "logs")), console=console):
        logger.info("still here")

    first, second = console.getvalue().splitlines()
    assert "WARNING" in first
    assert "日志目录不可写" in first
    assert "still here" in second


def test_settings_as_loaded_fit(tmp_path: Path) -> None:
    """The section of the settings is what configure_logging takes."""
    settings = load_settings(environ={"LOG_DIR": str(tmp_path)}, env_file=None, config_file=None)

    with configure_logging(settings.settings.log, secrets=settings.settings.secrets()):
        logger.info("hello")

    assert "hello" in (tmp_path / "app.log").read_text()


def test_close_gives_everything_back(tmp_path: Path) -> None:
    """After the end no sink, no handler and no hook of ours is left."""
    root, access = logging.getLogger(), logging.getLogger("uvicorn.access")
    own = logging.NullHandler()
    access.handlers, access.propagate = [own], False
    before = (root.handlers[:], root.level, sys.excepthook, warnings.showwarning)

    handle = configure_logging(LogSettings(dir=str(tmp_path)), console=io.StringIO())
    assert access.handlers == []
    handle.close()
    logger.error("nobody hears this")

    assert (root.handlers, root.level, sys.excepthook, warnings.showwarning) == before
    assert (access.handlers, access.propagate) == ([own], False)
    assert "nobody" not in (tmp_path / "app.log").read_text()
    access.handlers, access.propagate = [], True


# ── What a line carries ─────────────────────────────────────────────────────


async def test_every_line_of_a_message_carries_its_id(logs: Logs) -> None:
    """Also lines of tasks started inside and of the standard library; not those outside."""

    async def inner() -> None:
        logger.info("in a task")
        logging.getLogger("uvicorn.error").warning("in a library")

    logger.info("before")
    with message_context(4711, group="g@chatroom"):
        logger.info("inside", segments=2)
        await asyncio.create_task(inner())
    logger.info("after")

    ids = [re.search(r"\[(\S+)\]", line)[1] for line in logs.lines()]  # type: ignore[index]
    assert ids == ["-", "4711", "4711", "4711", "-"]
    assert logs.lines()[1].endswith("inside group=g@chatroom segments=2")


async def test_messages_side_by_side_do_not_mix_their_ids(logs: Logs) -> None:
    """Each task has its own context."""
    started = asyncio.Barrier(5)

    async def work(number: int) -> None:
        with message_context(number):
            await started.wait()
            logger.info("at work", number=number)

    await asyncio.gather(*(work(number) for number in range(5)))

    for line in logs.lines():
        number = re.search(r"number=(\d)", line)
        assert number is not None
        assert f"[{number[1]}]" in line


def test_fields_are_readable_and_unambiguous(logs: Logs) -> None:
    """Plain values stand bare; what has spaces, quotes or nothing in it is quoted."""
    logger.bind(group="25411981800@chatroom").info(
        "reply.sent", segments=2, seconds=0.5, ok=True, name="张 三", empty="", none=None
    )

    assert logs.lines()[0].endswith(
        "reply.sent group=25411981800@chatroom segments=2 seconds=0.5 ok=True"
        ' name="张 三" empty="" none=None'
    )


def test_json_line_holds_the_same_facts(open_logs: Callable[..., Logs]) -> None:
    """For platforms: one object per line; the id is a text, the traceback a field."""
    logs = open_logs(form="json")
    with message_context(2**62 + 1):
        try:
            fail(KeyError(SECRET))
        except KeyError:
            logger.exception("x.failed", segments=2, text="a\nb \ud800")

    (line,) = logs.console.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["message_id"] == str(2**62 + 1)
    assert (entry["level"], entry["message"], entry["segments"]) == ("ERROR", "x.failed", 2)
    assert entry["text"] == r"a\nb \ud800"
    assert "KeyError" in entry["exc"]
    assert SECRET not in line


def test_standard_library_lines_bear_their_logger_and_level(logs: Logs) -> None:
    """uvicorn's and aiohttp's lines arrive once, under their own name."""
    logging.getLogger("uvicorn.error").info("Started %s", "server")
    logging.getLogger("aiohttp.client").warning("slow")
    logging.getLogger("odd").log(35, "between two levels")

    first, second, third = logs.lines()
    assert re.search(r"\| INFO +\| uvicorn.error \| \[-\] Started server$", first)
    assert re.search(r"\| WARNING +\| aiohttp.client \| \[-\] slow$", second)
    assert re.search(r"\| Level 35 +\| odd \| \[-\] between two levels$", third)


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
@pytest.mark.parametrize("name", ["sqlalchemy.engine", "aiosqlite", "asyncmy", "asyncio"])
def test_statements_with_message_text_are_not_logged(
    name: str, level: str, open_logs: Callable[..., Logs]
) -> None:
    """Libraries that log statements and parameters say so from WARNING on only."""
    logs = open_logs(level=level)
    logging.getLogger(name).info("INSERT … ('what the member wrote')")
    logging.getLogger(name).warning("trouble")

    assert [line.split("] ")[1] for line in logs.lines()] == ["trouble"]


def test_warning_of_python_is_a_line_without_its_secret(logs: Logs) -> None:
    """One line that says kind, text and place; nothing goes to standard error past the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"first\nsecond {SECRET}", RuntimeWarning, stacklevel=1)

    (line,) = logs.lines()
    assert re.search(r"\| WARNING +\| py.warnings \| \[-\] python.warning ", line)
    assert "category=RuntimeWarning" in line
    assert rf"first\\nsecond {HIDDEN}" in line
    assert f"{Path(__file__).name}:" in line


def test_wrong_arguments_of_a_library_do_not_lose_the_line(open_logs: Callable[..., Logs]) -> None:
    """A mistake in a library's log call is no reason to fail, or to be silent."""
    logs = open_logs()  # here, so that the test runner's own handler is not in the way
    logging.getLogger("x").error("%d apples", "many")

    assert "%d apples ('many',)" in logs.lines()[0]


def test_crash_of_the_program_is_logged(tmp_path: Path) -> None:
    """An exception nobody caught ends in app_error.log, without its secrets."""
    code = (
        "from app.utils.log import configure_logging; from config import LogSettings\n"
        f"configure_logging(LogSettings(dir={str(tmp_path)!r}), secrets=[{SECRET!r}])\n"
        f"raise RuntimeError({SECRET!r})"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )

    text = (tmp_path / "app_error.log").read_text()
    assert result.returncode == 1
    assert "process.crashed" in text
    assert f"RuntimeError: {HIDDEN}" in text
    assert SECRET not in text + result.stderr


# ── Nothing breaks a line ───────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    ["{x} {} {0.__class__}", "<red>x</red> </nope>", "\\", "%s %d", "{", "}", "{extra[_line]}"],
)
def test_braces_and_markup_are_plain_text(text: str, logs: Logs) -> None:
    """In messages and in fields; nothing is filled in, coloured or swallowed."""
    logger.info(text)
    logger.info("field", value=text)

    first, second = logs.lines()
    assert first.endswith("] " + text)
    assert json.dumps(text)[1:-1] in second or text in second


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=ANY_TEXT, name=ANY_TEXT.filter(bool))
@example(text="x\n2026-01-01 00:00:00.000+00:00 | INFO | a:b:1 | [-] forged", name="n")
@example(text="2026-01-01 00:00:00.000+00:00 | INFO | a:b:1 | [-] forged", name="exc")
@example(text="x", name="_line")
@example(text="\ud800\udfff \x85\u2028\u2029\x1b[2J\r\x00 \u202e", name="\n=")
def test_any_text_stays_on_its_line(text: str, name: str, tmp_path: Path) -> None:
    """Whatever a message, a field or its name holds: one record, one line, valid UTF-8."""
    console = io.StringIO()
    with configure_logging(LogSettings(dir=str(tmp_path / "logs")), console=console):
        logger.info("next", value=text)
        logger.bind(**{name: text}).info("again")
        logger.info(text)

    written = console.getvalue()
    written.encode("utf-8")
    assert written.count("\n") == 3
    lines = written.splitlines()
    assert len(lines) == 3
    assert all(LINE.match(line) for line in lines)


def test_traceback_cannot_forge_a_line(logs: Logs) -> None:
    """All of a traceback is indented, so that a line at the margin is always a real one."""
    try:
        fail(ValueError("a\n2026-01-01 00:00:00.000+00:00 | INFO | a:b:1 | [-] forged\r\x1b[2J"))
    except ValueError:
        logger.exception("x.failed")

    head, *rest = logs.lines()
    assert head.endswith("x.failed")
    assert any("forged" in line for line in rest)
    assert all(line.startswith("    ") for line in rest)
    assert "\r" not in "".join(rest)
    assert "\x1b" not in "".join(rest)


def test_value_that_cannot_be_shown_does_not_break_the_caller(logs: Logs) -> None:
    """A broken __str__ is named in place of the value."""

    class Broken:
        @override
        def __str__(self) -> str:
            raise RuntimeError

    logger.info("odd", value=Broken())

    assert 'value="<RuntimeError while formatting>"' in logs.lines()[0]


def test_huge_text_is_cut(logs: Logs) -> None:
    """Five megabytes in an error do not fill the disk."""
    try:
        fail(ValueError("y" * 5_000_000))
    except ValueError:
        logger.exception("x.failed", body="x" * 5_000_000)

    assert sum(map(len, logs.lines())) < 100_000
    assert "…(5000000)" in logs.lines()[0]


@pytest.mark.parametrize("shift", range(0, 30, 3))
def test_secret_at_the_place_of_the_cut_does_not_survive_in_part(shift: int) -> None:
    """A text is cut, its secrets are not; also when hiding made it much shorter."""
    redactor = Redactor([SECRET])
    text = (SECRET + " ") * 200 + "x" * shift + SECRET * 50

    for limit in (10, 100, 1000):
        assert "s3cr" not in redactor.hide_and_cut(text, limit)


# ── Secrets ─────────────────────────────────────────────────────────────────


def test_secret_is_hidden_in_message_field_and_library_line(logs: Logs) -> None:
    """Wherever it stands, and however it is written."""
    logger.info(f"key {SECRET}")
    logger.info("fields", url=f"http://h/?k={SECRET}", nested={"k": [SECRET]})
    logger.info("quoted", url="http://h/?k=s3cr3t%2Fkey%2Bwith%3Dsigns")
    logging.getLogger("aiohttp.client").error("sent %r", {"X": SECRET})

    text = "\n".join(logs.lines()) + logs.console.getvalue()
    assert text.count(HIDDEN) >= 8
    assert "s3cr3t" not in text


def test_secret_is_hidden_in_a_traceback_with_its_causes(logs: Logs) -> None:
    """Arguments of the exception, of its cause, of what came before, and its notes."""
    try:
        try:
            try:
                fail(KeyError("first", SECRET))
            except KeyError:
                raise ValueError({"Authorization": SECRET})  # noqa: B904 - the context is the point
        except ValueError as cause:
            error = RuntimeError(f"Bearer {SECRET}")
            error.add_note(f"note {SECRET}")
            raise error from cause
    except RuntimeError:
        logger.exception("x.failed")
    logging.getLogger("asyncio").error(
        "task failed", exc_info=ExceptionGroup("g", [OSError(SECRET)])
    )

    for text in ("\n".join(logs.lines()), "\n".join(logs.lines("app_error.log"))):
        assert "KeyError" in text
        assert "direct cause" in text
        assert "ExceptionGroup" in text
        assert "s3cr3t" not in text


def test_sink_that_is_added_later_gets_no_secret_either(logs: Logs) -> None:
    """What leaves the patcher is safe for any sink, e.g. a live tail."""
    tail = io.StringIO()
    logger.add(tail, format="{message} {extra} {exception}", diagnose=True, backtrace=True)
    try:
        fail(ValueError(SECRET))
    except ValueError:
        logger.exception(f"x {SECRET}", key=SECRET)

    assert "ValueError: ***" in tail.getvalue()
    assert "s3cr3t" not in tail.getvalue()


def test_local_variables_are_not_shown_in_a_traceback(logs: Logs) -> None:
    """The values of variables are none of a log's business."""

    text = "what the " + "member wrote"
    try:
        fail(ValueError(len(text)))
    except ValueError:
        logger.exception("x.failed")

    assert "ValueError: 21" in logs.lines()[-1]
    assert "what the member wrote" not in "\n".join(logs.lines())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("mysql+pymysql://root:hunter2@db:3306/x", "mysql+pymysql://root:***@db:3306/x"),
        ("redis://:hunter2@cache/0", "redis://:***@cache/0"),
        ("mysql://u:hunter2@p@db/x", "mysql://u:***@db/x"),
        ("Authorization: hunter2", "Authorization: ***"),
        ("Authorization: Bearer hunter2", "Authorization: ***"),
        ("{'Authorization': 'hunter2', 'A': 'b'}", "{'Authorization': '***', 'A': 'b'}"),
        ("(b'authorization', b'hunter2')", "(b'authorization', b'***')"),
        ("sent Bearer hunter2.hunter2", "sent Bearer ***"),
        ("Cookie: a=hunter2; b=hunter2", "Cookie: ***"),
        ("api_key=hunter2&x=1", "api_key=***&x=1"),
        ('{"password": "hunter2"}', '{"password": "***"}'),
        ("key app-hunter2hunter2", "key app-***"),
        ("POST /api/v1/callback/hunter2?x=1 HTTP/1.1", "POST /api/v1/callback/***?x=1 HTTP/1.1"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_though_unknown(text: str, kept: str) -> None:
    """Addresses with passwords, headers, keys and callback tokens, in any spelling."""
    assert Redactor([]).hide(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "http://gateway:8000/contacts/25411981800@chatroom",
        "Access denied for user 'x'@'db' (using password: YES)",
        "POST /api/v1/callback HTTP/1.1",
        "total_tokens=12 first_token=0.5",
        "wxid_ynu1tgjz156j22 25411981800@chatroom 12491ae9-62aa-4f7a-83e6-9db4e9f28e3c",
        "",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    """Ids, addresses and counters are what an operator needs."""
    assert Redactor([SECRET, "root", ""]).hide(text) == text


def test_field_with_the_name_of_a_secret_is_hidden_whatever_it_holds(logs: Logs) -> None:
    """An old key, not configured any more, is still a key."""
    logger.info("x", api_key="old", Authorization="old", callback_token="old", tokens=12)

    assert logs.lines()[0].endswith("x api_key=*** Authorization=*** callback_token=*** tokens=12")


@given(st.text(min_size=6, max_size=40), ANY_TEXT, ANY_TEXT)
def test_known_secret_never_survives(secret: str, before: str, after: str) -> None:
    """As it is, or as the repr of a text that holds it."""
    redactor = Redactor([secret])

    plain = redactor.hide(before + secret + after)
    shown = redactor.hide(repr([secret]))

    assert secret not in plain.replace(HIDDEN, "\0") or secret in before + "\0" + after
    assert repr(secret)[1:-1] not in shown.replace(HIDDEN, "\0")


@given(ANY_TEXT)
def test_escaped_text_is_one_printable_line(text: str) -> None:
    """Nothing that moves a cursor, ends a line or cannot be encoded is left."""
    escaped = escape_controls(text)

    assert escaped.encode("utf-8").decode("utf-8") == escaped
    assert len(escaped.splitlines()) <= 1


def test_long_hostile_text_is_searched_in_short_time() -> None:
    """No pattern runs away."""
    redactor = Redactor([SECRET])
    hostile = ["://a:" * 50_000, "://a:" + "b" * 200_000, "authorization=" * 20_000]
    hostile += ["a" * 200_000, "_password" * 20_000, "app-" * 50_000, "cookie:" * 30_000]

    start = time.perf_counter()
    for text in hostile:
        redactor.hide(text)

    assert time.perf_counter() - start < 5


def test_digest_recognises_a_text_without_showing_it() -> None:
    """Equal texts have one digest, others another; surrogates do no harm."""
    assert text_digest("你好") == text_digest("你好")
    assert text_digest("你好") != text_digest("你们")
    assert re.fullmatch(r"2#[0-9a-f]{8}", text_digest("你好"))
    assert text_digest("\ud800").startswith("1#")


def test_no_module_in_utils_shadows_another() -> None:
    """``python app/utils/database_init.py`` puts this folder first on the path."""
    names = {path.stem for path in (ROOT / "app" / "utils").glob("*.py")} - {"__init__"}
    code = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"

    result = subprocess.run(
        [sys.executable, "-c", code, *names], cwd="/", capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"
    assert not names & sys.stdlib_module_names
