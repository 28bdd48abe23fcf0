"""Settings: names and defaults that operators rely on, order of sources, and every refusal."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_settings import BaseSettings, EnvSettingsSource

from config import (
    DifySettings,
    LoadedSettings,
    Problem,
    ServerSettings,
    Settings,
    SettingsError,
    Source,
    describe_settings,
    load_process_settings,
    load_settings,
)

ROOT = Path(__file__).parents[2]
SECRET = "app-Zk3vQx81LmNoPq72"

#: Name, default: fixed, since tools outside the repository use them. Lists and secrets below.
CONTRACT: dict[str, Any] = {
    "server.host": "0.0.0.0",  # noqa: S104 - the documented default
    "server.port": 8000,
    "server.drain_delay": 5,
    "server.trusted_proxies": (),
    "worker.concurrency": 256,
    "log.level": "INFO",
    "log.dir": "logs",
    "ecloud.base_url": "",
    "ecloud.callback_url": "",
    "ecloud.callback_sources": (),
    "ecloud.callback_window": 0,
    "ecloud.timeout": 15,
    "ecloud.sends_per_minute": 40,
    "ecloud.send_gap": 0.6,
    "ecloud.target_gap": 2,
    "ecloud.images_per_minute": 3,
    "ecloud.files_per_minute": 3,
    "ecloud.sends_per_day": 0,
    "ecloud.warm_up_days": 0,
    "ecloud.quiet_hours": "",
    "ecloud.poll_interval": 60,
    "ecloud.on_unknown_send": "resend",
    "ecloud.accounts": (),
    "ecloud.offline_max_wait": 3600,
    "ecloud.image_endpoint": "sendImage2",
    "dify.base_url": "",
    "dify.apps": (),
    "dify.files_url": "",
    "dify.media_hosts": (),
    "dify.streaming_enabled": False,
    "dify.streaming_timeout": 120,
    "dify.blocking_timeout": 120,
    "dify.first_event_timeout": 60,
    "dify.max_concurrency": 64,
    "dify.initial_concurrency": 16,
    "dify.kind": "auto",
    "dify.input_key": "query",
    "dify.output_key": "",
    "dify.inputs": {},
    "dify.fallback": "",
    "dify.feedback": True,
    "dify.voice": False,
    "dify.recap_turns": 0,
    "reply.strip_thinking": True,
    "reply.plain_text": False,
    "reply.media": True,
    "reply.citations": False,
    "reply.suggestions": False,
    "message_processing.max_retry_count": 3,
    "message_processing.retry_delay": 5,
    "message_processing.queue_timeout": 300,
    "message_processing.outage_max_wait": 86400,
    "message_processing.lease": 30,
    "message_processing.attachment_wait": 600,
    "message_processing.crash_limit": 4,
    "message_processing.max_queue_length": 100,
    "message_processing.max_waiting": 200_000,
    "message_processing.max_message_age": 0,
    "message_processing.dedupe_days": 7,
    "message_processing.failure_reply": "",
    "message_processing.keep_ignored_text": False,
    "message_processing.allow_redis_eviction": False,
    "retention.text_days": 90,
    "retention.raw_days": 7,
    "contacts.max_age": 86_400,
    "conversations.timezone": "Asia/Shanghai",
    "reply.max_length": 1500,
    "reply.mention_sender": True,
    "groups.trigger": "all",
    "groups.prefixes": (),
    "groups.keywords": (),
    "groups.pattern": "",
    "groups.quote_context": True,
    "groups.staff": (),
    "alerts.channels": (),
    "alerts.smtp_host": "",
    "alerts.smtp_port": 587,
    "alerts.smtp_security": "starttls",
    "alerts.smtp_user": "",
    "alerts.mail_from": "",
    "alerts.mail_to": (),
    "alerts.name": "",
    "alerts.hold": 30,
    "alerts.reminder": 0,
    "alerts.oldest_waiting": 300,
    "alerts.disk_free": 1024,
    "playground.enabled": False,
    "playground.gateway_url": "",
}
SECRETS = {
    "database_url": "sqlite+aiosqlite:///./data/bridge.db",
    "redis_url": "embedded://",
    "ecloud.authorization": "",
    "ecloud.callback_token": "",
    "dify.api_key": "",
    "alerts.wecom_url": "",
    "alerts.dingtalk_url": "",
    "alerts.dingtalk_secret": "",
    "alerts.feishu_url": "",
    "alerts.feishu_secret": "",
    "alerts.webhook_url": "",
    "alerts.webhook_secret": "",
    "alerts.smtp_password": "",
    "console.password": "",
}


NO_FILES = {"BRIDGE_ENV_FILE": "", "BRIDGE_CONFIG_FILE": ""}
#: Of one call or one try.
TIME_LIMITS = (
    "ECLOUD_TIMEOUT",
    "DIFY_STREAMING_TIMEOUT",
    "DIFY_BLOCKING_TIMEOUT",
    "DIFY_FIRST_EVENT_TIMEOUT",
    "MESSAGE_PROCESSING_QUEUE_TIMEOUT",
)

#: Lone surrogates too: that is how Python shows bytes that are no UTF-8.
ANY_TEXT = st.text(st.characters(exclude_categories=(), exclude_characters="\0"))


def load(
    environ: dict[str, str] | None = None,
    *,
    env_file: Path | None = None,
    config_file: Path | None = None,
    **overrides: Any,
) -> LoadedSettings:
    return load_settings(
        environ=environ or {}, env_file=env_file, config_file=config_file, **overrides
    )


def refused(environ: dict[str, str] | None = None, **rest: Any) -> str:
    """The text of the error that these sources end in."""
    with pytest.raises(SettingsError) as caught:
        load(environ, **rest)
    return str(caught.value)


def value_of(settings: Settings, name: str) -> Any:
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# ── Names and defaults ──────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "default"), CONTRACT.items())
def test_setting_has_its_documented_name_and_default(name: str, default: Any) -> None:
    """Without any source each setting has the default that the settings table promises."""
    assert value_of(load().settings, name) == default


@pytest.mark.parametrize(("name", "default"), SECRETS.items())
def test_secret_has_its_documented_name_and_default(name: str, default: str) -> None:
    """Secrets exist under their names, and are wrapped."""
    assert value_of(load().settings, name).get_secret_value() == default


def test_table_lists_every_setting_with_its_variable_and_a_description() -> None:
    """The settings table is complete and says in Chinese what each setting does."""
    rows = {row.name: row for row in describe_settings()}

    assert set(rows) == {*CONTRACT, *SECRETS, "log.format", "dify.stream_moderated"}
    for row in rows.values():
        assert row.env == row.name.replace(".", "_").upper()
        assert re.search(r"[\u4e00-\u9fff]", row.description)
        assert row.allowed


def test_defaults_pass_their_own_checks() -> None:
    """Every default may also be written out."""
    rows = [row for row in describe_settings() if row.default]

    loaded = load({row.env: row.default for row in rows})

    assert loaded.settings == load().settings


def test_settings_never_look_around_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model takes arguments only; neither environment nor files reach it on their own."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / ".env", "DIFY_STREAMING_TIMEOUT=7\n")
    monkeypatch.setenv("LOG_LEVEL", "ERROR")

    settings = Settings()

    assert settings == load().settings


def test_settings_cannot_be_changed() -> None:
    """Sections are frozen."""
    settings = load().settings

    with pytest.raises(ValueError, match="frozen"):
        settings.dify.streaming_enabled = True  # type: ignore[misc]


def test_missing_names_what_gateway_and_dify_still_need() -> None:
    """Health can name the settings without which nothing can be answered."""
    settings = load({"DIFY_BASE_URL": "https://api.dify.ai/v1"}).settings

    assert settings.dify.missing == ("dify.api_key",)
    assert settings.ecloud.missing == ("ecloud.base_url", "ecloud.authorization")


# ── Where values come from ──────────────────────────────────────────────────


def test_each_source_goes_before_the_next(tmp_path: Path) -> None:
    """Arguments, environment, .env, config.json, defaults: the first that speaks wins."""
    config = {
        "dify": {
            "streaming_timeout": 1,
            "blocking_timeout": 1,
            "first_event_timeout": 1,
            "max_concurrency": 1,
        }
    }
    config_file = write(tmp_path / "config.json", json.dumps(config))
    env_file = write(
        tmp_path / ".env",
        "DIFY_STREAMING_TIMEOUT=2\nDIFY_BLOCKING_TIMEOUT=2\nDIFY_FIRST_EVENT_TIMEOUT=2\n",
    )
    environ = {"DIFY_STREAMING_TIMEOUT": "3", "DIFY_BLOCKING_TIMEOUT": "3"}

    loaded = load(
        environ, env_file=env_file, config_file=config_file, dify={"streaming_timeout": 4}
    )

    dify = loaded.settings.dify
    assert (dify.streaming_timeout, dify.blocking_timeout) == (4, 3)
    assert (dify.first_event_timeout, dify.max_concurrency, dify.initial_concurrency) == (2, 1, 16)
    assert loaded.sources["dify.streaming_timeout"] is Source.ARGUMENT
    assert loaded.sources["dify.blocking_timeout"] is Source.ENVIRONMENT
    assert loaded.sources["dify.first_event_timeout"] is Source.ENV_FILE
    assert loaded.sources["dify.max_concurrency"] is Source.CONFIG_FILE
    assert loaded.sources["dify.initial_concurrency"] is Source.DEFAULT


def test_argument_may_be_a_section(tmp_path: Path) -> None:
    """A section given as a model overrides only what was set in it."""
    config_file = write(tmp_path / "config.json", '{"server": {"drain_delay": 0}}')

    loaded = load(config_file=config_file, server=ServerSettings(port=0))

    assert (loaded.settings.server.port, loaded.settings.server.drain_delay) == (0, 0)


def test_process_environment_and_working_folder_are_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without arguments the environment, .env and config.json of the working folder are read."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / ".env", "DIFY_STREAMING_TIMEOUT=7\n")
    write(tmp_path / "config.json", '{"reply": {"max_length": 99}}')
    monkeypatch.setenv("LOG_LEVEL", "error")

    settings = load_settings().settings

    assert settings.dify.streaming_timeout == 7
    assert settings.reply.max_length == 99
    assert settings.log.level == "ERROR"


def test_variables_map_as_pydantic_settings_maps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """SECTION_NAME means what the library's own delimiter rule makes of it."""
    monkeypatch.setattr(os, "environ", {"MESSAGE_PROCESSING_MAX_RETRY_COUNT": "9"})
    model: type[BaseSettings] = Settings

    tree = EnvSettingsSource(model)()

    assert tree == {"message_processing": {"max_retry_count": "9"}}
    assert load(dict(os.environ)).settings.message_processing.max_retry_count == 9


def test_names_of_variables_do_not_depend_on_case() -> None:
    """A name in small letters means the same setting; capitals go first."""
    assert load({"dify_streaming_timeout": "8"}).settings.dify.streaming_timeout == 8
    both = {"DIFY_STREAMING_TIMEOUT": "9", "dify_streaming_timeout": "8"}
    assert load(both).settings.dify.streaming_timeout == 9


@pytest.mark.parametrize(
    "name",
    [
        "DATABASE_URL",
        "REDIS_URL",
        "DIFY_BASE_URL",
        "DIFY_API_KEY",
        "DIFY_MAX_CONCURRENCY",
        "DIFY_STREAMING_ENABLED",
        "LOG_LEVEL",
        "GROUPS_PREFIXES",
        "ECLOUD_CALLBACK_TOKEN",
    ],
)
@pytest.mark.parametrize("blank", ["", "  "])
def test_empty_variable_means_not_set(name: str, blank: str, tmp_path: Path) -> None:
    """An empty value in the environment or .env neither counts nor hides a later source."""
    env_file = write(tmp_path / ".env", f"{name}={blank}\n")

    loaded = load({name: blank}, env_file=env_file)

    assert loaded.settings == load().settings
    assert set(loaded.sources.values()) == {Source.DEFAULT}


def test_empty_and_null_in_config_json_mean_not_set(tmp_path: Path) -> None:
    """The same rule holds in config.json."""
    text = '{"dify": {"base_url": "", "streaming_timeout": null}, "database_url": ""}'

    assert load(config_file=write(tmp_path / "c.json", text)).settings == load().settings


def test_empty_failure_reply_hides_the_one_of_config_json(tmp_path: Path) -> None:
    """For a free text empty is a value: say nothing."""
    config_file = write(
        tmp_path / "c.json", '{"message_processing": {"failure_reply": "稍后再试"}}'
    )

    loaded = load({"MESSAGE_PROCESSING_FAILURE_REPLY": ""}, config_file=config_file)

    assert loaded.settings.message_processing.failure_reply == ""


def test_spaces_around_a_value_do_not_count() -> None:
    """A key pasted with a newline is the key."""
    settings = load({"DIFY_API_KEY": f" {SECRET}\n", "DIFY_BASE_URL": " http://d/v1/ "}).settings

    assert settings.dify.api_key.get_secret_value() == SECRET
    assert settings.dify.base_url == "http://d/v1"


@given(
    port=st.integers(0, 65_535),
    gap=st.floats(0, 1000, allow_nan=False),
    streaming=st.booleans(),
    reply=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=40),
    words=st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4),
)
def test_values_come_back_from_the_environment_as_they_were_written(
    port: int, gap: float, streaming: bool, reply: str, words: list[str]
) -> None:
    """Numbers, switches, texts and lists survive being a variable."""
    settings = load(
        {
            "SERVER_PORT": str(port),
            "ECLOUD_SEND_GAP": repr(gap),
            "DIFY_STREAMING_ENABLED": str(streaming),
            "MESSAGE_PROCESSING_FAILURE_REPLY": reply,
            "GROUPS_KEYWORDS": json.dumps(words),
        }
    ).settings

    assert settings.server.port == port
    assert settings.ecloud.send_gap == gap
    assert settings.dify.streaming_enabled is streaming
    assert settings.message_processing.failure_reply == reply.strip()
    assert settings.groups.keywords == tuple(words)


@given(st.dictionaries(st.sampled_from([row.env for row in describe_settings()]), ANY_TEXT))
def test_any_text_in_any_variable_loads_or_is_refused_by_name(environ: dict[str, str]) -> None:
    """Whatever stands in the variables: settings, or an error that names the settings."""
    problems: tuple[Problem, ...] = ()
    text = ""
    try:
        load(environ)
    except SettingsError as error:
        problems, text = error.problems, str(error)

    assert all(problem.setting for problem in problems)
    assert text.encode().count(b"\n") == len(problems)


# ── Files ───────────────────────────────────────────────────────────────────


def test_example_of_the_readme_works_alone(tmp_path: Path) -> None:
    """The README's config.json is a whole config.json."""
    text = '{"dify": {"streaming_enabled": true, "streaming_timeout": 180}}'

    dify = load(config_file=write(tmp_path / "config.json", text)).settings.dify

    assert (dify.streaming_enabled, dify.streaming_timeout) == (True, 180)


def test_shipped_config_json_holds_every_behaviour_at_its_default() -> None:
    """config.json is complete, loads without a warning and changes nothing."""
    path = ROOT / "config.json"
    loaded = load(config_file=path)
    tree = json.loads(path.read_text(encoding="utf-8"))

    assert loaded.settings == load().settings
    assert loaded.warnings == ()
    elsewhere = {*SECRETS, "ecloud.base_url", "dify.base_url"}
    elsewhere |= {"playground.enabled", "playground.gateway_url"}
    for row in describe_settings():
        if row.name not in elsewhere:
            section, key = row.name.split(".")
            assert key in tree[section], row.name
            assert tree[section][f"//{key}"], row.name


def test_copied_env_example_starts_on_the_defaults(tmp_path: Path) -> None:
    """A plain copy of .env.example equals no .env at all."""
    env_file = write(tmp_path / ".env", (ROOT / ".env.example").read_text(encoding="utf-8"))

    loaded = load(env_file=env_file, config_file=ROOT / "config.json")

    assert loaded.settings == load().settings
    assert loaded.warnings == ()


def test_env_example_shows_every_setting_and_what_compose_needs(tmp_path: Path) -> None:
    """Each variable stands there, commented ones with their defaults (addresses: the README's)."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^(?:# )?([A-Z][A-Z_]+)=(.*)$", text, re.MULTILINE))
    compose = {"MYSQL_ROOT_PASSWORD", "MYSQL_PASSWORD", "MYSQL_DATABASE", "MYSQL_USER", "APP_PORT"}

    assert set(shown) >= {row.env for row in describe_settings()} | compose
    assert shown["DATABASE_URL"] == ("mysql+pymysql://username:password@localhost:3306/ecloud_dify")
    assert shown["REDIS_URL"] == "redis://localhost:6379/0"
    assert all(shown[name] for name in compose)
    others = {name: shown[name] for name in shown if name not in {"DATABASE_URL", "REDIS_URL"}}
    everything = "".join(f"{name}={value}\n" for name, value in others.items())
    assert load(env_file=write(tmp_path / ".env", everything)).settings == load().settings


def test_names_that_only_compose_reads_are_none_of_ours(tmp_path: Path) -> None:
    """They share the file with our settings, and the container's environment; nobody is warned."""
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    names = set(re.findall(r"\$\{([A-Z_]+)", compose))
    text = "".join(f"{name}=13306\n" for name in names)

    in_file = load(env_file=write(tmp_path / ".env", text))
    in_environment = load(dict.fromkeys(names, "13306"))

    assert {"MYSQL_PORT", "REDIS_PORT", "MYSQL_ROOT_PASSWORD"} <= names
    assert in_file.settings == in_environment.settings == load().settings
    assert in_file.warnings == in_environment.warnings == ()


def test_env_of_the_readme_is_understood(tmp_path: Path) -> None:
    """The six lines of the README, as they are, load; the placeholders are warned of."""
    text = """
# 数据库配置
DATABASE_URL=mysql+pymysql://username:password@localhost:3306/ecloud_dify
# Redis配置
REDIS_URL=redis://localhost:6379/0
# E云管家配置
ECLOUD_BASE_URL=http://your-ecloud-domain.com
ECLOUD_AUTHORIZATION=your-authorization-token
# DifyAI配置
DIFY_BASE_URL=https://api.dify.ai/v1
DIFY_API_KEY=your-dify-api-key
"""
    loaded = load(env_file=write(tmp_path / ".env", text))

    assert loaded.settings.redis_url.get_secret_value() == "redis://localhost:6379/0"
    warned = " ".join(loaded.warnings)
    for name in ("ecloud.base_url", "ecloud.authorization", "dify.api_key"):
        assert f"{name} 还是示例里的占位值" in warned


def test_comments_are_ignored_on_every_level_of_config_json(tmp_path: Path) -> None:
    """Names that begin with // are comments, also twice and with any value."""
    text = '{"//": 1, "//": {"x": 2}, "//dify": "…", "dify": {"//x": [], "max_concurrency": 5}}'

    assert load(config_file=write(tmp_path / "c", text)).settings.dify.max_concurrency == 5


def test_files_saved_by_windows_notepad_are_read(tmp_path: Path) -> None:
    """A byte order mark and CRLF do no harm."""
    (tmp_path / "c.json").write_bytes(b'\xef\xbb\xbf{"reply":\r\n {"max_length": 7}}\r\n')
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfLOG_LEVEL=DEBUG\r\nDIFY_MAX_CONCURRENCY=3\r\n")

    settings = load(env_file=tmp_path / ".env", config_file=tmp_path / "c.json").settings

    assert settings.reply.max_length == 7
    assert (settings.log.level, settings.dify.max_concurrency) == ("DEBUG", 3)


def test_missing_files_are_no_problem(tmp_path: Path) -> None:
    """Neither .env nor config.json has to exist."""
    loaded = load(env_file=tmp_path / ".env", config_file=tmp_path / "config.json")

    assert loaded.settings == load().settings


def test_malformed_config_json_is_refused_with_line_and_column(tmp_path: Path) -> None:
    """The operator is led to the comma."""
    path = write(tmp_path / "config.json", '{\n  "dify": {\n    "max_concurrency": 1,\n  }\n}')

    text = refused(config_file=path)

    assert "第 4 行第 3 列" in text or "第 3 行第 25 列" in text
    assert f"config.json({path})" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "最外层应为"),
        ("[" * 100_000, "嵌套过深"),
        ('{"dify": 3}', "dify:这里应为一组设置"),
        ('{"dify": {"max_concurrency": 1}, "dify": {}}', "dify 写了两次"),
    ],
)
def test_config_json_of_another_shape_is_refused(text: str, said: str, tmp_path: Path) -> None:
    """What is no tree of sections is refused with a reason."""
    assert said in refused(config_file=write(tmp_path / "c.json", text))


def test_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    """Docker makes a folder where a mounted file is missing; that is said, not ignored."""
    assert "这是一个目录" in refused(config_file=tmp_path)


def test_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """A GBK file is named as such, not read as garbage."""
    path = tmp_path / ".env"
    path.write_bytes("MESSAGE_PROCESSING_FAILURE_REPLY=稍后再试".encode("gbk"))

    assert "不是 UTF-8" in refused(env_file=path)


def test_unreadable_line_in_env_file_is_refused_by_its_number(tmp_path: Path) -> None:
    """A line that is no NAME=value is not skipped silently; its text is not shown."""
    path = write(tmp_path / ".env", f"LOG_LEVEL=INFO\nDIFY_API_KEY='{SECRET}\n")

    text = refused(env_file=path)

    assert "第 2 行无法识别" in text
    assert SECRET not in text


def test_name_without_equals_sign_is_refused(tmp_path: Path) -> None:
    """A setting's name alone on a line sets nothing, so it is a mistake."""
    assert "DIFY_API_KEY 后面缺少 =" in refused(env_file=write(tmp_path / ".env", "DIFY_API_KEY\n"))


# ── Unknown names ───────────────────────────────────────────────────────────


def test_unknown_name_in_env_file_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    """A slip of the pen in a section of ours stops the start; its value is not shown."""
    path = write(tmp_path / ".env", f"DIFY_API_KEYY={SECRET}\n")

    text = refused(env_file=path)

    assert "没有名为 DIFY_API_KEYY 的设置;是不是想写 DIFY_API_KEY;" in text
    assert f".env({path})" in text
    assert SECRET not in text


def test_unrelated_names_in_env_file_are_fine(tmp_path: Path) -> None:
    """Compose and other programs may share the file."""
    path = write(tmp_path / ".env", "MYSQL_PASSWORD=x\nAPP_PORT=80\nexport TZ=Asia/Shanghai\n")

    loaded = load(env_file=path)

    assert loaded.settings == load().settings
    assert loaded.warnings == ()


def test_near_miss_outside_our_sections_is_warned_of(tmp_path: Path) -> None:
    """A misspelt section cannot be refused, but it is not passed over in silence."""
    loaded = load(env_file=write(tmp_path / ".env", "DIFFY_BASE_URL=http://d/v1\n"))

    assert "DIFFY_BASE_URL" in loaded.warnings[0]
    assert "DIFY_BASE_URL" in loaded.warnings[0]


def test_unknown_name_in_the_environment_is_only_warned_of() -> None:
    """Platforms put names of their own there."""
    loaded = load({"DIFY_SERVICE_HOST": "10.0.0.7", "DIFY_API_KEYS": SECRET, "HOME": "/root"})

    assert loaded.settings == load().settings
    (warning,) = loaded.warnings
    assert "DIFY_SERVICE_HOST" in warning
    assert "DIFY_API_KEYS(是不是想写 DIFY_API_KEY)" in warning
    assert SECRET not in warning
    assert "HOME" not in warning


def test_environment_filled_from_a_file_is_judged_like_the_file() -> None:
    """Compose turns ``.env`` into environment: a slip of the pen is one all the same."""
    foreign = {"HOME": "/root", "MYSQL_PASSWORD": "x", "APP_PORT": "80", "DIFFY_BASE_URL": "x"}

    with pytest.raises(SettingsError) as caught:
        load_process_settings(
            {"DIFY_API_KEYY": SECRET, **foreign, **NO_FILES, "BRIDGE_ENVIRONMENT_FROM": ".env"}
        )
    loaded = load_process_settings({**foreign, **NO_FILES, "BRIDGE_ENVIRONMENT_FROM": ".env"})

    assert "没有名为 DIFY_API_KEYY 的设置;是不是想写 DIFY_API_KEY;" in str(caught.value)
    assert "来源:环境变量(来自 .env)" in str(caught.value)
    assert len(caught.value.problems) == 1
    assert SECRET not in str(caught.value)
    (warning,) = loaded.warnings
    assert "DIFFY_BASE_URL" in warning


@pytest.mark.parametrize(
    ("text", "name", "meant"),
    [
        ('{"dify": {"streaming_enable": true}}', "dify.streaming_enable", "streaming_enabled"),
        ('{"dfy": {}}', "dfy", "dify"),
        ('{"dify.streaming_enabled": true}', "dify.streaming_enabled", "dify.streaming_enabled"),
        ('{"databse_url": "x"}', "databse_url", "database_url"),
    ],
)
def test_unknown_name_in_config_json_is_refused_with_a_suggestion(
    text: str, name: str, meant: str, tmp_path: Path
) -> None:
    """On every level of config.json a name has to be known."""
    path = write(tmp_path / "config.json", text)

    said = refused(config_file=path)

    assert f"没有名为 {name} 的设置;是不是想写 {meant};来源:config.json({path})" in said


def test_unknown_argument_is_refused() -> None:
    """Arguments of the program are checked like everything else."""
    assert "没有名为 server.prot 的设置;是不是想写 port" in refused(server={"prot": 1})


# ── Wrong values ────────────────────────────────────────────────────────────


def test_error_names_setting_variable_value_source_and_what_is_allowed(tmp_path: Path) -> None:
    """One line is enough to find and mend the value."""
    path = write(tmp_path / ".env", "DIFY_STREAMING_TIMEOUT=abc\n")

    text = refused(env_file=path)

    assert "dify.streaming_timeout(环境变量 DIFY_STREAMING_TIMEOUT)" in text
    assert "当前值「abc」" in text
    assert "允许:不小于 0.1、不大于 86400 的数" in text
    assert f"来源:.env({path})" in text


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    """Nobody has to start four times to find four mistakes."""
    config_file = write(tmp_path / "config.json", '{"reply": {"max_length": 0}, "nope": 1}')
    env_file = write(tmp_path / ".env", "LOG_LEVEL=loud\n")

    with pytest.raises(SettingsError) as caught:
        load({"SERVER_PORT": "x"}, env_file=env_file, config_file=config_file)

    assert len(caught.value.problems) == 4
    text = str(caught.value)
    assert text.startswith("设置有 4 处问题")
    assert "来源:环境变量" in text
    assert f"来源:.env({env_file})" in text
    assert f"来源:config.json({config_file})" in text


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("SERVER_PORT", "65536", "不小于 0、不大于 65535 的整数"),
        ("SERVER_PORT", "80.5", "整数"),
        ("WORKER_CONCURRENCY", "0", "不小于 1"),
        *((name, "0.09", "不小于 0.1、不大于 86400 的数") for name in TIME_LIMITS),
        *((name, "86401", "不小于 0.1、不大于 86400 的数") for name in TIME_LIMITS),
        ("DIFY_STREAMING_TIMEOUT", "0", "不小于 0.1"),
        ("DIFY_STREAMING_TIMEOUT", "nan", "不小于 0.1"),
        ("DIFY_STREAMING_TIMEOUT", "inf", "不大于 86400"),
        ("MESSAGE_PROCESSING_LEASE", "0.999", "不小于 1、不大于 3600 的数"),
        ("MESSAGE_PROCESSING_LEASE", "3601", "不小于 1、不大于 3600 的数"),
        ("CONTACTS_MAX_AGE", "0.5", "不小于 1"),
        ("SERVER_DRAIN_DELAY", "3601", "不小于 0、不大于 3600 的数"),
        ("ECLOUD_SEND_GAP", "3601", "不大于 3600"),
        ("ECLOUD_QUIET_HOURS", "23-7", "HH:MM-HH:MM"),
        ("ECLOUD_QUIET_HOURS", "24:00-07:00", "HH:MM-HH:MM"),
        ("ECLOUD_QUIET_HOURS", "07:00-07:00", "HH:MM-HH:MM"),
        ("DIFY_STREAMING_ENABLED", "maybe", "true 或 false"),
        ("MESSAGE_PROCESSING_RETRY_DELAY", "-1", "不小于 0"),
        ("ECLOUD_ON_UNKNOWN_SEND", "retry", "resend、skip 之一"),
        ("ECLOUD_IMAGE_ENDPOINT", "../x", "接口名"),
        ("LOG_LEVEL", "LOUD", "TRACE、DEBUG、INFO"),
        ("GROUPS_TRIGGER", "always", "all、mention、prefix、keyword、regex 之一"),
        ("GROUPS_PATTERN", "(a", "RE2"),
        ("GROUPS_PATTERN", r"(a)\1", "RE2"),
        ("GROUPS_PREFIXES", "/ai", "JSON 数组"),
        ("GROUPS_PREFIXES", '["/ai", " "]', "JSON 数组"),
        ("CONVERSATIONS_TIMEZONE", "Beijing", "Asia/Shanghai"),
        ("CONVERSATIONS_TIMEZONE", "../../etc/passwd", "Asia/Shanghai"),
        ("DIFY_BASE_URL", "api.dify.ai/v1", "http:// 或 https://"),
        ("DIFY_BASE_URL", "ftp://api.dify.ai", "http:// 或 https://"),
        ("DIFY_BASE_URL", "http://", "http:// 或 https://"),
        ("DIFY_BASE_URL", "http://h:port/", "http:// 或 https://"),
        ("DIFY_BASE_URL", "http://h/?a=1", "http:// 或 https://"),
    ],
)
def test_value_out_of_bounds_is_refused(name: str, value: str, allowed: str) -> None:
    """The bounds stand in the types and are told in Chinese."""
    text = refused({name: value})

    assert f"环境变量 {name}" in text
    assert f"「{value}」" in text
    assert allowed in text.partition("允许:")[2]


def test_every_length_of_time_may_stand_at_its_bounds() -> None:
    """A lease as short as a second renews itself three times within it."""
    shortest = load({**dict.fromkeys(TIME_LIMITS, "0.1"), "MESSAGE_PROCESSING_LEASE": "1"}).settings
    longest = load({**dict.fromkeys(TIME_LIMITS, "86400"), "SERVER_DRAIN_DELAY": "3600"}).settings

    assert (shortest.ecloud.timeout, shortest.message_processing.lease) == (0.1, 1)
    assert (longest.dify.blocking_timeout, longest.server.drain_delay) == (86_400, 3600)


@pytest.mark.parametrize("value", ["true", '"5x"', "[]", "1.5"])
def test_number_of_another_json_type_is_refused(value: str, tmp_path: Path) -> None:
    """In config.json a number is a number, not a switch."""
    text = f'{{"server": {{"port": {value}}}}}'

    assert "server.port" in refused(config_file=write(tmp_path / "c.json", text))


@pytest.mark.parametrize(
    ("trigger", "needed"),
    [("prefix", "prefixes"), ("keyword", "keywords"), ("regex", "pattern")],
)
def test_trigger_without_its_words_is_refused(trigger: str, needed: str) -> None:
    """A trigger that can never fire is a mistake, named by what is missing."""
    text = refused({"GROUPS_TRIGGER": trigger})

    assert f"groups.{needed}" in text
    assert f"groups.trigger 为 {trigger} 时必须设置" in text


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        ("prefix", {"prefixes": ["/ai", "小助手 "]}),
        ("keyword", {"keywords": ["价格"]}),
        ("regex", {"pattern": r"^(?i)bot\b"}),
        ("mention", {}),
    ],
)
def test_trigger_with_its_words_is_accepted(
    trigger: str, words: dict[str, Any], tmp_path: Path
) -> None:
    """Words keep their spaces; the pattern compiles."""
    tree = {"groups": {"trigger": trigger, **words}}

    groups = load(config_file=write(tmp_path / "c.json", json.dumps(tree))).settings.groups

    assert groups.trigger == trigger
    if trigger == "prefix":
        assert groups.prefixes == ("/ai", "小助手 ")


@pytest.mark.parametrize(
    "url",
    [
        "mysql+pymysql://username:password@localhost:3306/ecloud_dify",
        "mysql://u:p%40ss@db/ecloud",
        "mysql+asyncmy://u@db/ecloud?charset=utf8mb4",
        "mysql+aiomysql://db/ecloud",
        "sqlite:///./data/x.db",
        "sqlite+aiosqlite:////srv/with space/x.db",
    ],
)
def test_database_addresses_of_all_kinds_are_accepted(url: str) -> None:
    """MySQL by any of its drivers, and SQLite."""
    assert load({"DATABASE_URL": url}).settings.database_url.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET}@db/x",
        f"mysql+pymysql://u:{SECRET}@db",
        f"mysql+pymysql://u:{SECRET}@:3306/x",
        f"mysql://u:{SECRET}@db:port/x",
        f"mysql://u:{SECRET}#1@db/x",
        f"mysql://u:{SECRET}@[db/x",
        f"mysql://u:{SECRET}℀@db/x",
        SECRET,
    ],
)
def test_wrong_database_address_is_refused_without_its_password(url: str) -> None:
    """The kinds that are accepted are listed; the address is not repeated."""
    text = refused({"DATABASE_URL": url})

    assert "database_url(环境变量 DATABASE_URL)" in text
    assert "mysql+pymysql://…" in text
    assert SECRET not in text


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "rediss://:secret@cache:6380/1",
        "unix:///run/redis.sock?db=1",
        "redis+sentinel://a:26379,b:26379/mymaster/0",
        "embedded://",
        "embedded://127.0.0.1:6380",
        "embedded://localhost:6380",
        "embedded://[::1]:6380",
    ],
)
def test_redis_addresses_of_all_kinds_are_accepted(url: str) -> None:
    """Servers, sockets, sentinels, and the engine inside the process."""
    assert load({"REDIS_URL": url}).settings.redis_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"http://:{SECRET}@h", "不支持这种 Redis 地址"),
        ("redis:localhost", "不支持这种 Redis 地址"),
        (f"redis://:{SECRET}@", "缺少主机名"),
        (f"redis://:{SECRET}@h:x", "地址写法不对"),
        ("unix://", "缺少套接字"),
        ("embedded://0.0.0.0:6380", "只能监听本机地址"),
        ("embedded://redis.example:6380", "只能监听本机地址"),
        ("embedded://127.0.0.1", "要写端口"),
        (f"embedded://:{SECRET}@127.0.0.1:6380", "只能是本机地址和端口"),
    ],
)
def test_wrong_redis_address_is_refused_without_its_password(url: str, reason: str) -> None:
    """The embedded engine opens its port to this machine only."""
    text = refused({"REDIS_URL": url})

    assert reason in text
    assert "redis://…" in text
    assert SECRET not in text


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        ("", ()),
        ("abcdefgh-12345678", ("abcdefgh-12345678",)),
        ("abcdefgh-12345678, ABCDEFGH_12345678", ("abcdefgh-12345678", "ABCDEFGH_12345678")),
    ],
)
def test_one_or_two_callback_tokens_are_accepted(value: str, tokens: tuple[str, ...]) -> None:
    """Two are for the time of a rotation."""
    assert load({"ECLOUD_CALLBACK_TOKEN": value}).settings.ecloud.callback_tokens == tokens


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("short-token", "短于 16"),
        ("abcdefgh-12345678,", "短于 16"),
        ("abcdefgh/12345678", "不能放进网址"),
        ("abcdefgh-12345678,abcdefgh-12345679,abcdefgh-1234567a", "最多两个"),
    ],
)
def test_weak_callback_token_is_refused_unseen(value: str, reason: str) -> None:
    """A token is long and fits into a path."""
    text = refused({"ECLOUD_CALLBACK_TOKEN": value})

    assert reason in text
    assert value not in text


@pytest.mark.parametrize("names", [["b", "b"], ["default"]])
def test_two_gateway_logins_of_one_name_are_refused(names: list[str]) -> None:
    """Health and commands could not tell which one they mean."""
    entry = {"base_url": "http://h", "authorization": SECRET}

    text = refused({"ECLOUD_ACCOUNTS": json.dumps([{**entry, "name": name} for name in names])})

    assert "ecloud.accounts" in text
    assert f"登录名 {names[-1]} 重复或保留" in text
    assert SECRET not in text


def test_the_flat_settings_are_the_first_gateway_login_if_they_are_whole() -> None:
    """Others stand alone where it is missing."""
    more = {
        "ECLOUD_ACCOUNTS": json.dumps([{"name": "b", "base_url": "http://b", "authorization": "y"}])
    }
    flat = {"ECLOUD_BASE_URL": "http://a", "ECLOUD_AUTHORIZATION": SECRET}

    both = load({**more, **flat}).settings.ecloud.every_login()
    alone = load(more).settings.ecloud.every_login()
    half = load({**more, "ECLOUD_BASE_URL": "http://a"}).settings.ecloud.every_login()

    assert [one.name for one in both] == ["default", "b"]
    assert both[0].authorization.get_secret_value() == SECRET
    assert [one.name for one in alone] == [one.name for one in half] == ["b"]
    assert load().settings.ecloud.every_login() == ()


@pytest.mark.parametrize("names", [["b", "b"], ["default"]])
def test_two_apps_of_one_name_are_refused(names: list[str]) -> None:
    """A group could not tell which one it means; ``default`` is the flat settings' own."""
    entry = {"base_url": "http://h", "api_key": SECRET}

    text = refused({"DIFY_APPS": json.dumps([{**entry, "name": name} for name in names])})

    assert "dify.apps" in text
    assert f"应用名 {names[-1]} 重复或保留" in text
    assert SECRET not in text


def test_an_app_takes_from_the_default_one_what_it_leaves_out() -> None:
    """And stands alone where there is no default one."""
    entry = {"name": "b", "base_url": "http://b/v1", "api_key": SECRET, "blocking_timeout": 7}
    more = {"DIFY_APPS": json.dumps([entry]), "DIFY_MAX_CONCURRENCY": "3"}
    default = {"DIFY_BASE_URL": "http://a/v1", "DIFY_API_KEY": "k"}

    both = load({**more, **default}).settings.dify.every_app()
    alone = load(more).settings.dify.every_app()

    assert [one.name for one in both] == ["default", "b"]
    assert [one.blocking_timeout for one in both] == [120, 7]
    assert [one.max_concurrency for one in both] == [3, 3]
    assert [one.name for one in alone] == ["b"]
    assert alone[0].api_key.get_secret_value() == SECRET


def test_wrong_entry_of_a_list_is_named_by_its_place() -> None:
    """The setting, the entry and its field are named, never the values."""
    text = refused({"ECLOUD_ACCOUNTS": json.dumps([{"name": "b", "authorisation": SECRET}])})

    for name in ("base_url", "authorization", "authorisation"):
        assert f"ecloud.accounts.0.{name}" in text
    assert SECRET not in text


# ── Secrets ─────────────────────────────────────────────────────────────────

FILE_VARIANTS = {
    "DATABASE_URL": "mysql://u:p@db/x",
    "REDIS_URL": "redis://:p@cache",
    "ECLOUD_AUTHORIZATION": "raw-authorization",
    "ECLOUD_CALLBACK_TOKEN": "abcdefgh-12345678",
    "DIFY_API_KEY": SECRET,
    "CONSOLE_PASSWORD": "correct horse",
}


@pytest.mark.parametrize(("name", "value"), FILE_VARIANTS.items())
@pytest.mark.parametrize("by", ["environment", ".env"])
def test_secret_may_stand_in_a_file(name: str, value: str, by: str, tmp_path: Path) -> None:
    """X_FILE names a file that holds X; its last newline does not count."""
    secret_file = write(tmp_path / "secret", f"{value}\n")
    variables = {f"{name}_FILE": str(secret_file)}
    env_file = write(tmp_path / ".env", f"{name}_FILE={secret_file}\n")

    loaded = load(variables) if by == "environment" else load(env_file=env_file)

    assert loaded.settings == load({name: value}).settings
    assert not [warning for warning in loaded.warnings if "没有作用" not in warning]
    assert by in loaded.sources.values()


def test_secret_given_twice_is_refused(tmp_path: Path) -> None:
    """Value and file together are a contradiction, wherever they stand."""
    secret_file = write(tmp_path / "secret", SECRET)
    env_file = write(tmp_path / ".env", f"DIFY_API_KEY_FILE={secret_file}\n")

    together = refused({"DIFY_API_KEY": SECRET, "DIFY_API_KEY_FILE": str(secret_file)})
    apart = refused({"DIFY_API_KEY": SECRET}, env_file=env_file)

    for text in (together, apart):
        assert "DIFY_API_KEY 和 DIFY_API_KEY_FILE 同时设置了" in text
        assert SECRET not in text
    empty = {"DIFY_API_KEY": "", "DIFY_API_KEY_FILE": str(secret_file)}
    assert load(empty).settings.dify.api_key.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "文件不存在"), (b" \n", "文件是空的"), (b"\xff\xfe", "UTF-8"), (b"x" * 70_000, "超过")],
)
def test_unusable_secret_file_is_refused(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    """A secret that was meant to be there is not replaced by nothing."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)

    text = refused({"DIFY_API_KEY_FILE": str(path)})

    assert reason in text
    assert f"DIFY_API_KEY_FILE({path})" in text


def test_only_secrets_have_a_file_variant() -> None:
    """Other names with _FILE are unknown names."""
    assert "DIFY_BASE_URL_FILE" in load({"DIFY_BASE_URL_FILE": "/x"}).warnings[0]


@pytest.mark.parametrize(
    "environ",
    [
        {"DIFY_API_KEY": f"{SECRET}\n中文"},
        {"ECLOUD_AUTHORIZATION": f"{SECRET}\r\nX: y"},
        {"DIFY_BASE_URL": f"http://user:{SECRET}@h/v1"},
        {"DIFY_BASE_URL": f"http://user:pa/{SECRET}@h/v1"},
        {"DIFY_BASE_URL": SECRET},
        {"DIFY_STREAMING_TIMEOUT": SECRET},
        {"ECLOUD_ACCOUNTS": f"[{SECRET}"},
    ],
)
def test_error_never_shows_a_secret(environ: dict[str, str]) -> None:
    """Neither the text, nor the chain, nor the repr of the problems gives a key away."""
    with pytest.raises(SettingsError) as caught:
        load(environ)

    seen = f"{caught.value} {caught.value!r} {caught.value.problems!r}"
    assert SECRET not in seen
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_settings_do_not_show_secrets_when_printed() -> None:
    """A repr in a log or a debugger is harmless."""
    loaded = load({"DIFY_API_KEY": SECRET, "DATABASE_URL": f"mysql://u:{SECRET}@db/x"})

    assert SECRET not in repr(loaded)
    with pytest.raises(ValueError, match="api_key") as caught:
        DifySettings(api_key=[SECRET])
    assert SECRET not in str(caught.value)


def test_secrets_lists_what_a_log_must_hide() -> None:
    """Keys, tokens one by one, and of addresses the password as written and as meant."""
    settings = load(
        {
            "DATABASE_URL": "mysql+pymysql://u:p%40ss-word@db/x",
            "REDIS_URL": "redis://:redis-pass@cache",
            "ECLOUD_AUTHORIZATION": "raw-authorization",
            "ECLOUD_CALLBACK_TOKEN": "abcdefgh-12345678,abcdefgh-87654321",
            "DIFY_API_KEY": SECRET,
            "CONSOLE_PASSWORD": "correct horse",
        }
    ).settings

    assert set(settings.secrets()) >= {
        "p%40ss-word",
        "p@ss-word",
        "redis-pass",
        "raw-authorization",
        "abcdefgh-12345678",
        "abcdefgh-87654321",
        SECRET,
        "correct horse",
    }
    assert load().settings.secrets() == ()


def test_config_imports_nothing_of_the_program() -> None:
    """The settings can be read before, and without, everything else."""
    code = "import config, sys; print([m for m in sys.modules if m.split('.')[0] == 'app'])"

    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "variables",
    [
        {"DATABASE_URL": "mysql+pymysql://u:top@SECRETPART@127.0.0.1:1/x"},
        {"REDIS_URL": "redis://:top@SECRETPART@127.0.0.1:6379/0"},
    ],
)
def test_raw_at_sign_in_a_password_is_refused_without_showing_it(variables: dict[str, str]) -> None:
    """Else the end of the password would be taken for the host's name, and be shown."""
    text = refused(variables)

    assert "多个 @" in text
    assert "SECRETPART" not in text


# ── Dify apps: inputs and who stands in for whom ────────────────────────────


def test_inputs_are_templates_by_the_variable_that_they_fill(tmp_path: Path) -> None:
    """From config.json as an object, from the environment as its JSON; braces may be escaped."""
    config = {"dify": {"inputs": {"name": "{user_name}", "note": "{{x}} {time}"}}}
    config_file = write(tmp_path / "c.json", json.dumps(config))

    assert load(config_file=config_file).settings.dify.inputs == config["dify"]["inputs"]
    from_variable = load({"DIFY_INPUTS": '{"where": "{group_name}"}'}).settings.dify.inputs
    assert from_variable == {"where": "{group_name}"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{user}", "不是合法的 JSON 对象"),
        ('{"a": "{nickname}"}', "不认识的 {nickname}"),
        ('{"a": "{user_id.x}"}', "不认识的 {user_id.x}"),
        ('{"a": "{user_id:>100000000}"}', "不认识的 {user_id}"),
        ('{"a": "{user_id!r}"}', "不认识的 {user_id}"),
        ('{"a": "{"}', "花括号不成对"),
        ('{"": "x"}', "没有名字"),
        ("[1]", "dify.inputs"),
        ('{"a": 1}', "dify.inputs"),
    ],
)
def test_wrong_inputs_are_told_with_what_may_stand_there(value: str, reason: str) -> None:
    """A template that cannot be filled would fail with every question."""
    with pytest.raises(SettingsError) as caught:
        load({"DIFY_INPUTS": value})

    assert reason in str(caught.value)
    assert "{user_name}" in str(caught.value)


APPS = [
    {"name": "a", "base_url": "http://a/v1", "api_key": "key-a"},
    {"name": "b", "base_url": "http://b/v1", "api_key": "key-b", "fallback": "default"},
]


def test_each_app_has_its_own_fallback(tmp_path: Path) -> None:
    """The default app's is not inherited: it may be that very app. Everything else is."""
    variables = {
        "DIFY_BASE_URL": "http://d/v1",
        "DIFY_API_KEY": "key-d",
        "DIFY_APPS": json.dumps(APPS),
        "DIFY_FALLBACK": "a",
        "DIFY_INPUTS": '{"x": "y"}',
        "DIFY_KIND": "chat",
    }

    apps = load(variables).settings.dify.every_app()

    assert {app.name: app.fallback for app in apps} == {"default": "a", "a": "", "b": "default"}
    assert {(app.kind, app.inputs["x"]) for app in apps} == {("chat", "y")}


@pytest.mark.parametrize(("fallback", "names"), [("c", "a、b"), ("default", "a、b"), ("A", "a、b")])
def test_a_fallback_that_is_no_other_app_stops_the_start(fallback: str, names: str) -> None:
    """Named with those that there are."""
    with pytest.raises(SettingsError) as caught:
        load({"DIFY_APPS": json.dumps(APPS), "DIFY_FALLBACK": fallback})

    assert f"必须是另一个应用的名字:{names}" in str(caught.value)
    assert "dify.fallback" in str(caught.value)
