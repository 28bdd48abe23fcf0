"""Short calls to Dify that ask no model: one JSON object in, within seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from app.services.dify.responses import decipher
from app.services.dify.transport import Transport
from app.services.errors import DifyRejected
from app.utils.clock import Clock

#: Whole time of one call, in seconds, unless it is told another.
SIDE_CALL_TIMEOUT = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SideReply:
    """The JSON object of a successful call, and the release that answered; empty: it does not say."""

    body: dict[str, Any]
    release: str


class SideCalls:
    """Makes them, over the transport of one app."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | aiohttp.FormData | None = None,
        has_conversation: bool = False,
        seconds: float | None = None,
        refusals: Mapping[int, type[DifyRejected]] | None = None,
    ) -> SideReply:
        """
        One call.

        Args:
            has_conversation: it names a conversation, so that a 404 may be about that.
            seconds: for the whole call; None: ``SIDE_CALL_TIMEOUT``.
            refusals: what a refusal with an HTTP status means to this call.

        Raises:
            DifyError: the subclass says who is at fault.
        """
        whole = SIDE_CALL_TIMEOUT if seconds is None else seconds
        ends_at = self._clock.monotonic() + whole
        response = await self._transport.open(method, path, body=body, seconds=whole)
        try:
            reply = await self._transport.read(response, seconds=ends_at - self._clock.monotonic())
            release = response.headers.get("X-Version", "")
        finally:
            response.close()
        try:
            found = decipher(reply, has_conversation=has_conversation, now=self._clock.time())
        except DifyRejected as error:
            meaning = (refusals or {}).get(reply.status)
            if meaning is None:
                raise
            about = f"Dify 应答 {reply.status}"
            raise meaning(about, words=str(error), peer_code=error.peer_code) from error
        return SideReply(body=found, release=release)
