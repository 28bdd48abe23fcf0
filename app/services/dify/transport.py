"""One HTTP exchange with Dify over aiohttp: its exceptions and headers end in this file."""

import asyncio
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from app.services.dify.responses import Reply, clean
from app.services.errors import (
    DifyAbsent,
    DifyError,
    DifyProtocolError,
    DifyRejected,
    DifyUnavailable,
)

CONNECT_TIMEOUT = 5.0
#: Longest body of a blocking answer, in bytes; of a failure's body only the beginning is read.
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_FAILURE_BYTES = 64 * 1024
_OK = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class DifyApp:
    """One Dify app as configured; times in seconds."""

    name: str
    #: As Dify shows it, with its ``/v1``.
    base_url: str
    api_key: str = field(repr=False)
    #: Whole call of ``chat``.
    blocking_timeout: float = 120.0
    #: Whole stream.
    streaming_timeout: float = 120.0
    #: Until the first event that is no ping.
    first_event_timeout: float = 60.0
    #: Longest silence within a stream behind its first event; Dify pings every 10 s.
    gap_timeout: float = 30.0
    #: ``auto``, or the name of the endpoint at which alone it is asked.
    kind: str = "auto"
    #: The input that takes the question, and the output that is the answer (empty: found out), of
    #: apps that know no conversation.
    input_key: str = "query"
    output_key: str = ""

    def __post_init__(self) -> None:
        if not self.api_key.isascii() or not self.api_key.isprintable() or " " in self.api_key:
            raise ValueError(f"应用 {self.name} 的 API Key 含有空白或非 ASCII 字符")

    def url(self, path: str) -> str:
        """The address of one endpoint."""
        return self.base_url.rstrip("/") + path


class Transport:
    """Sends requests of one app. Every failure comes out as a ``DifyError`` without the key in it."""

    def __init__(self, http: aiohttp.ClientSession, app: DifyApp) -> None:
        self._http = http
        self._app = app

    async def open(
        self,
        method: str,
        path: str,
        *,
        body: bytes | aiohttp.FormData | None = None,
        seconds: float,
        is_stream: bool = False,
    ) -> aiohttp.ClientResponse:
        """
        Send a request and wait for the head of its answer; the caller closes the response.

        Redirects are not followed: the key is for this host only.

        Raises:
            DifyError: no connection within ``CONNECT_TIMEOUT``, or no head within *seconds*.
        """
        headers = {"Authorization": f"Bearer {self._app.api_key}"}
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/json"
        if is_stream:
            # A compressing proxy would hold pieces of the answer back.
            headers["Accept-Encoding"] = "identity"
        try:
            async with asyncio.timeout(max(seconds, 0)):
                return await self._http.request(
                    method,
                    self._app.url(path),
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
                )
        except (aiohttp.ClientError, OSError) as error:
            # TimeoutError is an OSError, too.
            failure = translate(error, before_answer=True)
        # Raised out here so that no aiohttp error, whose repr has the headers, hangs on it.
        raise failure

    async def read(self, response: aiohttp.ClientResponse, *, seconds: float) -> Reply:
        """
        The whole answer.

        Raises:
            DifyUnavailable: it broke off, or was not there within *seconds*.
            DifyProtocolError: it is longer than ``MAX_BODY_BYTES``.
        """
        limit = MAX_BODY_BYTES if response.status == _OK else MAX_FAILURE_BYTES
        body = bytearray()
        try:
            async with asyncio.timeout(max(seconds, 0)):
                while len(body) <= limit and (chunk := await response.content.readany()):
                    body += chunk
        except (aiohttp.ClientError, OSError) as error:
            failure = translate(error)
        else:
            if len(body) > limit and response.status == _OK:
                raise DifyProtocolError(f"Dify 的应答超过 {limit} 字节")
            return _reply(response, bytes(body[:limit]))
        raise failure


async def read_chunk(response: aiohttp.ClientResponse, *, seconds: float) -> bytes | None:
    """
    The next bytes of a stream; empty at its end, None when *seconds* passed without any.

    Raises:
        DifyUnavailable: the connection broke.
    """
    try:
        async with asyncio.timeout(max(seconds, 0)):
            return await response.content.readany()
    except TimeoutError:
        return None
    except (aiohttp.ClientError, OSError) as error:
        failure = translate(error)
    raise failure


def is_event_stream(response: aiohttp.ClientResponse) -> bool:
    """What the head says, whatever was asked for."""
    return response.status == _OK and response.content_type == "text/event-stream"


def translate(error: aiohttp.ClientError | OSError, *, before_answer: bool = False) -> DifyError:
    """The error of ours for one of aiohttp or the network; *before_answer*: not even a head came."""
    what = f"{type(error).__name__} {clean(str(error))}".strip()
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return DifyAbsent(f"连不上 Dify，请求没有发出：{what}")
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return DifyRejected(f"dify.base_url 不是可用的地址：{what}")
    if isinstance(error, aiohttp.ClientResponseError):
        return DifyProtocolError(f"Dify 的应答不是合法的 HTTP：{clean(error.message)}")
    if isinstance(error, TimeoutError):
        return DifyUnavailable("Dify 在时限内没有应答", may_run=True)
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError):
        kind = DifyAbsent if before_answer else DifyUnavailable
        return kind(f"与 Dify 的连接中断：{what}", may_run=True)
    return DifyProtocolError(f"与 Dify 的 HTTP 交换出错：{what}")


def _reply(response: aiohttp.ClientResponse, body: bytes) -> Reply:
    return Reply(
        status=response.status,
        body=body,
        retry_after=response.headers.get("Retry-After", ""),
        location_host=_host(response.headers.get("Location", "")),
    )


def _host(location: str) -> str:
    """Host of an address; its path and query may hold what is nobody's business."""
    try:
        return clean(urlsplit(location).hostname or "")
    except ValueError:
        return ""
