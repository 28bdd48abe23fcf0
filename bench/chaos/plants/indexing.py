"""Defects of the index: the queue in Redis and its keeper."""

from typing import Any

from bench.chaos.plants.kit import exchange, planted, rewrite_script


@planted("no-sweep", "what is missing in Redis is never put back")
def no_sweep() -> None:
    """Messages taken in while Redis was away are in SQL and nowhere else."""
    from app.workers.index_keeper import IndexKeeper

    async def upkeep(self: Any) -> None:
        return None

    exchange(IndexKeeper, "_upkeep", lambda _: upkeep)


@planted("no-rebuild", "an empty Redis is taken for a complete index")
def no_rebuild() -> None:
    """The epoch is set without putting anything in; rows of older epochs are left alone, too."""
    from app.workers import index_keeper

    async def nothing(self: Any, condition: Any) -> Any:
        rows: list[Any]
        for rows in ():
            yield rows

    exchange(index_keeper.IndexKeeper, "_pages", lambda _: nothing)


@planted("no-epoch", "another server with an older index is taken for the same one")
def no_epoch() -> None:
    """The replication id is not looked at, and the slow pass does not compare lists with SQL's rows."""
    from app.services.queue.redis_queue import RedisQueue
    from app.workers import index_keeper

    async def same(self: Any) -> str:
        return ""

    async def nothing(self: Any, waits: Any) -> None:
        return None

    exchange(RedisQueue, "_replication_id", lambda _: same)
    exchange(index_keeper.IndexKeeper, "_put_in_lost", lambda _: nothing)


@planted("lifo-queue", "the newest message of a user is first, and nobody looks at SQL's order")
def lifo_queue() -> None:
    """Without the second part the worker would find the disorder and mend it."""
    from app.services import turns

    rewrite_script("enqueue", "redis.call('RPUSH', list, id)", "redis.call('LPUSH', list, id)")
    rewrite_script("ack", "read('LINDEX', list, 0) ~= ARGV[5]", "false")
    rewrite_script("ack", "redis.call('LPOP', list)", "redis.call('LREM', list, 1, ARGV[5])")
    _trust_redis(turns)


@planted("retry-forgets-order", "a message that is to be tried again goes behind the later ones")
def retry_forgets_order() -> None:
    """And nobody looks at SQL's order."""
    from app.services import turns

    old = "local now = now_ms()\nmake_due(user"
    new = "redis.call('RPUSH', list, redis.call('LPOP', list))\n" + old
    rewrite_script("retry", old, new)
    _trust_redis(turns)


def _trust_redis(turns: Any) -> None:
    """The claimed message is opened though an older one waits."""
    look = turns._look(turns._CLAIMED.subquery("wanted"))  # noqa: SLF001
    exchange(turns, "_LOOK", lambda _: look)


@planted("unfair", "whoever has just been served is first in line again")
def unfair() -> None:
    """One user with many messages holds up all others."""
    rewrite_script("ack", "make_due(user, now, now)", "make_due(user, 0, now)")


@planted("no-crash-limit", "crashes of the head are never counted as its own")
def no_crash_limit() -> None:
    """A poisonous message is tried for ever."""
    rewrite_script("claim", "redis.call('HINCRBY', SOLE_CRASHES, user, 1)", "local _ = 0")
