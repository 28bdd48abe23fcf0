"""The console as the process mounts it: its pages and templates are loaded with the first visit."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from app.runtime import Runtime
from app.services.health import HealthReport
from config import Outside

PREFIX = "/console"
AddressOf = Callable[[str | None, Sequence[str]], str]


def peer_address(peer: str | None, _forwarded_for: Sequence[str]) -> str:
    """The socket's address, whatever anybody says (pure)."""
    return peer or ""


class ConsoleEntry:
    """An ASGI application that builds the real one when somebody comes."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        read_outside: Callable[[], Outside],
        report: HealthReport,
        stopping: asyncio.Event,
        address_of: AddressOf = peer_address,
    ) -> None:
        """
        Args:
            address_of: where a request came from, out of its socket's address and the values of
                ``X-Forwarded-For``.
            read_outside: the sources of the settings as the next start would read them.
            report: what the health route shows, shared with it: looking must not become a load.
            stopping: set when the process is to stop: event streams end then.
        """
        self._runtime = runtime
        self._read_outside = read_outside
        self._report = report
        self._stopping = stopping
        self._address_of = address_of
        self._site: ASGIApp | None = None
        self._building = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        await (await self._built())(scope, receive, send)

    async def _built(self) -> ASGIApp:
        async with self._building:
            if self._site is None:
                # Callbacks go on meanwhile.
                self._site = await asyncio.to_thread(self._build)
        return self._site

    def _build(self) -> ASGIApp:
        from app.console.menu import words_of_pages  # noqa: PLC0415 - loads templates
        from app.console.parts import Parts  # noqa: PLC0415 - loads templates
        from app.console.site import make_site  # noqa: PLC0415 - loads templates

        parts = Parts.make(
            self._runtime,
            read_outside=self._read_outside,
            report=self._report,
            stopping=self._stopping,
            address_of=self._address_of,
            words=words_of_pages(),
        )
        return make_site(parts)


def mounts(entry: ConsoleEntry) -> Mapping[str, ASGIApp]:
    """Where it sits."""
    return {PREFIX: entry}
