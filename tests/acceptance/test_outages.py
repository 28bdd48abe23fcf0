"""Dify is down for a while: nothing is lost, nothing is buried, and it is hardly asked meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Bridge, Stores, peer_variables, server_stores
from tests.fixtures.crowd import Crowd, crowd_world
from tests.fixtures.redis_server import RedisServer

DOWN_SECONDS = 20
#: What was on its way when the third failure opened the breaker is told from probes by its time.
OPENING_SECONDS = 1


@pytest.fixture
async def gateway() -> AsyncIterator[EcloudSimulator]:
    """A gateway with a crowd."""
    async with EcloudSimulator.start(world=crowd_world()) as simulator:
        yield simulator


@pytest.fixture
def crowd(gateway: EcloudSimulator, dify: DifySimulator) -> Crowd:
    """Who speaks."""
    return Crowd(gateway, dify)


def tries_since(dify: DifySimulator, moment: float) -> list[float]:
    """When anybody asked a question later than *moment*, by the simulator's own clock."""
    return [one.started for one in dify.questions() if one.started > moment]


def say_something(crowd: Crowd, group: str, person: str) -> None:
    """One numbered thing with its own answer."""
    word = f"{person}#{len(crowd.said[person]):03d}"
    crowd.said[person].append(word)
    crowd.gateway.say(group, person, f"{word} [[text=<{word}>]]")


async def dead_letters(bridge: Bridge) -> int:
    """Messages given up."""
    [row] = await bridge.rows("SELECT count(*) AS n FROM messages WHERE state = 'dead'")
    return int(row["n"])


async def until_open(bridge: Bridge) -> None:
    """Wait until health shows the open breaker."""
    async with asyncio.timeout(30):
        while not (await bridge.get("/api/v1/health"))[1]["breakers"]:
            await asyncio.sleep(0.1)


async def test_dify_down_for_a_while_loses_nothing_and_is_hardly_asked(
    bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator, crowd: Crowd
) -> None:
    """Half of a crowd speaks as it begins, all of it later; afterwards all is answered in order."""
    crowd.speak(1)
    await crowd.until_answered(60)
    dify.faults.set("down", times=100_000)
    for group, person in crowd.people[:6] * 2:
        say_something(crowd, group, person)
    await until_open(bridge)
    await asyncio.sleep(OPENING_SECONDS)
    open_since = asyncio.get_running_loop().time()
    crowd.speak(1)
    await asyncio.sleep(DOWN_SECONDS)
    probes = tries_since(dify, open_since)
    [shown] = (await bridge.get("/api/v1/health"))[1]["breakers"]
    dify.faults.clear()
    await crowd.until_answered(60)

    # That it is tried at all is seen by the answers afterwards.
    assert len(probes) <= 5
    assert (shown["peer"], shown["code"], shown["parked_users"]) == ("dify", "dify_unavailable", 12)
    assert await dead_letters(bridge) == 0
    crowd.check()
    assert (await bridge.get("/api/v1/health"))[1]["breakers"] == []


@pytest.mark.redis
@pytest.mark.mysql
async def test_two_replicas_share_one_breaker(
    tmp_path: Path,
    bridge_redis: RedisServer,
    mysql_url: str,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    crowd: Crowd,
) -> None:
    """One probe at a time over both; one of them is killed, the other lets everybody go on."""
    stores: Stores = server_stores(tmp_path, bridge_redis, mysql_url)
    bridges = [Bridge(stores, peer_variables(gateway, dify)) for _ in range(2)]
    gateway.callback_url = bridges[0].callback_url
    try:
        for one in bridges:
            await one.start()
        dify.faults.set("down", times=100_000)
        crowd.speak(2)
        await until_open(bridges[1])
        await asyncio.sleep(OPENING_SECONDS)
        open_since = asyncio.get_running_loop().time()
        await asyncio.sleep(10)
        probes = tries_since(dify, open_since)
        bridges[1].kill()
        dify.faults.clear()
        await crowd.until_answered(60)
        dead = await dead_letters(bridges[0])
    finally:
        for one in bridges:
            one.kill()

    assert 1 <= len(probes) <= 4
    assert dead == 0
    crowd.check()


async def test_a_message_that_always_fails_is_buried_while_others_are_answered(
    bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator, crowd: Crowd
) -> None:
    """Its four tries and no more; the breaker is not opened for everybody."""
    (group, person), *others = crowd.people
    gateway.say(group, person, "毒 [[fail=500]]")
    async with asyncio.timeout(60):
        while not await dead_letters(bridge):
            say_something(crowd, *others[crowd.count % len(others)])
            await asyncio.sleep(0.1)
    await crowd.until_answered(60)

    assert len([one for one in dify.questions() if "毒" in str(one.facts.get("query"))]) == 4
    assert "breaker.opened" not in bridge.log


async def test_while_the_account_cannot_send_dify_is_not_asked(
    bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator, crowd: Crowd
) -> None:
    """Offline: the first answer finds out, who speaks later is parked; back again all is answered."""
    crowd.speak(1)
    await crowd.until_answered(60)
    gateway.faults.set("offline")
    group, person = crowd.people[0]
    say_something(crowd, group, person)
    await until_open(bridge)
    asked = len(dify.questions())
    crowd.speak(2)
    await gateway.courier.idle()
    async with asyncio.timeout(30):
        while (await bridge.get("/api/v1/health"))[1]["breakers"][0]["parked_users"] < 11:
            await asyncio.sleep(0.1)
    [shown] = (await bridge.get("/api/v1/health"))[1]["breakers"]
    meanwhile = len(dify.questions()) - asked
    gateway.faults.clear()
    await crowd.until_answered(60)

    assert shown["peer"] == "account"
    assert meanwhile <= 2
    assert await dead_letters(bridge) == 0
    crowd.check()
