"""What the simulated gateway sends into groups, and what it takes back."""

import ipaddress
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from simulators.ecloud_envelope import Body, Done, Endpoint, Refused, logged_in
from simulators.ecloud_world import GROUP_SUFFIX, Account, Group, World
from simulators.faults import FaultSwitches
from simulators.recorder import KEEP

REVOKE_LIMIT = 120.0
MINUTE = 60.0
#: Longest text in characters. No figure of the vendor's is known; nobody is known to send more.
MOST_LETTERS = 4_000
EVERYBODY = "notify@all"
EVERYBODY_SHOWN = "所有人"


def _fetched(body: Body, name: str) -> str:
    """
    An address that the gateway fetches by itself: it has to be reachable from where that stands.

    The sentence of its refusal is not known.
    """
    url: str = body[name]
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not _is_public(host):
        raise Refused("系统失败,请重试")
    return url


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".local", ".internal", ".localhost"))


@dataclass(frozen=True, kw_only=True)
class SentMessage:
    """A message as the group got it."""

    bot: str
    """wcId of the account that sent it."""
    to: str
    kind: str
    """text, image, file, voice, video, link or card."""
    content: str
    at: tuple[str, ...]
    at_effective: bool
    """All of `at` are marked: the text has an @ and the name of each, and the group has them."""
    msg_id: int
    new_msg_id: int
    create_time: int
    """Seconds since 1970."""
    sent_at: float
    """Monotonic clock, seconds."""
    w_id: str

    def as_answer(self, *, as_strings: bool = False) -> dict[str, Any]:
        """The `data` of the gateway's answer."""
        msg_id: int | str = str(self.msg_id) if as_strings else self.msg_id
        new_msg_id: int | str = str(self.new_msg_id) if as_strings else self.new_msg_id
        return {
            "type": 1 if self.kind == "text" else None,
            "msgId": msg_id,
            "newMsgId": new_msg_id,
            "createTime": self.create_time,
            "wcId": self.to,
        }


class Sends:
    """Sends and recalls of all accounts; *on_sent* and *on_revoked* hear of each."""

    def __init__(
        self,
        world: World,
        faults: FaultSwitches,
        *,
        on_sent: Callable[[SentMessage], None],
        on_revoked: Callable[[SentMessage], None],
        revoke_limit: float = REVOKE_LIMIT,
        most_letters: int = MOST_LETTERS,
    ) -> None:
        self.sent: deque[SentMessage] = deque(maxlen=KEEP)
        self.revoked: set[int] = set()
        self.revoke_limit = revoke_limit
        self.most_letters = most_letters
        self._world = world
        self._faults = faults
        self._on_sent = on_sent
        self._on_revoked = on_revoked
        self._minute: dict[str, deque[float]] = {}

    def table(self) -> dict[str, Endpoint]:
        """Path to endpoint."""
        return {
            "/sendText": self.text,
            "/sendImage": partial(self.image, path="/sendImage"),
            "/sendImage2": partial(self.image, path="/sendImage2"),
            "/sendFile": self.file,
            "/sendVoice": self.voice,
            "/sendVideo": self.video,
            "/sendUrl": self.link,
            "/sendNameCard": self.card,
            "/revokeMsg": self.revoke,
        }

    async def text(self, body: Body) -> Done:
        """With `at`, the text must hold an @ and the name itself, or nobody is marked."""
        content = body["content"]
        if len(content) > self.most_letters:
            raise Refused("发送失败，内容过长")
        at = tuple(part for part in str(body.get("at") or "").split(",") if part)
        return self._send(body, path="/sendText", kind="text", content=content, at=at)

    async def image(self, body: Body, *, path: str) -> Done:
        """The content is the address of the picture; two paths send it."""
        return self._send(body, path=path, kind="image", content=_fetched(body, "content"))

    async def file(self, body: Body) -> Done:
        """The path is an address, fileName the name shown."""
        return self._send(body, path="/sendFile", kind="file", content=_fetched(body, "path"))

    async def voice(self, body: Body) -> Done:
        """The content is the address of a silk or amr, the length its milliseconds; no mp3."""
        url = _fetched(body, "content")
        if body["length"] <= 0 or urlsplit(url).path.endswith(".mp3"):
            raise Refused("系统失败,请重试")
        return self._send(body, path="/sendVoice", kind="voice", content=url)

    async def video(self, body: Body) -> Done:
        """The path is its address, thumbPath that of its cover."""
        _fetched(body, "thumbPath")
        return self._send(body, path="/sendVideo", kind="video", content=_fetched(body, "path"))

    async def link(self, body: Body) -> Done:
        """A page with a title, a description and a small picture."""
        _fetched(body, "thumbUrl")
        return self._send(body, path="/sendUrl", kind="link", content=body["url"])

    async def card(self, body: Body) -> Done:
        """The card of a person."""
        person = body["nameCardId"]
        if person not in self._world.people:
            raise Refused("系统失败,请重试")
        return self._send(body, path="/sendNameCard", kind="card", content=person)

    async def revoke(self, body: Body) -> Done:
        """Only shortly after the sending, only with all ids of its answer, only where it was sent to."""
        account = logged_in(self._world, body)
        wanted = tuple(body[name] for name in ("msgId", "newMsgId", "createTime", "wcId"))
        for message in reversed(self.sent):
            ids = (message.msg_id, message.new_msg_id, message.create_time, message.to)
            if ids == wanted and message.bot == account.wc_id:
                break
        else:
            raise Refused("撤回失败，消息不存在")
        if time.monotonic() - message.sent_at > self.revoke_limit:
            raise Refused("撤回失败，消息发送已超过两分钟")
        if message.new_msg_id not in self.revoked:
            self.revoked.add(message.new_msg_id)
            self._on_revoked(message)
        return Done(message="成功")

    def _send(
        self, body: Body, *, path: str, kind: str, content: str, at: tuple[str, ...] = ()
    ) -> Done:
        account = logged_in(self._world, body)
        receiver = body["wcId"]
        self._check_receiver(account, receiver)
        self._throttle(account, path)
        msg_id, new_msg_id = self._world.new_ids()
        message = SentMessage(
            bot=account.wc_id,
            to=receiver,
            kind=kind,
            content=content,
            at=at,
            at_effective=bool(at) and self._all_marked(account, receiver, content, at),
            msg_id=msg_id,
            new_msg_id=new_msg_id,
            create_time=int(time.time()),
            sent_at=time.monotonic(),
            w_id=account.w_id,
        )
        self.sent.append(message)
        self._on_sent(message)
        as_strings = self._faults.strike("ids_as_strings", path)
        answer = message.as_answer(as_strings=as_strings is not None)
        return Done(data=answer, message="发送成功")

    def _all_marked(
        self, account: Account, receiver: str, content: str, at: tuple[str, ...]
    ) -> bool:
        group = self._world.groups.get(receiver)
        return group is not None and all(
            any(f"@{name}" in content for name in self._names(account, group, one)) for one in at
        )

    def _names(self, account: Account, group: Group, wc_id: str) -> set[str]:
        """What marks somebody after an @; nobody but the owner can mark everybody."""
        if wc_id == EVERYBODY:
            return {EVERYBODY_SHOWN} if group.owner == account.wc_id else set()
        if wc_id not in group.members:
            return set()
        return {self._world.shown_name(group, wc_id), self._world.nick_name(wc_id)} - {""}

    def _check_receiver(self, account: Account, receiver: str) -> None:
        group = self._world.groups.get(receiver)
        if group is not None and account.wc_id in group.members:
            return
        person = self._world.people.get(receiver)
        if receiver.endswith(GROUP_SUFFIX) or person is None or not person.friend:
            raise Refused("发送失败，接收者不存在或不是好友")

    def _throttle(self, account: Account, endpoint: str) -> None:
        fault = self._faults.strike("throttle", endpoint)
        recent = self._minute.setdefault(account.wc_id, deque())
        now = time.monotonic()
        while recent and now - recent[0] > MINUTE:
            recent.popleft()
        if fault is not None and len(recent) >= fault.value:
            raise Refused("发送频率过快，请稍后再试")
        recent.append(now)
