"""What all processes know of an account's pace: what it sent lately, how slow it is, what it does now."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from app.models.flow import WcId
from app.services.ecloud.pacing import WINDOW, Send
from app.services.ecloud.slowdown import Slowdown
from app.services.queue.keys import Keys
from app.services.queue.scripts import from_wire, translated

#: Most sends that are remembered of an account; more than any bound of a minute.
REMEMBERED = 10_000
#: So long the last send is remembered after the minute, for the gap behind it.
MARGIN_SECONDS = 60.0
#: What a sender said of itself holds so long; it says it again sooner.
SHOWN_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class NotedSend:
    """A send as Redis has it; *send.at* is in seconds since 1970."""

    segment_id: int
    #: When the call began: with the segment it names the call.
    began: float
    send: Send

    @property
    def member(self) -> str:
        """What stands in the set."""
        began = round(self.began * 1000)
        return f"{self.segment_id}|{began}|{self.send.kind}|{self.send.group}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SenderView:
    """What the sender of an account says of itself."""

    #: A ``Why``, ``sending`` or ``idle``.
    state: str
    #: Seconds since 1970 when that is over; 0: nobody knows.
    until: float = 0.0
    #: Segments it knows of that are owed.
    owed: int = 0
    #: So many times slower than the settings say.
    slowed: float = 1.0
    #: Which process.
    holder: str = ""


class Paces:
    """
    Of all accounts, on one Redis.

    Every method raises ``QueueUnavailable``; what is missing here SQL knows, only less exactly.
    """

    def __init__(self, redis: Redis, *, namespace: str = "") -> None:
        self._redis = redis
        self._keys = Keys(namespace=namespace)

    async def note(self, bot: WcId, sends: Sequence[NotedSend]) -> None:
        """Remember these sends; one that is known already gets another time."""
        key = self._keys.pace(bot)
        async with translated(self._redis):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zadd(key, {one.member: one.send.at for one in sends})
            pipeline.zremrangebyscore(key, "-inf", sends[-1].send.at - WINDOW - MARGIN_SECONDS)
            pipeline.zremrangebyrank(key, 0, -REMEMBERED - 1)
            pipeline.expire(key, round(WINDOW + MARGIN_SECONDS))
            await pipeline.execute()

    async def recent(self, bot: WcId) -> list[NotedSend]:
        """What is remembered, oldest first."""
        async with translated(self._redis):
            found: list[Any] = await self._redis.zrange(
                self._keys.pace(bot), 0, -1, withscores=True
            )
        sends = (_noted(from_wire(member), float(score)) for member, score in found)
        return [one for one in sends if one is not None]

    async def keep_slowdown(self, bot: WcId, slowdown: Slowdown) -> None:
        """Remember how slow the account is, until it has recovered."""
        seconds = max(1, round(slowdown.over_at() - time.time()))
        async with translated(self._redis):
            value = f"{slowdown.level}:{slowdown.since!r}"
            await self._redis.set(self._keys.slowdown(bot), value, ex=seconds)

    async def slowdown(self, bot: WcId) -> Slowdown:
        """How slow the account is."""
        async with translated(self._redis):
            found = await self._redis.get(self._keys.slowdown(bot))
        try:
            level, _, since = from_wire(found or b"0:0").partition(":")
            return Slowdown(int(level), float(since))
        except ValueError:
            # Written by hand.
            return Slowdown()

    async def show(self, bot: WcId, view: SenderView) -> None:
        """What the account's sender does now."""
        value = json.dumps([view.state, view.until, view.owed, view.slowed, view.holder])
        async with translated(self._redis):
            await self._redis.set(self._keys.sending(bot), value, px=round(SHOWN_SECONDS * 1000))

    async def hide(self, bot: WcId) -> None:
        """It has no sender any more."""
        async with translated(self._redis):
            await self._redis.delete(self._keys.sending(bot))

    async def shown(self, bots: Sequence[WcId]) -> dict[WcId, SenderView]:
        """What their senders say; accounts without one are left out."""
        if not bots:
            return {}
        async with translated(self._redis):
            found = await self._redis.mget([self._keys.sending(bot) for bot in bots])
        views = ((bot, _view(value)) for bot, value in zip(bots, found, strict=True))
        return {bot: view for bot, view in views if view is not None}


def merged_sends(noted: Sequence[NotedSend], saved: Sequence[NotedSend]) -> list[Send]:
    """
    What Redis and SQL know together, each call once (pure).

    SQL knows only the last call of a segment, and when it was marked: a moment before Redis was told.
    """
    latest: dict[int, float] = {}
    for one in noted:
        latest[one.segment_id] = max(latest.get(one.segment_id, 0.0), one.send.at)
    missing = [one for one in saved if latest.get(one.segment_id, float("-inf")) < one.send.at]
    return [one.send for one in (*noted, *missing)]


def _noted(member: str, at: float) -> NotedSend | None:
    segment_id, _, rest = member.partition("|")
    began, _, rest = rest.partition("|")
    kind, is_whole, group = rest.partition("|")
    if not is_whole or not segment_id.isdecimal() or not began.isdecimal():
        return None
    send = Send(at, group, kind)
    return NotedSend(segment_id=int(segment_id), began=int(began) / 1000, send=send)


def _view(value: Any) -> SenderView | None:
    if value is None:
        return None
    try:
        state, until, owed, slowed, holder = json.loads(from_wire(value))
        return SenderView(
            state=str(state),
            until=float(until),
            owed=int(owed),
            slowed=float(slowed),
            holder=str(holder),
        )
    except (ValueError, TypeError):
        return None
