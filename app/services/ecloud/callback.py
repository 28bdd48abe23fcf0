"""
From the bytes of a callback to a group's text, or to the reason why it is none. Pure.

Only ``messageType`` is required. What the gateway is known to vary is accepted, and what no answer
depends on may be odd; what would change who is answered where is refused rather than guessed.
"""

import json
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from app.models.content import Content, File, Image, Pat, Quoted, Voice
from app.models.flow import (
    ECHO_TEXTS,
    GroupMessage,
    Ignored,
    IgnoreReason,
    MemberFile,
    MemberVoice,
    Origin,
    WcId,
)
from app.services.ecloud.app_messages import QUOTE, app_message_of
from app.services.ecloud.contents import RECALL, read_content
from app.services.ecloud.fields import MAX_ACCOUNT, Fields
from app.services.ecloud.markup import read_markup
from app.services.ecloud.quote import quoted_by
from app.services.ecloud.wire import (
    ECHO_KINDS,
    MESSAGE_KINDS,
    NATIVE_TYPES,
    OFFLINE_NOTICE,
    PRIVATE_KINDS,
    QUOTE_KINDS,
    ROOM_SUFFIX,
    TEXT_KINDS,
    TYPE_KINDS,
    TYPE_NAMES,
    TypeKind,
    is_room,
)
from app.services.text import clean_nickname, is_blank

_LONGEST_DETAIL = 200
_LONGEST_TYPE = 8
_CODE_LENGTH = 5
_MENTION_NOTICE = "在群聊中@了"
_NAME_SEPARATOR = " : "
#: Longest XML of a picture or file that is kept, in characters.
MAX_FILE_CONTENT = 16_384
MAX_NAME = 255


def parse_callback(raw: bytes) -> GroupMessage | Ignored:  # noqa: PLR0911 - one per verdict
    """
    Read one callback; never raises, whatever the bytes are.

    Args:
        raw: the request body as it came, UTF-8 JSON, with or without a byte order mark; the caller
            bounds its size.

    Returns:
        The text that a person wrote in a group, with what it quotes, or why there is none. A key that stands twice in
        one object makes the whole body ``BAD_JSON``: nobody knows which value was meant.
    """
    try:
        payload = _load_json(raw)
    except ValueError as error:
        return _ignored(Origin(), IgnoreReason.BAD_JSON, str(error)[:_LONGEST_DETAIL])
    if not isinstance(payload, dict):
        return _ignored(Origin(), IgnoreReason.BAD_SHAPE, "body")
    data = payload.get("data")
    fields = Fields(data if isinstance(data, dict) else {}, path="data.")
    envelope = Fields(payload)
    code = _read_type(payload.get("messageType"))
    origin = _read_origin(envelope, fields, code)
    if not code:
        return _ignored(origin, IgnoreReason.BAD_SHAPE, "messageType")
    if code not in TYPE_KINDS:
        return _ignored(origin, IgnoreReason.UNKNOWN_TYPE, code[:_LONGEST_DETAIL])
    kind = TYPE_KINDS[code]
    if kind is TypeKind.TEST:
        return _ignored(origin, IgnoreReason.TEST_PUSH)
    if not isinstance(data, dict):
        return _ignored(origin, IgnoreReason.BAD_SHAPE, "data")
    if kind in TEXT_KINDS:
        return _read_text(origin, kind, _Words.of_text(fields), fields, odd=envelope.odd)
    quote = _Words.of_quote(fields, origin.from_user, is_sure=kind in QUOTE_KINDS)
    if quote is None or kind is TypeKind.CONTROL:
        return _read_other(origin, kind, fields)
    return _read_text(origin, kind, quote, fields, odd=envelope.odd)


def is_offline_notice(origin: Origin) -> bool:
    """Whether the callback says that the account it came through is offline."""
    return origin.message_type == OFFLINE_NOTICE


def _ignored(origin: Origin, reason: IgnoreReason, detail: str = "", text: str = "") -> Ignored:
    return Ignored(origin=origin, reason=reason, detail=detail, text=text)


def _load_json(raw: bytes) -> Any:
    """
    Strict JSON: exact integers, no NaN, bounded depth, whole characters, no key twice.

    Raises:
        ValueError: It is something else; the message names the place, never the content.
    """
    raw = raw.removeprefix(BOM_UTF8)
    value = from_json(raw, allow_inf_nan=False)
    # The first parser keeps the last of two equal keys; this pass, safe by now, looks for them.
    json.loads(raw.decode(), object_pairs_hook=_refuse_twins, parse_int=_skip, parse_float=_skip)
    return value


def _refuse_twins(pairs: Sequence[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice in one object")


def _skip(_digits: str) -> None:
    """Numbers are of no interest when looking for equal keys."""


def _read_type(value: object) -> str:
    """The code of five digits; the older small integers are translated; empty: no type at all."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if 0 <= value < 10**_LONGEST_TYPE else ""
    if not isinstance(value, str):
        return ""
    code = value.strip()
    if not (code.isascii() and code.isdecimal() and len(code) <= _LONGEST_TYPE):
        return ""
    return NATIVE_TYPES.get(int(code), code) if len(code) < _CODE_LENGTH else code


def _read_origin(envelope: Fields, fields: Fields, code: str) -> Origin:
    named = envelope.identifier("wcId")
    sender = fields.identifier("fromUser")
    receiver = fields.hint("toUser")
    w_id = fields.hint("wId")
    says_own = fields.flag("self")
    # The receiver of what is not ours is our account; good enough to answer under, proof of nothing.
    bot = named or ("" if says_own or is_room(receiver) else receiver)
    # An event may name a login that is over.
    names_login = bool(named and w_id) and TYPE_KINDS.get(code) in MESSAGE_KINDS
    is_party = sender == named if says_own else sender not in ("", named) and receiver == named
    return Origin(
        bot_wc_id=WcId(bot),
        account=envelope.hint("account", longest=MAX_ACCOUNT),
        w_id=w_id,
        message_type=code,
        from_user=WcId("" if is_room(sender) else sender),
        group_id=WcId(_read_group(fields, sender, receiver)),
        msg_id=fields.digits("msgId"),
        new_msg_id=fields.digits("newMsgId"),
        timestamp=fields.seconds("timestamp", "createTime"),
        is_own=says_own or (bot != "" and sender == bot),
        names_login=names_login,
        proves_account=names_login and is_party and TYPE_KINDS[code] in TEXT_KINDS,
    )


def _read_group(fields: Fields, sender: str, receiver: str) -> str:
    """The group's id; it stands in ``fromGroup``, but not reliably."""
    group = fields.identifier("fromGroup")
    if group.isascii() and group.isdecimal():
        group += ROOM_SUFFIX
    rooms = [wc_id for wc_id in (group, sender, receiver) if is_room(wc_id)]
    if rooms or group:
        return rooms[0] if rooms else group
    # News about a group itself name it as if it were a contact.
    changed = Fields({"userName": fields.text("userName")}).identifier("userName")
    return changed if is_room(changed) else ""


def _read_other(origin: Origin, kind: TypeKind, fields: Fields) -> Ignored:
    """What is not answered, with what it carries."""
    code = origin.message_type
    content = read_content(code, fields, sender=origin.from_user)
    reason, detail = _reason_of_other(origin, kind, content), TYPE_NAMES[code]
    if code[-2:] == RECALL and reason is IgnoreReason.RECALL and content is None:
        reason, detail = IgnoreReason.BAD_SHAPE, "data.content"
    # Own ones may be what was sent: their echo has no text to be known by.
    is_echo = reason is IgnoreReason.OWN_MESSAGE and code in ECHO_KINDS
    echoed = ECHO_TEXTS[ECHO_KINDS[code]] if is_echo else ""
    is_sent = reason is IgnoreReason.UNSUPPORTED_TYPE
    return Ignored(
        origin=origin,
        reason=reason,
        detail=detail,
        text=echoed,
        content=content,
        file=_file_of(origin, content) if is_sent else None,
        voice=_voice_of(origin, content) if is_sent else None,
    )


def _reason_of_other(origin: Origin, kind: TypeKind, content: Content | None) -> IgnoreReason:
    if kind is TypeKind.CONTROL:
        return IgnoreReason.CONTROL_EVENT
    if kind in PRIVATE_KINDS and not origin.group_id:
        return IgnoreReason.NOT_GROUP
    if origin.message_type[-2:] == RECALL:
        return IgnoreReason.RECALL
    if origin.is_own:
        return IgnoreReason.OWN_MESSAGE
    return IgnoreReason.PAT if isinstance(content, Pat) else IgnoreReason.UNSUPPORTED_TYPE


@dataclass(frozen=True, kw_only=True, slots=True)
class _Words:
    """What somebody typed, and the message that it is about."""

    typed: str
    quoted: Quoted | None = None

    @classmethod
    def of_text(cls, fields: Fields) -> "_Words":
        return cls(typed=fields.text("content"))

    @classmethod
    def of_quote(cls, fields: Fields, sender: str, *, is_sure: bool) -> "_Words | None":
        """
        Of a quote, however little of its XML can be read; None: it is none.

        Args:
            is_sure: the type says that it is one; else the XML must.
        """
        app = app_message_of(read_markup(fields.loose_text("content"), sender=sender))
        if not is_sure and (app is None or app.find("type").text != QUOTE):
            return None
        title = fields.text("title")
        if app is None:
            return cls(typed=title)
        return cls(typed=title or app.find("title").text, quoted=quoted_by(app))


def _file_of(origin: Origin, content: Content | None) -> MemberFile | None:
    """
    What a person sent, for the gateway's own call; None: something that this needs is missing.

    Its XML goes back to the gateway as it is.
    """
    is_known = origin.msg_id and origin.from_user and origin.bot_wc_id and origin.group_id
    is_whole = isinstance(content, Image) or (isinstance(content, File) and content.is_there)
    if not is_known or not is_whole or not isinstance(content, Image | File):
        return None
    if not 0 < len(content.xml) <= MAX_FILE_CONTENT:
        return None
    name = content.name[:MAX_NAME] if isinstance(content, File) else ""
    is_image = isinstance(content, Image)
    return MemberFile(msg_id=origin.msg_id, content=content.xml, is_image=is_image, name=name)


def _voice_of(origin: Origin, content: Content | None) -> MemberVoice | None:
    """A recording, for the gateway's own call; None: it is none, or something that this needs is missing."""
    is_known = origin.msg_id and origin.from_user and origin.bot_wc_id and origin.group_id
    if not is_known or not isinstance(content, Voice) or not content.size or not content.buffer_id:
        return None
    return MemberVoice(
        msg_id=origin.msg_id,
        buffer_id=content.buffer_id,
        size=content.size,
        sender=origin.from_user,
        milliseconds=content.milliseconds,
    )


def _read_text(  # noqa: PLR0911 - one per verdict
    origin: Origin, kind: TypeKind, words: _Words, fields: Fields, *, odd: str
) -> GroupMessage | Ignored:
    mentions = fields.identifiers("atlist", "atList")
    if odd or fields.odd:
        return _ignored(origin, IgnoreReason.BAD_SHAPE, odd or fields.odd)
    if kind in PRIVATE_KINDS and not origin.group_id:
        return _ignored(origin, IgnoreReason.NOT_GROUP)
    text = words.typed.removeprefix(f"{origin.from_user}:\n") if origin.from_user else words.typed
    if origin.is_own:
        return _ignored(origin, IgnoreReason.OWN_MESSAGE, text=text)
    if not origin.group_id:
        return _ignored(origin, IgnoreReason.BAD_SHAPE, "data.fromGroup")
    if not origin.from_user:
        return _ignored(origin, IgnoreReason.NO_SENDER)
    if not origin.bot_wc_id:
        return _ignored(origin, IgnoreReason.BAD_SHAPE, "wcId")
    if is_blank(text):
        return _ignored(origin, IgnoreReason.NO_TEXT)
    return GroupMessage(
        origin=origin,
        text=text,
        mentions=tuple(WcId(wc_id) for wc_id in mentions),
        sender_name=_read_sender_name(fields.text("pushContent"), text),
        quoted=words.quoted,
    )


def _read_sender_name(notice: str, text: str) -> str:
    """The nickname out of ``昵称 : 正文`` or ``昵称在群聊中@了你``; empty if it is neither."""
    if notice.endswith(_NAME_SEPARATOR + text):
        return clean_nickname(notice[: -len(_NAME_SEPARATOR + text)])
    name, found, _ = notice.rpartition(_MENTION_NOTICE)
    if not found or _NAME_SEPARATOR in name:
        name, found, _ = notice.partition(_NAME_SEPARATOR)
    return clean_nickname(name) if found else ""
