"""Where a ledger of alerts lies between two looks, and who may write it."""

from typing import Protocol

from loguru import logger

from app.services.alerts.ledger import Ledger, from_json, to_json
from app.services.queue.leases import Lease
from app.services.queue.notebook import Notebook


class Shelf(Protocol):
    """
    Gives a ledger to one process at a time.

    Every method may raise ``QueueUnavailable``.
    """

    async def take(self) -> Ledger | None:
        """The ledger; None: it is somebody else's to look after."""
        ...

    async def put(self, ledger: Ledger) -> None:
        """Keep it."""
        ...

    async def leave(self) -> None:
        """Let somebody else look after it."""
        ...


class SharedShelf:
    """In Redis, for whoever has the lease."""

    def __init__(self, lease: Lease, notebook: Notebook) -> None:
        self._lease = lease
        self._notebook = notebook
        self._written = b""

    async def take(self) -> Ledger | None:
        """See ``Shelf``."""
        if not await self._lease.hold():
            return None
        self._written = await self._notebook.read()
        ledger = from_json(self._written) if self._written else Ledger()
        if ledger is None:
            logger.warning("alert.ledger_unreadable 重新开始,可能重复告警一次")
            return Ledger()
        return ledger

    async def put(self, ledger: Ledger) -> None:
        """See ``Shelf``; one that lost the lease meanwhile leaves it as it is."""
        page = to_json(ledger)
        if page != self._written and await self._lease.hold():
            await self._notebook.write(page)
            self._written = page

    async def leave(self) -> None:
        """See ``Shelf``."""
        await self._lease.free()


class OwnShelf:
    """In memory, for what is told while Redis is away."""

    def __init__(self) -> None:
        self._ledger = Ledger()

    async def take(self) -> Ledger:
        """See ``Shelf``."""
        return self._ledger

    async def put(self, ledger: Ledger) -> None:
        """See ``Shelf``."""
        self._ledger = ledger

    async def leave(self) -> None:
        """See ``Shelf``."""
