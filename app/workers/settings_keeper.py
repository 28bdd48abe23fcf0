"""Keeps a process in step with what is changed in the console, as far as it may change while it runs."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from loguru import logger

from app.kept_settings import KeptCopy
from app.runtime import Runtime, group_defaults
from app.services.ecloud.pacing import Why
from app.services.errors import QueueUnavailable, StoreUnavailable
from app.services.live_settings import waits_for_restart
from app.services.stages import utc_now
from app.utils.loops import stopped_within
from app.workers.live_pace import make_pace
from app.workers.parking import let_all_go
from config import Settings, SettingsError

LOOK_SECONDS: Final = 2.0


class SettingsKeeper:
    """Looks at the table again and again; while the database is away everything stays as it is."""

    def __init__(self, runtime: Runtime, copy: KeptCopy) -> None:
        """
        Args:
            copy: for a start while the database is away.
        """
        self._runtime = runtime
        self._copy = copy
        self._known: Mapping[str, Any] = dict(runtime.loaded.console)
        #: What this process would be started with now; None: it would not start.
        self._wanted: Settings | None = runtime.settings
        self._has_told = False
        self._is_copied = False
        #: Accounts may still be held for hours that are quiet no more.
        self._owes_release = False

    async def run(self, stop: asyncio.Event) -> None:
        """Look until stopped."""
        while not await stopped_within(stop, LOOK_SECONDS):
            for step in (self.look, self.tell):
                try:
                    await step()
                except (StoreUnavailable, QueueUnavailable) as error:
                    logger.debug("settings.later", error=error)
        with suppress(QueueUnavailable):
            await self._runtime.restarts.hide()

    async def look(self) -> None:
        """
        Take over what has changed.

        Raises:
            StoreUnavailable: the table could not be read.
            QueueUnavailable: all is taken over, but accounts are still held; next time.
        """
        stored = await self._runtime.overrides.read()
        if stored != self._known:
            self._known = stored
            self._take(stored)
            self._is_copied = False
        if not self._is_copied:
            await asyncio.to_thread(self._copy.write, stored)
            self._is_copied = True
        if self._owes_release:
            await self._release()

    async def tell(self) -> None:
        """
        Tell the operator what waits for a restart of this process.

        Raises:
            QueueUnavailable: it is told later.
        """
        runtime = self._runtime
        waiting = waits_for_restart(runtime.live.now, self._wanted or runtime.settings)
        if waiting:
            await runtime.restarts.show(waiting, now=runtime.clock.time())
        elif self._has_told:
            await runtime.restarts.hide()
        self._has_told = bool(waiting)

    def _take(self, stored: Mapping[str, Any]) -> None:
        runtime = self._runtime
        try:
            wanted = runtime.loaded.outside.settled(stored).settings
        except SettingsError as error:
            # Fine for the process that took it, not with this one's environment or files.
            logger.error("settings.not_taken 后台的改动与这个进程的设置不合", reason=error)
            self._wanted = None
            return
        self._wanted = wanted
        changed = runtime.live.take(wanted)
        if not changed:
            return
        logger.info("settings.changed", names="、".join(sorted(changed)))
        runtime.groups.use_defaults(group_defaults(runtime.live.now))
        self._owes_release |= "ecloud.quiet_hours" in changed

    async def _release(self) -> None:
        """Let accounts go that were to rest until the end of hours that are quiet no more."""
        runtime = self._runtime
        if not make_pace(runtime.live.now).plan.quiet_left(utc_now()):
            for one in await runtime.breakers.states():
                if one.code == Why.QUIET and await runtime.breakers.ok(one.peer):
                    await let_all_go(runtime.queue, one.peer)
        self._owes_release = False
