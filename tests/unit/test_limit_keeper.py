"""The loop that keeps a process' shares in step: when it tells, and what it does when it cannot."""

import asyncio
from typing import Any

import pytest

from app.models.limit import Grant, LimitNews
from app.services.dify.gate import Gate
from app.services.dify.limit import Places
from app.services.errors import DifyOverloaded, QueueUnavailable
from app.services.metrics import Metrics
from app.utils.clock import SystemClock
from app.workers import limit_keeper
from app.workers.desks import Desk, Desks
from app.workers.limit_keeper import LimitKeeper


class Limits:
    """Grants what it is told to; remembers what it heard."""

    def __init__(self) -> None:
        self.grant = Grant(share=3, limit=7.0, generation=0, pace=0)
        self.heard: list[tuple[LimitNews, bool]] = []
        self.left: list[str] = []
        self.is_away = False
        self.told = asyncio.Event()

    async def exchange(self, app: str, news: LimitNews, *, is_leaving: bool, **_: Any) -> Grant:
        """As Redis does."""
        assert app == "default"
        self.heard.append((news, is_leaving))
        self.told.set()
        if self.is_away:
            raise QueueUnavailable("away")
        return self.grant

    async def leave(self, app: str) -> None:
        """The last that is heard."""
        if self.is_away:
            raise QueueUnavailable("away")
        self.left.append(app)


class Stage:
    """One desk and its keeper."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.gate = Gate(Places(8, maximum=64, clock=SystemClock()))
        self.desk = Desk("default", gate=self.gate, replies=None, hearing=None)  # type: ignore[arg-type]
        self.desks = Desks([self.desk], queue=None, concurrency=64)  # type: ignore[arg-type]
        self.metrics = Metrics(version="0")
        self.keeper = LimitKeeper(desks=self.desks, limits=self.limits, metrics=self.metrics)  # type: ignore[arg-type]
        self.stop, self.ended = asyncio.Event(), asyncio.Event()

    async def until_told(self) -> None:
        """The next exchange."""
        self.limits.told.clear()
        async with asyncio.timeout(10):
            await self.limits.told.wait()

    async def fail(self) -> None:
        """Dify says that it was too much."""
        with pytest.raises(DifyOverloaded):
            async with self.gate.slot():
                raise DifyOverloaded("429")


async def test_a_grant_is_what_may_be_asked_and_makes_room() -> None:
    """A worker that waits for a place looks again; a cut is counted by its cause."""
    stage = Stage()
    stage.limits.grant = Grant(
        share=3, limit=7.0, generation=1, pace=1, lowered_by="dify_overloaded"
    )
    await stage.keeper.exchange(stage.desk)

    assert (stage.gate.slots, stage.gate.limit, stage.desks.room(0)) == (3, 7.0, 3)
    assert stage.desks.has_room.is_set()
    labels = {"app": "default", "cause": "dify_overloaded"}
    value = stage.metrics.registry.get_sample_value("bridge_dify_limit_cuts_total", labels)
    assert value == 1


async def test_while_redis_is_away_it_goes_on_with_what_it_has_and_halves_by_itself() -> None:
    """The trouble is told when Redis is back."""
    stage = Stage()
    stage.limits.is_away = True
    await stage.keeper.exchange(stage.desk)
    assert stage.gate.slots == 8
    await stage.fail()
    await stage.keeper.exchange(stage.desk)
    await stage.fail()
    await stage.keeper.exchange(stage.desk)
    assert stage.gate.slots == 2

    stage.limits.is_away = False
    await stage.keeper.exchange(stage.desk)
    assert stage.limits.heard[-1][0].trouble == "dify_overloaded"
    assert stage.gate.slots == 3


async def test_trouble_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a second later."""
    monkeypatch.setattr(limit_keeper, "EXCHANGE_SECONDS", 600.0)
    stage = Stage()
    running = asyncio.create_task(stage.keeper.run(stage.stop, stage.ended))
    async with asyncio.timeout(10):
        await stage.keeper.has_begun.wait()
    await stage.fail()
    await stage.until_told()
    assert stage.limits.heard[-1][0].trouble == "dify_overloaded"

    stage.stop.set()
    stage.ended.set()
    await running


async def test_it_leaves_when_what_was_in_work_is_finished() -> None:
    """Until then it asks for nothing new; without Redis it ends all the same."""
    stage = Stage()
    running = asyncio.create_task(stage.keeper.run(stage.stop, stage.ended))
    stage.stop.set()
    await stage.until_told()
    await stage.until_told()
    assert (stage.limits.heard[-1][1], stage.limits.left) == (True, [])
    stage.ended.set()
    await running
    assert stage.limits.left == ["default"]

    away = Stage()
    away.limits.is_away = True
    away.stop.set()
    away.ended.set()
    await away.keeper.run(away.stop, away.ended)
    assert away.limits.left == []
