"""Breakers that all processes share: a peer that does not answer is left alone, but for one probe."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from loguru import logger
from redis.asyncio import Redis

from app.models.flow import WcId
from app.services.queue.keys import Keys
from app.services.queue.redis_queue import milliseconds
from app.services.queue.scripts import ScriptRunner, from_wire

#: What opens a breaker: three failures of the kind "nobody there", or eight of any kind.
OPENS_AT: Final = 24
NOBODY_THERE: Final = 8
NO_ANSWER: Final = 3
#: Tells a probe's failure; never opens.
NO_WEIGHT: Final = 0
FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 30.0
#: A probe that ended without a verdict is not followed by the next one at once.
NEXT_PROBE: Final = 1.0
#: A user who was let go as the probe has asked by then.
INVITATION: Final = 2.0
#: Failures without a success behind them, and such successes, are remembered so long.
REMEMBERED: Final = 86_400

#: What may be told to anybody of a peer.
DIFY: Final = "dify"
#: Places of an app: no peer that can be down, but one that users are parked for.
LIMIT: Final = "limit"
#: What an operator has paused: likewise no peer, and no breaker.
PAUSE: Final = "pause"
PEER_KINDS: Final = (DIFY, "account")


def dify_peer(app: str) -> str:
    """A Dify app as a peer."""
    return f"{DIFY}:{app}"


def limit_peer(app: str) -> str:
    """The places of a Dify app: whoever finds them taken is parked for this."""
    return f"{LIMIT}:{app}"


def account_peer(bot: WcId) -> str:
    """One of our WeChat accounts as a peer."""
    return f"account:{bot}"


def pause_peer(kind: str, subject: str = "") -> str:
    """What an operator has paused, as what its users are parked for."""
    return f"{PAUSE}:{kind}:{subject}" if subject else f"{PAUSE}:{kind}"


def kind_of(peer: str) -> str:
    """One of ``PEER_KINDS``, ``LIMIT`` or ``PAUSE``."""
    return peer.partition(":")[0]


class BreakerState(StrEnum):
    """What somebody who wants to ask a peer is told."""

    CLOSED = "closed"
    OPEN = "open"
    #: Open, and the asking user is the one who tries it.
    PROBE = "probe"


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakerLook:
    """One peer at the moment somebody wanted to ask it."""

    peer: str
    state: BreakerState
    #: A success has something to clear.
    has_failures: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenBreaker:
    """A breaker that is open."""

    peer: str
    #: Seconds since 1970, by the clock of Redis.
    opened_at: float
    code: str
    #: Seconds until the next probe.
    pause_left: float


class Breakers:
    """
    Opens, probes and closes; every step is one script, with the clock of Redis.

    Every method raises ``QueueUnavailable`` when Redis cannot be reached in time. A wiped Redis
    has all of them closed.

    Args:
        probe_seconds: so long a probe may be without a sign of life.
    """

    def __init__(self, redis: Redis, *, probe_seconds: float, namespace: str = "") -> None:
        keys = Keys(namespace=namespace)
        self._scripts = ScriptRunner(redis, keys)
        self._own = [keys.breakers]
        self._probe_ms = milliseconds(probe_seconds)

    async def look(self, peers: Sequence[str], user: WcId) -> list[BreakerLook]:
        """
        May *user* ask these peers? Who is told ``PROBE`` is the only one and has to tell the end:
        ``ok``, ``failed`` or ``end_probe``.
        """
        replies = await self._run("look", user, self._probe_ms, *peers)
        looks = [
            BreakerLook(
                peer=peer, state=BreakerState(from_wire(word)), has_failures=bool(has_failures)
            )
            for peer, (word, has_failures) in zip(peers, replies, strict=True)
        ]
        if all(one.state is not BreakerState.OPEN for one in looks):
            for one in looks:
                if one.state is BreakerState.PROBE:
                    logger.info("breaker.probe 试问一次", peer=one.peer)
        return looks

    async def failed(
        self, peer: str, user: WcId, code: str, weight: int, *, last_try: int = 0
    ) -> bool:
        """
        *peer* gave *user* no answer; whether its breaker is open now.

        Args:
            weight: ``NOBODY_THERE``, ``NO_ANSWER`` or ``NO_WEIGHT``; a success sets the sum back.
            last_try: failed tries of a message that would be given up now: it opens if nobody had a
                success since the first of them, or if Redis has lost what it knew of that. 0: the
                message is not given up.
        """
        first, longest = milliseconds(FIRST_PAUSE), milliseconds(LONGEST_PAUSE)
        is_open, is_new, pause = await self._run(
            "failed", peer, user, code, weight, OPENS_AT, last_try, first, longest, REMEMBERED
        )
        if is_new:
            logger.warning("breaker.opened 暂停提问", peer=peer, code=code, pause=pause / 1000)
        return bool(is_open)

    async def open_for(self, peer: str, seconds: float, code: str) -> bool:
        """Leave *peer* alone for *seconds* from now, then let a probe try; whether it was closed."""
        is_new = bool(await self._run("open", peer, code, milliseconds(seconds)))
        if is_new:
            logger.warning("breaker.opened 暂停提问", peer=peer, code=code, pause=seconds)
        return is_new

    async def ok(self, peer: str, *, closes: bool = True) -> bool:
        """
        *peer* is well; whether its breaker had been open. Whoever closes it lets the parked go on.

        Args:
            closes: False for a success that began before it opened: it says nothing about now.
        """
        was_open = await self._run("ok", peer, int(closes), REMEMBERED)
        if was_open >= 0:
            logger.info("breaker.closed 恢复提问", peer=peer, seconds=was_open / 1000)
        return bool(was_open >= 0)

    async def keep_probe(self, peer: str, user: WcId) -> bool:
        """A sign of life; False: somebody else is the probe by now, or it is closed."""
        return bool(await self._run("probe", peer, user, self._probe_ms, 0))

    async def end_probe(self, peer: str, user: WcId) -> None:
        """The probe ended and told nothing about the peer; soon the next one may try."""
        await self._run("probe", peer, user, 0, milliseconds(NEXT_PROBE))

    async def invite(self, peer: str) -> bool:
        """Whether a parked user may be let go to be the probe: one at a time."""
        return bool(await self._run("invite", peer, milliseconds(INVITATION)))

    async def states(self) -> list[OpenBreaker]:
        """The open ones."""
        return [
            OpenBreaker(
                peer=from_wire(peer),
                opened_at=float(opened) / 1000,
                code=from_wire(code),
                pause_left=float(left) / 1000,
            )
            for peer, opened, code, left in await self._run("states")
        ]

    async def _run(self, name: str, *argv: str | int) -> Any:
        return await self._scripts.run(f"breaker_{name}", *argv, own_keys=self._own)
