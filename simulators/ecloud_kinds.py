"""What people send beside text: the type, XML and further fields of each in a callback."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

COMPOUND = 49
SYSTEM = 10002


@dataclass(frozen=True, kw_only=True)
class Sending:
    """One message that is no text."""

    message_type: str
    content: str
    """The XML."""
    extra: dict[str, Any] = field(default_factory=dict)
    shown: str = ""
    """What a notification says of it."""


def _xml(inside: str) -> str:
    return f'<?xml version="1.0"?>\n<msg>{inside}</msg>'


def _appmsg(kind: int, title: str, inside: str = "") -> str:
    return _xml(
        f'<appmsg appid="" sdkver="0"><title>{escape(title)}</title>'
        f"<type>{kind}</type>{inside}</appmsg>"
    )


def _md5(of: str) -> str:
    return hashlib.md5(of.encode(), usedforsecurity=False).hexdigest()


def image(*, size: int = 51_361, name: str = "image") -> Sending:
    """A picture with its thumbnail."""
    md5 = _md5(name)
    inside = (
        f'<img aeskey="{md5}" cdnthumburl="3057{md5}" cdnmidimgurl="3058{md5}" '
        f'length="{size}" md5="{md5}" />'
    )
    return Sending(
        message_type="80002",
        content=_xml(inside),
        extra={"img": "/9j/4AAQSkZJRgABAQAASABIAAD/"},
        shown="[图片]",
    )


def video(*, size: int = 1_305_852, seconds: int = 10) -> Sending:
    """A film."""
    inside = f'<videomsg aeskey="{_md5("video")}" cdnvideourl="306c" length="{size}" playlength="{seconds}" />'
    return Sending(message_type="80003", content=_xml(inside), shown="[视频]")


def voice(*, size: int = 3_227, milliseconds: int = 1_800) -> Sending:
    """A recording; its figures stand beside the XML and inside it."""
    buffer_id = "289139440622895483"
    inside = (
        f'<voicemsg endflag="1" length="{size}" voicelength="{milliseconds}" '
        f'bufid="{buffer_id}" voiceformat="4" />'
    )
    return Sending(
        message_type="80004",
        content=f"<msg>{inside}</msg>",
        extra={"length": size, "voiceLength": milliseconds, "bufId": buffer_id},
        shown="[语音]",
    )


def name_card(*, wc_id: str = "wxid_friend000c21", nick_name: str = "朋友") -> Sending:
    """Somebody's card."""
    content = (
        '<?xml version="1.0"?>\n'
        f'<msg username="{escape(wc_id)}" nickname="{escape(nick_name)}" sex="1" scene="17" />'
    )
    return Sending(message_type="80005", content=content, shown="[名片]")


def emoji(*, size: int = 1_234) -> Sending:
    """A sticker."""
    md5 = _md5("emoji")
    return Sending(
        message_type="80006",
        content=f'<msg><emoji md5="{md5}" len="{size}" /></msg>',
        extra={"md5": md5, "length": size, "url": "http://example.invalid/e.gif"},
        shown="[表情]",
    )


def link(
    *, title: str = "公告", des: str = "摘要", url: str = "https://example.invalid/a?x=1&y=2"
) -> Sending:
    """A card that leads to a page."""
    inside = f"<des>{escape(des)}</des><url>{escape(url)}</url><thumburl />"
    return Sending(
        message_type="80007",
        content=_appmsg(5, title, inside),
        extra={"title": title, "des": des, "url": url, "msgType": COMPOUND},
        shown=f"[链接]{title}",
    )


def file(*, name: str = "周报.xlsx", size: int = 20_480, finished: bool = True) -> Sending:
    """A file, announced or there."""
    ending = name.rpartition(".")[2]
    inside = (
        f"<appattach><totallen>{size}</totallen><fileext>{escape(ending)}</fileext></appattach>"
        f"<md5>{_md5(name)}</md5>"
    )
    return Sending(
        message_type="80009" if finished else "80008",
        content=_appmsg(6, name, inside),
        extra={"msgType": COMPOUND},
        shown=f"[文件]{name}",
    )


def mini_program(*, title: str = "会议室预订", page: str = "pages/index.html") -> Sending:
    """A page of a mini program."""
    inside = (
        "<weappinfo><username>gh_0011223344@app</username>"
        f"<pagepath>{escape(page)}</pagepath></weappinfo>"
    )
    return Sending(
        message_type="80010",
        content=_appmsg(33, title, inside),
        extra={"msgType": COMPOUND},
        shown=f"[小程序]{title}",
    )


def record(*, lines: tuple[str, ...] = ("小明: 打印机坏了", "小红: 我去看")) -> Sending:
    """Several messages merged into one."""
    items = "".join(
        f'<dataitem datatype="1" dataid="{number}"><datadesc>{escape(line)}</datadesc></dataitem>'
        for number, line in enumerate(lines, 1)
    )
    inside = (
        f"<des>{escape(chr(10).join(lines))}</des><recorditem><![CDATA[<recordinfo>"
        f'<datalist count="{len(lines)}">{items}</datalist></recordinfo>]]></recorditem>'
    )
    return Sending(
        message_type="80011",
        content=_appmsg(19, "群聊的聊天记录", inside),
        extra={"msgType": COMPOUND},
        shown="[聊天记录]",
    )


def voice_call() -> Sending:
    """Somebody calls the group."""
    return Sending(
        message_type="80012", content="<voipinvitemsg><roomid>1</roomid></voipinvitemsg>"
    )


def transfer() -> Sending:
    """Money for somebody."""
    return Sending(
        message_type="80015",
        content=_appmsg(2000, "微信转账"),
        extra={"msgType": COMPOUND},
        shown="[转账]",
    )


def red_packet() -> Sending:
    """Money for whoever is quick."""
    return Sending(
        message_type="80016",
        content=_appmsg(2001, "恭喜发财"),
        extra={"msgType": COMPOUND},
        shown="[红包]",
    )


def channel() -> Sending:
    """A film of a channel."""
    return Sending(
        message_type="80017",
        content=_appmsg(51, "当前版本不支持展示该内容"),
        extra={"msgType": COMPOUND},
        shown="[视频号]",
    )


def location(*, name: str = "人民广场", address: str = "上海市黄浦区人民大道") -> Sending:
    """A place."""
    inside = (
        f'<location x="31.230416" y="121.473701" scale="16" label="{escape(address)}" '
        f'poiname="{escape(name)}" />'
    )
    return Sending(message_type="80020", content=_xml(inside), shown=f"[位置]{name}")


def music(*, title: str = "晨曲") -> Sending:
    """A piece of music."""
    inside = "<des>某乐队</des><url>https://example.invalid/song</url>"
    return Sending(
        message_type="80021",
        content=_appmsg(3, title, inside),
        extra={"msgType": COMPOUND},
        shown=f"[音乐]{title}",
    )


def other() -> Sending:
    """Something for which the gateway has no type of its own."""
    return Sending(
        message_type="80999",
        content='<sysmsg type="editrevokecontent"><a /></sysmsg>',
        extra={"msgType": SYSTEM},
    )


def quote(
    text: str,
    *,
    quoted: str,
    sender: str,
    sender_name: str,
    room: str,
    new_msg_id: str,
    timestamp: int,
    kind: int = 1,
) -> Sending:
    """An answer to a message; in a group the room stands where the sender does elsewhere."""
    inside = (
        f"<refermsg><type>{kind}</type><svrid>{new_msg_id}</svrid><fromusr>{room}</fromusr>"
        f"<chatusr>{sender}</chatusr><displayname>{escape(sender_name)}</displayname>"
        f"<content>{escape(quoted)}</content><createtime>{timestamp}</createtime></refermsg>"
    )
    return Sending(
        message_type="80014",
        content=_appmsg(57, text, inside),
        extra={"title": text, "msgType": COMPOUND},
        shown=text,
    )


def recall(*, room: str, msg_id: int, new_msg_id: int, name: str) -> Sending:
    """A message is taken back."""
    content = (
        f'<sysmsg type="revokemsg"><revokemsg><session>{room}</session><msgid>{msg_id}</msgid>'
        f"<newmsgid>{new_msg_id}</newmsgid>"
        f'<replacemsg><![CDATA["{name}" 撤回了一条消息]]></replacemsg></revokemsg></sysmsg>'
    )
    return Sending(message_type="80018", content=content, extra={"msgType": SYSTEM})


def pat(*, room: str, sender: str, patted: str) -> Sending:
    """Somebody pats somebody."""
    content = (
        f'<sysmsg type="pat"><pat><fromusername>{sender}</fromusername>'
        f"<chatusername>{room}</chatusername><pattedusername>{patted}</pattedusername>"
        f'<template><![CDATA["${{{sender}}}" 拍了拍 "${{{patted}}}"]]></template></pat></sysmsg>'
    )
    return Sending(message_type="80019", content=content, extra={"msgType": SYSTEM})


def joined_by_code(*, wc_id: str, nick_name: str, inviter: str, inviter_name: str) -> Sending:
    """WeChat's own sentence of a newcomer, with the ids of both."""

    def people(list_name: str, user: str, name: str) -> str:
        return (
            f'<link name="{list_name}" type="link_profile"><memberlist><member>'
            f"<username><![CDATA[{user}]]></username><nickname><![CDATA[{name}]]></nickname>"
            "</member></memberlist></link>"
        )

    content = (
        '<sysmsg type="sysmsgtemplate"><sysmsgtemplate>'
        '<content_template type="tmpl_type_profile"><template>'
        '<![CDATA["$adder$"通过扫描"$from$"分享的二维码加入群聊]]></template><link_list>'
        f"{people('adder', wc_id, nick_name)}{people('from', inviter, inviter_name)}"
        "</link_list></content_template></sysmsgtemplate></sysmsg>"
    )
    return Sending(message_type="85009", content=content, extra={"msgType": SYSTEM})


def notice(message_type: str, sentence: str) -> Sending:
    """A sentence of WeChat's in the group."""
    return Sending(message_type=message_type, content=sentence, extra={"msgType": SYSTEM})


#: What a person can send by its name alone.
KINDS: Mapping[str, Callable[..., Sending]] = {
    "image": image,
    "video": video,
    "voice": voice,
    "name_card": name_card,
    "emoji": emoji,
    "link": link,
    "file": file,
    "mini_program": mini_program,
    "record": record,
    "voice_call": voice_call,
    "transfer": transfer,
    "red_packet": red_packet,
    "channel": channel,
    "location": location,
    "music": music,
    "other": other,
}
