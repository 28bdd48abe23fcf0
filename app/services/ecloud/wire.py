"""The gateway's message types: every known code, what it means and to which kind it belongs."""

from enum import StrEnum

from app.models.flow import SegmentKind

ROOM_SUFFIX = "@chatroom"
EVERYBODY = "notify@all"


class TypeKind(StrEnum):
    """What the bridge makes of a message type."""

    TEST = "test"
    CONTROL = "control"
    PRIVATE_TEXT = "private_text"
    PRIVATE_QUOTE = "private_quote"
    PRIVATE_OTHER = "private_other"
    GROUP_TEXT = "group_text"
    GROUP_QUOTE = "group_quote"
    GROUP_OTHER = "group_other"


TEXT_KINDS = frozenset({TypeKind.GROUP_TEXT, TypeKind.PRIVATE_TEXT})
QUOTE_KINDS = frozenset({TypeKind.GROUP_QUOTE, TypeKind.PRIVATE_QUOTE})
#: Made for one person; still it may be a group's that the gateway mislabelled.
PRIVATE_KINDS = frozenset({TypeKind.PRIVATE_TEXT, TypeKind.PRIVATE_QUOTE, TypeKind.PRIVATE_OTHER})
#: What somebody said or sent; the others are news of the gateway.
MESSAGE_KINDS = TEXT_KINDS | QUOTE_KINDS | {TypeKind.GROUP_OTHER, TypeKind.PRIVATE_OTHER}


#: What a message of ours is the echo of, besides text. A file comes twice; only when it is all there
#: it counts, so that each sending has one echo.
ECHO_KINDS = {"80002": SegmentKind.IMAGE, "80009": SegmentKind.FILE}

_CONTENT = {
    "02": "图片",
    "03": "视频",
    "04": "语音",
    "05": "名片",
    "06": "表情",
    "07": "链接",
    "08": "文件（开始发送）",
    "09": "文件（发送完成）",
    "10": "小程序",
    "11": "聊天记录",
    "12": "语音通话",
    "14": "引用",
    "15": "转账",
    "16": "红包",
    "17": "视频号",
    "18": "撤回",
    "19": "拍一拍",
    "20": "位置",
    "21": "音乐",
}

#: Type of the callback that an account went offline.
OFFLINE_NOTICE = "30000"
CONTROL_TYPES = {
    OFFLINE_NOTICE: "账号离线",
    "30001": "好友请求",
    "30002": "视频下载完成",
    "30003": "朋友圈视频已发送",
    "65001": "好友信息变更",
    "65002": "对方开启了好友验证",
    "65003": "被对方拒收",
    "65004": "好友被删除",
    "85001": "群信息变更",
    "85002": "被移出群聊",
    "85003": "移出群成员",
    "85004": "群聊解散",
    "85005": "群名变更",
    "85006": "新增群管理员",
    "85007": "移除群管理员",
    "85008": "邀请入群",
    "85009": "扫码入群",
    "85010": "群主变更",
    "85011": "群公告",
    "85012": "群待办",
    "85013": "入群确认设置变更",
    "85014": "入群申请",
    "85015": "已退出群聊",
    "95001": "取消关注公众号",
}

#: Code → what it is called, for people.
TYPE_NAMES: dict[str, str] = {
    "00000": "回调地址测试",
    "60001": "私聊文本",
    "80001": "群聊文本",
    "60013": "语音通话结束",
    "60022": "群聊邀请",
    "60999": "其他私聊消息",
    "80999": "其他群聊消息",
    "90001": "公众号文章",
    **{f"600{code}": f"私聊{name}" for code, name in _CONTENT.items()},
    **{f"800{code}": f"群聊{name}" for code, name in _CONTENT.items()},
    **CONTROL_TYPES,
}

#: The older numbering of the gateway (small integers) → code.
NATIVE_TYPES: dict[int, str] = {
    0: "30001",
    1: "60022",
    2: "80005",
    3: "60005",
    4: OFFLINE_NOTICE,
    5: "60001",
    6: "60002",
    7: "60003",
    8: "60004",
    9: "80001",
    10: "80002",
    11: "80003",
    12: "80004",
    13: "60999",
    14: "80999",
    15: "65001",
    16: "85001",
    17: "65004",
}


def _kind(code: str) -> TypeKind:
    if code == "00000":
        return TypeKind.TEST
    if code in CONTROL_TYPES:
        return TypeKind.CONTROL
    if code == "80001":
        return TypeKind.GROUP_TEXT
    if code == "60001":
        return TypeKind.PRIVATE_TEXT
    if code in ("60014", "80014"):
        return TypeKind.GROUP_QUOTE if code == "80014" else TypeKind.PRIVATE_QUOTE
    return TypeKind.GROUP_OTHER if code.startswith("80") else TypeKind.PRIVATE_OTHER


#: Code → kind. A code that is not here is unknown.
TYPE_KINDS: dict[str, TypeKind] = {code: _kind(code) for code in TYPE_NAMES}


def is_room(wc_id: str) -> bool:
    """Whether the id is a group's; the suffix comes in more than one case."""
    return wc_id[-len(ROOM_SUFFIX) :].lower() == ROOM_SUFFIX


def normal_id(wc_id: str) -> str:
    """The id with a group's suffix in lower case; other ids as they are."""
    if is_room(wc_id):
        return wc_id[: -len(ROOM_SUFFIX)] + ROOM_SUFFIX
    return wc_id
