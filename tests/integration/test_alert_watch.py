"""What is looked at for the alerts, in a running bridge on both engines: what is known, and what is not."""

import asyncio
from pathlib import Path

import pytest
from redis import Redis as SyncRedis

from app.models.account import AccountState
from app.models.flow import WcId
from app.services.alerts.conditions import Topic
from app.services.errors import QueueUnavailable, StoreUnavailable
from app.services.findings import Look, broken
from app.services.queue.breakers import NOBODY_THERE, dify_peer
from app.services.standing import Sign
from app.workers.alert_desks import make_desks
from app.workers.alert_keeper import AlertDesk
from app.workers.alert_watch import HostWatch, OwnWatch, Seen, SharedWatch
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Stores
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

NOW = 2e9


@pytest.fixture(autouse=True)
def registered(gateway: EcloudSimulator) -> None:
    """The gateway has an address that is ours; nobody listens there."""
    gateway.callback_url = "http://127.0.0.1:9/api/v1/callback"


def watches(bridge: Inside) -> tuple[SharedWatch, HostWatch, OwnWatch]:
    """As the process has them."""
    shared, host, own = (_watch_of(desk) for desk in make_desks(bridge.runtime))
    assert isinstance(shared, SharedWatch)
    assert isinstance(host, HostWatch)
    assert isinstance(own, OwnWatch)
    return shared, host, own


def _watch_of(desk: AlertDesk) -> object:
    return desk._watch


def keys(seen: Seen) -> set[str]:
    """What was found."""
    return {one.key for one in seen.conditions}


async def test_a_bridge_that_is_well_has_nothing_to_tell_and_knows_it(inside: StartInside) -> None:
    """All topics of all three looks can be read."""
    async with inside() as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.until_settled(1)
        async with asyncio.timeout(20):
            while not bridge.runtime.gateway_inspection.knows_all:
                await asyncio.sleep(0.05)
        seen = [await one.look(None, bridge.runtime.clock.time()) for one in watches(bridge)]

    assert [one.conditions for one in seen] == [[], [], []]
    assert frozenset[Topic]().union(*(one.known for one in seen)) == frozenset(Topic)


async def test_everything_that_is_wrong_is_seen_by_its_key(inside: StartInside) -> None:
    """An account, a breaker, a dead letter, a message that waits long: out of the real stores."""
    async with inside() as bridge:
        runtime = bridge.runtime
        await bridge.hear("一 [[fail=400:app_unavailable]]")
        await bridge.until_rows("SELECT 1 FROM messages WHERE state = 'dead'")
        bot = runtime.accounts.standing()[0].wc_id
        runtime.accounts.notice(bot, Sign.NOT_LISTED)
        for _ in range(3):
            await runtime.breakers.failed(
                dify_peer("default"), WcId("u"), "dify_unavailable", NOBODY_THERE
            )
        shared, host, _ = watches(bridge)
        now = runtime.clock.time()
        seen = await shared.look(None, now)
        later = await shared.look(seen.tallies, now + 3601)
        disk = await HostWatch(host=host.host, folder=host.folder, least_free=10**8).look(None, now)

    key = "dead_letters:dify_rejected"
    assert {f"account:{bot}", "breaker:dify:default", key} <= keys(seen)
    assert keys(seen) - keys(later) == {key}
    assert keys(disk) == {f"disk:{runtime.host}:{host.folder.absolute()}"}
    states = {one.wc_id: one.state for one in runtime.accounts.standing()}
    assert states[bot] is AccountState.OFFLINE


@INSIDE_EMBEDDED
async def test_while_the_database_is_away_that_is_told_and_nothing_else_is_guessed(
    inside: StartInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead letters and waiting messages are not known; their tallies stay."""
    async with inside() as bridge:
        await bridge.hear("一 [[fail=400:app_unavailable]]")
        await bridge.until_rows("SELECT 1 FROM messages WHERE state = 'dead'")
        shared, *_ = watches(bridge)
        before = await shared.look(None, NOW)

        async def away() -> None:
            raise StoreUnavailable("database: mysql://user:password@host is away")

        monkeypatch.setattr(shared.store, "probe", away)
        seen = await shared.look(before.tallies, NOW)

    assert keys(seen) == {"database"}
    assert not {Topic.WAITING, Topic.DEAD_LETTERS} & seen.known
    assert seen.tallies == before.tallies
    assert "password" not in seen.conditions[0].text


@INSIDE_EMBEDDED
async def test_a_process_tells_by_itself_that_it_has_no_redis_or_takes_no_callbacks(
    inside: StartInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away, answering but refusing writes, and neither database nor disk."""
    async with inside() as bridge:
        _, _, own = watches(bridge)

        async def away() -> None:
            raise QueueUnavailable("Redis: redis://:password@host is away")

        monkeypatch.setattr(own.queue, "ping", away)
        without = await own.look(None, NOW)
        monkeypatch.undo()
        full = Look(findings=(broken("redis_refuses_writes", "Redis 拒绝写入(OOM)"),))
        refused = await OwnWatch(
            queue=bridge.runtime.queue, redis_look=lambda: full, inbox=own.inbox
        ).look(None, NOW)

    assert keys(without) == {"redis"}
    assert "password" not in without.conditions[0].text
    assert keys(refused) == {"redis"}
    assert "OOM" in refused.conditions[0].text


@INSIDE_EMBEDDED
async def test_a_disk_that_does_not_tell_is_not_known(inside: StartInside) -> None:
    """It is neither full nor empty."""
    async with inside() as bridge:
        _, host, _ = watches(bridge)
        odd = HostWatch(host=host.host, folder=Path("/dev/null/x"), least_free=1)
        seen = await odd.look(None, NOW)

    assert (seen.conditions, seen.known) in (((), frozenset()), ([], frozenset({Topic.DISK})))


@pytest.mark.redis
@pytest.mark.mysql
@pytest.mark.parametrize("inside_stores", ["servers"], indirect=True)
async def test_a_redis_that_is_nearly_full_is_told_through_it(
    inside: StartInside, inside_stores: Stores
) -> None:
    """By the words of the inspection."""
    assert inside_stores.redis is not None
    with SyncRedis(port=inside_stores.redis.port) as client:
        async with inside() as bridge:
            used = int(client.info()["used_memory"])
            client.config_set("maxmemory", str(round(used * 1.05)))
            try:
                await bridge.runtime.inspection.look()
                seen = await watches(bridge)[0].look(None, NOW)
            finally:
                client.config_set("maxmemory", "0")

    assert "check:redis:redis_nearly_full" in keys(seen)
