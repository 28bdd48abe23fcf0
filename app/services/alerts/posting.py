"""One POST to a robot: bounded in time and size, without redirects, and silent about the address."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import orjson
from yarl import URL

from app.services.alerts.channel import SECONDS
from app.services.errors import AlertRefused, AlertUndelivered

#: Robots answer in some hundred bytes.
MAX_ANSWER: Final = 64 * 1024
#: Characters of the receiver's own words in an error.
MAX_WORDS: Final = 200
#: A receiver that says "too many" is left alone so long.
LIMIT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back."""

    status: int
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON object; empty if it is none."""
        try:
            found = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}


class Posting:
    """Posts JSON over the client that all share."""

    def __init__(self, http: aiohttp.ClientSession, *, seconds: float = SECONDS) -> None:
        self._http = http
        self._seconds = seconds

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> Answered:
        """
        Post it; the answer's head said 2xx.

        Raises:
            AlertUndelivered: no answer in time, or a failure of the receiver's.
            AlertRefused: another status; a redirect, too.
        """
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._http.post(
                    URL(url, encoded=True),
                    data=body,
                    headers={"Content-Type": "application/json; charset=utf-8", **(headers or {})},
                    allow_redirects=False,
                ) as response,
            ):
                answer = await response.content.read(MAX_ANSWER)
                status = response.status
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Their texts may hold the address, and the address the key.
            failure = AlertUndelivered(f"没有应答({type(error).__name__})")
        else:
            return _judged(Answered(status, answer))
        raise failure


def _judged(answer: Answered) -> Answered:
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return answer
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise AlertRefused(f"HTTP {status}", retry_after=LIMIT_SECONDS, peer_code=str(status))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise AlertUndelivered(f"HTTP {status}", peer_code=str(status))
    raise AlertRefused(f"HTTP {status}", peer_code=str(status))


def refusal(code: object, words: object, *, retry_after: float | None = None) -> AlertRefused:
    """The error for a robot that answers 200 and means no."""
    return AlertRefused(
        f"对方拒绝了(错误码 {str(code)[:20]})",
        words=str(words)[:MAX_WORDS],
        peer_code=str(code)[:20],
        retry_after=retry_after,
    )


def no_robot(answer: Answered) -> AlertUndelivered:
    """The error for an answer that is none of a robot's."""
    return AlertUndelivered(f"应答不是机器人的格式(HTTP {answer.status})")
