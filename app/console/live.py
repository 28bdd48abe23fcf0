"""The few figures that every page shows and every tab listens to: read once for all of them."""

import asyncio
import time
from typing import Final

from app.services.figures import Figures, read_figures
from app.services.store import Store

#: So long a look is good for everybody.
KEEP_SECONDS: Final = 1.5


class LiveFigures:
    """Counts out of SQL, however many tabs are open."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looking = asyncio.Lock()
        self._kept: tuple[float, Figures] | None = None

    async def look(self) -> Figures:
        """
        The figures of this moment.

        Raises:
            StoreUnavailable: the database is away.
        """
        async with self._looking:
            now = time.monotonic()
            if self._kept is not None and now - self._kept[0] < KEEP_SECONDS:
                return self._kept[1]
            found = await read_figures(self._store)
            self._kept = (time.monotonic(), found)
            return found
