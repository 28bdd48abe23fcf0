"""
From the bytes of a callback to a group's text, or to the reason why it is none. Pure.

Only ``messageType`` is required. What the gateway is known to vary is accepted, and what no answer
depends on may be odd; what would change who is answered where is refused rather than guessed.
"""

import json
from codecs import BOM_UTF8
from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json

from app.models.flow import GroupMessage, Ignored, IgnoreReason, Origin, Quotation, WcId
from app.services.ecloud.fields import MAX_ACCOUNT, Fields
from app.services.ecloud.quotation import read_reference
from app.services.ecloud.wire import (
    GROUP_QUOTATION,
    MESSAGE_KINDS,
    NATIVE_TYPES,
    ROOM_SUFFIX,
    TEXT_KINDS,
    TYPE_KINDS,
    TypeKind,
    is_room,
)
from app.services.text import clean_nickname, is_blank

_LONGEST_DETAIL = 200
_LONGEST_TYPE = 8
_CODE_LENGTH = 5
_MENTION_NOTICE = "在群聊中@了"
_NAME_SEPARATOR = " : "


def parse_callback(raw: bytes) -> GroupMessage | Quotation | Ignored:  # noqa: PLR0911 - one per verdict
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
    if kind is TypeKind.CONTROL:
        return _ignored(origin, IgnoreReason.CONTROL_EVENT)
    if kind in TEXT_KINDS:
        return _read_text(origin, kind, fields, odd=envelope.odd)
    if (
        code == GROUP_QUOTATION
        and (quotation := _read_quotation(origin, fields, envelope.odd)) is not None
    ):
        return quotation
    return _ignored(origin, _reason_of_media(origin, kind))


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


def _read_quotation(origin: Origin, fields: Fields, odd: str) -> Quotation | None:
    """A text below a message of ours; None: it is one of the many things that are no text."""
    if origin.is_own or not (origin.group_id and origin.from_user and origin.bot_wc_id):
        return None
    reference = read_reference(fields.text("content"))
    if reference is None or reference.sender not in ("", origin.bot_wc_id):
        return None
    message = GroupMessage(origin=origin, text=fields.text("title") or reference.title)
    return None if odd or fields.odd else Quotation(message=message, quoted_id=reference.new_msg_id)


def _reason_of_media(origin: Origin, kind: TypeKind) -> IgnoreReason:
    if kind is not TypeKind.GROUP_OTHER and not origin.group_id:
        return IgnoreReason.NOT_GROUP
    return IgnoreReason.OWN_MESSAGE if origin.is_own else IgnoreReason.UNSUPPORTED_TYPE


def _read_text(  # noqa: PLR0911 - one per verdict
    origin: Origin, kind: TypeKind, fields: Fields, *, odd: str
) -> GroupMessage | Ignored:
    content = fields.text("content")
    mentions = fields.identifiers("atlist", "atList")
    if odd or fields.odd:
        return _ignored(origin, IgnoreReason.BAD_SHAPE, odd or fields.odd)
    if kind is TypeKind.PRIVATE_TEXT and not origin.group_id:
        return _ignored(origin, IgnoreReason.NOT_GROUP)
    text = content.removeprefix(f"{origin.from_user}:\n") if origin.from_user else content
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
    )


def _read_sender_name(notice: str, text: str) -> str:
    """The nickname out of ``昵称 : 正文`` or ``昵称在群聊中@了你``; empty if it is neither."""
    if notice.endswith(_NAME_SEPARATOR + text):
        return clean_nickname(notice[: -len(_NAME_SEPARATOR + text)])
    name, found, _ = notice.rpartition(_MENTION_NOTICE)
    if not found or _NAME_SEPARATOR in name:
        name, found, _ = notice.partition(_NAME_SEPARATOR)
    return clean_nickname(name) if found else ""
