"""Quotes: what was typed, and which message it is about. Pure."""

from app.models.content import Quoted
from app.models.flow import WcId
from app.services.ecloud.app_messages import OTHER_WORD, app_message_of, word_for
from app.services.ecloud.fields import Fields
from app.services.ecloud.markup import Element, read_markup
from app.services.ecloud.wire import is_room

TEXT = "1"
COMPOUND = "49"
#: WeChat's own number of a kind of message → the word that stands for it.
WORDS = {
    "3": "[图片]",
    "34": "[语音]",
    "42": "[名片]",
    "43": "[视频]",
    "47": "[表情]",
    "48": "[位置]",
    "62": "[视频]",
}


def quoted_by(app: Element) -> Quoted | None:
    """The message that a quote is about; None: the quote does not say."""
    reference = app.find("refermsg")
    if not reference.tag:
        return None
    sender = _sender(reference)
    kind = reference.find("type").text
    return Quoted(
        new_msg_id=_fields(reference, "svrid").digits("svrid"),
        sender=sender,
        sender_name=reference.find("displayname").text,
        text=_text(reference, kind, sender),
        is_text=kind == TEXT,
        timestamp=_fields(reference, "createtime").seconds("createtime"),
    )


def _sender(reference: Element) -> WcId:
    """In a group the room stands where elsewhere the sender does."""
    for name in ("chatusr", "fromusr"):
        found = _fields(reference, name).identifier(name)
        if found and not is_room(found):
            return WcId(found)
    return WcId("")


def _text(reference: Element, kind: str, sender: WcId) -> str:
    content = reference.find("content").text
    if kind == TEXT:
        return content.removeprefix(f"{sender}:\n") if sender else content
    if kind != COMPOUND:
        return WORDS.get(kind, OTHER_WORD)
    app = app_message_of(read_markup(content, sender=sender))
    return OTHER_WORD if app is None else word_for(app) or OTHER_WORD


def _fields(reference: Element, name: str) -> Fields:
    return Fields({name: reference.find(name).text})
