"""Compound messages (``appmsg``): files, links, mini programs, merged records, quotes. Pure."""

from app.models.content import Card, ChatRecord, File, Link, MiniProgram
from app.services.ecloud.fields import Fields
from app.services.ecloud.markup import Element, whole_number

#: ``appmsg/type`` of a quote.
QUOTE = "57"
FILE_TYPES = frozenset({"6", "74"})
PROGRAM_TYPES = frozenset({"33", "36"})
RECORD = "19"
#: ``appmsg/type`` → the word that stands for such a message where it is quoted.
WORDS = {
    "3": "[音乐]",
    "5": "[链接]",
    "6": "[文件]",
    "8": "[表情]",
    "19": "[聊天记录]",
    "33": "[小程序]",
    "36": "[小程序]",
    "51": "[视频号]",
    "57": "",
    "74": "[文件]",
    "87": "[群公告]",
    "2000": "[转账]",
    "2001": "[红包]",
}
OTHER_WORD = "[卡片]"


def app_message_of(root: Element | None) -> Element | None:
    """The compound part of a message's XML; None: it has none."""
    if root is None:
        return None
    found = root if root.tag == "appmsg" else root.find("appmsg")
    return found if found.tag else None


def read_file(app: Element, xml: str, *, is_there: bool) -> File:
    """A file by its card."""
    attached = app.find("appattach")
    return File(
        xml=xml,
        name=app.find("title").text,
        extension=attached.find("fileext").text,
        size=whole_number(attached.find("totallen").text),
        md5=app.find("md5").text,
        is_there=is_there,
    )


def read_card(app: Element, fields: Fields) -> Card:
    """A link, or what looks like one; the callback may name its parts beside the XML."""
    title = app.find("title").text or fields.loose_text("title")
    description = app.find("des").text or fields.loose_text("des")
    kind = app.find("type").text
    if kind in PROGRAM_TYPES:
        program = app.find("weappinfo")
        return MiniProgram(
            title=title,
            user_name=program.find("username").text,
            page=program.find("pagepath").text,
        )
    if kind == RECORD:
        return ChatRecord(title=title, description=description)
    url = app.find("url").text or fields.loose_text("url")
    return Link(title=title, description=description, url=url)


def word_for(app: Element) -> str:
    """What stands for a compound message where it is quoted: its title, with what it is in front."""
    word = WORDS.get(app.find("type").text, OTHER_WORD)
    return f"{word} {app.find('title').text}".strip()
