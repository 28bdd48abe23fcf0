"""Signs of spilled callbacks: seen by all processes, and gone with whoever gave them."""

import pytest

from app.services.queue import spill_signs
from app.services.queue.spill_signs import SpillSigns
from tests.fixtures.redis import RedisEngine


@pytest.fixture
def signs(redis_engine: RedisEngine) -> list[SpillSigns]:
    """As two processes have them, on both engines."""
    namespace = redis_engine.keys.namespace
    return [
        SpillSigns(redis_engine.client(), holder=holder, namespace=namespace)
        for holder in ("here", "there")
    ]


async def test_a_sign_is_seen_by_all_until_it_is_taken_back(signs: list[SpillSigns]) -> None:
    """Each takes back only its own."""
    here, there = signs
    assert not await there.anybody()
    await here.give()
    await there.give()
    await here.take_back()

    assert await here.anybody()
    await there.take_back()
    assert not await here.anybody()


async def test_the_sign_of_a_dead_process_ends_by_itself(
    signs: list[SpillSigns], redis_engine: RedisEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of others stay; nothing is left behind in Redis for ever."""
    here, there = signs
    monkeypatch.setattr(spill_signs, "SIGN_SECONDS", 0.001)
    await here.give()
    while await there.anybody():
        pass
    monkeypatch.setattr(spill_signs, "SIGN_SECONDS", 60.0)
    await there.give()

    assert await here.anybody()
    assert 0 < await redis_engine.redis.pttl(redis_engine.keys.spilling) <= 60_000


async def test_a_key_of_another_type_is_no_sign_and_does_not_stay(
    signs: list[SpillSigns], redis_engine: RedisEngine
) -> None:
    """Somebody's hand put it there."""
    await redis_engine.redis.set(redis_engine.keys.spilling, "x")
    assert not await signs[0].anybody()
    await signs[0].give()

    assert await signs[1].anybody()
