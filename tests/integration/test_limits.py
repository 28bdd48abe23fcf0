"""The limit of an app that several processes share, at a Dify that takes only so much."""

import asyncio

import pytest
from redis import Redis as SyncRedis

from app.api.limits import shown_limits
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Stores, peer_variables
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

#: One engine is shared by several processes.
INSIDE_SERVERS = pytest.mark.parametrize(
    "inside_stores",
    [pytest.param("servers", marks=[pytest.mark.redis, pytest.mark.mysql])],
    indirect=True,
)
PEOPLE = [f"群友{number}" for number in range(24)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told once a second is told often."""
    monkeypatch.setattr("app.workers.limit_keeper.EXCHANGE_SECONDS", 0.15)
    monkeypatch.setattr("app.workers.limit_keeper.URGENT_SECONDS", 0.05)


@pytest.fixture
def people(gateway: EcloudSimulator) -> list[str]:
    """Many in one group."""
    world = gateway.world
    group = next(iter(world.groups.values()))
    for number, name in enumerate(PEOPLE):
        world.add_person(f"wxid_crowd{number:04d}22", name)
        group.members[f"wxid_crowd{number:04d}22"] = ""
    return PEOPLE


def shares(*bridges: Inside) -> list[int]:
    """What each process may ask at once."""
    return [bridge.runtime.apps["default"].gate.slots for bridge in bridges]


async def until_shares(total: int, *bridges: Inside) -> None:
    """All of them have some, and so many together."""
    async with asyncio.timeout(30):
        while sum(found := shares(*bridges)) != total or min(found) < 1:
            await asyncio.sleep(0.01)


async def ask_all(bridge: Inside, people: list[str], wait: float) -> None:
    """Everybody asks something."""
    for name in people:
        await bridge.hear(f"问 [[wait={wait}]] [[text=好]]", person=name)


@INSIDE_SERVERS
async def test_two_processes_together_ask_no_more_than_the_setting_allows(
    inside: StartInside, dify: DifySimulator, people: list[str]
) -> None:
    """Both work; health tells of the limit of all."""
    limits = {"DIFY_MAX_CONCURRENCY": "4", "DIFY_INITIAL_CONCURRENCY": "4"}
    async with inside(**limits) as one, inside(**limits) as two:
        await until_shares(4, one, two)
        await ask_all(one, people, 0.3)
        await dify.recorder.until(lambda: dify.concurrency.max_active == 4)
        [shown] = await shown_limits(two.runtime)
        messages = await one.until_settled(len(people))

    assert [message["verdict"] for message in messages] == ["answered"] * len(people)
    assert dify.concurrency.max_active == 4
    assert len(dify.questions()) == len(people)
    assert (shown["limit"], shown["processes"]) == (4, 2)


@INSIDE_SERVERS
async def test_two_processes_find_what_a_dify_takes_and_lose_nothing(
    inside: StartInside, dify: DifySimulator, people: list[str]
) -> None:
    """It refuses the fourth; that costs no attempt, and both ask less."""
    dify.default_app.max_active = 3
    limits = {"DIFY_INITIAL_CONCURRENCY": "12", "MESSAGE_PROCESSING_RETRY_DELAY": "0.2"}
    async with inside(**limits) as one, inside(**limits) as two:
        await until_shares(12, one, two)
        await ask_all(one, people, 0.2)
        messages = await one.until_settled(len(people))
        [shown] = await shown_limits(one.runtime)
        cuts = [
            bridge.runtime.metrics.registry.get_sample_value(
                "bridge_dify_limit_cuts_total", {"app": "default", "cause": "dify_overloaded"}
            )
            or 0
            for bridge in (one, two)
        ]

    assert [message["verdict"] for message in messages] == ["answered"] * len(people)
    assert [message["attempts"] for message in messages] == [0] * len(people)
    assert dify.concurrency.max_active == 3
    assert shown["limit"] <= 6
    assert shown["lowered_by"] == "dify_overloaded"
    assert sum(cuts) >= 1


@INSIDE_SERVERS
async def test_what_a_process_had_is_the_others_when_it_leaves_and_not_before_it_has_finished(
    inside: StartInside, dify: DifySimulator, people: list[str]
) -> None:
    """It finishes what it asked; then all places are the other's."""
    limits = {"DIFY_MAX_CONCURRENCY": "6", "DIFY_INITIAL_CONCURRENCY": "6"}
    async with inside(**limits) as stays:
        async with inside(**limits) as leaves:
            await until_shares(6, stays, leaves)
            await ask_all(stays, people, 0.3)
            await dify.recorder.until(lambda: dify.concurrency.active == 6)
            await leaves.background.stop()
        await until_shares(6, stays)
        await stays.until_settled(len(people))

    assert dify.concurrency.max_active == 6


@INSIDE_SERVERS
async def test_while_redis_is_away_and_after_it_was_wiped_the_limit_is_remembered(
    inside: StartInside, inside_stores: Stores, dify: DifySimulator, people: list[str]
) -> None:
    """What was found at cost is not found again; what is asked meanwhile is answered."""
    async with inside(DIFY_INITIAL_CONCURRENCY="8") as bridge:
        dify.faults.set("http_429", times=1)
        await ask_all(bridge, people[:1], 0.0)
        async with asyncio.timeout(30):
            while shares(bridge) != [4]:
                await asyncio.sleep(0.01)
        await ask_all(bridge, people[1:4], 0.5)
        await dify.recorder.until(lambda: dify.concurrency.active == 3)
        assert inside_stores.redis is not None
        inside_stores.redis.kill()
        await asyncio.sleep(1)
        assert shares(bridge) == [4]
        assert await shown_limits(bridge.runtime) == []
        inside_stores.redis.start()
        await bridge.until_settled(4)
        with SyncRedis(port=inside_stores.redis.port) as client:
            async with asyncio.timeout(30):
                while not client.exists("ecloud:limit:default"):
                    await asyncio.sleep(0.01)
            found = float(client.hget("ecloud:limit:default", "limit") or 0)

    assert 4 <= found < 6


@INSIDE_EMBEDDED
@pytest.mark.parametrize("streams", [True, False])
async def test_a_dify_that_lets_the_rest_wait_is_asked_less_after_a_while(
    inside: StartInside, gateway: EcloudSimulator, people: list[str], *, streams: bool
) -> None:
    """No error says so; only the first bytes are late once all places are taken."""
    async with DifySimulator.start(connections=1) as dify:
        settings = {**peer_variables(gateway, dify), "DIFY_INITIAL_CONCURRENCY": "6"}
        async with inside(DIFY_STREAMING_ENABLED=str(streams).lower(), **settings) as bridge:
            for _ in range(2):
                await ask_all(bridge, people, 0.4)
            async with asyncio.timeout(60):
                while not (await shown_limits(bridge.runtime))[0].get("lowered_by"):
                    await asyncio.sleep(0.05)
            [shown] = await shown_limits(bridge.runtime)

    assert shown["lowered_by"] == "slow"
