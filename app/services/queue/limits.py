"""The limits of the Dify apps that all processes share: each tells its news, and is lent a share."""

from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis

from app.models.limit import Grant, LimitLook, LimitNews
from app.services.queue.keys import Keys
from app.services.queue.redis_queue import milliseconds
from app.services.queue.scripts import ScriptRunner, Wire, from_wire

#: A process that was not heard for so long has left.
GONE_SECONDS: Final = 5.0


def news_argv(
    news: LimitNews, *, process: str, start: float, maximum: int, is_leaving: bool
) -> list[Wire]:
    """The arguments of ``limit_exchange.lua`` (pure)."""
    pressed = 2 if news.is_doubtful else 1
    samples = [milliseconds(seconds) for seconds in (*news.calm, *news.full)]
    return [
        process,
        milliseconds(GONE_SECONDS),
        f"{start:.3f}",
        maximum,
        news.share,
        news.generation,
        news.successes,
        news.trouble,
        pressed if news.is_pressed else 0,
        news.in_use,
        news.waiting,
        news.wanted,
        int(is_leaving),
        news.pace,
        len(news.calm),
        *samples,
    ]


def grant_of(reply: Sequence[Any]) -> Grant:
    """The reply of ``limit_exchange.lua`` (pure)."""
    share, limit, generation, pace, late, lowered_by = reply
    return Grant(
        share=int(share),
        limit=float(limit),
        generation=int(generation),
        pace=int(pace),
        late=int(late) / 1000,
        lowered_by=from_wire(lowered_by),
    )


class Limits:
    """
    Tells for one process, and looks for all.

    Every method raises ``QueueUnavailable`` when Redis cannot be reached in time. A wiped Redis
    begins again from what the processes remember.
    """

    def __init__(self, redis: Redis, *, process: str, namespace: str = "") -> None:
        self._keys = Keys(namespace=namespace)
        self._scripts = ScriptRunner(redis, self._keys)
        self._process = process

    async def exchange(
        self, app: str, news: LimitNews, *, start: float, maximum: int, is_leaving: bool = False
    ) -> Grant:
        """
        Tell what was seen of *app*, and hear what this process may have.

        Args:
            start: the limit if Redis knows none: what this process remembers, or the settings' own.
            is_leaving: it takes nothing new.
        """
        argv = news_argv(
            news, process=self._process, start=start, maximum=maximum, is_leaving=is_leaving
        )
        own = [self._keys.limit(app)]
        reply = await self._scripts.run("limit_exchange", *argv, own_keys=own)
        return grant_of(reply)

    async def leave(self, app: str) -> None:
        """What this process had is free for the others."""
        await self._scripts.run("limit_leave", self._process, own_keys=[self._keys.limit(app)])

    async def look(self, app: str) -> LimitLook:
        """What holds now."""
        limit, processes, in_use, waiting, cause, lowered = await self._scripts.run(
            "limit_look", milliseconds(GONE_SECONDS), own_keys=[self._keys.limit(app)]
        )
        return LimitLook(
            limit=float(limit) if limit else None,
            processes=int(processes),
            in_use=int(in_use),
            waiting=int(waiting),
            cause=from_wire(cause),
            lowered_at=float(lowered) / 1000,
        )
