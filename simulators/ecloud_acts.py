"""What people do in the simulated groups beside writing: send, quote, take back, pat, come and go."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulators import ecloud_kinds as kinds
from simulators.ecloud_kinds import KINDS, Sending
from simulators.ecloud_speech import NobodyThere, Said, Speech, echo_content
from simulators.ecloud_world import Group, World

if TYPE_CHECKING:
    from simulators.ecloud_sends import SentMessage


#: The gateway's type → WeChat's own number of the kind, as a quotation names it.
QUOTED_AS = {"80001": 1, "80002": 3, "80003": 43, "80004": 34, "80006": 47, "80020": 48}
SENT_AS = {"text": 1, "image": 3}


@dataclass(frozen=True, kw_only=True)
class _Before:
    """A message of a group that can be quoted."""

    new_msg_id: int
    msg_id: int
    sender: str
    content: str
    shown: str
    timestamp: int
    kind: int

    @classmethod
    def of_said(cls, one: Said) -> "_Before":
        return cls(
            new_msg_id=one.new_msg_id,
            msg_id=one.msg_id,
            sender=one.person,
            content=one.text,
            shown=one.shown or one.text,
            timestamp=one.timestamp,
            kind=QUOTED_AS.get(one.message_type, kinds.COMPOUND),
        )

    @classmethod
    def of_sent(cls, one: "SentMessage") -> "_Before":
        is_text = one.kind == "text"
        return cls(
            new_msg_id=one.new_msg_id,
            msg_id=one.msg_id,
            sender=one.bot,
            content=echo_content(one.kind, one.content),
            shown=one.content if is_text else "[图片]" if one.kind == "image" else "[文件]",
            timestamp=one.create_time,
            kind=SENT_AS.get(one.kind, kinds.COMPOUND),
        )


class Acts:
    """Each act becomes callbacks for every account in the group, as a saying does."""

    def __init__(self, world: World, speech: Speech) -> None:
        self._world = world
        self._speech = speech

    def do(
        self,
        act: str,
        group: str,
        person: str,
        how: Mapping[str, Any],
        sent: "Iterable[SentMessage]",
    ) -> Said | None:
        """
        An act by its name: a kind of ``ecloud_kinds``, or a method of this class.

        Raises:
            NobodyThere: no such group, person or message.
            KeyError, TypeError, ValueError: no such act, or not done so.
        """
        acts: dict[str, Callable[[], Said]] = {
            "quote": lambda: self.quote(group, person, **_with_id(how), sent=sent),
            "recall": lambda: self.recall(group, person, self._said_with(how)),
            "pat": lambda: self.pat(group, person, **how),
            "join": lambda: self.join(group, inviter=person, **how),
            "remove": lambda: self.remove(group, person),
            "rename": lambda: self.rename(group, person, **how),
            "dissolve": lambda: self.dissolve(group),
        }
        if act == "leave":
            self.leave(group)
            return None
        other = acts.get(act)
        return other() if other else self.send(group, person, act, **how)

    def send(self, group: str, person: str, kind: str, **how: Any) -> Said:
        """
        A member sends something that is no text; *how* is of the kind, see ``ecloud_kinds``.

        Raises:
            NobodyThere: no such group or person.
            KeyError, TypeError: no such kind, or not of this kind.
        """
        sending = KINDS[kind](**how)
        return self._post(group, person, sending, told={"kind": kind, "text": sending.shown})

    def quote(
        self,
        group: str,
        person: str,
        text: str,
        new_msg_id: int | None = None,
        *,
        sent: "Iterable[SentMessage]" = (),
        mentions: Iterable[str] = (),
    ) -> Said:
        """
        A member quotes something of the group: what has this id, or what was said or sent last.

        Args:
            sent: what accounts sent through the API, in which it is looked for, too.
        """
        room = self._speech.find_group(group)
        one = self._said_before(room, new_msg_id, sent)
        name = self._world.shown_name(room, one.sender)
        sending = kinds.quote(
            text,
            quoted=one.content,
            sender=one.sender,
            sender_name=name,
            room=room.group_id,
            new_msg_id=str(one.new_msg_id),
            timestamp=one.timestamp,
            kind=one.kind,
        )
        quoted = {"newMsgId": str(one.new_msg_id), "nickname": name, "text": one.shown}
        told = {"kind": "quote", "text": text, "quoted": quoted}
        return self._post(group, person, sending, mentions=mentions, told=told)

    def recall(self, group: str, person: str, said: Said | None = None) -> Said:
        """A member takes a message back: this one, or the last one of their own."""
        room = self._speech.find_group(group)
        speaker = self._speech.find_member(room, person)
        if said is None:
            own = (one for one in reversed(self._speech.history) if one.person == speaker)
            said = next((one for one in own if one.group == room.group_id), None)
        if said is None:
            raise NobodyThere(f"{person!r} has said nothing")
        # History that is replayed later has it no more.
        self._forget(self._speech.history, said)
        name = self._world.shown_name(room, speaker)
        sending = kinds.recall(
            room=room.group_id, msg_id=said.msg_id, new_msg_id=said.new_msg_id, name=name
        )
        told = {"kind": "recall", "text": "", "recalled": str(said.new_msg_id)}
        return self._post(group, person, sending, told=told)

    def pat(self, group: str, person: str, patted: str) -> Said:
        """A member pats another one, or an account."""
        room = self._speech.find_group(group)
        sending = kinds.pat(
            room=room.group_id,
            sender=self._speech.find_member(room, person),
            patted=self._speech.find_member(room, patted),
        )
        return self._post(group, person, sending)

    def join(self, group: str, wc_id: str, *, inviter: str, by_code: bool = False) -> Said:
        """Somebody of the world comes into a group."""
        room = self._speech.find_group(group)
        if wc_id not in self._world.people:
            raise NobodyThere(f"nobody is {wc_id!r}")
        nick_name = self._world.nick_name(wc_id)
        host = self._speech.find_member(room, inviter)
        room.members[wc_id] = ""
        name = self._world.shown_name(room, host)
        sending = (
            kinds.joined_by_code(wc_id=wc_id, nick_name=nick_name, inviter=host, inviter_name=name)
            if by_code
            else kinds.notice("85008", f'"{name}"邀请"{nick_name}"加入了群聊')
        )
        return self._post(group, inviter, sending)

    def remove(self, group: str, person: str) -> Said:
        """An account of ours removes a member."""
        room = self._speech.find_group(group)
        wc_id = self._speech.find_member(room, person)
        name = self._world.shown_name(room, wc_id)
        del room.members[wc_id]
        bot = next(one for one in room.members if one in self._world.accounts)
        return self._post(room.group_id, bot, kinds.notice("85003", f'你将"{name}"移出了群聊'))

    def rename(self, group: str, person: str, name: str) -> Said:
        """A member gives the group another name: a sentence, and the group's new card."""
        room = self._speech.find_group(group)
        shown = self._world.shown_name(room, self._speech.find_member(room, person))
        room.name = name
        sentence = kinds.notice("85005", f'"{shown}"修改群名为“{name}”')
        said = self._post(room.group_id, person, sentence)
        card = {
            "addContactScene": 0,
            "bitMask": 4294967295,
            "chatRoomNotify": 1,
            "chatRoomOwner": room.owner,
            "chatRoomStatus": 524288,
            "description": "",
            "nickName": name,
            "smallHeadImgUrl": "https://example.invalid/h/0",
            "userName": room.group_id,
        }
        self._speech.post_bare(room, "85001", card)
        return said

    def dissolve(self, group: str) -> Said:
        """The owner dissolves a group."""
        room = self._speech.find_group(group)
        said = self._post(room.group_id, room.owner, kinds.notice("85004", "群主已解散该群聊"))
        self._end(room)
        return said

    def leave(self, group: str) -> None:
        """Our accounts leave a group: the callback has the group's id alone."""
        room = self._speech.find_group(group)
        self._speech.post_bare(room, "85015", {"userName": room.group_id})
        self._end(room)

    def _said_with(self, how: Mapping[str, Any]) -> Said | None:
        return self._speech.find_said(int(how["newMsgId"])) if how else None

    def _end(self, room: Group) -> None:
        for wc_id in self._world.accounts:
            room.members.pop(wc_id, None)

    def _post(
        self,
        group: str,
        person: str,
        sending: Sending,
        *,
        mentions: Iterable[str] = (),
        told: Mapping[str, Any] | None = None,
    ) -> Said:
        return self._speech.say(
            group,
            person,
            sending.content,
            message_type=sending.message_type,
            extra=sending.extra,
            mentions=list(mentions),
            shown=sending.shown,
            told=told,
        )

    def _said_before(
        self, room: Group, new_msg_id: int | None, sent: "Iterable[SentMessage]"
    ) -> "_Before":
        """A message of this group: the one with the id, or the last one."""
        said = (one for one in self._speech.history if one.group == room.group_id)
        ours = (one for one in sent if one.to == room.group_id)
        found = [*map(_Before.of_said, said), *map(_Before.of_sent, ours)]
        wanted = [one for one in found if new_msg_id in (None, one.new_msg_id)]
        if not wanted:
            raise NobodyThere("nothing to quote")
        # Within one second the account's own ids tell what came later.
        return max(wanted, key=lambda one: (one.timestamp, one.msg_id))

    @staticmethod
    def _forget(history: deque[Said], said: Said) -> None:
        for one in list(history):
            if one.new_msg_id == said.new_msg_id:
                history.remove(one)


def _with_id(how: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the id of what is quoted as a number, as it is kept."""
    named = dict(how)
    new_msg_id = named.pop("newMsgId", None)
    return named if new_msg_id is None else {**named, "new_msg_id": int(new_msg_id)}
