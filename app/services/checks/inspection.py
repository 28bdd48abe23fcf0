"""Looks at servers when a process starts and while it runs, and remembers what it found."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from loguru import logger

from app.services.errors import ServiceError
from app.services.findings import Effect, Finding, Look
from app.utils.loops import stopped_within

#: A server that does not answer by then is looked at later.
LOOK_SECONDS: Final = 3.0
#: A failover may lead to a server that is set up otherwise.
EVERY_SECONDS: Final = 30.0
#: While one is away or does not work: it may be back at any moment.
SOON_SECONDS: Final = 3.0

LookAt = Callable[[], Awaitable[Look]]


class Inspection:
    """
    What the last look at each server found. One that is away keeps what was found before.

    Every finding is logged once when it appears and once when it is gone.

    Args:
        parts: how to look at each server, by its name in the health report.
        every: seconds between two looks when all is well.
        soon: the same while one is away or does not work.
    """

    def __init__(
        self,
        parts: Mapping[str, LookAt],
        *,
        every: float = EVERY_SECONDS,
        soon: float = SOON_SECONDS,
    ) -> None:
        self._parts = parts
        self._every = every
        self._soon = soon
        self._looks: dict[str, Look] = dict.fromkeys(parts, Look())
        self._away: set[str] = set()
        self._known: set[str] = set()

    @property
    def looks(self) -> Mapping[str, Look]:
        """What was found last, by the server's name."""
        return self._looks

    @property
    def knows_all(self) -> bool:
        """Whether each of them could be looked at once."""
        return self._known == self._parts.keys()

    def last(self, name: str) -> Look:
        """What was found last; nothing for a server that nobody has looked at yet."""
        return self._looks.get(name, Look())

    async def look(self) -> tuple[Finding, ...]:
        """Look at all of them, side by side; returns what must not be started with. Never raises."""
        await asyncio.gather(*(self._look_at(name, look) for name, look in self._parts.items()))
        return tuple(one for look in self._looks.values() for one in look.refusals)

    async def run(self, stop: asyncio.Event) -> None:
        """Look again and again until stopped; the first look was at the start."""
        while not await stopped_within(stop, self._soon if self._is_urgent() else self._every):
            await self.look()

    def _is_urgent(self) -> bool:
        found = (one for look in self._looks.values() for one in look.findings)
        return bool(self._away) or any(one.effect is Effect.BROKEN for one in found)

    async def _look_at(self, name: str, look_at: LookAt) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                look = await look_at()
        except (ServiceError, TimeoutError) as error:
            # Health and whoever uses it say so; here it only comes sooner.
            self._away.add(name)
            logger.debug("check.later", server=name, error=error)
        except Exception as error:  # noqa: BLE001 - an odd answer of a server must not keep the bridge from working
            self._away.discard(name)
            logger.opt(exception=error).error("check.failed", server=name)
        else:
            self._away.discard(name)
            self._keep(name, look)

    def _keep(self, name: str, look: Look) -> None:
        old, self._looks[name] = self._looks[name], look
        self._known.add(name)
        if look.identity != old.identity:
            logger.info("check.server", server=name, **look.identity)
        known = {one.code for one in old.findings}
        for one in look.findings:
            if one.code not in known:
                level = "ERROR" if one.refuses or one.effect is Effect.BROKEN else "WARNING"
                logger.log(level, "check.found", server=name, code=one.code, text=one.text)
        for code in known - {one.code for one in look.findings}:
            logger.info("check.cleared", server=name, code=code)
