"""The limit that all processes share, on both engines: shares, leaving, a wipe, and what a hand may do."""

import asyncio
from typing import Any

import pytest

from app.models.limit import Grant, LimitNews
from app.services.errors import QueueUnavailable
from app.services.queue import limits
from app.services.queue.limits import Limits
from tests.contracts.queue_steps import Hands
from tests.fixtures.redis import RedisEngine

APP = "support"


class Process:
    """One that always wants more than it has."""

    def __init__(self, engine: RedisEngine, name: str, start: float = 8) -> None:
        self.limits = Limits(engine.client(), process=name, namespace=engine.keys.namespace)
        self.last = Grant(share=int(start), limit=start, generation=0, pace=0)

    async def tell(
        self,
        *,
        in_use: int = 0,
        waiting: int = 20,
        successes: int = 0,
        trouble: str = "",
        full: tuple[float, ...] = (),
        is_leaving: bool = False,
    ) -> Grant:
        """Exchange once."""
        news = LimitNews(
            share=self.last.share,
            in_use=in_use,
            waiting=waiting,
            wanted=in_use + waiting,
            generation=self.last.generation,
            pace=self.last.pace,
            successes=successes,
            trouble=trouble,
            full=full,
        )
        self.last = await self.limits.exchange(
            APP, news, start=self.last.limit, maximum=10, is_leaving=is_leaving
        )
        return self.last


@pytest.fixture
def pair(redis_engine: RedisEngine) -> tuple[Process, Process]:
    """Two processes on the same Redis."""
    return Process(redis_engine, "one"), Process(redis_engine, "two")


async def settle(engine: RedisEngine) -> None:
    """As if the limit had been there for long."""
    await engine.redis.hset(engine.keys.limit(APP), "born", "0")


async def test_two_processes_share_one_limit_and_never_have_more_together(
    pair: tuple[Process, Process], redis_engine: RedisEngine
) -> None:
    """The first lends half of it with its next exchange; what is in use stays where it is."""
    one, two = pair
    assert (await one.tell()).share == 8
    assert (await two.tell()).share == 0
    await settle(redis_engine)
    assert (await one.tell(in_use=6)).share == 4
    assert (await two.tell()).share == 2
    assert (await one.tell(in_use=3)).share == 4
    assert (await two.tell()).share == 4


async def test_trouble_halves_for_all_and_is_named(pair: tuple[Process, Process]) -> None:
    """Who tells of it is told that it lowered the limit; the same moment's news of the other is old."""
    one, two = pair
    await one.tell()
    await two.tell()
    cut = await one.tell(trouble="dify_overloaded")
    late = await two.tell(trouble="dify_overloaded")

    assert (cut.limit, cut.lowered_by) == (4.0, "dify_overloaded")
    assert (late.limit, late.lowered_by, late.generation) == (4.0, "", cut.generation)
    look = await two.limits.look(APP)
    assert (look.limit, look.processes, look.cause) == (4.0, 2, "dify_overloaded")
    assert look.lowered_at > 1_500_000_000


async def test_trouble_at_one_place_lowers_nothing(pair: tuple[Process, Process]) -> None:
    """And is told as nothing; what was in flight then is old news all the same."""
    one, _ = pair
    for _ in range(3):
        await one.tell(trouble="dify_overloaded")
    told = await one.tell(trouble="dify_unavailable")

    assert (told.limit, told.lowered_by, told.generation) == (1.0, "", 4)
    assert (await one.limits.look(APP)).cause == "dify_overloaded"


async def test_successes_raise_it_to_the_maximum(pair: tuple[Process, Process]) -> None:
    """As many as it allows are one more."""
    one, _ = pair
    assert (await one.tell(successes=9)).limit == pytest.approx(9.06, abs=0.05)
    assert (await one.tell(successes=99)).limit == 10.0


async def test_late_first_bytes_lower_it_and_the_time_of_late_is_told(
    pair: tuple[Process, Process],
) -> None:
    """A first one in good time, then a window of late ones, and one more under unchanged load."""
    one, _ = pair
    await one.tell(full=(0.5,))
    told = await one.tell(full=(9.0, 9.0, 9.0, 9.0))
    assert (told.limit, told.lowered_by) == (8.0, "")
    cut = await one.tell(full=(9.0, 9.0, 9.0, 9.0, 9.0))

    assert (cut.lowered_by, round(cut.limit, 1)) == ("slow", 4.8)
    assert cut.late == 1.0


async def test_a_process_that_leaves_frees_its_share_at_once(
    pair: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fell silent has left after a while, too."""
    one, two = pair
    await one.tell()
    await one.limits.leave(APP)
    assert (await two.tell()).share == 8

    with monkeypatch.context() as patch:
        patch.setattr(limits, "GONE_SECONDS", 0.01)
        await asyncio.sleep(0.02)
        assert (await one.tell()).share == 8
    assert (await one.limits.look(APP)).processes == 1


async def test_one_that_is_leaving_keeps_what_it_uses_and_no_more(
    pair: tuple[Process, Process],
) -> None:
    """It finishes what it has."""
    one, two = pair
    await one.tell(in_use=3)
    assert (await one.tell(in_use=3, waiting=0, is_leaving=True)).share == 3
    assert (await two.tell()).share == 5


async def test_after_a_wipe_the_limit_is_the_one_that_was_found(
    pair: tuple[Process, Process], redis_engine: RedisEngine
) -> None:
    """And nobody gets what another had a moment ago."""
    one, two = pair
    await one.tell()
    await two.tell()
    await settle(redis_engine)
    await one.tell(trouble="dify_overloaded")
    await two.tell()
    await one.tell()
    assert one.last.share + two.last.share == 4
    before = two.last.share
    await redis_engine.redis.delete(redis_engine.keys.limit(APP))
    told = await two.tell()

    assert (told.limit, told.generation) == (4.0, one.last.generation)
    assert told.share <= before


@pytest.mark.parametrize("kind", ["string", "set"])
async def test_a_key_of_another_type_is_replaced(
    pair: tuple[Process, Process], redis_engine: RedisEngine, kind: str
) -> None:
    """Somebody's hand put it there; a look shows nothing."""
    one, two = pair
    hands = Hands(redis_engine)
    await hands.spoil(redis_engine.keys.limit(APP), kind)
    assert (await two.limits.look(APP)).limit is None

    assert (await one.tell()).share == 8
    assert (await two.limits.look(APP)).limit == 8.0
    await hands.spoil(redis_engine.keys.limit(APP), kind)
    await one.limits.leave(APP)
    assert (await two.tell()).share == 8


async def test_odd_fields_are_no_processes_and_no_limit(
    pair: tuple[Process, Process], redis_engine: RedisEngine
) -> None:
    """Whatever stands in the hash."""
    one, _ = pair
    odd: dict[Any, Any] = {
        "limit": "nan",
        "of:x": "y",
        "of:z": "1 2 3",
        "generation": "",
        "window": "a b",
        "": "1",
    }
    await redis_engine.redis.hset(redis_engine.keys.limit(APP), mapping=odd)
    assert (await one.tell(full=(1.0,))).share == 8

    look = await one.limits.look(APP)
    assert (look.limit, look.processes, look.waiting) == (8.0, 1, 20)


async def test_the_key_goes_by_itself(
    pair: tuple[Process, Process], redis_engine: RedisEngine
) -> None:
    """A day after the last process told of it."""
    await pair[0].tell()

    assert 86_000_000 < await redis_engine.redis.pttl(redis_engine.keys.limit(APP)) <= 86_400_000


@pytest.mark.redis
async def test_redis_away_is_told_as_such(redis_server: object) -> None:
    """The caller goes on with what it has."""
    from app.utils.redis_client import close_redis, make_redis

    redis_server.kill()  # type: ignore[attr-defined]
    redis = make_redis(redis_server.url)  # type: ignore[attr-defined]
    news = LimitNews(share=1, in_use=0, waiting=0, wanted=0, generation=0)
    with pytest.raises(QueueUnavailable):
        await Limits(redis, process="x").exchange(APP, news, start=1, maximum=1)
    await close_redis(redis)
