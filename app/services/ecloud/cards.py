"""What the gateway tells about people, groups and accounts, in our words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Self

from app.models.flow import SentMessage, WcId
from app.services.ecloud.fields import Fields, is_identifier
from app.services.ecloud.wire import is_room, normal_id

_LONGEST_SHORT = 255
_LONGEST_LONG = 512
_LONGEST_URL = 1024
_LONGEST_PLACE = 64
#: Most objects and arrays within one another that are kept; MySQL takes 100 at most, MariaDB 31.
_DEEPEST = 30


class CardKind(StrEnum):
    """Whose card it is."""

    PERSON = "person"
    GROUP = "group"


@dataclass(frozen=True, kw_only=True, slots=True)
class ContactCard:
    """A person or a group. Texts are bounded and empty where the gateway gives none."""

    wc_id: WcId
    kind: CardKind
    nick_name: str = ""
    #: The gateway's ``userName``, as it spells it.
    user_name: str = ""
    remark: str = ""
    #: The WeChat number (微信号) as displayed.
    alias: str = ""
    #: 0 unknown, 1 male, 2 female.
    sex: int = 0
    country: str = ""
    province: str = ""
    city: str = ""
    signature: str = ""
    big_avatar: str = ""
    small_avatar: str = ""
    #: Ids of labels, joined with commas.
    labels: str = ""
    v1: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @property
    def is_known(self) -> bool:
        """Whether the gateway knows whose card it is. Every person has a name; many groups have none."""
        if self.kind is CardKind.PERSON:
            return bool(self.nick_name)
        signs = (self.user_name, self.nick_name, self.remark, self.v1)
        return any((*signs, self.big_avatar, self.small_avatar))

    @classmethod
    def from_wire(cls, values: Mapping[str, Any], *, asked: str = "") -> Self | None:
        """
        Read one card; None if nobody knows whose it is.

        Args:
            asked: whose card was asked for, where only one could be.
        """
        user_name = _text(values, "userName", limit=128)
        wc_id = normal_id(user_name) or asked
        if not is_identifier(wc_id):
            return None
        return cls(
            wc_id=WcId(wc_id),
            kind=CardKind.GROUP if is_room(wc_id) else CardKind.PERSON,
            nick_name=_text(values, "nickName", "nikeName"),
            user_name=user_name,
            remark=_text(values, "remark"),
            alias=_text(values, "aliasName", "alias", limit=128),
            sex=_sex(values.get("sex")),
            country=_text(values, "country", limit=_LONGEST_PLACE),
            province=_text(values, "province", limit=_LONGEST_PLACE),
            city=_text(values, "city", limit=_LONGEST_PLACE),
            signature=_text(values, "signature", limit=_LONGEST_LONG),
            big_avatar=_text(values, "bigHead", "bigHeadImgUrl", limit=_LONGEST_URL),
            small_avatar=_text(values, "smallHead", "smallHeadImgUrl", limit=_LONGEST_URL),
            labels=_text(values, "labelList", "labelIdList"),
            v1=_text(values, "v1", limit=_LONGEST_LONG),
            raw=_shallow(dict(values)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberCard:
    """A person as a member of one group."""

    group_id: WcId
    wc_id: WcId
    nick_name: str = ""
    #: Name in this group (群昵称); empty: none set.
    display_name: str = ""
    big_avatar: str = ""
    small_avatar: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @property
    def shown_name(self) -> str:
        """What the group sees, and so what stands behind ``@``."""
        return self.display_name or self.nick_name

    @classmethod
    def from_wire(cls, values: Mapping[str, Any], *, group_id: WcId) -> Self | None:
        """Read one member; None if it has no usable id."""
        wc_id = normal_id(_text(values, "userName", limit=128))
        if not is_identifier(wc_id) or is_room(wc_id):
            return None
        return cls(
            group_id=group_id,
            wc_id=WcId(wc_id),
            nick_name=_text(values, "nickName", "nikeName"),
            display_name=_text(values, "displayName"),
            big_avatar=_text(values, "bigHeadImgUrl", "bigHead", limit=_LONGEST_URL),
            small_avatar=_text(values, "smallHeadImgUrl", "smallHead", limit=_LONGEST_URL),
            raw=dict(values),
        )


class Login(NamedTuple):
    """A WeChat account that is online, and the instance of its login."""

    wc_id: WcId
    w_id: str


def read_login(values: Mapping[str, Any]) -> Login | None:
    """Read one online account; None if one of its two ids is missing."""
    fields = Fields(values)
    login = Login(WcId(fields.identifier("wcId")), fields.identifier("wId"))
    return login if all(login) else None


def read_receipt(values: Mapping[str, Any]) -> SentMessage:
    """Read what a send gives back; ids that are missing or odd stay empty."""
    fields = Fields(values)
    return SentMessage(
        msg_id=fields.digits("msgId"),
        new_msg_id=fields.digits("newMsgId"),
        created_at=fields.seconds("createTime"),
    )


def _text(values: Mapping[str, Any], *names: str, limit: int = _LONGEST_SHORT) -> str:
    """The first of *names* with something in it, without NUL, at most *limit* characters."""
    for name in names:
        value = values.get(name)
        if isinstance(value, list):
            value = ",".join(str(item) for item in value if isinstance(item, str | int))
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and value:
            return value.replace("\0", "")[:limit]
    return ""


def _shallow(value: Any, levels: int = _DEEPEST) -> Any:
    """The same JSON with null in place of objects and arrays that lie too deep for a database."""
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return None
    if isinstance(value, list):
        return [_shallow(item, levels - 1) for item in value]
    return {name: _shallow(item, levels - 1) for name, item in value.items()}


def _sex(value: Any) -> int:
    return int(value) if str(value) in {"1", "2"} else 0
