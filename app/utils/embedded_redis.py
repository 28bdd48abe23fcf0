"""A Redis inside the process, for trying out and for small installations; nothing is kept on disk."""

import asyncio
import ipaddress
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from fakeredis import FakeAsyncRedis, FakeAsyncRedisConnection, FakeServer
from redis.asyncio import Redis
from redis.exceptions import ExecAbortError, NoScriptError, RedisError, ResponseError

from app.utils.redis_client import EMBEDDED_SCHEME

READ_SIZE: Final = 65_536
#: The engine parses replies into these and drops the word that says which one it is.
ERROR_WORDS: Final[dict[type[Exception], str]] = {
    NoScriptError: "NOSCRIPT",
    ExecAbortError: "EXECABORT",
}


def parse_embedded_url(url: str) -> tuple[str, int] | None:
    """
    Host and port to listen on, or None for ``embedded://`` alone.

    Raises:
        ValueError: something else than loopback (nobody logs in here), or no port.
    """
    parts = urlsplit(url)
    if parts.scheme != EMBEDDED_SCHEME or parts.path.strip("/") or parts.query or parts.username:
        raise ValueError(
            f"REDIS_URL {url!r}：内嵌模式只能写 embedded:// 或 embedded://127.0.0.1:端口"
        )
    if not parts.netloc:
        return None
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise ValueError(
            f"REDIS_URL {url!r}：内嵌模式没有密码，只能监听本机地址（如 127.0.0.1），不能用 {host!r}"
        )
    if parts.port is None:
        raise ValueError(f"REDIS_URL {url!r}：缺少端口，例如 embedded://127.0.0.1:6380")
    return host, parts.port


class EmbeddedRedis:
    """
    One in-memory server; its clients share it, and redis-cli may look at it through a port.

    The port is served by the event loop of this process: no thread, nothing left after ``close``.

    Args:
        url: ``embedded://`` or ``embedded://127.0.0.1:6380``; port 0 takes a free one.

    Raises:
        ValueError: the URL is another one, or would listen beyond this machine.
    """

    def __init__(self, url: str = "embedded://") -> None:
        self._address = parse_embedded_url(url)
        self._server = FakeServer(version=(7,))
        self._listener: asyncio.Server | None = None
        self._visitors: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def client(self) -> Redis:
        """A bytes client on this server; close it as any other."""
        client: Redis = FakeAsyncRedis(server=self._server, decode_responses=False, protocol=2)
        return client

    @property
    def port(self) -> int | None:
        """The port redis-cli can use, while it is open."""
        return self._listener.sockets[0].getsockname()[1] if self._listener else None

    async def open(self) -> None:
        """
        Listen, if the URL says so.

        Raises:
            OSError: the port is taken.
        """
        if self._address:
            self._listener = await asyncio.start_server(self._welcome, *self._address)

    async def close(self) -> None:
        """Send the visitors away and free the port."""
        if self._listener is None:
            return
        self._listener.close()
        for visitor in self._visitors:
            visitor.cancel()
        await asyncio.gather(*self._visitors, return_exceptions=True)
        await self._listener.wait_closed()
        self._listener = None

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one visitor; the task is kept so that ``close`` can end it."""
        task = asyncio.current_task()
        if task is None:
            return
        self._visitors.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            # Only ``close`` cancels, and asyncio would report a cancelled visitor as an error.
            pass
        finally:
            self._visitors.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes in and replies out, side by side: replies may come without a request."""
        connection = FakeAsyncRedisConnection(server=self._server, protocol=2)
        await connection.connect()  # type: ignore[no-untyped-call]
        await connection.send_command("CLIENT", "ID")
        client_id = await connection.read_response()
        replies = asyncio.ensure_future(self._send_replies(connection, writer))
        try:
            while data := await reader.read(READ_SIZE):
                await connection.send_packed_command(data, check_health=False)
        except (OSError, RedisError):
            pass  # The visitor is gone, or sends what is no Redis protocol: it is sent away.
        finally:
            # First of all: what follows may be cancelled by ``close``.
            writer.close()
            replies.cancel()
            await asyncio.gather(replies, return_exceptions=True)
            await self._unblock(client_id)
            await connection.disconnect()

    @staticmethod
    async def _send_replies(
        connection: FakeAsyncRedisConnection, writer: asyncio.StreamWriter
    ) -> None:
        """Write what the server answers until cancelled."""
        while True:
            try:
                reply = await connection.read_response(disable_decoding=True)
            except ResponseError as error:
                reply = error
            writer.write(encode_reply(reply))
            await writer.drain()

    async def _unblock(self, client_id: int) -> None:
        """End the visitor's blocking command, which the engine would wait for until its end."""
        admin = self.client()
        await admin.client_unblock(client_id)
        await admin.aclose(close_connection_pool=True)


def encode_reply(reply: Any) -> bytes:  # noqa: PLR0911 - one line per type of the protocol
    """
    A reply in Redis' wire format.

    Maps, sets, doubles and booleans come only to a visitor who asked for protocol 3.

    Source: Redis serialization protocol specification.
    """
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, bool):
        return b"#t\r\n" if reply else b"#f\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, float):
        return b",%s\r\n" % repr(reply).encode()
    if isinstance(reply, Exception):
        return b"-%s\r\n" % error_line(reply).encode()
    if isinstance(reply, dict):
        parts = [part for pair in reply.items() for part in pair]
        return b"%%%d\r\n%s" % (len(reply), b"".join(map(encode_reply, parts)))
    if isinstance(reply, list | tuple):
        return b"*%d\r\n%s" % (len(reply), b"".join(map(encode_reply, reply)))
    if isinstance(reply, set | frozenset):
        return b"~%d\r\n%s" % (len(reply), b"".join(map(encode_reply, reply)))
    data = reply if isinstance(reply, bytes) else str(reply).encode()
    return b"$%d\r\n%s\r\n" % (len(data), data)


def error_line(error: Exception) -> str:
    """The text of an error reply; it begins with a word in capitals that says what went wrong."""
    text = " ".join(str(error).split())
    word = ERROR_WORDS.get(type(error))
    if word is None:
        first = text.partition(" ")[0]
        return text if first.isupper() and first.isalpha() else f"ERR {text}"
    return f"{word} {text}"
