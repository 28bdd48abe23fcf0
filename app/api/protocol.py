"""
HTTP connections with bounds: how large a head may be, and how long a request may take to arrive.

Whoever is silent, slow or endless holds a file handle, and enough of them keep the gateway out.
"""

import asyncio
from typing import Any

from loguru import logger
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes of request line and headers.
MAX_HEAD = 64 * 1024
#: Seconds from the connection, or from a request's first byte, to the end of its head.
HEAD_SECONDS = 10.0
#: Seconds from there to the end of its body; routes that read bodies have shorter bounds.
BODY_SECONDS = 30.0
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools, which has no bounds of its own."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._is_in_head = True
        #: Whether a request began in the chunk at hand.
        self._has_begun = False
        #: Bytes of the head, those of the chunk it began in left out.
        self._head = 0

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._allow(HEAD_SECONDS)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        self._has_begun = False
        super().data_received(data)
        # A head that ends is measured by its headers; here those that never do.
        if self._is_in_head and not self._has_begun:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse_head()

    @override
    def on_message_begin(self) -> None:
        self._is_in_head = self._has_begun = True
        self._head = 0
        self._allow(HEAD_SECONDS)
        super().on_message_begin()

    @override
    def on_headers_complete(self) -> None:
        if self.transport.is_closing():
            return
        self._is_in_head = False
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD:
            self._refuse_head()
            return
        self._allow(BODY_SECONDS)
        super().on_headers_complete()

    @override
    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            super().on_message_complete()

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            logger.warning("http.head_too_large")
            self.transport.write(TOO_LARGE)
            self.transport.close()

    def _allow(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        logger.info("http.too_slow")
        self.transport.abort()
