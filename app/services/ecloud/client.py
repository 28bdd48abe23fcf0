"""The gateway's HTTP API: one method per call the bridge makes."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from app.models.flow import MemberFile, MemberVoice, SentMessage, WcId
from app.services.ecloud.cards import ContactCard, Login, MemberCard, read_login, read_receipt
from app.services.ecloud.responses import (
    FAILURES,
    as_list,
    as_object,
    decipher_response,
    read_retry_after,
    read_url,
    undecided_or,
)
from app.services.errors import (
    EcloudError,
    EcloudProtocolError,
    EcloudRefused,
    EcloudUnavailable,
)

#: A call in which the gateway fetches a file, or has one ready for us, may take so many times as long.
FILE_TIME = 4.0
#: Most ids in one contact look-up; the gateway's own bound.
MAX_CONTACTS = 20
#: Largest answer that is read, in bytes; a group of 500 with long avatar addresses has 0.5 MB.
MAX_ANSWER = 4 * 1024 * 1024
#: The callback format this bridge reads best (优化版).
_CALLBACK_TYPE = 2
_MASK = "***"


@dataclass(frozen=True, kw_only=True, slots=True)
class EcloudLogin:
    """One developer account at a gateway."""

    name: str
    base_url: str
    #: Sent raw in the header of that name; a secret.
    authorization: str = field(repr=False)
    #: The call that sends a picture; gateways have had several.
    image_endpoint: str = "sendImage2"

    def __post_init__(self) -> None:
        if not (self.authorization.isascii() and self.authorization.isprintable()):
            # Without the value: this text is shown to operators.
            raise ValueError(f"ecloud.authorization（{self.name}）含有不可打印或非 ASCII 的字符")


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A page as it is shown in a group."""

    title: str
    url: str
    description: str
    #: A small picture, JPG or PNG below 50 KB.
    thumb_url: str


class EcloudClient:
    """
    Speaks to one gateway login; safe to share between tasks.

    Every method raises the errors of ``decipher_response``, and ``EcloudUnavailable`` when the
    connection could not be made. No message of an error contains the Authorization value.
    """

    def __init__(self, http: aiohttp.ClientSession, login: EcloudLogin, timeout: float) -> None:
        """
        Args:
            timeout: seconds of one call, the connection included; of one with a file ``FILE_TIME``
                times as long.
        """
        self._http = http
        self._login = login
        # Connecting must give up first: only then is it certain that nothing was sent.
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=timeout / 2)
        self._file_timeout = aiohttp.ClientTimeout(total=timeout * FILE_TIME, connect=timeout / 2)

    @property
    def login(self) -> EcloudLogin:
        """Whom this client speaks for."""
        return self._login

    async def send_text(
        self, *, w_id: str, group_id: WcId, text: str, at: Sequence[WcId] = ()
    ) -> SentMessage:
        """
        Send one text into a group.

        Args:
            text: contains ``@名字`` already for everybody in *at*; the gateway adds nothing.

        Raises:
            EcloudUndecided: The request went out; whether it was carried out is unknown.
        """
        body = {"wId": w_id, "wcId": group_id, "content": text}
        if at:
            body["at"] = ",".join(at)
        return read_receipt(as_object(await self._call("/sendText", body, is_send=True)))

    async def send_image(self, *, w_id: str, group_id: WcId, url: str) -> SentMessage:
        """
        Send a picture into a group; the gateway fetches it from *url* itself.

        Raises:
            EcloudUndecided: as ``send_text``.
        """
        body = {"wId": w_id, "wcId": group_id, "content": url}
        path = f"/{self._login.image_endpoint}"
        return read_receipt(as_object(await self._call(path, body, is_send=True)))

    async def send_file(self, *, w_id: str, group_id: WcId, url: str, name: str) -> SentMessage:
        """
        Send a file into a group; the gateway fetches it from *url* itself.

        Raises:
            EcloudUndecided: as ``send_text``.
        """
        body = {"wId": w_id, "wcId": group_id, "path": url, "fileName": name}
        return read_receipt(as_object(await self._send_file("/sendFile", body)))

    async def send_voice(
        self, *, w_id: str, group_id: WcId, url: str, milliseconds: int
    ) -> SentMessage:
        """
        Send a voice message into a group; the gateway fetches it from *url*: silk or amr, no mp3.

        Raises:
            EcloudUndecided: as ``send_text``.
        """
        body = {"wId": w_id, "wcId": group_id, "content": url, "length": milliseconds}
        return read_receipt(as_object(await self._send_file("/sendVoice", body)))

    async def send_video(
        self, *, w_id: str, group_id: WcId, url: str, cover_url: str
    ) -> SentMessage:
        """
        Send a video into a group; the gateway fetches it and its cover, a picture below 50 KB.

        Raises:
            EcloudUndecided: as ``send_text``.
        """
        body = {"wId": w_id, "wcId": group_id, "path": url, "thumbPath": cover_url}
        return read_receipt(as_object(await self._send_file("/sendVideo", body)))

    async def send_link(self, *, w_id: str, group_id: WcId, link: Link) -> SentMessage:
        """
        Send a page's link as a card into a group.

        Raises:
            EcloudUndecided: as ``send_text``.
        """
        body = {
            "wId": w_id,
            "wcId": group_id,
            "title": link.title,
            "url": link.url,
            "description": link.description,
            "thumbUrl": link.thumb_url,
        }
        return read_receipt(as_object(await self._call("/sendUrl", body, is_send=True)))

    async def send_card(self, *, w_id: str, group_id: WcId, wc_id: WcId) -> SentMessage:
        """
        Send a person's card into a group.

        Raises:
            EcloudUndecided: as ``send_text``.
        """
        body = {"wId": w_id, "wcId": group_id, "nameCardId": wc_id}
        return read_receipt(as_object(await self._call("/sendNameCard", body, is_send=True)))

    async def revoke(self, *, w_id: str, group_id: WcId, sent: SentMessage) -> None:
        """
        Take a message of ours back; WeChat allows it for two minutes.

        Raises:
            EcloudUndecided: as ``send_text``.
        """
        body = {
            "wId": w_id,
            "wcId": group_id,
            "msgId": _number(sent.msg_id),
            "newMsgId": _number(sent.new_msg_id),
            "createTime": sent.created_at,
        }
        await self._call("/revokeMsg", body, is_send=True)

    async def get_file_url(self, *, w_id: str, file: MemberFile) -> str:
        """
        Where something that a person sent can be fetched; empty: the gateway does not say.

        Pictures come in their usual size: the large one is often missing.
        """
        body: dict[str, Any] = {"wId": w_id, "msgId": _number(file.msg_id), "content": file.content}
        if file.is_image:
            found = await self._call("/getMsgImg", {**body, "type": 0}, has_file=True)
        else:
            found = await self._call("/getMsgFile", body, has_file=True)
        return read_url(found)

    async def get_voice_url(self, *, w_id: str, voice: MemberVoice) -> str:
        """Where a recording that a person sent can be fetched; empty: the gateway does not say."""
        body = {
            "wId": w_id,
            "msgId": _number(voice.msg_id),
            "length": voice.size,
            "bufId": voice.buffer_id,
            "fromUser": voice.sender,
        }
        return read_url(await self._call("/getMsgVoice", body))

    async def get_contacts(self, w_id: str, wc_ids: Sequence[WcId]) -> list[ContactCard]:
        """
        Look up people and groups, at most ``MAX_CONTACTS``; unknown ones are left out.

        People who are no friends of the account are often missing: ``get_member_info``.
        """
        if not 0 < len(wc_ids) <= MAX_CONTACTS:
            raise ValueError(f"between 1 and {MAX_CONTACTS} ids, not {len(wc_ids)}")
        data = await self._call("/getContact", {"wId": w_id, "wcId": ",".join(wc_ids)})
        asked = wc_ids[0] if len(wc_ids) == 1 else ""
        cards = (ContactCard.from_wire(item, asked=asked) for item in as_list(data))
        return [card for card in cards if card is not None]

    async def get_members(self, w_id: str, group_id: WcId) -> list[MemberCard]:
        """The members of a group."""
        data = await self._call("/getChatRoomMember", {"wId": w_id, "chatRoomId": group_id})
        cards = (MemberCard.from_wire(item, group_id=group_id) for item in as_list(data))
        return [card for card in cards if card is not None]

    async def get_member_info(self, w_id: str, group_id: WcId, wc_id: WcId) -> ContactCard | None:
        """The card of one member of a group, also of a stranger; None if there is none."""
        body = {"wId": w_id, "chatRoomId": group_id, "userList": wc_id}
        found = as_object(await self._call("/getChatRoomMemberInfo", body))
        return ContactCard.from_wire(found, asked=wc_id) if found else None

    async def query_logins(self) -> list[Login]:
        """The WeChat accounts of this login that are online, with their current wId."""
        logins = (read_login(item) for item in as_list(await self._call("/queryLoginWx", {})))
        return [login for login in logins if login is not None]

    async def is_online(self, w_id: str) -> bool:
        """Whether this instance of a login is online; the gateway says so in two ways."""
        try:
            data = await self._call("/isOnline", {"wId": w_id})
        except EcloudRefused as error:
            if error.peer_code not in FAILURES:
                raise
            return False
        answer = as_object(data).get("isOnline", data if isinstance(data, bool) else True)
        return str(answer).lower() not in {"false", "0"}

    async def offline_reason(self, wc_id: WcId) -> str:
        """Why an account is offline; empty: it is not, or the gateway does not say."""
        found = as_list(await self._call("/offlineReason", {"wcId": wc_id}))
        own = (one for one in found if one.get("wcId") in (None, wc_id))
        return next((str(one["reason"]) for one in own if one.get("reason")), "")

    async def set_callback_url(self, url: str) -> None:
        """Have all callbacks of this login posted to *url*; a test callback follows."""
        await self._call("/setHttpCallbackUrl", {"httpUrl": url, "type": _CALLBACK_TYPE})

    async def callback_url(self) -> str:
        """
        Where the callbacks of this login are posted to; empty: nowhere.

        Raises:
            EcloudRefused: this gateway has no such call (it is in no catalogue of the vendor's).
        """
        data = as_object(await self._call("/getHttpCallbackUrl", {}))
        url = data.get("url", data.get("httpUrl"))
        return url.strip() if isinstance(url, str) else ""

    async def cancel_callback_url(self) -> None:
        """Have no callbacks posted any more."""
        await self._call("/cancelHttpCallbackUrl", {})

    async def ping(self) -> None:
        """Return if the gateway answers and accepts the Authorization value."""
        await self._call("/queryLoginWx", {})

    async def _send_file(self, path: str, body: dict[str, Any]) -> Any:
        return await self._call(path, body, is_send=True, has_file=True)

    async def _call(
        self, path: str, body: dict[str, Any], *, is_send: bool = False, has_file: bool = False
    ) -> Any:
        limit = self._file_timeout if has_file else self._timeout
        try:
            status, retry_after, answer = await self._post(path, body, is_send=is_send, limit=limit)
            return decipher_response(status, answer, is_send=is_send, retry_after=retry_after)
        except EcloudError as error:
            raise self._named(error, path) from error.__cause__

    async def _post(
        self, path: str, body: dict[str, Any], *, is_send: bool, limit: aiohttp.ClientTimeout
    ) -> tuple[int, float | None, bytes]:
        """Status, Retry-After and body of the answer; all aiohttp exceptions end here."""
        try:
            async with self._http.post(
                self._login.base_url.rstrip("/") + path,
                data=json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
                headers={
                    "Authorization": self._login.authorization,
                    "Content-Type": "application/json; charset=utf-8",
                },
                timeout=limit,
                allow_redirects=False,
            ) as response:
                answer = await self._read(response, is_send=is_send)
                asked = read_retry_after(response.headers.get("Retry-After", ""), now=time.time())
                return response.status, asked, answer
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            aiohttp.ServerFingerprintMismatch,
            aiohttp.InvalidURL,
            aiohttp.NonHttpUrlClientError,
        ) as error:
            raise EcloudUnavailable(f"连接不上网关（{type(error).__name__}）") from error
        except TimeoutError as error:
            raise undecided_or(EcloudUnavailable, "网关应答超时", is_send=is_send) from error
        except aiohttp.ClientError as error:
            cause = f"与网关的连接中断（{type(error).__name__}）"
            raise undecided_or(EcloudUnavailable, cause, is_send=is_send) from error

    @staticmethod
    async def _read(response: aiohttp.ClientResponse, *, is_send: bool) -> bytes:
        chunks = bytearray()
        async for chunk in response.content.iter_any():
            chunks += chunk
            if len(chunks) > MAX_ANSWER:
                response.close()
                raise undecided_or(EcloudProtocolError, "网关的应答过大", is_send=is_send)
        return bytes(chunks)

    def _named(self, error: EcloudError, path: str) -> EcloudError:
        """The same error, saying which login and call; a peer may echo the secret: masked."""
        secret = self._login.authorization
        text = str(error).replace(secret, _MASK) if secret else str(error)
        return type(error)(
            f"{self._login.name} {path}：{text}",
            retry_after=error.retry_after,
            peer_code=error.peer_code.replace(secret, _MASK) if secret else error.peer_code,
        )


def _number(msg_id: str) -> int | str:
    """As the gateway told it: a number."""
    return int(msg_id) if msg_id.isascii() and msg_id.isdigit() else msg_id
