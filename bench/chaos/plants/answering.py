"""Defects of the answer loop."""

from dataclasses import replace
from typing import Any

from bench.chaos.plants.kit import exchange, planted


@planted("ack-before-plan", "a message leaves the queue before its answer is saved")
def ack_before_plan() -> None:
    """The next message of the user begins at once; a kill leaves this one to nobody."""
    from app.workers.worker import Worker

    def make(answer: Any) -> Any:
        async def ack_and_answer(self: Any, claim: Any, turn: Any) -> None:
            await self._queue.ack(claim)
            await answer(self, claim, turn)

        return ack_and_answer

    exchange(Worker, "_answer", make)


@planted("no-heartbeat", "leases are never renewed")
def no_heartbeat() -> None:
    """Whoever takes longer than a lease is taken over while he still works."""
    from app.services.queue.redis_queue import RedisQueue

    async def heartbeat(self: Any, claims: Any) -> list[Any]:
        return []

    exchange(RedisQueue, "heartbeat", lambda _: heartbeat)


@planted("no-fence", "a worker that was taken over goes on, and what it has to say is written")
def no_fence() -> None:
    """
    A worker that stood still for longer than its lease plans its answer behind the other one's.

    It is not told that its leases are lost, either: mostly that stops it in time.
    """
    from app.models.message import MESSAGES
    from app.services import outbox, outbox_table
    from app.services.queue.redis_queue import RedisQueue

    async def take_row(connection: Any, turn: Any, columns: dict[str, Any]) -> None:
        this_row = MESSAGES.update().where(MESSAGES.c.id == turn.message_id)
        await connection.execute(this_row.values(**columns))

    def make_insert(insert: Any) -> Any:
        async def insert_behind(connection: Any, turn: Any, segments: Any) -> None:
            start = await outbox_table.next_seq(connection, turn.message_id)
            moved = [replace(one, seq=start + number) for number, one in enumerate(segments)]
            await insert(connection, turn, moved)

        return insert_behind

    def make_deaf(heartbeat: Any) -> Any:
        async def renew(self: Any, claims: Any) -> list[Any]:
            await heartbeat(self, claims)
            return []

        return renew

    exchange(RedisQueue, "heartbeat", make_deaf)

    async def lock_row(connection: Any, turn: Any) -> Any:
        this_row = MESSAGES.select().where(MESSAGES.c.id == turn.message_id).with_for_update()
        return (await connection.execute(this_row)).one()

    exchange(outbox, "take_row", lambda _: take_row)
    exchange(outbox, "lock_row", lambda _: lock_row)
    exchange(outbox, "insert_segments", make_insert)


@planted("bury-at-once", "the first failure of Dify is the last")
def bury_at_once() -> None:
    """No second try, and no question of whose fault it was."""
    from app.workers import peer_watch, retry

    def decide(self: Any, error: Exception, **_: Any) -> Any:
        return retry.Bury("planted")

    async def failed(self: Any, admission: Any, error: Exception, *, last_try: int) -> str:
        return ""

    exchange(retry.RetryPolicy, "decide", lambda _: decide)
    exchange(peer_watch.PeerWatch, "failed", lambda _: failed)


@planted("one-desk", "every app may use all places of the process")
def one_desk() -> None:
    """Whoever waits for the slow one keeps a place that the others need."""
    from app.workers.desks import Desks

    exchange(Desks, "_free_at", lambda _: lambda self, desk: 1)
    exchange(
        Desks,
        "_places_of",
        lambda _: lambda self, desk: self._concurrency,
    )
