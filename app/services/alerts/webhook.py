"""
Any program that takes a POST of JSON: a gateway of the operator's own, n8n, Alertmanager's kin.

With a secret, ``X-Bridge-Signature`` is ``sha256=`` and the HMAC of the body in hex. Whatever 2xx
is answered counts as taken.
"""

import hashlib
import hmac

import orjson

from app.services.alerts.message import Message
from app.services.alerts.posting import Posting

#: All that may be told at once is shorter.
MAX_BYTES = 1_000_000
SIGNATURE_HEADER = "X-Bridge-Signature"


class Webhook:
    """One address."""

    def __init__(self, posting: Posting, name: str, url: str, secret: str) -> None:
        self._posting = posting
        self.name = name
        self.max_bytes = MAX_BYTES
        self._url = url
        self._secret = secret

    async def send(self, message: Message) -> None:
        """See ``Channel``."""
        body = orjson.dumps(
            {
                "title": message.title,
                "text": message.text,
                "bridge": message.bridge,
                "host": message.host,
                "notices": message.notices,
            }
        )
        await self._posting.post(self._url, body, self._signed(body))

    def _signed(self, body: bytes) -> dict[str, str]:
        if not self._secret:
            return {}
        digest = hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()
        return {SIGNATURE_HEADER: f"sha256={digest}"}
