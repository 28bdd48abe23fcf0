"""The queue as an operator looks at it: who waits, for whom, in whose hands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from app.models.flow import MessageId, WcId
from app.services.queue.keys import Keys
from app.services.queue.protocol import QueueFigures
from app.services.queue.scripts import ScriptRunner, from_wire, to_wire, translated
from app.utils.batches import batches
from app.utils.ids import parse_id

PAGE: Final = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseView:
    """Who works on the head of a user's list."""

    token: str
    #: Name of the process: host, process id and a random part.
    worker: str
    #: Seconds left without a renewal.
    seconds_left: float


@dataclass(frozen=True, kw_only=True, slots=True)
class UserQueue:
    """The waiting messages of one person."""

    user: WcId
    depth: int
    #: The first elements of the list as they stand there; normally message ids.
    elements: tuple[str, ...]
    lease: LeaseView | None
    #: The peer that has to be well before the user goes on; None: not parked.
    parked_for: str | None
    #: Seconds until the head may be tried again; 0: it may now. None: in work, parked or not in line.
    due_in: float | None
    #: Failed tries and crashes of the head.
    attempts: int
    crashes: int

    @property
    def in_hand(self) -> MessageId | None:
        """The message that a worker has under its lease."""
        held = None if self.lease is None else parse_id(self.lease.token.rpartition(":")[2])
        return None if held is None else MessageId(held)


class QueueOverview:
    """
    Reads the queue's keys; changes nothing but a lease that it is told to take back.

    Every method raises ``QueueUnavailable`` when Redis cannot be reached in time.
    """

    def __init__(self, redis: Redis, *, namespace: str = "") -> None:
        self._redis = redis
        self._keys = Keys(namespace=namespace)
        self._scripts = ScriptRunner(redis, self._keys)

    async def users(self) -> list[UserQueue]:
        """Everybody with a list, each with its first element; in no order."""
        prefix = self._keys.queue_prefix
        names: set[str] = set()
        async with translated(self._redis):
            async for key in self._redis.scan_iter(match=f"{_literal(prefix)}*", count=PAGE):
                names.add(from_wire(key)[len(prefix) :])
        users = sorted(names)
        found: list[UserQueue] = []
        for start in range(0, len(users), PAGE):
            found += await self._read(users[start : start + PAGE], elements=1)
        return [one for one in found if one.depth]

    async def in_line(self, *, most: int) -> list[UserQueue]:
        """
        Those who are in some line, each with its first element: looked up by the lines alone.

        Args:
            most: of each line, those whose turn comes first.
        """
        peers = list(await read_parked(self._scripts))
        lines = (self._keys.ready, self._keys.suspects, self._keys.leases)
        async with translated(self._redis):
            pipeline = self._redis.pipeline(transaction=False)
            for line in (*lines, *map(self._keys.parked, peers)):
                pipeline.zrange(to_wire(line), 0, most - 1)
            found = await pipeline.execute()
        users = sorted({from_wire(user) for line in found for user in line})
        queues: list[UserQueue] = []
        for some in batches(users, PAGE):
            queues += await self._read(some, elements=1)
        return [one for one in queues if one.depth]

    async def free(self, user: WcId, token: str) -> bool:
        """Take a lease back that nobody will end; the user's turn comes at once. False: it is another one."""
        return bool(await self._scripts.run("retry", user, token, 0, "0"))

    async def user(self, user: WcId, *, elements: int) -> UserQueue | None:
        """One person's queue with its first elements; None: nothing waits."""
        [found] = await self._read([user], elements=elements)
        return found if found.depth else None

    async def _read(self, users: Sequence[str], *, elements: int) -> list[UserQueue]:
        peers = list(await read_parked(self._scripts))
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        for name in users:
            user = WcId(name)
            queue, lease = to_wire(self._keys.queue(user)), to_wire(self._keys.processing(user))
            field = to_wire(user)
            pipeline.llen(queue)
            pipeline.lrange(queue, 0, elements - 1)
            pipeline.get(lease)
            pipeline.pttl(lease)
            pipeline.zscore(self._keys.ready, field)
            pipeline.zscore(self._keys.suspects, field)
            pipeline.hget(self._keys.attempts, field)
            pipeline.hget(self._keys.crashes, field)
            for peer in peers:
                pipeline.zscore(to_wire(self._keys.parked(peer)), field)
        async with translated(self._redis):
            (seconds, micros), *answers = await pipeline.execute()
        now_ms = seconds * 1000 + micros / 1000
        return [
            _user_queue(WcId(name), some, peers, now_ms)
            for name, some in zip(users, batches(answers, 8 + len(peers)), strict=True)
        ]


async def read_figures(redis: Redis, scripts: ScriptRunner, keys: Keys) -> QueueFigures:
    """See ``MessageQueue.figures``."""
    async with translated(redis):
        pipeline = redis.pipeline(transaction=False)
        pipeline.get(keys.waiting)
        for users in (keys.ready, keys.suspects, keys.leases):
            pipeline.zcard(users)
        waiting, ready, suspects, leased = await pipeline.execute()
    return QueueFigures(
        waiting=int(waiting or 0),
        ready_users=ready + suspects,
        leased_users=leased,
        parked_users=sum((await read_parked(scripts)).values()),
    )


async def read_parked(scripts: ScriptRunner) -> dict[str, int]:
    """See ``MessageQueue.parked_peers``."""
    reply = await scripts.run("parked")
    return {from_wire(peer): int(users) for peer, users in batches(reply, 2)}


def _user_queue(
    user: WcId, answers: Sequence[Any], peers: Sequence[str], now_ms: float
) -> UserQueue:
    depth, elements, token, left, ready, suspect, attempts, crashes, *parked = answers
    waits_for = [peer for peer, since in zip(peers, parked, strict=True) if since is not None]
    due = ready if ready is not None else suspect
    return UserQueue(
        user=user,
        depth=depth,
        elements=tuple(from_wire(element) for element in elements),
        lease=None if token is None else _lease(from_wire(token), left),
        parked_for=waits_for[0] if waits_for else None,
        due_in=None if due is None else max(0.0, (due - now_ms) / 1000),
        attempts=int(attempts or 0),
        crashes=int(crashes or 0),
    )


def _lease(token: str, left_ms: int) -> LeaseView:
    """A lease out of its ``<fence>:<worker>:<message id>``."""
    _, _, rest = token.partition(":")
    worker, _, _ = rest.rpartition(":")
    return LeaseView(token=token, worker=worker, seconds_left=max(0, left_ms) / 1000)


def _literal(prefix: str) -> str:
    """A prefix as a pattern that matches itself only."""
    return "".join(f"\\{char}" if char in "*?[]\\^" else char for char in prefix)
