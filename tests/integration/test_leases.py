"""Named leases and the bell, on both engines."""

import asyncio

import pytest

from app.models.flow import WcId
from app.services.queue.leases import Lease, Leases, OutboxBell
from app.utils.clock import SystemClock
from tests.fixtures.redis import RedisEngine

BOT = WcId("wxid_bot")


def leases(engine: RedisEngine, holder: str) -> Leases:
    """The leases as one process sees them."""
    return Leases(
        engine.client(), holder=holder, clock=SystemClock(), namespace=engine.keys.namespace
    )


async def test_one_process_holds_a_lease_until_it_gives_it_back(redis_engine: RedisEngine) -> None:
    """Renewing is taking again; the second one gets it as soon as it is free."""
    first = leases(redis_engine, "a").sender(BOT, seconds=30)
    second = leases(redis_engine, "b").sender(BOT, seconds=30)

    assert [await first.hold(), await second.hold(), await first.hold()] == [True, False, True]
    assert (first.is_held, second.is_held) == (True, False)
    await second.free()
    assert await second.hold() is False
    await first.free()
    assert first.is_held is False
    assert await second.hold() is True


async def test_two_senders_of_one_process_are_two_holders(redis_engine: RedisEngine) -> None:
    """A loop that was started anew must not take the former's lease for its own."""
    own = leases(redis_engine, "a")

    assert await own.sender(BOT, seconds=30).hold() is True
    assert await own.sender(BOT, seconds=30).hold() is False
    assert await own.sender(WcId("wxid_other"), seconds=30).hold() is True
    assert await own.task("sweep", seconds=30).hold() is True


async def test_a_lease_that_ran_out_is_anybodys_and_never_revived(
    redis_engine: RedisEngine,
) -> None:
    """By its own clock the former holder knows it, too."""
    first = leases(redis_engine, "a").task("sweep", seconds=0.15)
    second = leases(redis_engine, "b").task("sweep", seconds=30)
    assert await first.hold()
    async with asyncio.timeout(30):
        while not await second.hold():
            await asyncio.sleep(0.02)

    assert first.is_held is False
    assert await first.hold() is False
    await first.free()
    assert await second.hold() is True


async def test_the_token_names_its_holder(redis_engine: RedisEngine) -> None:
    """So that an operator sees who sends."""
    lease: Lease = leases(redis_engine, "host-1").sender(BOT, seconds=30)
    await lease.hold()

    assert await redis_engine.redis.get(redis_engine.keys.sender(BOT)) == lease.token.encode()
    assert lease.token.startswith("host-1:")


@pytest.mark.parametrize("bot", ["wxid_bot", "机器人"])
async def test_the_bell_is_heard_by_who_listens_and_kept_for_who_comes_later(
    redis_engine: RedisEngine, bot: str
) -> None:
    """Whichever of the accounts it is for; silence ends after the time given."""
    bell = OutboxBell(redis_engine.client(), namespace=redis_engine.keys.namespace)
    ear = OutboxBell(redis_engine.client(), namespace=redis_engine.keys.namespace)
    bots = [WcId("wxid_other"), WcId(bot)]
    listening = asyncio.create_task(ear.listen(bots, seconds=1))
    await asyncio.sleep(0.05)
    await bell.ring(WcId(bot))

    assert await listening == bot
    await bell.ring(WcId(bot))
    assert await ear.listen(bots, seconds=1) == bot
    assert await ear.listen(bots, seconds=0.05) is None


async def test_a_bell_that_nobody_hears_does_not_grow_for_ever(redis_engine: RedisEngine) -> None:
    """An account without a sender costs some bytes, not more."""
    bell = OutboxBell(redis_engine.client(), namespace=redis_engine.keys.namespace)
    for _ in range(200):
        await bell.ring(BOT)

    assert await redis_engine.redis.llen(redis_engine.keys.outbox(BOT)) <= 64
    assert 0 < await redis_engine.redis.ttl(redis_engine.keys.outbox(BOT)) <= 60


async def test_a_sender_of_this_process_hears_its_bell_without_redis(
    redis_engine: RedisEngine,
) -> None:
    """Another account's, and its own once it has ended, rings in Redis."""
    heard: list[str] = []
    bell = OutboxBell(redis_engine.client(), namespace=redis_engine.keys.namespace)
    with bell.heard_here(BOT, lambda: heard.append("near")):
        await bell.ring(BOT)
        assert await bell.listen([BOT], seconds=0.1) is None
        await bell.ring(WcId("wxid_other"))
        assert await bell.listen([BOT, WcId("wxid_other")], seconds=1) == "wxid_other"
    await bell.ring(BOT)

    assert await bell.listen([BOT], seconds=1) == BOT
    assert heard == ["near"]


async def test_a_lease_confirmed_lately_is_not_asked_for_again(redis_engine: RedisEngine) -> None:
    """Within the bound what Redis said is good; behind it a wiped one has given it to another."""
    first = leases(redis_engine, "a").sender(BOT, seconds=30)
    second = leases(redis_engine, "b").sender(BOT, seconds=30)
    assert await first.confirm(within=10)
    await redis_engine.redis.delete(redis_engine.keys.sender(BOT))
    assert await second.hold()

    assert await first.confirm(within=10)
    assert not await first.confirm(within=0)
    assert not await first.confirm(within=10)
