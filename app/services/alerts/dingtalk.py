"""
A custom robot of 钉钉.

With a secret (加签) the address is given the milliseconds of the clock and, signed by the secret,
these and the secret. 20 messages a minute; whoever sends more is silenced for ten minutes. It
answers 200 to everything, with ``errcode`` 0 for what it took.
"""

import base64
import hashlib
import hmac
from typing import Final
from urllib.parse import quote_plus

import orjson

from app.services.alerts.message import Message, cut_bytes
from app.services.alerts.posting import Posting, no_robot, refusal
from app.utils.clock import Clock

MAX_BYTES: Final = 18_000
TOO_MANY: Final = frozenset({130101, 410100, 660026})
SILENCED_SECONDS: Final = 600.0


def signature(secret: str, milliseconds: int) -> str:
    """What proves at that time that one knows the secret (pure)."""
    signed = f"{milliseconds}\n{secret}".encode()
    return base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()


class DingtalkRobot:
    """One robot."""

    def __init__(self, posting: Posting, name: str, url: str, secret: str, clock: Clock) -> None:
        self._posting = posting
        self.name = name
        self.max_bytes = MAX_BYTES
        self._url = url
        self._secret = secret
        self._clock = clock

    async def send(self, message: Message) -> None:
        """See ``Channel``."""
        text = {"content": cut_bytes(message.text, self.max_bytes)}
        body = orjson.dumps({"msgtype": "text", "text": text})
        answer = await self._posting.post(self._signed_url(), body)
        code = answer.fields.get("errcode")
        if code is None:
            raise no_robot(answer)
        if code != 0:
            wait = SILENCED_SECONDS if code in TOO_MANY else None
            raise refusal(code, answer.fields.get("errmsg"), retry_after=wait)

    def _signed_url(self) -> str:
        if not self._secret:
            return self._url
        milliseconds = round(self._clock.time() * 1000)
        sign = quote_plus(signature(self._secret, milliseconds))
        joint = "&" if "?" in self._url else "?"
        return f"{self._url}{joint}timestamp={milliseconds}&sign={sign}"
