"""
Replays that operators have started: each goes on by itself, says how far it is, and can be cancelled.

Where it is stands in Redis, too: the next look may come to another replica.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from loguru import logger
from redis.asyncio import Redis

from app.models.flow import MessageId, WcId
from app.services.audit import Audit, Deed
from app.services.dead_letters import Choice, DeadLetters
from app.services.errors import QueueUnavailable, StoreUnavailable
from app.services.letters import Letter, Refusal, ReplayOptions, Resumption, Way, decide_replay
from app.services.queue.keys import Keys
from app.services.queue.scripts import translated
from app.services.replay import Replay
from app.services.store import Store

TELL_SECONDS: Final = 0.5
KEPT_SECONDS: Final = 3600
MOST_KEPT: Final = 50


class JobState(StrEnum):
    """Where a replay stands."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    #: The database was away for too long, or the process stops; the rest was not touched.
    BROKEN = "broken"


@dataclass(slots=True)
class Estimate:
    """What would become of the chosen."""

    ids: list[MessageId] = field(default_factory=list)
    users: set[WcId] = field(default_factory=set)
    asks: int = 0
    refused: Counter[Refusal] = field(default_factory=Counter)

    @property
    def sends(self) -> int:
        """How many are only sent on."""
        return len(self.ids) - self.asks

    def take(self, letters: Sequence[Letter], options: ReplayOptions) -> None:
        """Decide on some more."""
        for letter in letters:
            decision = decide_replay(letter, options)
            if isinstance(decision, Refusal):
                self.refused[decision] += 1
                continue
            self.ids.append(letter.id)
            self.users.add(letter.user)
            self.asks += decision.way is Way.ASK


@dataclass(kw_only=True, slots=True)
class Job:
    """One replay."""

    id: str
    total: int
    done: int = 0
    refused: int = 0
    state: JobState = JobState.RUNNING

    @property
    def seen(self) -> int:
        """How many are over, one way or the other."""
        return self.done + self.refused


class ReplayDesk:
    """Starts replays and knows of them."""

    def __init__(self, store: Store, redis: Redis, audit: Audit, stopping: asyncio.Event) -> None:
        self._store = store
        self._redis = redis
        self._audit = audit
        self._stopping = stopping
        self._keys = Keys()
        self._jobs: dict[str, Job] = {}
        self._cancelled: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def estimate(self, choice: Choice | Sequence[int], options: ReplayOptions) -> Estimate:
        """
        What would become of the chosen.

        Raises:
            StoreUnavailable: the database is away.
        """
        letters, found = DeadLetters(self._store), Estimate()
        if not isinstance(choice, Choice):
            found.take(await letters.named(choice), options)
            return found
        async for page in letters.pages(choice):
            found.take(page, options)
        return found

    async def start(self, estimate: Estimate, options: ReplayOptions, *, by: Deed) -> Job:
        """
        Begin; the audit says so first.

        Raises:
            StoreUnavailable: the database is away, nothing was begun.
        """
        await self._audit.note(by)
        job = Job(id=secrets.token_hex(8), total=len(estimate.ids))
        while len(self._jobs) >= MOST_KEPT:
            self._jobs.pop(next(iter(self._jobs)))
        self._jobs[job.id] = job
        await self._tell(job)
        task = asyncio.create_task(self._run(job, estimate.ids, options), name="replay")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def find(self, job_id: str) -> Job | None:
        """A replay, whichever replica does it; None: there is none, or it was long ago."""
        if job_id in self._jobs:
            return self._jobs[job_id]
        try:
            async with translated(self._redis):
                found: Mapping[Any, Any] = await self._redis.hgetall(self._keys.replay(job_id))
        except QueueUnavailable:
            return None
        if b"state" not in found:
            return None
        return Job(
            id=job_id,
            total=int(found[b"total"]),
            done=int(found[b"done"]),
            refused=int(found[b"refused"]),
            state=JobState(found[b"state"].decode()),
        )

    async def cancel(self, job_id: str) -> None:
        """Let it end behind the message that it has in hand; what was replayed stays so."""
        self._cancelled.add(job_id)
        if job_id not in self._jobs:
            async with translated(self._redis):
                if await self._redis.exists(self._keys.replay(job_id)):
                    await self._redis.hset(self._keys.replay(job_id), "cancel", "1")

    async def _run(self, job: Job, ids: Sequence[MessageId], options: ReplayOptions) -> None:
        told = time.monotonic()
        try:
            async for _, decision in Replay(self._store, options).run(ids):
                if isinstance(decision, Resumption):
                    job.done += 1
                else:
                    job.refused += 1
                if time.monotonic() - told >= TELL_SECONDS:
                    told = time.monotonic()
                    await self._tell(job)
                if job.id in self._cancelled and job.seen < job.total:
                    job.state = JobState.CANCELLED
                    break
                if self._stopping.is_set():
                    job.state = JobState.BROKEN
                    break
            else:
                job.state = JobState.DONE
        except StoreUnavailable as error:
            logger.warning("console.replay_broken", error=error, done=job.done, total=job.total)
            job.state = JobState.BROKEN
        self._cancelled.discard(job.id)
        await self._tell(job)
        logger.info("console.replayed", state=job.state, done=job.done, total=job.total)

    async def _tell(self, job: Job) -> None:
        """Write down how far it is, and hear whether somebody cancelled it elsewhere."""
        key = self._keys.replay(job.id)
        values: dict[Any, Any] = {
            "total": job.total,
            "done": job.done,
            "refused": job.refused,
            "state": job.state.value,
        }
        try:
            async with translated(self._redis):
                pipeline = self._redis.pipeline(transaction=False)
                pipeline.hset(key, mapping=values)
                pipeline.expire(key, KEPT_SECONDS)
                pipeline.hget(key, "cancel")
                *_, is_cancelled = await pipeline.execute()
        except QueueUnavailable:
            # It goes on; only other replicas do not hear of it.
            return
        if is_cancelled:
            self._cancelled.add(job.id)
