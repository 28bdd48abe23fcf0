"""
What each call to the gateway wants: its parameters, of which type, and which may be missing.

As the vendor's parameter tables have it. The real one may well take a number for a text; a client
that relies on that is found out here. The sentences of the refusals are not known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulators.ecloud_envelope import Body, Refused

#: What fits into the gateway's long.
MOST_LONG = 2**63 - 1

TEXT, NUMBER, FLAG, LIST = "text", "number", "flag", "list"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One field of a body."""

    name: str
    kind: str = TEXT
    needed: bool = True
    """False: it may be missing, null or empty."""


def _texts(*names: str, needed: bool = True) -> tuple[Parameter, ...]:
    return tuple(Parameter(name=name, needed=needed) for name in names)


def _numbers(*names: str, needed: bool = True) -> tuple[Parameter, ...]:
    return tuple(Parameter(name=name, kind=NUMBER, needed=needed) for name in names)


_TO = _texts("wId", "wcId")
_OF_ROOM = _texts("wId", "chatRoomId")
_OF_MESSAGE = (*_texts("wId"), *_numbers("msgId"), *_texts("content"))
_PICTURE = (*_TO, *_texts("content"))

PARAMETERS: Mapping[str, tuple[Parameter, ...]] = {
    "/member/login": _texts("account", "password"),
    "/iPadLogin": (
        *_texts("wcId", "deviceType", needed=False),
        *_numbers("proxy", needed=False),
        *_texts("proxyIp", "proxyUser", "proxyPassword", "aid", needed=False),
    ),
    "/getIPadLoginInfo": (
        *_texts("wId"),
        Parameter(name="autoCheck", kind=FLAG, needed=False),
        *_texts("verifyCode", needed=False),
    ),
    "/secondLogin": (*_texts("wcId"), *_texts("ttuid", "aid", needed=False)),
    "/member/offline": (*_texts("account"), Parameter(name="wcIds", kind=LIST)),
    "/queryLoginWx": (),
    "/isOnline": _texts("wId"),
    "/offlineReason": _texts("wcId"),
    "/setHttpCallbackUrl": (*_texts("httpUrl"), *_numbers("type")),
    "/cancelHttpCallbackUrl": (),
    "/getHttpCallbackUrl": (),
    "/sendText": (*_PICTURE, *_texts("at", needed=False)),
    "/sendImage": _PICTURE,
    "/sendImage2": _PICTURE,
    "/sendFile": (*_TO, *_texts("path", "fileName")),
    "/sendVoice": (*_TO, *_texts("content"), *_numbers("length")),
    "/sendVideo": (*_TO, *_texts("path", "thumbPath")),
    "/sendUrl": (*_TO, *_texts("title", "url", "description", "thumbUrl")),
    "/sendNameCard": (*_TO, *_texts("nameCardId")),
    "/revokeMsg": (*_TO, *_numbers("msgId", "newMsgId", "createTime")),
    "/getContact": _TO,
    "/getChatRoomMember": _OF_ROOM,
    "/getChatRoomMemberInfo": (*_OF_ROOM, *_texts("userList")),
    "/getChatRoomInfo": _OF_ROOM,
    "/initAddressList": _texts("wId"),
    "/getAddressList": _texts("wId"),
    "/getMsgImg": (*_OF_MESSAGE, *_numbers("type", needed=False)),
    "/getMsgFile": _OF_MESSAGE,
    "/getMsgEmoji": _OF_MESSAGE,
    "/getMsgVoice": (
        *_texts("wId"),
        *_numbers("msgId", "length"),
        *_texts("bufId", "fromUser"),
    ),
    "/asynGetMsgVideo": _OF_MESSAGE,
    "/getMsgVideoRes": _texts("id"),
}


def check(path: str, body: Body) -> None:
    """
    Raises:
        Refused: a parameter is missing, empty or of another type; names the first one.
    """
    for one in PARAMETERS.get(path, ()):
        value = body.get(one.name)
        if value is None or value in ("", []):
            if one.needed:
                raise Refused(f"参数{one.name}不能为空")
        elif not _is_of(one.kind, value):
            raise Refused(f"参数{one.name}类型错误")


def _is_of(kind: str, value: Any) -> bool:
    if kind == FLAG:
        return isinstance(value, bool)
    if kind == NUMBER:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return is_number and -MOST_LONG <= value <= MOST_LONG
    if kind == LIST:
        return isinstance(value, list) and all(isinstance(one, str) and one for one in value)
    return isinstance(value, str)
