"""Looks, ledger and deliveries together: one process tells, each thing once, whatever fails meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web
from typing_extensions import override

from app.channels import make_channels
from app.services.alerts.channel import Channel
from app.services.alerts.conditions import Condition, Topic
from app.services.alerts.growth import Tally
from app.services.alerts.ledger import Timing
from app.services.alerts.message import Sender
from app.services.errors import QueueUnavailable
from app.services.metrics import Metrics
from app.services.queue.leases import Leases
from app.services.queue.notebook import Notebook
from app.utils.clock import SystemClock
from app.utils.http_client import make_http_client
from app.utils.loops import cancelled
from app.workers.alert_keeper import AlertDesk
from app.workers.alert_post import FIRST_PAUSE, AlertPost
from app.workers.alert_shelf import OwnShelf, SharedShelf, Shelf
from app.workers.alert_watch import Seen
from config import load_settings
from tests.fixtures.receivers import Robots
from tests.fixtures.redis import RedisEngine

OFFLINE = Condition(
    topic=Topic.ACCOUNTS,
    key="account:a",
    code="account_offline",
    title="微信号离线",
    text="微信号 a 不在线。",
    advice="请登录。",
)


@dataclass
class World:
    """What is wrong, as all processes see it; and the time."""

    conditions: list[Condition] = field(default_factory=list)
    now: float = 1_769_817_600.0

    async def look(self, tallies: Mapping[str, Tally] | None, now: float) -> Seen:  # noqa: ARG002 - as all
        """As ``Watch``."""
        return Seen(conditions=list(self.conditions), known=frozenset(Topic), tallies=tallies)


class WorldClock(SystemClock):
    """Of the world; the leases go by the machine's."""

    def __init__(self, world: World) -> None:
        self._world = world

    @override
    def time(self) -> float:
        return self._world.now


@pytest.fixture
def world() -> World:
    """All is well."""
    return World()


@pytest.fixture
async def channels(robots: Robots) -> AsyncIterator[tuple[Channel, ...]]:
    """To all four receivers."""
    found = load_settings(environ=robots.variables, env_file=None, config_file=None).settings
    async with make_http_client() as http:
        yield make_channels(found.alerts, http, SystemClock())


@dataclass
class Process:
    """One process's desk."""

    desk: AlertDesk
    shelf: Shelf
    post: AlertPost
    metrics: Metrics

    def counted(self, channel: str, outcome: str) -> float:
        """What its metric says."""
        labels = {"channel": channel, "outcome": outcome}
        return self.metrics.registry.get_sample_value("bridge_alerts_total", labels) or 0.0

    async def die(self) -> None:
        """Another one may take the lease at once."""
        await self.post.stop()
        await self.shelf.leave()


def process(
    world: World, channels: tuple[Channel, ...], engine: RedisEngine | None, name: str = "one"
) -> Process:
    """One that tells as soon as it sees; without an engine it remembers by itself."""
    clock, metrics = WorldClock(world), Metrics(version="1")
    shelf: Shelf = OwnShelf()
    if engine is not None:
        namespace = engine.keys.namespace
        redis = engine.client()
        leases = Leases(redis, holder=name, clock=SystemClock(), namespace=namespace)
        notebook = Notebook(redis, "shared", namespace=namespace)
        shelf = SharedShelf(leases.task("alerts", seconds=20), notebook)
    sender = Sender(name="店", host=name, zone=ZoneInfo("Asia/Shanghai"))
    post = AlertPost(channels, sender=sender, metrics=metrics, clock=clock)
    desk = AlertDesk(watch=world, shelf=shelf, post=post, timing=Timing(hold=0), clock=clock)
    return Process(desk, shelf, post, metrics)


FIRING, RECOVERED = ("firing", "account:a"), ("recovered", "account:a")


async def test_of_several_processes_one_tells_and_another_goes_on_when_it_is_gone(
    world: World, channels: tuple[Channel, ...], redis_engine: RedisEngine, robots: Robots
) -> None:
    """Through every channel once, and once more when it is well."""
    one, two = (process(world, channels, redis_engine, name) for name in ("one", "two"))
    world.conditions = [OFFLINE]
    for _ in range(3):
        await asyncio.gather(one.desk.look(), two.desk.look())
        world.now += 5
    first = list(robots.told)
    await one.die()
    await two.desk.look()
    world.conditions = []
    await two.desk.look()

    assert sorted(one.channel for one in first) == ["dingtalk", "feishu", "webhook", "wecom"]
    assert robots.notices() == [FIRING, RECOVERED]
    assert len(robots.told) == 8
    assert one.counted("wecom", "sent") + two.counted("wecom", "sent") == 2


async def test_what_a_process_decided_and_did_not_live_to_tell_is_told_by_the_next(
    world: World, channels: tuple[Channel, ...], redis_engine: RedisEngine, robots: Robots
) -> None:
    """Though nothing is wrong any more when that one begins."""
    reached, release = asyncio.Event(), asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        reached.set()
        await release.wait()
        return web.Response(status=500)

    robots.answers = dict.fromkeys(("wecom", "dingtalk", "feishu", "webhook"), hang)
    one, two = (process(world, channels, redis_engine, name) for name in ("one", "two"))
    world.conditions = [OFFLINE]
    looking = asyncio.create_task(one.desk.look())
    await reached.wait()
    await cancelled([looking])
    await one.die()
    robots.answers = {}
    release.set()
    world.conditions = []
    await two.desk.look()

    assert robots.notices() == [FIRING, RECOVERED]


async def test_a_channel_that_hangs_holds_up_no_other_and_is_not_asked_twice(
    world: World, channels: tuple[Channel, ...], redis_engine: RedisEngine, robots: Robots
) -> None:
    """Its notices wait, and arrive in one message when it is well."""
    release = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await release.wait()
        return web.json_response({"errcode": -1, "errmsg": "system busy"})

    robots.answers = {"wecom": hang}
    one = process(world, channels, redis_engine)
    world.conditions = [OFFLINE]
    await one.desk.look()
    world.conditions = []
    await one.desk.look()
    assert robots.notices() == [FIRING, RECOVERED]
    assert robots.asked["wecom"] == 1
    release.set()
    robots.answers = {}
    await one.desk.look()
    world.now += FIRST_PAUSE
    await one.desk.look()

    [late] = robots.texts("wecom")
    assert "【告警】微信号离线" in late
    assert "【告警恢复】微信号离线" in late
    assert (one.counted("wecom", "refused"), one.counted("wecom", "sent")) == (1, 2)


async def test_a_channel_that_fails_is_tried_again_with_longer_and_longer_pauses(
    world: World, channels: tuple[Channel, ...], robots: Robots
) -> None:
    """Not at every look; and what it was to be told is told in the end."""

    async def fail(_: web.Request) -> web.Response:
        return web.Response(status=502)

    robots.answers = {"webhook": fail}
    one = process(world, channels, None)
    world.conditions = [OFFLINE]
    for _ in range(60):
        await one.desk.look()
        world.now += 1
    asked = robots.asked["webhook"]
    robots.answers = {}
    world.now += 600
    await one.desk.look()

    assert 3 <= asked <= 5
    assert robots.notices() == [FIRING]
    assert one.counted("webhook", "undelivered") == asked


async def test_a_wiped_redis_repeats_what_is_wrong_at_most_once(
    world: World, channels: tuple[Channel, ...], redis_engine: RedisEngine, robots: Robots
) -> None:
    """And a page that somebody spoilt, or a key of another type, is the same."""
    one = process(world, channels, redis_engine)
    world.conditions = [OFFLINE]
    key = redis_engine.keys.alerts("shared")
    await one.desk.look()
    for spoil in (
        redis_engine.redis.delete(key),
        redis_engine.redis.set(key, b"{}}"),
        _as_list(redis_engine, key),
    ):
        await spoil
        for _ in range(3):
            await one.desk.look()

    assert robots.notices() == [FIRING] * 4


async def _as_list(engine: RedisEngine, key: str) -> None:
    await engine.redis.delete(key)
    await engine.redis.rpush(key, "x")


async def test_what_was_told_while_redis_went_away_is_not_told_again(
    world: World,
    channels: tuple[Channel, ...],
    redis_engine: RedisEngine,
    robots: Robots,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is noted as soon as Redis is back, by the process that told it."""
    one = process(world, channels, redis_engine)
    world.conditions = [OFFLINE]
    original, writes = Notebook.write, []

    async def write(self: Notebook, page: bytes) -> None:
        writes.append(page)
        if len(writes) == 2:
            raise QueueUnavailable("switched off by the test")
        await original(self, page)

    monkeypatch.setattr(Notebook, "write", write)
    with pytest.raises(QueueUnavailable):
        await one.desk.look()
    for _ in range(3):
        await one.desk.look()

    assert robots.notices() == [FIRING]
    assert len(robots.told) == 4


async def test_a_desk_stops_at_once_and_leaves_its_lease(
    world: World,
    channels: tuple[Channel, ...],
    redis_engine: RedisEngine,
    robots: Robots,
) -> None:
    """Though a receiver never answers."""
    reached, never = asyncio.Event(), asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        reached.set()
        await never.wait()
        return web.Response()

    robots.answers = {"webhook": hang}
    one, two = (process(world, channels, redis_engine, name) for name in ("one", "two"))
    world.conditions = [OFFLINE]
    stop = asyncio.Event()
    running = asyncio.create_task(one.desk.run(stop))
    await reached.wait()
    stop.set()
    async with asyncio.timeout(5):
        await running
    never.set()

    assert await two.shelf.take() is not None
