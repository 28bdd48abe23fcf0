"""What a runtime is built of, as far as settings alone decide it."""

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from app.models.flow import Trigger
from app.opening import StartRefused
from app.peers import make_apps, make_eclouds
from app.runtime import (
    Role,
    data_folder,
    gateway_hosts,
    group_defaults,
    is_embedded,
    open_runtime,
)
from app.utils.clock import SystemClock
from config import LoadedSettings, Settings, load_settings

MYSQL = "mysql+pymysql://u:p@db/x"
REDIS = "redis://cache/0"


def loaded_of(**environ: str) -> LoadedSettings:
    """Settings that stand in the environment and nowhere else, with where they come from."""
    return load_settings(environ=environ, env_file=None, config_file=None)


def settings_of(**environ: str) -> Settings:
    """The same without."""
    return loaded_of(**environ).settings


@pytest.mark.parametrize(
    ("database", "redis", "embedded"),
    [
        ("sqlite:///x.db", "embedded://", True),
        ("sqlite:///x.db", REDIS, True),
        (MYSQL, "embedded://127.0.0.1:6380", True),
        (MYSQL, REDIS, False),
    ],
)
def test_one_part_inside_the_process_makes_it_the_only_one(
    database: str, redis: str, *, embedded: bool
) -> None:
    """Two processes would each have a store of their own."""
    assert is_embedded(settings_of(DATABASE_URL=database, REDIS_URL=redis)) == embedded


@pytest.mark.parametrize(
    ("database", "folder"),
    [
        ("sqlite:////srv/a b/bridge.db", Path("/srv/a b")),
        ("sqlite+aiosqlite:///./data/bridge.db", Path("data")),
        (MYSQL, Path("data")),
    ],
)
def test_files_lie_beside_the_database(database: str, folder: Path) -> None:
    """Else in ``data``."""
    assert data_folder(settings_of(DATABASE_URL=database)) == folder


def test_a_role_includes_its_part() -> None:
    """``all`` includes every part, the others only themselves."""
    assert all(Role.ALL.includes(role) for role in Role)
    assert Role.WORKER.includes(Role.WORKER)
    assert not Role.WORKER.includes(Role.SENDER)
    assert not Role.API.includes(Role.ALL)


def test_the_groups_defaults_are_the_settings() -> None:
    """Trigger, words, pattern, age, mention."""
    defaults = group_defaults(
        settings_of(
            GROUPS_TRIGGER="regex",
            GROUPS_PATTERN="^多少钱",
            MESSAGE_PROCESSING_MAX_MESSAGE_AGE="60",
            REPLY_MENTION_SENDER="false",
            GROUPS_QUOTE_CONTEXT="false",
        )
    )

    assert defaults.rules.trigger is Trigger.REGEX
    assert defaults.rules.pattern is not None
    assert defaults.rules.pattern.search("多少钱一斤")
    assert defaults.rules.max_message_age == 60
    assert defaults.rules.is_enabled
    assert not defaults.mention_sender
    assert not defaults.rules.tells_quoted
    assert group_defaults(settings_of()).rules.tells_quoted


def test_attachments_may_come_from_the_gateway_of_any_login() -> None:
    """Each may stand inside; no other host may."""
    second = [{"name": "second", "base_url": "http://10.0.0.2:9899", "authorization": "token"}]
    settings = settings_of(
        ECLOUD_BASE_URL="http://10.0.0.1:9899",
        ECLOUD_AUTHORIZATION="token",
        ECLOUD_ACCOUNTS=json.dumps(second),
    )

    assert gateway_hosts(settings) == {"10.0.0.1", "10.0.0.2"}
    assert gateway_hosts(settings_of()) == set()


async def test_peers_are_built_only_when_they_are_named() -> None:
    """Nothing configured: messages are accepted and wait."""
    full = settings_of(
        DIFY_BASE_URL="http://dify/v1",
        DIFY_API_KEY="app-x",
        ECLOUD_BASE_URL="http://gateway",
        ECLOUD_AUTHORIZATION="token",
    )
    async with aiohttp.ClientSession() as http:
        assert make_apps(settings_of().dify, http, SystemClock(), ZoneInfo("UTC")) == {}
        assert make_eclouds(settings_of().ecloud, http) == ()
        assert list(make_apps(full.dify, http, SystemClock(), ZoneInfo("UTC"))) == ["default"]
        assert [one.login.name for one in make_eclouds(full.ecloud, http)] == ["default"]


async def test_every_app_has_a_client_a_limit_and_a_mode_of_its_own() -> None:
    """What an app leaves out is as for the default app; without a default one it stands alone."""
    apps = json.dumps(
        [
            {"name": "a", "base_url": "http://a/v1", "api_key": "key-a", "max_concurrency": 3},
            {
                "name": "b",
                "base_url": "http://b/v1",
                "api_key": "key-b",
                "streaming_enabled": False,
                "initial_concurrency": 2,
            },
        ]
    )
    settings = settings_of(
        DIFY_APPS=apps, DIFY_INITIAL_CONCURRENCY="8", DIFY_STREAMING_ENABLED="true"
    )
    async with aiohttp.ClientSession() as http:
        made = make_apps(settings.dify, http, SystemClock(), ZoneInfo("UTC"))

    assert {name: (one.gate.slots, one.is_streamed) for name, one in made.items()} == {
        "a": (3, True),
        "b": (2, False),
    }
    assert {one.client.name for one in made.values()} == {"a", "b"}
    assert {"key-a", "key-b"} <= set(settings.secrets())


@pytest.mark.parametrize("role", [Role.API, Role.WORKER, Role.SENDER])
async def test_the_embedded_default_refuses_to_be_split(role: Role, tmp_path: Path) -> None:
    """A clear sentence, before anything is made."""
    settings = loaded_of(DATABASE_URL=f"sqlite:///{tmp_path}/data/bridge.db")

    with pytest.raises(StartRefused, match="只能由一个进程使用"):
        await enter(settings, role)

    assert files_below(tmp_path) == []


def files_below(folder: Path) -> list[Path]:
    """Everything that was made there."""
    return list(folder.rglob("*"))


async def enter(loaded: LoadedSettings, role: Role) -> Any:
    """Open and close."""
    async with open_runtime(loaded, role) as runtime:
        return runtime
