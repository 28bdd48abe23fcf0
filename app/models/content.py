"""
What a callback carries that is no plain text, as far as the gateway says it.

Standard library only. Every field but the kind may be missing: empty or 0. Texts are as somebody
wrote them; who shows them bounds and cleans them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.models.flow import WcId


@dataclass(frozen=True, kw_only=True, slots=True)
class Quoted:
    """The message that somebody quotes."""

    #: Its ``newMsgId``, by which an answer of ours is known.
    new_msg_id: str = ""
    #: Who wrote it; empty: not said. A name is never an identity.
    sender: "WcId"
    sender_name: str = ""
    #: What it says; of one that is no text a word in brackets, e.g. ``[图片]``.
    text: str = ""
    #: It is a text.
    is_text: bool = False
    #: Seconds since 1970.
    timestamp: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A picture. The XML is what the gateway's download wants."""

    xml: str
    size: int = 0
    md5: str = ""
    aes_key: str = ""
    cdn_url: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Voice:
    """A recording."""

    size: int = 0
    milliseconds: int = 0
    #: What the gateway's download wants, with the size.
    buffer_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Video:
    """A film."""

    xml: str
    size: int = 0
    seconds: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file, announced or there."""

    xml: str
    name: str = ""
    extension: str = ""
    size: int = 0
    md5: str = ""
    #: The sender has finished: it can be downloaded.
    is_there: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Emoji:
    """A sticker."""

    md5: str = ""
    size: int = 0
    url: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A card that leads to a page; also a piece of music."""

    title: str = ""
    description: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class NameCard:
    """Somebody's card."""

    wc_id: "WcId"
    nick_name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class MiniProgram:
    """A page of a mini program."""

    title: str = ""
    user_name: str = ""
    page: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRecord:
    """Several messages merged into one."""

    title: str = ""
    description: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """A place."""

    name: str = ""
    address: str = ""
    latitude: str = ""
    longitude: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pat:
    """Somebody patted somebody."""

    sender: "WcId"
    patted: "WcId"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recall:
    """A message was taken back; at least one of its ids is known."""

    msg_id: str = ""
    new_msg_id: str = ""


class RoomChange(StrEnum):
    """What happened to a group."""

    #: Name, owner or picture.
    INFORMATION = "information"
    #: Somebody came or was removed.
    MEMBERS = "members"
    #: Our account is no longer in it.
    LEFT = "left"
    #: There is no such group any more.
    DISSOLVED = "dissolved"


@dataclass(frozen=True, kw_only=True, slots=True)
class Newcomer:
    """Somebody who joined a group."""

    wc_id: "WcId"
    nick_name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoomNews:
    """News of the group that the callback's origin names."""

    change: RoomChange
    #: The new name, if the callback says it.
    name: str = ""
    #: Who joined, if the callback says it by id.
    newcomers: tuple[Newcomer, ...] = ()


Media = Image | Voice | Video | File | Emoji
Card = Link | NameCard | MiniProgram | ChatRecord | Location
Content = Media | Card | Pat | Recall | RoomNews
