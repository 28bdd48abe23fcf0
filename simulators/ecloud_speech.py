"""What members say in the simulated groups, what the accounts send, and how both become callbacks."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulators.ecloud_callbacks import (
    GROUP_TEXT,
    MENTION_END,
    QUOTATION,
    bare_callback,
    group_callback,
    quotation,
)
from simulators.ecloud_courier import Courier
from simulators.ecloud_sends import SentMessage
from simulators.ecloud_world import Account, Group, World
from simulators.faults import FaultSwitches
from simulators.recorder import KEEP, Journal, Recorder

OFFLINE_NOTICE = "30000"
TEST_PUSH = "00000"
#: A sent file, like any other, comes back when it is all there.
ECHO_TYPES = {
    "text": GROUP_TEXT,
    "image": "80002",
    "video": "80003",
    "voice": "80004",
    "card": "80005",
    "link": "80007",
    "file": "80009",
}
#: What the XML of an own message holds, as far as anybody looks.
_ECHO_XML = {
    "image": '<img aeskey="00" length="51361" md5="449f" />',
    "video": '<videomsg aeskey="00" length="51361" playlength="3" />',
    "voice": '<voicemsg length="3072" voicelength="1800" />',
    "card": '<msg username="wxid_00" nickname="00" />',
    "link": '<appmsg appid="" sdkver="0"><type>5</type></appmsg>',
    "file": '<appmsg appid="" sdkver="0"><type>6</type></appmsg>',
}


def echo_content(kind: str, content: str) -> str:
    """What a callback of one's own message says: a text is the text, of other things there is XML."""
    if kind == "text":
        return content
    return f'<?xml version="1.0"?>\n<msg>\n\t{_ECHO_XML[kind]}\n</msg>\n'


class NobodyThere(ValueError):
    """No such group, person or account, or somebody who is not in that group."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """Something a member said."""

    group: str
    person: str
    text: str
    at: tuple[str, ...]
    msg_id: int
    new_msg_id: int
    timestamp: int
    """Seconds since 1970."""
    message_type: str = GROUP_TEXT
    extra: dict[str, Any] = field(default_factory=dict)
    shown: str = ""
    """What a notification says of what is no text; empty for a text."""


class Speech:
    """Turns speech into events for onlookers and into callbacks for each account in the group."""

    def __init__(
        self, world: World, courier: Courier, faults: FaultSwitches, recorder: Recorder
    ) -> None:
        self.events: Journal[dict[str, Any]] = Journal()
        self.history: deque[Said] = deque(maxlen=KEEP)
        #: What the accounts sent, to be quoted.
        self._sent: deque[SentMessage] = deque(maxlen=KEEP)
        self._world = world
        self._courier = courier
        self._faults = faults
        self._recorder = recorder

    def say(
        self,
        group: str,
        person: str,
        text: str,
        *,
        mention_bot: bool = False,
        mentions: Sequence[str] = (),
        message_type: str = GROUP_TEXT,
        extra: dict[str, Any] | None = None,
        timestamp: int | None = None,
        shown: str = "",
        quote: int | None = None,
        told: Mapping[str, Any] | None = None,
    ) -> Said:
        """
        A member says something; group and person by id or by name.

        With *mention_bot* the text gets the first account's name after an @ in front, unless it
        stands there already. *extra* is added to the callback's data. *shown* is what a notification
        says instead of the text. *quote* is the newMsgId of a message of an account in this group,
        below which the text stands. *told* stands in the event for onlookers instead of its text.

        Raises:
            NobodyThere: no such group, the person is not in it, or no such message to quote.
        """
        room = self.find_group(group)
        speaker = self.find_member(room, person)
        at = list(mentions)
        if mention_bot:
            text, at = self._called(room, text, at)
        if quote is not None:
            message_type, extra = QUOTATION, (extra or {}) | self._quoted(room, text, quote)
        msg_id, new_msg_id = self._world.new_ids()
        said = Said(
            group=room.group_id,
            person=speaker,
            text=text,
            at=tuple(at),
            msg_id=msg_id,
            new_msg_id=new_msg_id,
            timestamp=int(time.time()) if timestamp is None else timestamp,
            message_type=message_type,
            extra=extra or {},
            shown=shown,
        )
        self.history.append(said)
        self._tell(
            "said",
            room,
            speaker,
            text=text,
            at=at,
            new_msg_id=new_msg_id,
            msg_id=msg_id,
            more=told,
        )
        self._post(said, room, self._world.accounts.values())
        return said

    def _called(self, room: Group, text: str, at: list[str]) -> tuple[str, list[str]]:
        """The text with the bot's name after an @, and whom it mentions, the bot among them."""
        bot = self._bot_of(room)
        called = f"@{self._world.shown_name(room, bot.wc_id)}"
        if called not in text:
            text = f"{called}{MENTION_END}{text}"
        return text, at if bot.wc_id in at else [*at, bot.wc_id]

    def _quoted(self, room: Group, text: str, new_msg_id: int) -> dict[str, Any]:
        for one in self._sent:
            if (one.new_msg_id, one.to) == (new_msg_id, room.group_id):
                return quotation(
                    text,
                    group=room,
                    sender=one.bot,
                    name=self._world.shown_name(room, one.bot),
                    content=one.content,
                    new_msg_id=one.new_msg_id,
                    timestamp=one.create_time,
                )
        raise NobodyThere(f"no message {new_msg_id} in {room.name}")

    def replay(self, count: int, accounts: Iterable[Account] | None = None) -> None:
        """Post the last *count* sayings again, as after a re-login: same ids, present wId."""
        chosen = list(accounts if accounts is not None else self._world.accounts.values())
        for said in list(self.history)[-count:] if count > 0 else []:
            self._post(said, self._world.groups[said.group], chosen)

    def heard_sent(self, message: SentMessage) -> None:
        """An account sent something through the API."""
        room = self._world.groups.get(message.to)
        self._recorder.note(
            "sent",
            message.kind,
            bot=message.bot,
            to=message.to,
            content=message.content,
            mentions=list(message.at),
            atEffective=message.at_effective,
            msgId=str(message.msg_id),
            newMsgId=str(message.new_msg_id),
            wId=message.w_id,
        )
        if room is None:
            return
        self._sent.append(message)
        self._tell(
            "sent",
            room,
            message.bot,
            text=message.content,
            at=list(message.at),
            new_msg_id=message.new_msg_id,
            msg_id=message.msg_id,
            content_kind=message.kind,
        )
        self._heard_by_others(message, room)
        if self._faults.strike("echo", "callback"):
            account = self._world.accounts[message.bot]
            body = group_callback(
                self._world,
                account,
                room,
                from_user=message.bot,
                content=echo_content(message.kind, message.content),
                ids=(message.msg_id, message.new_msg_id),
                timestamp=message.create_time,
                message_type=ECHO_TYPES[message.kind],
            )
            self._courier.post(room.group_id, body)

    def _heard_by_others(self, message: SentMessage, room: Group) -> None:
        """To the other accounts in the group it is a message like any."""
        said = Said(
            group=room.group_id,
            person=message.bot,
            text=message.content,
            at=message.at,
            msg_id=message.msg_id,
            new_msg_id=message.new_msg_id,
            timestamp=message.create_time,
        )
        others = (one for one in self._world.accounts.values() if one.wc_id != message.bot)
        if message.kind == "text":
            self._post(said, room, others)

    def heard_revoked(self, message: SentMessage) -> None:
        """An account took a message back."""
        self._recorder.note("revoked", message.kind, newMsgId=str(message.new_msg_id))
        room = self._world.groups.get(message.to)
        if room is not None:
            self._tell(
                "revoked",
                room,
                message.bot,
                text=message.content,
                at=[],
                new_msg_id=message.new_msg_id,
                msg_id=message.msg_id,
            )

    def test_push(self) -> None:
        """What the gateway posts when an address is registered."""
        self._courier.post("", bare_callback(self._world, None, TEST_PUSH, {}))

    def offline_notice(self, account: Account) -> None:
        """What the gateway posts when an account is logged out."""
        body = bare_callback(self._world, account, OFFLINE_NOTICE, {"wId": account.w_id})
        self._courier.post(account.wc_id, body)

    def post_bare(self, room: Group, message_type: str, data: dict[str, Any]) -> None:
        """News of a group that name it as if it were a contact."""
        for account in self._world.accounts.values():
            if account.online and account.wc_id in room.members:
                body = bare_callback(
                    self._world, account, message_type, {**data, "wId": account.w_id}
                )
                self._courier.post(room.group_id, body)

    def find_group(self, name: str) -> Group:
        """A group by id or name."""
        for group in self._world.groups.values():
            if name in (group.group_id, group.name):
                return group
        raise NobodyThere(f"no group {name!r}")

    def find_said(self, new_msg_id: int) -> Said:
        """Something a member said, by its id."""
        for said in self.history:
            if said.new_msg_id == new_msg_id:
                return said
        raise NobodyThere(f"nobody said {new_msg_id}")

    def find_account(self, name: str | None) -> Account:
        """An account by wcId or nickname; None = the first."""
        for account in self._world.accounts.values():
            if name is None or name in (account.wc_id, account.nick_name):
                return account
        raise NobodyThere(f"no account {name!r}")

    def find_member(self, group: Group, name: str) -> str:
        """A member's wcId by wcId, nickname or the name shown in the group."""
        if name in group.members:
            return name
        for wc_id in group.members:
            if name in (self._world.nick_name(wc_id), self._world.shown_name(group, wc_id)):
                return wc_id
        raise NobodyThere(f"{name!r} is not in {group.name}")

    def _bot_of(self, group: Group) -> Account:
        for account in self._world.accounts.values():
            if account.wc_id in group.members:
                return account
        raise NobodyThere(f"no account is in {group.name}")

    def _post(self, said: Said, room: Group, accounts: Iterable[Account]) -> None:
        for account in accounts:
            if not account.online or account.wc_id not in room.members:
                continue
            ids = self._ids_for(account, said.msg_id, said.new_msg_id)
            body = group_callback(
                self._world,
                account,
                room,
                from_user=said.person,
                content=said.text,
                ids=ids,
                timestamp=said.timestamp,
                message_type=said.message_type,
                mentioned=said.at,
                push_content=self._notice(said, account),
                extra=said.extra,
            )
            self._courier.post(room.group_id, body)

    def _ids_for(self, account: Account, msg_id: int, new_msg_id: int) -> tuple[int, int]:
        """
        The ids under which an account gets a message; the same ones when it is posted again.

        msgIds are each account's own; the newMsgId is the server's, unless that is switched.
        """
        if self._faults.strike("ids_per_account", "callback"):
            new_msg_id ^= (self._world.place_of(account) % 4) << 61
        return self._world.own_msg_id(account, msg_id), new_msg_id

    def _notice(self, said: Said, account: Account) -> str:
        """The notification on this account's phone; it tells whether the account itself is meant."""
        name = self._world.nick_name(said.person)
        if account.wc_id in said.at:
            return f"{name}在群聊中@了你"
        words = said.text if said.message_type == GROUP_TEXT else said.shown
        return f"{name} : {words}" if words else ""

    def _tell(
        self,
        kind: str,
        room: Group,
        wc_id: str,
        *,
        text: str,
        at: list[str],
        new_msg_id: int,
        msg_id: int,
        content_kind: str = "text",
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.events.append(
            {
                "type": kind,
                "kind": content_kind,
                "group": room.group_id,
                "wcId": wc_id,
                "person": wc_id,
                "nickname": self._world.shown_name(room, wc_id),
                "text": text,
                "at": at,
                "msgId": str(msg_id),
                "newMsgId": str(new_msg_id),
                "at_ms": time.time_ns() // 1_000_000,
                **(more or {}),
            }
        )
