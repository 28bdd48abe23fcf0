"""
The robot of a group in 企业微信 (not in WeChat: customers never see it).

Its address holds the key; there is no signature. 20 messages a minute; a text of 2048 bytes. It
answers 200 to everything, with ``errcode`` 0 for what it took.
"""

from typing import Final

import orjson

from app.services.alerts.message import Message, cut_bytes
from app.services.alerts.posting import LIMIT_SECONDS, Posting, no_robot, refusal

MAX_BYTES: Final = 2048
TOO_MANY: Final = 45009


class WecomRobot:
    """One robot."""

    def __init__(self, posting: Posting, name: str, url: str) -> None:
        self._posting = posting
        self.name = name
        self.max_bytes = MAX_BYTES
        self._url = url

    async def send(self, message: Message) -> None:
        """See ``Channel``."""
        text = {"content": cut_bytes(message.text, self.max_bytes)}
        body = orjson.dumps({"msgtype": "text", "text": text})
        answer = await self._posting.post(self._url, body)
        code = answer.fields.get("errcode")
        if code is None:
            raise no_robot(answer)
        if code != 0:
            wait = LIMIT_SECONDS if code == TOO_MANY else None
            raise refusal(code, answer.fields.get("errmsg"), retry_after=wait)
