"""
A custom robot of 飞书.

With a secret (签名校验) the body has the seconds of the clock and a signature: of nothing, by a key
that is these seconds and the secret. 100 messages a minute; a body of 20 KB. It answers with
``code`` 0 for what it took, older ones with ``StatusCode`` 0.
"""

import base64
import hashlib
import hmac
from typing import Any, Final

import orjson

from app.services.alerts.message import Message, cut_bytes
from app.services.alerts.posting import LIMIT_SECONDS, Posting, no_robot, refusal
from app.utils.clock import Clock

MAX_BYTES: Final = 18_000
TOO_MANY: Final = frozenset({11232, 99991400})


def signature(secret: str, seconds: int) -> str:
    """What proves at that time that one knows the secret (pure)."""
    key = f"{seconds}\n{secret}".encode()
    return base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()


class FeishuRobot:
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
        text = {"text": cut_bytes(message.text, self.max_bytes)}
        body = {**self._signed(), "msg_type": "text", "content": text}
        answer = await self._posting.post(self._url, orjson.dumps(body))
        fields = answer.fields
        code = fields.get("code", fields.get("StatusCode"))
        if code is None:
            raise no_robot(answer)
        if code != 0:
            wait = LIMIT_SECONDS if code in TOO_MANY else None
            raise refusal(code, fields.get("msg", ""), retry_after=wait)

    def _signed(self) -> dict[str, Any]:
        if not self._secret:
            return {}
        seconds = round(self._clock.time())
        return {"timestamp": str(seconds), "sign": signature(self._secret, seconds)}
